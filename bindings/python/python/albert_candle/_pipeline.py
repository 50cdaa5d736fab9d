"""Tasks by the names that transformers gives them."""

from __future__ import annotations

import os
from typing import Any, Callable

from ._embedder import Embedder
from ._errors import AlbertError
from ._model import Model
from ._tasks import Answerer, Classifier, MaskFiller, Reranker, Tagger, ZeroShot

__all__ = ["Pipeline", "pipeline"]

_TASKS: dict[str, tuple[type[Model], str]] = {
    "feature-extraction": (Embedder, "encode"),
    "fill-mask": (MaskFiller, "fill"),
    "question-answering": (Answerer, "answer"),
    "text-classification": (Classifier, "classify"),
    "text-ranking": (Reranker, "rank"),
    "token-classification": (Tagger, "tag"),
    "zero-shot-classification": (ZeroShot, "classify"),
}

_ALIASES = {"ner": "token-classification", "sentiment-analysis": "text-classification"}


class Pipeline:
    """A task that is called like a function.

    A call takes the arguments of the method of the task's class: ``fill`` of :class:`MaskFiller`,
    for example, for the task ``fill-mask``.
    """

    def __init__(self, task: str, model: Model, method: str) -> None:
        #: The name of the task.
        self.task = task
        #: The object that is called.
        self.model = model
        self._method = method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call: Callable[..., Any] = getattr(self.model, self._method)
        return call(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Pipeline({self.task!r}, {self.model!r})"


def pipeline(
    task: str, model: str | os.PathLike[str] | None = None, **arguments: Any
) -> Pipeline:
    """Loads a model for a task, given by its name at Hugging Face.

    Args:
        task: ``feature-extraction``, ``fill-mask``, ``question-answering``,
            ``text-classification`` (``sentiment-analysis``), ``text-ranking``,
            ``token-classification`` (``ner``) or ``zero-shot-classification``.
        model: A name on the Hub, a folder, or by default the built-in model, which serves
            ``feature-extraction`` and ``fill-mask``.
        arguments: The other arguments of the task's class.

    >>> fill = pipeline("fill-mask")
    >>> fill("The capital of France is [MASK].", top_k=2)[0].keys()
    dict_keys(['score', 'token', 'token_str', 'sequence'])
    """
    name = _ALIASES.get(task, task)
    if name not in _TASKS:
        known = ", ".join(sorted([*_TASKS, *_ALIASES]))
        raise AlbertError(f"unknown task `{task}`: expected one of {known}")
    kind, method = _TASKS[name]
    return Pipeline(name, kind(model, **arguments), method)
