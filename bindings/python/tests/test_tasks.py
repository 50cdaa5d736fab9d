"""The other tasks, compared with the references that transformers computed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import FIXTURES

from albert_candle import (
    AlbertError,
    Answerer,
    Classifier,
    Embedder,
    MaskFiller,
    Reranker,
    Tagger,
    ZeroShot,
    pipeline,
)

PIPELINES = FIXTURES / "pipelines"
REFERENCE = json.loads((PIPELINES / "answers.json").read_text(encoding="utf-8"))

#: Probabilities in f32 after a small network.
TOLERANCE = 1e-5


def close(found, expected):
    """Compares scores within the tolerance, and everything else exactly."""
    if isinstance(expected, float):
        return abs(found - expected) <= TOLERANCE * max(1.0, abs(expected))
    if isinstance(expected, dict):
        return all(close(found[key], value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == expected


def test_classification():
    classifier = Classifier(PIPELINES / "sentiment")
    expected = REFERENCE["classify"]["sentiment"]
    assert close(classifier.classify(REFERENCE["texts"]), expected["texts"])
    pairs = [tuple(pair) for pair in REFERENCE["pairs"]]
    assert close(classifier.classify(pairs), expected["pairs"])
    assert set(classifier.labels) == {"NEGATIVE", "NEUTRAL", "POSITIVE"}
    one = classifier.classify(REFERENCE["texts"][0], top_k=1)
    assert one == classifier.classify(REFERENCE["texts"][:1])[0][:1]
    sigmoid = classifier.classify("A text.", function="sigmoid")
    assert abs(sum(label["score"] for label in sigmoid) - 1) > TOLERANCE
    with pytest.raises(AlbertError, match="tanh"):
        classifier.classify("A text.", function="tanh")


def test_zero_shot_classification():
    classifier = ZeroShot(PIPELINES / "nli")
    # transformers refuses empty texts.
    texts = [text for text in REFERENCE["texts"] if text]
    for case in REFERENCE["zero_shot"]["nli"]:
        answers = classifier.classify(
            texts,
            case["labels"],
            hypothesis=case["hypothesis"],
            multi_label=case["multi_label"],
        )
        for text, answer, expected in zip(texts, answers, case["texts"]):
            assert answer["sequence"] == text
            assert answer["labels"] == [label["label"] for label in expected]
            assert close(answer["scores"], [label["score"] for label in expected])
    with pytest.raises(AlbertError, match="no labels"):
        classifier.classify("A text.", [])


def test_token_classification():
    tagger = Tagger(PIPELINES / "entities")
    for aggregation, expected in REFERENCE["tag"]["entities"]["whole"].items():
        answers = tagger.tag(REFERENCE["texts"], aggregation=aggregation)
        for text, entities, expected_entities in zip(REFERENCE["texts"], answers, expected):
            assert len(entities) == len(expected_entities)
            for entity, other in zip(entities, expected_entities):
                assert entity["entity_group"] == other["label"]
                assert (entity["start"], entity["end"]) == (other["start"], other["end"])
                assert entity["word"] == text[entity["start"] : entity["end"]]
                assert close(entity["score"], other["score"])
    assert tagger.tag(REFERENCE["texts"][0]) == tagger.tag(REFERENCE["texts"])[0]
    with pytest.raises(AlbertError, match="stride"):
        tagger.tag("A text.", aggregation="none", stride=2)


def test_question_answering():
    answerer = Answerer(PIPELINES / "question")
    questions, contexts = zip(*REFERENCE["questions"])
    answers = answerer.answer(questions, contexts)
    assert close([found[0] for found in answers], REFERENCE["answer"]["default"])
    one = answerer.answer(questions[0], contexts[0], top_k=3)
    assert 1 <= len(one) <= 3 and one[0] == answers[0][0]
    shared = answerer.answer(questions[:2], contexts[0])
    assert shared[0] == answers[0]
    with pytest.raises(AlbertError, match="contexts: expected 2"):
        answerer.answer(["a", "b"], ["c"])


def test_reranking():
    reranker = Reranker(PIPELINES / "single")
    texts = REFERENCE["texts"]
    scores = reranker.score("Who walked in?", texts)
    assert scores.dtype == np.float32 and scores.shape == (len(texts),)
    ranked = reranker.rank("Who walked in?", texts, top_k=3)
    assert [hit["corpus_id"] for hit in ranked] == list(np.argsort(-scores, kind="stable")[:3])
    assert all(hit["text"] == texts[hit["corpus_id"]] for hit in ranked)
    sigmoid = reranker.score("Who walked in?", texts, probability=True)
    assert np.allclose(sigmoid, 1 / (1 + np.exp(-scores.astype(np.float64))), atol=TOLERANCE)
    with pytest.raises(TypeError, match="expected several texts"):
        reranker.rank("Who?", "a text")


def test_masks_are_filled():
    filler = MaskFiller()
    text = f"She opened the {filler.mask_token} and walked in."
    candidates = filler.fill(text, top_k=3)
    assert [type(value) for value in candidates[0].values()] == [float, int, str, str]
    assert candidates[0]["score"] >= candidates[1]["score"]
    assert candidates[0]["sequence"] == text.replace("[MASK]", candidates[0]["token_str"])
    assert filler.fill([text, text], top_k=3) == [candidates, candidates]
    two = filler.fill("The [MASK] sat on the [MASK].", top_k=2)
    assert [len(mask) for mask in two] == [2, 2]
    door = filler.fill(text, targets="door")
    assert [candidate["token_str"] for candidate in door] == ["door"]
    jointly = filler.fill_jointly("The [MASK] sat on the [MASK].", beam=2)
    assert len(jointly) == 2 and len(jointly[0]["token_strs"]) == 2


def test_a_text_without_a_mask_is_refused_with_its_index():
    texts = ["A [MASK]."] * 40 + ["No mask."]
    with pytest.raises(AlbertError, match=r"text 40: no `\[MASK\]`") as raised:
        MaskFiller().fill(texts)
    assert raised.value.index == 40 and raised.value.hint


def test_texts_are_scored():
    filler = MaskFiller()
    likely, unlikely = filler.score(["She opened the door.", "Door she the opened."])
    assert likely["log_likelihood"] > unlikely["log_likelihood"]
    assert filler.score("She opened the door.") == likely


@pytest.mark.parametrize(
    "task, model, arguments",
    [
        ("feature-extraction", None, ("A text.",)),
        ("fill-mask", None, ("A [MASK].",)),
        ("question-answering", "question", ("Who?", "A man.")),
        ("sentiment-analysis", "sentiment", ("A text.",)),
        ("ner", "entities", ("A text.",)),
        ("text-ranking", "single", ("A query", ["A text."])),
        ("zero-shot-classification", "nli", ("A text.", ["a", "b"])),
    ],
)
def test_pipelines_are_called_by_the_names_of_tasks(task, model, arguments):
    call = pipeline(task, model and PIPELINES / model, threads=1)
    assert len(call(*arguments)) >= 1


def test_an_unknown_task_is_refused():
    with pytest.raises(AlbertError, match="unknown task `translation`: expected one of"):
        pipeline("translation")


def test_a_model_without_the_head_is_refused():
    with pytest.raises(AlbertError) as raised:
        Tagger()
    assert raised.value.hint and "Embedder" in raised.value.hint


def test_an_empty_list_has_no_answers():
    assert Classifier(PIPELINES / "sentiment").classify([]) == []
    assert MaskFiller().fill([]) == []
    assert Embedder().count_tokens([]).shape == (0,)
