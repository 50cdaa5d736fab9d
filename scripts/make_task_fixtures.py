"""Writes the reference answers for albert-tasks: embeddings and filled masks of a tiny random ALBERT.

    python scripts/make_task_fixtures.py [--out crates/albert-tasks/tests/fixtures]

Needs transformers, sentence-transformers, tokenizers, torch and safetensors. Into OUT/tiny go a model
folder (AlbertForPreTraining, random weights large enough to show errors, a Unigram tokenizer in
ALBERT's form) and, as reference.json, what sentence-transformers and transformers make of it.
The script prints the versions it ran with.
"""

import argparse
import shutil
from pathlib import Path

import sentence_transformers
import tokenizers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, Transformer
from transformers import AlbertConfig, AlbertForPreTraining, AlbertForMaskedLM, AlbertModel, pipeline

from tiny import make_tokenizer, write_json

MAX_LENGTH = 40
TEXTS = [
    "She opened the door.",
    "A man is playing a guitar in the garden behind the old house.",
    "",
    "Nobody knew what the letter said: 25 apples, (1,000 numbers) and the Café!",
    "Unbekannte Wörter 東京",
    "The train leaves the station and the river runs through the town. " * 4,
]
PROMPT = "the king said: "
MASKED = [
    "She opened the [MASK] and walked in.",
    "[MASK] man is playing [MASK] guitar in the [MASK].",
    "the [MASK] of the country",
]
TARGETS = ["door", "river", "letter", "windows", "guitarist"]
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


def write_model(folder: Path) -> None:
    tokenizer = make_tokenizer()
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json(folder / "tokenizer_config.json",
               {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MAX_LENGTH, **special})
    torch.manual_seed(7)
    config = AlbertConfig(
        vocab_size=tokenizer.get_vocab_size(), embedding_size=12, hidden_size=24, num_hidden_layers=3, num_hidden_groups=1,
        num_attention_heads=3, intermediate_size=40, max_position_embeddings=48, initializer_range=0.4,
        classifier_dropout_prob=0.0, hidden_act="gelu_new")
    model = AlbertForPreTraining(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    write_json(folder / "modules.json", [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ])
    flags = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False,
             "pooling_mode_mean_sqrt_len_tokens": False}
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": 24, **flags})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": MAX_LENGTH, "do_lower_case": False})


def encode(folder: Path, texts: list[str], mode, normalize=False, include_prompt=True, **options) -> list:
    transformer = Transformer(str(folder))
    modules = [transformer, Pooling(transformer.get_word_embedding_dimension(), pooling_mode=mode, include_prompt=include_prompt)]
    model = SentenceTransformer(modules=modules + [Normalize()] * normalize, device="cpu")
    model.max_seq_length = MAX_LENGTH
    return model.encode(texts, **options).tolist()


def fill(folder: Path) -> dict:
    model = AlbertForMaskedLM.from_pretrained(folder).eval()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    filler = pipeline("fill-mask", model=model, tokenizer=tokenizer, device="cpu")
    plain = [filler(text, top_k=5) for text in MASKED]
    plain = [[result] if isinstance(result[0], dict) else result for result in plain]

    def distribution(ids: list[int], position: int) -> torch.Tensor:
        with torch.no_grad():
            return model(torch.tensor([ids])).logits[0, position].softmax(-1)

    # A target of k pieces: k masks in place of the one, filled from left to right.
    ids = tokenizer(MASKED[0])["input_ids"]
    at = ids.index(tokenizer.mask_token_id)
    targets = []
    for target in TARGETS:
        pieces = tokenizer(target, add_special_tokens=False)["input_ids"]
        masks = [tokenizer.mask_token_id] * len(pieces)
        row, score = ids[:at] + masks + ids[at + 1:], 1.0
        for step, piece in enumerate(pieces):
            score *= distribution(row, at + step)[piece].item()
            row[at + step] = piece
        targets.append({"target": target, "ids": pieces, "score": score})

    # Joint: the most confident mask first, then the others with it in place.
    row = tokenizer(MASKED[1])["input_ids"]
    joint = []
    while tokenizer.mask_token_id in row:
        best = [(distribution(row, at).max(0), at) for at, id in enumerate(row) if id == tokenizer.mask_token_id]
        (score, id), at = max(best, key=lambda it: it[0].values.item())
        joint.append({"position": at, "id": id.item(), "score": score.item()})
        row[at] = id.item()
    keep = lambda candidate: {"id": candidate["token"], "token": candidate["token_str"], "score": candidate["score"]}
    return {
        "texts": MASKED,
        "masks": [[[keep(candidate) for candidate in mask] for mask in text] for text in plain],
        "targets": sorted(targets, key=lambda target: -target["score"]),
        "joint": joint,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-tasks/tests/fixtures"))
    folder = parser.parse_args().out / "tiny"
    versions = {module.__name__: module.__version__ for module in (transformers, sentence_transformers, tokenizers, torch)}
    print(versions)
    shutil.rmtree(folder, ignore_errors=True)
    write_model(folder)

    model = AlbertModel.from_pretrained(folder).eval()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    encoded = [tokenizer(text, truncation=True, max_length=MAX_LENGTH)["input_ids"] for text in TEXTS]
    with torch.no_grad():
        pooler = [model(torch.tensor([ids])).pooler_output[0].tolist() for ids in encoded]
    write_json(folder / "reference.json", {
        "versions": versions,
        "texts": TEXTS,
        "ids": encoded,
        "pooling": {mode: encode(folder, TEXTS, mode) for mode in MODES} | {"pooler": pooler},
        "folder": encode(folder, TEXTS, ("cls", "mean"), normalize=True),
        "list": encode(folder, TEXTS, ("lasttoken", "max")),
        "prompt": PROMPT,
        "prompted": encode(folder, TEXTS, ("mean", "weightedmean", "cls"), prompt=PROMPT),
        "without_prompt": encode(folder, TEXTS, ("mean", "weightedmean", "cls", "max"), include_prompt=False, prompt=PROMPT),
        "fill_mask": fill(folder),
    })


if __name__ == "__main__":
    main()
