"""The tasks other than embeddings.

Answers are dictionaries with the keys of transformers' pipelines. A call with one text returns its
answer; a call with several texts returns a list of answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypedDict, Union, overload

import numpy as np
from numpy.typing import NDArray

from . import _albert_candle
from ._errors import AlbertError
from ._model import Model

__all__ = [
    "Answer",
    "Answerer",
    "Classifier",
    "Entity",
    "Filled",
    "Filling",
    "LabelScore",
    "MaskFiller",
    "Ranked",
    "Reranker",
    "Tagger",
    "TextScore",
    "ZeroShot",
    "ZeroShotLabels",
]

#: A text, or a pair of texts.
TextOrPair = Union[str, "tuple[str, str]"]
Aggregation = Literal["none", "simple", "first", "average", "max"]


class Filled(TypedDict):
    """A candidate for a mask."""

    score: float
    #: None for a target of several pieces.
    token: int | None
    token_str: str
    sequence: str


class Filling(TypedDict):
    """All masks of a text, filled jointly."""

    score: float
    token_strs: list[str]
    sequence: str


class TextScore(TypedDict):
    """The likelihood of a text."""

    log_likelihood: float
    tokens: int
    truncated: bool


class LabelScore(TypedDict):
    """A label with its score."""

    label: str
    score: float


class ZeroShotLabels(TypedDict):
    """The labels of a text, best first."""

    sequence: str
    labels: list[str]
    scores: list[float]


class Entity(TypedDict):
    """A labeled span of a text."""

    entity_group: str
    score: float
    word: str
    #: The offset of the first character.
    start: int
    #: The end offset, exclusive.
    end: int


class Answer(TypedDict):
    """An answer to a question."""

    score: float
    #: The offset of the first character in the context; None for "no answer".
    start: int | None
    #: The end offset, exclusive; None for "no answer".
    end: int | None
    answer: str


class Ranked(TypedDict):
    """A text with its relevance to a query."""

    corpus_id: int
    score: float
    text: str


class MaskFiller(Model):
    """Fills masks, and scores texts, with a masked language model (``fill-mask``).

    >>> filler = MaskFiller()
    >>> len(filler.fill("She opened the [MASK] and walked in."))
    5
    """

    _native_class = _albert_candle.MaskFiller

    @property
    def mask_token(self) -> str:
        """The token to fill, such as ``[MASK]``."""
        return str(self._native.mask_token)

    def fill(
        self,
        texts: str | Iterable[str],
        *,
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
    ) -> Any:
        """Returns the most probable tokens for each mask, best first.

        Args:
            texts: A text with at least one mask, or several.
            top_k: The number of candidates for each mask.
            targets: Considers only these tokens. A target of several pieces has the product of
                their probabilities.

        Returns:
            A list of :class:`Filled` for a text with one mask, a list of such lists for a text with
            several masks, and a list of either for several texts.

        Raises:
            AlbertError: If a text has no mask (``index`` says which) or a target is outside the
                vocabulary.
        """
        wanted = [targets] if isinstance(targets, str) else targets
        wanted = None if wanted is None else list(wanted)
        answers = self._native.fill(_several(texts), top_k, wanted)
        return _one_or_all(texts, [masks[0] if len(masks) == 1 else masks for masks in answers])

    @overload
    def fill_jointly(self, texts: str, *, beam: int = ...) -> list[Filling]: ...

    @overload
    def fill_jointly(self, texts: Iterable[str], *, beam: int = ...) -> list[list[Filling]]: ...

    def fill_jointly(self, texts: str | Iterable[str], *, beam: int = 1) -> Any:
        """Fills all masks of a text one after another, each given those already filled.

        Args:
            texts: A text with masks, or several.
            beam: The number of fillings that are kept after each step, and returned.
        """
        return _one_or_all(texts, self._native.fill_jointly(_several(texts), beam))

    @overload
    def score(self, texts: str) -> TextScore: ...

    @overload
    def score(self, texts: Iterable[str]) -> list[TextScore]: ...

    def score(self, texts: str | Iterable[str]) -> Any:
        """Returns the pseudo-log-likelihood of each text.

        Each token is masked in turn, and the logarithms of their probabilities are added up."""
        return _one_or_all(texts, self._native.score(_several(texts)))


class Classifier(Model):
    """Labels texts, or pairs of texts, with a fine-tuned model (``text-classification``)."""

    _native_class = _albert_candle.Classifier

    @property
    def labels(self) -> list[str]:
        """The names of the model's labels."""
        return list(self._native.labels)

    @overload
    def classify(
        self,
        texts: str,
        *,
        top_k: int | None = ...,
        function: Literal["softmax", "sigmoid", "none"] | None = ...,
        stride: int | None = ...,
    ) -> list[LabelScore]: ...

    @overload
    def classify(
        self,
        texts: Iterable[TextOrPair],
        *,
        top_k: int | None = ...,
        function: Literal["softmax", "sigmoid", "none"] | None = ...,
        stride: int | None = ...,
    ) -> list[list[LabelScore]]: ...

    def classify(
        self,
        texts: str | Iterable[TextOrPair],
        *,
        top_k: int | None = None,
        function: Literal["softmax", "sigmoid", "none"] | None = None,
        stride: int | None = None,
    ) -> Any:
        """Returns the labels of each text, best first.

        Args:
            texts: A text, or several texts and pairs of texts; a pair is a tuple.
            top_k: The number of labels to keep; by default all.
            function: Turns logits into scores; by default the function of the model's files.
            stride: Reads a text that is too long in windows that share this many tokens and
                averages their scores, instead of truncating it.
        """
        answers = self._native.classify(_several(texts), top_k, function, stride)
        return _one_or_all(texts, answers)


