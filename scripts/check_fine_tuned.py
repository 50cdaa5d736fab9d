"""Loads a folder that `albert-cli finetune` wrote in transformers, and compares its logits with ours.

    python scripts/check_fine_tuned.py FOLDER… [--cli target/release/albert-cli]

The class is the one that `config.json` names. Prints the largest difference of a logit for each
folder, and fails above 1e-4 or if a weight is missing or unused.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

TEXT = "The film opens with a question, and never answers it."
TOLERANCE = 1e-4
# Outputs of `albert-cli forward` for each head.
NAMES = {"AlbertModel": "last_hidden_state"}


def check(folder, cli):
    config = json.loads((folder / "config.json").read_text())
    name = config["architectures"][0]
    kind = getattr(transformers, name)
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    problems = [key for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXT)["input_ids"]
    inputs = torch.tensor([ids])
    if name == "AlbertForMultipleChoice":
        inputs = inputs.unsqueeze(0)
    with torch.no_grad():
        output = model.eval()(inputs)
    if name == "AlbertForQuestionAnswering":
        expected = torch.stack([output.start_logits, output.end_logits], -1)
    else:
        expected = output[0]
    wanted = NAMES.get(name, "logits")
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "out.safetensors"
        command = [cli, "forward", "--quiet", "--model", folder, "--output", path]
        command += ["--ids", ",".join(map(str, ids)), "--outputs", wanted]
        subprocess.run(list(map(str, command)), check=True)
        found = load_file(path)[wanted]
    difference = (found - expected).abs().max().item()
    print(f"{folder}: {name}, {tuple(expected.shape)}, largest difference {difference:.1e} {problems or ''}")
    return difference < TOLERANCE and not problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cli", default="target/release/albert-cli")
    arguments = parser.parse_args()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    results = [check(folder, arguments.cli) for folder in arguments.folders]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
