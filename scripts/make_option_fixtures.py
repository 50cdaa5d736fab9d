"""Writes reference values for the options of albert-tasks: windows over long texts, several answers, words, rerankers, neighbors.

    python scripts/make_option_fixtures.py [--out crates/albert-tasks/tests/fixtures/options.json]

Needs transformers 4.46.3, sentence-transformers 5.1.2 and torch, and the models that make_pipeline_fixtures.py and
make_task_fixtures.py wrote. Windows have no pipeline: their scores are those of transformers' model on each window, averaged by the
tokens of text in it. The script prints the versions it ran with.
"""

import argparse
import json
from pathlib import Path

import sentence_transformers
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.util import paraphrase_mining
from transformers import (AlbertForMultipleChoice, AlbertForSequenceClassification, AlbertForTokenClassification,
                          PreTrainedTokenizerFast, pipeline)

FIXTURES = Path("crates/albert-tasks/tests/fixtures")
PIPELINES = FIXTURES / "pipelines"
# As RunOptions::max_length in the tests.
MAX_LENGTH = 36
STRIDE = 4
LONG = "The doctor wrote a letter to the king of the northern country. She opened the door and walked in. " * 3
PREMISE = "The river runs through the old town and past the houses on the hill. " * 3
LABELS = ["music", "the weather"]
CHOICES = ["It was raining.", "walked in."]
WORDS = [["The", "doctor", "went", "to", "New York", "with", "Zürich's", "king", "."], ["Alice"], ["a", "b", "c", "d", "e", "f"]]
QUESTIONS = [
    ["What runs through the town?", "The river runs through the old town, past the houses on the hill."],
    ["Who wrote?", "oneword-without-any-space,and-another.end"],
    ["Who wrote a letter?", "The doctor wrote a letter to the king. " * 20],
]
QUERY = "Where does the river run?"
CORPUS = ["The river runs through the town.", "It was a fine day.", "", "The king wrote a letter to the doctor of the town. " * 8]
SIMILAR = ["The river runs.", "the river runs", "She opened the door.", "A letter to the king.", "She opened a door.", ""]


def windows(tokenizer, first: str, second: str | None, room: int) -> list:
    """Windows of `room` tokens of the first text, with their number of tokens; the second text is in each."""
    ids = tokenizer(first, add_special_tokens=False)["input_ids"]
    pair = None if second is None else tokenizer(second, add_special_tokens=False)["input_ids"]
    cuts, start = [], 0
    while True:
        end = min(len(ids), start + room)
        cuts.append((ids[start:end], end - start))
        if end == len(ids):
            break
        start += room - STRIDE
    return [(row(tokenizer, window, pair), count) for window, count in cuts]


def row(tokenizer, first: list, second: list | None) -> dict:
    """One row of ids; PreTrainedTokenizerFast puts no special tokens around ids."""
    ids = [tokenizer.cls_token_id, *first, tokenizer.sep_token_id]
    types = [0] * len(ids)
    if second is not None:
        ids, types = [*ids, *second, tokenizer.sep_token_id], [*types, *[1] * (len(second) + 1)]
    return {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([types]), "attention_mask": torch.ones(1, len(ids))}


def averaged(scores: list) -> list:
    total = sum(count for _, count in scores)
    return (sum(row.double() * count for row, count in scores) / total).tolist()


def room(tokenizer, seconds: list) -> int:
    longest = max(len(tokenizer(second, add_special_tokens=False)["input_ids"]) for second in seconds)
    left = MAX_LENGTH - longest - (3 if any(seconds) else 2)
    assert left > STRIDE, f"no room for windows: {left}"
    return left


def load(name: str, architecture) -> tuple:
    return architecture.from_pretrained(PIPELINES / name).eval(), PreTrainedTokenizerFast.from_pretrained(PIPELINES / name)