class ZeroShot(Model):
    """Labels texts with labels that the model was not trained on (``zero-shot-classification``).

    The model is one for natural language inference.
    """

    _native_class = _albert_candle.ZeroShot

    @overload
    def classify(
        self,
        texts: str,
        labels: Sequence[str],
        *,
        hypothesis: str = ...,
        multi_label: bool = ...,
        stride: int | None = ...,
    ) -> ZeroShotLabels: ...

    @overload
    def classify(
        self,
        texts: Iterable[str],
        labels: Sequence[str],
        *,
        hypothesis: str = ...,
        multi_label: bool = ...,
        stride: int | None = ...,
    ) -> list[ZeroShotLabels]: ...

    def classify(
        self,
        texts: str | Iterable[str],
        labels: Sequence[str],
        *,
        hypothesis: str = "This example is {}.",
        multi_label: bool = False,
        stride: int | None = None,
    ) -> Any:
        """Returns the labels of each text, best first.

        Args:
            texts: A text, or several.
            labels: The labels to choose from.
            hypothesis: The sentence that follows from a text if a label applies; ``{}`` is replaced
                by the label.
            multi_label: True to score each label independently; otherwise the scores of a text sum
                to 1.
            stride: Reads a text that is too long in windows that share this many tokens, instead of
                truncating it.
        """
        all_texts = list(_several(texts))
        answers = self._native.classify(
            all_texts, list(labels), hypothesis, multi_label, stride
        )
        return _one_or_all(
            texts,
            [
                {
                    "sequence": text,
                    "labels": [answer["label"] for answer in answers_of_text],
                    "scores": [answer["score"] for answer in answers_of_text],
                }
                for text, answers_of_text in zip(all_texts, answers)
            ],
        )


class Tagger(Model):
    """Finds named entities, or other labeled spans (``token-classification``)."""

    _native_class = _albert_candle.Tagger

    @overload
    def tag(
        self,
        texts: str,
        *,
        aggregation: Aggregation = ...,
        stride: int | None = ...,
        align_to_words: bool = ...,
    ) -> list[Entity]: ...

    @overload
    def tag(
        self,
        texts: Iterable[str],
        *,
        aggregation: Aggregation = ...,
        stride: int | None = ...,
        align_to_words: bool = ...,
    ) -> list[list[Entity]]: ...

    def tag(
        self,
        texts: str | Iterable[str],
        *,
        aggregation: Aggregation = "simple",
        stride: int | None = None,
        align_to_words: bool = True,
    ) -> Any:
        """Returns the entities of each text, in the order of the text.

        Args:
            texts: A text, or several.
            aggregation: Joins tokens into entities, as ``aggregation_strategy`` of transformers.
            stride: Reads a text that is too long in windows that share this many tokens, instead of
                truncating it.
            align_to_words: False to treat every token as a word, for texts without spaces.
        """
        answers = self._native.tag(_several(texts), aggregation, stride, align_to_words)
        return _one_or_all(texts, answers)


