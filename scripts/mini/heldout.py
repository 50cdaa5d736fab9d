"""The held-out samples, the same for PyTorch (train.py) and for the command line (figures.py).

- STS benchmark, development set: 1,500 pairs with a score.
- wikitext-2 validation: windows of 64 to 128 tokens, `[CLS] A [SEP] B [SEP]`, A and B adjacent runs
  of whole sentences of one paragraph. wikitext's `@-@` marks and its
  `<unk>` words stay out of the masked positions; headings are dropped.
"""

import csv
import random
import re
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from pack import CLS, SEP, cut

MASK = 4
SPECIAL_IDS = 5  # ids below this are special
MASK_PROBABILITY = 0.15


@dataclass
class Window:
    ids: list  # in order, nothing masked
    type_ids: list
    masked_ids: list  # in order, `positions` replaced by [MASK]
    positions: list
    order_ids: list  # nothing masked, segments swapped where `swapped`
    order_type_ids: list
    swapped: int


def sts_pairs(data: Path):
    """`(score, first, second)` of the STS benchmark's development set."""
    with open(data / "eval/stsb/sts-dev.csv", encoding="utf-8") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(float(row[4]), row[5], row[6]) for row in rows]


def sentences(line: str):
    """One paragraph of wikitext as sentences, with its tokenization marks undone."""
    line = re.sub(r" @([-,.])@ ", r"\1", line.strip())
    return [s for s in re.split(r"(?<= [.?!]) ", line) if s]


def framed(first, second):
    return [CLS, *first, SEP, *second, SEP], [0] * (len(first) + 2) + [1] * (len(second) + 1)


def wikitext_windows(data: Path, tokenizer: Tokenizer, count: int, seed: int = 0):
    """`count` windows drawn with `seed` from all that have at least 64 tokens."""
    draw = random.Random(seed)
    segments = []
    for line in open(data / "eval/lm/wikitext-2-valid.txt", encoding="utf-8"):
        if line.strip() and not line.startswith(" ="):
            encodings = tokenizer.encode_batch(sentences(line), add_special_tokens=False)
            segments += [(a, b) for a, b in cut([e.ids for e in encodings]) if len(a) + len(b) >= 61]
    draw.shuffle(segments)
    windows = []
    for first, second in segments[:count]:
        ids, type_ids = framed(first, second)
        maskable = [i for i, token in enumerate(ids) if token >= SPECIAL_IDS]
        positions = sorted(draw.sample(maskable, max(1, round(MASK_PROBABILITY * len(maskable)))))
        masked_ids = [MASK if i in set(positions) else token for i, token in enumerate(ids)]
        swapped = draw.randrange(2)
        order_ids, order_type_ids = framed(second, first) if swapped else (ids, type_ids)
        windows.append(Window(ids, type_ids, masked_ids, positions, order_ids, order_type_ids, swapped))
    return windows
