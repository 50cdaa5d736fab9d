"""Converts BERTs to ALBERTs and back with albert-cli, and compares what transformers computes with each.

    cargo build --release --workspace --bin albert-cli
    python scripts/check_bert_conversion.py [--binary target/release/albert-cli] [--write]
    python scripts/check_bert_conversion.py --model DIR      # a BERT of your own, such as MiniLM's folder

For every BERT of the fixtures, `convert --as albert` writes an ALBERT. transformers' class for it must load the file
with no tensor missing and none left over, and give the outputs of transformers' BERT to 1e-5 of a tensor's largest
value. `convert --as bert` on that must give the BERT's tensors back, bit for bit.

With --write, FOLDER.json in crates/albert-model/tests/fixtures/bert-converted lists the ALBERT's tensors, each with the
BERT's tensor that has the same bits, and the configuration; the test `bert` of albert-model holds `save` to that list.
Needs transformers 4.46.3 to write, any version to compare; prints the versions.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
import transformers
from safetensors.numpy import load_file

FIXTURES = Path("crates/albert-model/tests/fixtures")
FOLDERS = ["model", "pretraining", "masked-lm", "sequence", "token", "qa", "choice"]
TOLERANCE = 1e-5  # the same weights in f32, summed in another order
WRITTEN_BY = "4.46.3"
# A copy of `predictions.bias` under the name that transformers 4 reads.
COPIED_BIAS = ("predictions.decoder.bias", "predictions.bias")


def convert(binary, source, target, network):
    subprocess.run([binary, "convert", "--model", source, "--output", target, "--as", network, "--quiet"], check=True)


def load(folder, class_name):
    """A model of transformers; an error if a tensor is missing or has no place."""
    model, info = getattr(transformers, class_name).from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True)
    # transformers 4 counts the copy that shares its storage with `predictions.bias` as left over.
    wrong = {key: [name for name in info[key] if name not in COPIED_BIAS] for key in
             ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if any(wrong.values()):
        sys.exit(f"{folder}: {class_name} reports {wrong}")
    return model.eval()


@torch.no_grad()
def outputs(model, inputs):
    out = model(**inputs, output_hidden_states=True, output_attentions=True)
    names = {"seq_relationship_logits": "sop_logits"}
    named = {names.get(key, key): value for key, value in out.items() if isinstance(value, torch.Tensor)}
    for key in ("hidden_states", "attentions"):
        named |= {f"{key}.{i}": tensor for i, tensor in enumerate(out[key])}
    return named


def inputs_of(folder, is_choice):
    """The fixture's inputs, or some ids for a model of one's own."""
    expected = folder / "expected.safetensors"
    if expected.exists():
        tensors = safetensors.torch.load_file(expected)
        names = {"ids": "input_ids"}
        inputs = {key.removeprefix("input."): value for key, value in tensors.items() if key.startswith("input.")}
        return {names.get(key, key): value for key, value in inputs.items()}
    ids = torch.randint(999, 20000, (3, 40), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(40) < torch.tensor([40, 17, 3])[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


def sources(albert, bert, hidden):
    """For each tensor of the ALBERT, the BERT's tensor with the same bits."""
    by_bits = {}
    for name, value in bert.items():
        by_bits.setdefault((value.shape, value.tobytes()), name)
    made = {"identity": np.eye(hidden, dtype=np.float32), "zeros": np.zeros(hidden, np.float32)}
    found = {}
    for name, value in sorted(albert.items()):
        source = by_bits.get((value.shape, value.tobytes()))
        if "embedding_hidden_mapping_in" in name:
            source = "identity" if name.endswith("weight") else "zeros"
            assert np.array_equal(value, made[source]), name
        assert source, f"{name} has the bits of no tensor of the BERT"
        found[name] = source
    assert set(bert) == set(found.values()) - set(made), set(bert) - set(found.values())
    return found


def check(binary, folder, work):
    """Converts there and back; returns what the test needs."""
    config = json.loads((folder / "config.json").read_text())
    bert_class = config["architectures"][0]
    albert_class = bert_class.replace("Bert", "Albert")
    albert, back = work / "albert", work / "back"
    convert(binary, folder, albert, "albert")
    convert(binary, albert, back, "bert")
    written = json.loads((albert / "config.json").read_text())
    assert written["architectures"] == [albert_class] and written["model_type"] == "albert", written

    inputs = inputs_of(folder, "Choice" in bert_class)
    expected, found = outputs(load(folder, bert_class), inputs), outputs(load(albert, albert_class), inputs)
    assert expected.keys() == found.keys(), (expected.keys(), found.keys())
    mask = inputs["attention_mask"].flatten(0, -2).bool()
    worst = 0.0
    for name, value in expected.items():
        worst = max(worst, ((found[name] - value).abs().max() / value.abs().max()).item())
    print(f"{folder.name:14} {albert_class:32} {len(found):3} outputs, largest difference {worst:.1e}")
    assert worst <= TOLERANCE, f"expected at most {TOLERANCE}"

    bare = lambda name: name.removeprefix("bert.")
    original = {bare(name): value for name, value in load_file(folder / "model.safetensors").items()
                if value.dtype == np.float32}
    returned = {bare(name): value for name, value in load_file(back / "model.safetensors").items()}
    copies = {"cls.predictions.decoder.bias": "cls.predictions.bias"}
    for name, value in returned.items():
        assert np.array_equal(value, original[copies.get(name, name)] if name not in original else original[name]), name
    assert set(original) <= set(returned), set(original) - set(returned)
    return {"config": written, "tensors": sources(load_file(albert / "model.safetensors"),
                                                 load_file(folder / "model.safetensors"), config["hidden_size"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/albert-cli")
    parser.add_argument("--model", type=Path, help="a folder with a BERT in safetensors, in place of the fixtures")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folders = [arguments.model] if arguments.model else [FIXTURES / "bert" / folder for folder in FOLDERS]
    written = FIXTURES / "bert-converted"
    for folder in folders:
        with tempfile.TemporaryDirectory() as work:
            found = check(arguments.binary, folder, Path(work))
        if arguments.write and not arguments.model:
            assert transformers.__version__ == WRITTEN_BY, f"written under transformers {WRITTEN_BY}"
            written.mkdir(exist_ok=True)
            (written / f"{folder.name}.json").write_text(json.dumps(found, indent=1) + "\n")
    versions = f"python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"there and back gives the same bits\n{versions}")
    if arguments.write and not arguments.model:
        (written / "VERSIONS.txt").write_text(versions + "\n")


if __name__ == "__main__":
    main()
