"""Token ids ready for training: windows of two segments for the heads, and the teacher's sentences.

    pack.py --data DIR --work DIR

Writes windows.u16.npy (N, 128), each `[CLS] A [SEP] B [SEP]` in the text's order; windows.split.u8.npy
(N,), the length of A, or 0 where the pair's lengths would reveal its order; sentences.u16.npy (M, 48).
Swapping and masking happen anew at every visit, in train.py.
"""

import argparse
import itertools
import random
import time
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import Tokenizer

import corpus

WINDOW_TOKENS = 128
SENTENCE_TOKENS = 48
CLS, SEP = 2, 3

#: Tokens of a pair of segments.
ROOM = WINDOW_TOKENS - 3


def cut(sentences):
    """Cuts one document into windows `(A, B)` of whole sentences, A and B about equally long.

    Whole sentences only: a B cut off in mid-sentence would reveal a swapped pair.
    """
    held, length = [], 0
    for sentence in itertools.chain(sentences, [None]):
        if held and (sentence is None or length + len(sentence) > ROOM):
            if len(held) > 1:
                ends = list(itertools.accumulate(map(len, held)))[:-1]
                middle = min(range(len(ends)), key=lambda i: abs(ends[i] - length // 2)) + 1
                yield [t for s in held[:middle] for t in s], [t for s in held[middle:] for t in s]
            held, length = [], 0
        if sentence and len(sentence) <= ROOM:
            held.append(sentence)
            length += len(sentence)


def pairs(sentences):
    """Cuts one document into `(A, B, ordered)`: segments, and whether their order can be learned.

    Filling a window until a sentence no longer fits leaves short sentences at its ends and long ones after them, so
    that the lengths alone reveal a swapped pair. Here A and B have the same number of sentences, which the whole document
    sets, and a pair that is too long is not used as a pair: A and B differ only in their words.
    """
    mean = max(1, sum(map(len, sentences)) / len(sentences))
    size = max(1, min(round(0.4 * ROOM / mean), len(sentences) // 2))
    for start in range(0, len(sentences), 2 * size):
        part = sentences[start : start + 2 * size]
        if len(part) == 2 * size and sum(map(len, part)) <= ROOM:
            first, second = ([t for s in half for t in s] for half in (part[:size], part[size:]))
            yield first, second, True
        else:
            yield from ((first, second, False) for first, second in cut(part))


def windows(data: Path, tokenizer: Tokenizer, source: str, share: float, seed: int):
    """Windows and lengths of A for one source; `share` above 1 repeats it."""
    draw = random.Random(f"{seed} {source}")
    rows, splits = [], []
    # Documents are tokenized in batches: the tokenizer is fastest with many lines at once.
    documents = iter(corpus.documents(data, source))
    while batch := list(itertools.islice(documents, 200)):
        # A share of a book is a run of its sentences, so that the order stays.
        parts = []
        for document in batch:
            size = max(2, round(len(document) * min(share, 1.0)))
            start = draw.randrange(len(document) - size + 1) if size < len(document) else 0
            parts.append(document[start : start + size])
        encodings = tokenizer.encode_batch([s for part in parts for s in part], add_special_tokens=False)
        ids = iter(e.ids for e in encodings)
        for part in parts:
            for first, second, ordered in pairs([next(ids) for _ in part]):
                row = [CLS, *first, SEP, *second, SEP]
                rows.append(row + [0] * (WINDOW_TOKENS - len(row)))
                splits.append(len(first) if ordered else 0)
    copies = max(1, round(share))
    return rows * copies, splits * copies


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with corpus/")
    parser.add_argument("--work", type=Path, required=True, help="folder for intermediate files")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"tokenizers {tokenizers.__version__}, numpy {np.__version__}")
    start = time.time()
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))

    rows, splits = [], []
    for source, share in corpus.PACKED_SHARE.items():
        new_rows, new_splits = windows(args.data, tokenizer, source, share, args.seed)
        print(f"{source}: {len(new_rows)} windows, {sum(map(bool, new_splits))} ordered, "
              f"{np.count_nonzero(new_rows)} tokens", flush=True)
        rows.append(np.array(new_rows, np.uint16))
        splits.append(np.array(new_splits, np.uint8))
    rows, splits = np.concatenate(rows), np.concatenate(splits)
    order = np.random.default_rng(args.seed).permutation(len(rows))
    np.save(args.work / "windows.u16.npy", rows[order])
    np.save(args.work / "windows.split.u8.npy", splits[order])
    print(f"{len(rows)} windows, {(rows != 0).sum()} tokens, {time.time() - start:.0f} s")

    texts = (args.work / "sentences.txt").read_text(encoding="utf-8").splitlines()
    tokenizer.enable_truncation(SENTENCE_TOKENS)
    tokenizer.enable_padding(length=SENTENCE_TOKENS)
    sentences = np.array([e.ids for e in tokenizer.encode_batch(texts)], np.uint16)
    np.save(args.work / "sentences.u16.npy", sentences)
    print(f"{len(sentences)} sentences, {(sentences != 0).sum()} tokens, {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
