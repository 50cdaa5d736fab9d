"""The model card's figures, measured with the project's own command line.

    figures.py --cli target/release/albert-cli --data DIR [--model DIR] [--tokenizer FILE]

STS benchmark (development set): Spearman correlation of the embeddings' cosines with the scores.
wikitext-2 (validation): masked pieces and sentence order on the seeded windows of heldout.py.
Nothing here knows PyTorch: `embed` and `forward` do all the computing.
"""

import argparse
import json
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import safetensors
import scipy
import tokenizers
from safetensors.numpy import load_file
from scipy.stats import spearmanr
from tokenizers import Tokenizer

import heldout

MODEL = Path(__file__).resolve().parents[2] / "models/albert-mini-en/data"


class Cli:
    def __init__(self, path, model):
        self.command = [str(path)]
        self.model = ["--model", str(model)] if model else []

    def run(self, *arguments, text=None):
        done = subprocess.run([*self.command, *arguments], input=text, capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            raise SystemExit(f"`{arguments[0]}` exited with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def embed(self, texts):
        lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        rows = self.run("embed", *self.model, "--input", "-", "--input-format", "jsonl", "--format", "jsonl", text=lines)
        return np.array([json.loads(row)["embedding"] for row in rows.splitlines()])

    def forward(self, ids, type_ids, folder, name):
        """Logits `(T, V)` and order logits `(2,)` of one sequence."""
        output = Path(folder) / f"{name}.safetensors"
        self.run("forward", *self.model, "--threads", "1", "--ids", ",".join(map(str, ids)),
                 "--type-ids", ",".join(map(str, type_ids)), "--outputs", "logits", "--output", str(output))
        tensors = load_file(output)
        output.unlink()
        return tensors["logits"][0], tensors["sop_logits"][0]


def sts(cli, data):
    pairs = heldout.sts_pairs(data)
    vectors = cli.embed([text for _, first, second in pairs for text in (first, second)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (vectors[::2] * vectors[1::2]).sum(1)
    return len(pairs), spearmanr(cosines, [score for score, _, _ in pairs]).statistic


def masked(cli, windows, processes):
    """Counts of masked pieces, of those ranked first and in the first five, and the summed cross-entropy."""

    def one(item):
        number, window = item
        logits = cli.forward(window.masked_ids, window.type_ids, folder, number)[0][window.positions].astype(np.float64)
        truth = np.array([window.ids[position] for position in window.positions])
        right = logits[np.arange(len(truth)), truth]
        rank = (logits > right[:, None]).sum(1)
        loss = np.logaddexp.reduce(logits, axis=1) - right
        return np.array([len(truth), (rank == 0).sum(), (rank < 5).sum(), loss.sum()])

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(processes) as pool:
        return sum(pool.map(one, enumerate(windows)))


def order(cli, windows, processes):
    """Returns the number of windows whose order is judged right."""

    def one(item):
        number, window = item
        logits = cli.forward(window.order_ids, window.order_type_ids, folder, number)[1]
        return int(logits.argmax()) == window.swapped

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(processes) as pool:
        return sum(pool.map(one, enumerate(windows)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cli", type=Path, required=True, help="the albert-cli binary")
    parser.add_argument("--data", type=Path, required=True, help="folder with eval/")
    parser.add_argument("--model", type=Path, help="a model folder (default: the binary's built-in model)")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json that cuts the windows (default: the model's)")
    parser.add_argument("--windows", type=int, default=300, help="windows for masked pieces")
    parser.add_argument("--order-windows", type=int, default=1000, help="windows for sentence order")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    cli = Cli(args.cli, args.model)
    print(cli.run("--version").strip())
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, safetensors {safetensors.__version__}, "
          f"tokenizers {tokenizers.__version__}")

    tokenizer = Tokenizer.from_file(str(args.tokenizer or (args.model or MODEL) / "tokenizer.json"))
    count, spearman = sts(cli, args.data)
    print(f"STS-B dev: {count} pairs, Spearman {spearman:.4f}")
    windows = heldout.wikitext_windows(args.data, tokenizer, args.windows)
    total, first, five, loss = masked(cli, windows, args.processes)
    print(f"masked pieces: {len(windows)} windows, {total:.0f} pieces, top-1 {first / total:.4f}, "
          f"top-5 {five / total:.4f}, cross-entropy {loss / total:.4f}")
    windows = heldout.wikitext_windows(args.data, tokenizer, args.order_windows)
    right = order(cli, windows, args.processes)
    print(f"sentence order: {len(windows)} windows, {sum(w.swapped for w in windows)} swapped, accuracy {right / len(windows):.4f}")


if __name__ == "__main__":
    main()