class Answerer(Model):
    """Finds the answers to questions in texts (``question-answering``)."""

    _native_class = _albert_candle.Answerer

    @overload
    def answer(
        self,
        question: str,
        context: str,
        *,
        top_k: int = ...,
        max_answer_tokens: int = ...,
        allow_no_answer: bool = ...,
        threshold: float | None = ...,
        align_to_words: bool = ...,
    ) -> list[Answer]: ...

    @overload
    def answer(
        self,
        question: Iterable[str],
        context: str | Iterable[str],
        *,
        top_k: int = ...,
        max_answer_tokens: int = ...,
        allow_no_answer: bool = ...,
        threshold: float | None = ...,
        align_to_words: bool = ...,
    ) -> list[list[Answer]]: ...

    def answer(
        self,
        question: str | Iterable[str],
        context: str | Iterable[str],
        *,
        top_k: int = 1,
        max_answer_tokens: int = 15,
        allow_no_answer: bool = False,
        threshold: float | None = None,
        align_to_words: bool = True,
    ) -> Any:
        """Returns the answers to each question, best first; at least one.

        Args:
            question: A question, or several.
            context: The text that has the answer: one for all questions, or one for each.
            top_k: The maximum number of answers to a question.
            max_answer_tokens: The maximum number of tokens of an answer.
            allow_no_answer: True to make "no answer", an empty string, one of the answers.
            threshold: Drops answers with a lower score.
            align_to_words: False to return exactly the tokens found, instead of whole words.
        """
        if isinstance(question, str) and not isinstance(context, str):
            raise TypeError("context: expected str for a single question")
        questions = list(_several(question))
        contexts = [context] * len(questions) if isinstance(context, str) else list(context)
        answers = self._native.answer(
            questions,
            contexts,
            top_k,
            max_answer_tokens,
            allow_no_answer,
            threshold,
            align_to_words,
        )
        return _one_or_all(question, answers)


class Reranker(Model):
    """Ranks texts by their relevance to a query, with a cross-encoder."""

    _native_class = _albert_candle.Reranker

    def score(
        self, query: str, texts: Iterable[str], *, probability: bool = False
    ) -> NDArray[np.float32]:
        """Returns the relevance of each text to the query, in order.

        Args:
            query: The query.
            texts: The texts to score.
            probability: True for the sigmoid of a score, in [0, 1].
        """
        if isinstance(texts, str):
            raise TypeError("texts: expected several texts, found str")
        scores: NDArray[np.float32] = self._native.score(query, texts, probability)
        return scores

    def rank(
        self,
        query: str,
        texts: Iterable[str],
        *,
        top_k: int | None = None,
        probability: bool = False,
    ) -> list[Ranked]:
        """Returns the texts with their relevance, most relevant first.

        Texts of equal relevance keep their order.

        Args:
            query: The query.
            texts: The texts to rank.
            top_k: The number of texts to return; by default all.
            probability: True for the sigmoid of a score, in [0, 1].
        """
        if top_k is not None and top_k < 1:
            raise AlbertError(f"top_k: expected at least 1, found {top_k}")
        texts = texts if isinstance(texts, str) else list(texts)
        scores = self.score(query, texts, probability=probability)
        order = np.argsort(-scores, kind="stable")[:top_k]
        all_texts = list(texts)
        return [
            {"corpus_id": int(index), "score": float(scores[index]), "text": all_texts[index]}
            for index in order
        ]


def _several(texts: Any) -> Any:
    return [texts] if isinstance(texts, str) else texts


def _one_or_all(texts: Any, answers: list[Any]) -> Any:
    return answers[0] if isinstance(texts, str) else answers
