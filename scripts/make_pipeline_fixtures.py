"""Writes the reference answers for albert-tasks' classifiers, taggers and readers: transformers' pipelines on tiny random ALBERTs.

    python scripts/make_pipeline_fixtures.py [--out crates/albert-tasks/tests/fixtures/pipelines]

Needs transformers 4.46.3 (version 5 dropped the question-answering pipeline), safetensors and torch. Each folder in OUT is a model with
its tokenizer; answers.json holds the texts, what the pipelines make of them, and where no pipeline exists (multiple choice,
sentence order, pseudo-log-likelihood) what the model's own class does. The script prints the versions it ran with.
"""

import argparse
import shutil
from pathlib import Path

import tokenizers
import torch
import transformers
from safetensors.torch import load_file
from transformers import AlbertConfig, AlbertForPreTraining, PreTrainedTokenizerFast, pipeline

from tiny import make_tokenizer, make_wordpiece, write_json

# Short, so that ordinary sentences are too long for it.
MAX_LENGTH = 40
TEXTS = [
    "She opened the door and walked in.",
    "A man is playing a guitar in the garden behind the old house.",
    "",
    "Nobody knew what the letter said: 25 apples, (1,000 numbers) and the Café!",
    "Unbekannte Wörter 東京, naïve cafe\u0301s and 𝔘nicode 🎸 guitars in Zürich.",
    "  Spaces   before,\tbetween\nand after.  ",
    "The doctor wrote a letter to the king of the northern country. " * 3,
    "Running, walking and swimming are good for Dr. McArthur-Smith.",
]
# Three windows and more.
LONG = ("The train leaves the old town at nine in the morning; the doctor, who wrote to the King of Zürich, "
        "was walking behind the empty house while children sing. ") * 3
PAIRS = [
    ["She opened the door.", "He closed the window."],
    ["The capital lies on the river.", "?"],
    ["", "Nobody knew what the letter said."],
    ["A man is playing a guitar while someone sings. " * 3, "Children play in the garden behind the house. " * 3],
]
LABELS = ["music", "the weather", "a journey"]
HYPOTHESES = ["This example is {}.", "The text tells of {}, or {}."]
TAGS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC", 5: "MISC", 6: "B-SUB-PART"}
QUESTIONS = [
    ["Who opened the door?", "She opened the door and walked in. He closed the window and sat down at the table."],
    ["What runs through the town?", "The river runs through the old town; 東京 has one too, says the naïve Café-owner."],
    ["Who?", "Someone"],
    ["When does the train leave the station?", "The train leaves the station at nine in the morning. " * 30 + "Nobody knew."],
    ["Who wrote the letter to the king?", "  The doctor   wrote a letter\nto the king.  " * 60],
    # A question of more than half a short window, which the context still fits into.
    ["Who walked to the market and bought bread? " * 4, "We walked to the market and bought bread."],
]
CHOICES = [
    ["She opened the door and", ["walked in.", "closed the river.", "the guitar is empty."]],
    ["", ["bread", "milk"]],
    ["It was raining and the streets were empty. " * 5, ["We went home. " * 6, "We walked to the market.", "Nobody", "Swimming"]],
]
SENTENCES = [
    "The train leaves the station at nine in the morning.",
    "We walked to the market and bought bread.",
    "It was raining.",
    "Nobody knew what the letter said.",
    "He closed the window and sat down at the table.",
]
SCORED = ["She opened the door and walked in.", "the river", "", "Unbekannte Wörter 東京"]