@torch.no_grad()
def classify() -> dict:
    model, tokenizer = load("sentiment", AlbertForSequenceClassification)
    names = [model.config.id2label[index] for index in range(model.config.num_labels)]
    rows = [(model(**row).logits[0].softmax(-1), count) for row, count in windows(tokenizer, LONG, None, room(tokenizer, [""]))]
    second = "It was raining."
    paired = [(model(**row).logits[0].softmax(-1), count) for row, count in windows(tokenizer, LONG, second, room(tokenizer, [second]))]
    return {"labels": names, "text": averaged(rows), "second": second, "pair": averaged(paired)}


@torch.no_grad()
def zero_shot() -> dict:
    model, tokenizer = load("nli", AlbertForSequenceClassification)
    hypotheses = [f"This example is {label}." for label in LABELS]
    rows = [windows(tokenizer, PREMISE, hypothesis, room(tokenizer, hypotheses)) for hypothesis in hypotheses]
    answers = {}
    for multi_label in [False, True]:
        scores = []
        for window in zip(*rows):
            logits = torch.stack([model(**row).logits[0] for row, _ in window])
            entailment = logits[:, [0, 2]].softmax(-1)[:, 1] if multi_label else logits[:, 2].softmax(-1)
            scores.append((entailment, window[0][1]))
        answers["multi" if multi_label else "single"] = averaged(scores)
    return answers


@torch.no_grad()
def choose() -> list:
    model, tokenizer = load("choice", AlbertForMultipleChoice)
    rows = [windows(tokenizer, PREMISE, choice, room(tokenizer, CHOICES)) for choice in CHOICES]
    scores = []
    for window in zip(*rows):
        logits = torch.stack([model(**{key: value.unsqueeze(0) for key, value in row.items()}).logits[0, 0] for row, _ in window])
        scores.append((logits.softmax(-1), window[0][1]))
    return averaged(scores)


def answer() -> list:
    run = pipeline("question-answering", model=str(PIPELINES / "question"))
    variants = [{"top_k": 3}, {"top_k": 5, "max_answer_len": 2}, {"top_k": 1, "align_to_words": False},
                {"top_k": 4, "align_to_words": False, "handle_impossible_answer": True}]
    answers = []
    for options in variants:
        rows = [run(question=question, context=context, **options) for question, context in QUESTIONS]
        answers.append({"options": options, "answers": [row if isinstance(row, list) else [row] for row in rows]})
    return answers


@torch.no_grad()
def tag() -> list:
    """The tokenizer is given the words; of each word the first token's label, as `first` has it."""
    model, tokenizer = load("entities", AlbertForTokenClassification)
    answers = []
    for words in WORDS:
        encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        scores = model(**encoded).logits[0].softmax(-1)
        first = {}
        for at, word in enumerate(encoded.word_ids()):
            if word is not None:
                first.setdefault(word, scores[at])
        labels = [(model.config.id2label[row.argmax().item()], row.max().item()) for _, row in sorted(first.items())]
        answers.append([{"label": label, "score": score} for label, score in labels])
    return answers


def rerank() -> list:
    model = CrossEncoder(str(PIPELINES / "single"), device="cpu")
    rows = model.rank(QUERY, CORPUS, activation_fn=torch.nn.Identity())
    return [{"index": row["corpus_id"], "score": float(row["score"])} for row in rows]


def neighbors() -> list:
    model = SentenceTransformer(str(FIXTURES / "tiny"), device="cpu")
    return [{"score": float(score), "first": first, "second": second} for score, first, second in paraphrase_mining(model, SIMILAR)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FIXTURES / "options.json")
    out = parser.parse_args().out
    versions = {module.__name__: module.__version__ for module in (transformers, sentence_transformers, torch)}
    print(versions)
    out.write_text(json.dumps({
        "versions": versions, "max_length": MAX_LENGTH, "stride": STRIDE,
        "classify": {"input": LONG, **classify()},
        "zero_shot": {"input": PREMISE, "labels": LABELS, **zero_shot()},
        "choose": {"input": PREMISE, "choices": CHOICES, "scores": choose()},
        "answer": {"questions": QUESTIONS, "variants": answer()},
        "tag": {"words": WORDS, "first": tag()},
        "rerank": {"query": QUERY, "texts": CORPUS, "ranked": rerank()},
        "neighbors": {"texts": SIMILAR, "pairs": neighbors()},
    }, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