def write_model(folder: Path, architecture: str, seed: int, wordpiece=False, max_length=MAX_LENGTH, **changes):
    """A model folder; random weights large enough that answers differ."""
    tokenizer = make_wordpiece() if wordpiece else make_tokenizer()
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    pad, unk = ("[PAD]", "[UNK]") if wordpiece else ("<pad>", "<unk>")
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "pad_token": pad, "unk_token": unk}
    length = {"model_max_length": max_length} if max_length else {}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **length, **special})
    if "id2label" in changes:
        changes["label2id"] = {label: id for id, label in changes["id2label"].items()}
    torch.manual_seed(seed)
    config = AlbertConfig(**dict(
        vocab_size=tokenizer.get_vocab_size(), embedding_size=12, hidden_size=24, num_hidden_layers=3, num_hidden_groups=1,
        num_attention_heads=3, intermediate_size=40, max_position_embeddings=MAX_LENGTH, initializer_range=0.4,
        hidden_act="gelu_new") | changes)
    model = getattr(transformers, architecture)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return load(folder, type(model))


def load(folder: Path, architecture) -> tuple:
    return architecture.from_pretrained(folder).eval(), PreTrainedTokenizerFast.from_pretrained(folder)


@torch.no_grad()
def balanced(folder: Path, model, tokenizer) -> tuple:
    """Shifts a tagger's labels to the same mean over the texts: random weights favour one of them everywhere."""
    logits = [model(**tokenizer(text, truncation=True, return_tensors="pt")).logits[0] for text in TEXTS]
    model.classifier.bias -= torch.cat(logits).mean(0)
    model.save_pretrained(folder)
    return load(folder, type(model))


def rounded(value):
    """Numbers with seven digits, which is what f32 has."""
    if isinstance(value, float) or hasattr(value, "dtype"):
        return float(f"{float(value):.7g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items() if key != "word"}
    return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def classify(model, tokenizer, **options) -> dict:
    pipe = pipeline("text-classification", model=model, tokenizer=tokenizer)
    run = lambda text: pipe(text, top_k=None, truncation=True, max_length=MAX_LENGTH, **options)
    pairs = [run({"text": first, "text_pair": second}) for first, second in PAIRS]
    return {"texts": [run(text) for text in TEXTS], "pairs": pairs}


def zero_shot(model, tokenizer) -> list:
    run = pipeline("zero-shot-classification", model=model, tokenizer=tokenizer)
    answers = []
    for labels in [LABELS, LABELS[:1]]:
        for hypothesis in HYPOTHESES:
            template = hypothesis.replace("{}", "{0}")
            for multi_label in [False, True]:
                results = [run(text, candidate_labels=labels, hypothesis_template=template, multi_label=multi_label)
                           for text in TEXTS if text]
                rows = [[{"label": label, "score": score} for label, score in zip(row["labels"], row["scores"])] for row in results]
                answers.append({"labels": labels, "hypothesis": hypothesis, "multi_label": multi_label, "texts": rows})
    return answers


def tag(model, tokenizer) -> dict:
    run = pipeline("token-classification", model=model, tokenizer=tokenizer)
    rows = lambda answers: [{"label": row.get("entity", row.get("entity_group")), **{key: row[key] for key in ("start", "end", "score")}}
                            for row in answers]
    strategies = ["none", "simple", "first", "average", "max"]
    whole = {strategy: [rows(run(text, aggregation_strategy=strategy)) for text in [*TEXTS, LONG]] for strategy in strategies}
    windows = {strategy: {stride: [rows(run(text, aggregation_strategy=strategy, stride=stride)) for text in [*TEXTS, LONG]]
                          for stride in (0, 10, 30)} for strategy in strategies[1:]}
    return {"whole": whole, "windows": windows}


def answer(model, tokenizer) -> dict:
    run = pipeline("question-answering", model=model, tokenizer=tokenizer)
    ask = lambda **options: [run(question=question, context=context, **options) for question, context in QUESTIONS]
    return {"default": ask(), "short": ask(max_seq_len=64), "no_answer": ask(handle_impossible_answer=True)}


@torch.no_grad()
def choose(model, tokenizer) -> list:
    answers = []
    for text, choices in CHOICES:
        encoded = tokenizer([text] * len(choices), choices, truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt")
        logits = model(**{key: value.unsqueeze(0) for key, value in encoded.items()}).logits[0]
        answers.append(logits.softmax(-1).tolist())
    return answers


@torch.no_grad()
def order(model, tokenizer) -> dict:
    def in_order(first: str, second: str) -> float:
        encoded = tokenizer(first, second, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        return model(**encoded).sop_logits[0].softmax(-1)[0].item()
    return {"pairs": [in_order(*pair) for pair in PAIRS],
            "matrix": [[in_order(first, second) for second in SENTENCES] for first in SENTENCES]}


@torch.no_grad()
def score(folder: Path, model, tokenizer) -> list:
    # 4.46.3 writes this bias and loses it when it reads the file; 5 does not.
    model.predictions.bias.copy_(load_file(folder / "model.safetensors")["predictions.bias"])
    assert model.predictions.decoder.bias is model.predictions.bias
    answers = []
    for text in SCORED:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        total = 0.0
        for at in range(1, ids.shape[1] - 1):
            masked = ids.clone()
            masked[0, at] = tokenizer.mask_token_id
            total += model(masked).logits[0, at].log_softmax(-1)[ids[0, at]].item()
        answers.append({"log_likelihood": total, "tokens": ids.shape[1]})
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-tasks/tests/fixtures/pipelines"))
    out = parser.parse_args().out
    versions = {module.__name__: module.__version__ for module in (transformers, tokenizers, torch)}
    print(versions)
    shutil.rmtree(out, ignore_errors=True)

    sequence, token = "AlbertForSequenceClassification", "AlbertForTokenClassification"
    nli = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
    sentiment = write_model(out / "sentiment", sequence, 1, id2label={0: "NEGATIVE", 1: "NEUTRAL", 2: "POSITIVE"})
    topics = write_model(out / "topics", sequence, 2, num_labels=4, problem_type="multi_label_classification")
    rating = write_model(out / "rating", sequence, 3, num_labels=1, problem_type="regression")
    single = write_model(out / "single", sequence, 4, num_labels=1)
    write_json(out / "answers.json", rounded({
        "versions": versions,
        "texts": TEXTS, "long": LONG, "pairs": PAIRS, "questions": QUESTIONS, "choices": CHOICES, "sentences": SENTENCES, "scored": SCORED,
        "classify": {
            "sentiment": classify(*sentiment),
            "sentiment sigmoid": classify(*sentiment, function_to_apply="sigmoid"),
            "sentiment none": classify(*sentiment, function_to_apply="none"),
            "topics": classify(*topics),
            "rating": classify(*rating),
            "single": classify(*single),
        },
        "zero_shot": {
            "nli": zero_shot(*write_model(out / "nli", sequence, 5, id2label=nli)),
            # No label begins with "entail": the pipeline takes the last one.
            "sentiment": zero_shot(*sentiment),
            "nli-first": zero_shot(*write_model(out / "nli-first", sequence, 6, id2label={0: "entailment", 1: "not_entailment"})),
        },
        "tag": {
            "entities": tag(*balanced(out / "entities", *write_model(out / "entities", token, 7, id2label=TAGS))),
            "entities-wordpiece": tag(*balanced(
                out / "entities-wordpiece", *write_model(out / "entities-wordpiece", token, 8, wordpiece=True, id2label=TAGS))),
        },
        "answer": answer(*write_model(out / "question", "AlbertForQuestionAnswering", 9, max_length=None, max_position_embeddings=400)),
        "answer wordpiece": answer(*write_model(
            out / "question-wordpiece", "AlbertForQuestionAnswering", 10, wordpiece=True, max_length=None, max_position_embeddings=400)),
        "choose": choose(*write_model(out / "choice", "AlbertForMultipleChoice", 11)),
        "order": order(*load(out.parent / "tiny", AlbertForPreTraining)),
        "score": score(out / "masked", *write_model(out / "masked", "AlbertForMaskedLM", 12)),
    }))


if __name__ == "__main__":
    main()
