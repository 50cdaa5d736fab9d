"""The corpus: files with one sentence per line, a blank line between documents, `DIR/corpus/NAME.txt.zst`.

Most of the text is old prose. Modern files are few, so every consumer draws by source with its own
weights instead of by size.
"""

import io
import random
from pathlib import Path

import zstandard

#: Sentences per source for the teacher: short, modern, many topics.
#: Old prose stays, so that the table of pieces is regressed on its words too.
TEACHER_SENTENCES = {
    "commonvoice": 50_000,
    "wordnet": 60_000,
    "wiki": 42_000,
    "queries": 36_000,
    "govblog": 25_000,
    "dialogue": 25_000,
    "web": 16_000,
    "tech": 16_000,
    "reviews": 16_000,
    "openstax": 12_000,
    "nltkgov": 10_000,
    "books": 24_000,
    "perseus": 5_000,
}

#: Share of each source's documents that enters the tokenizer's sample.
TOKENIZER_SHARE = {"books": 0.10, "perseus": 0.15, "tech": 0.5, "dialogue": 0.5}

#: Share of each document that is packed into windows of running text; above 1, the source is repeated.
#: Little of the old prose, explanatory modern text more than once. Sources of lone lines give none:
#: train.py masks those as sentences.
PACKED_SHARE = {
    "books": 0.10,
    "perseus": 0.08,
    "govblog": 1,
    "reviews": 1,
    "nltkgov": 1,
    "openstax": 3,
    "web": 3,
    "tech": 0.4,
    "dialogue": 0.25,
}


def lines(data: Path, source: str):
    """Every line of one source, without its line end; blank lines separate documents."""
    with open(data / "corpus" / f"{source}.txt.zst", "rb") as raw:
        reader = zstandard.ZstdDecompressor().stream_reader(raw)
        for line in io.TextIOWrapper(reader, encoding="utf-8"):
            yield line.strip()


def documents(data: Path, source: str):
    """Every document of one source as a list of sentences."""
    document = []
    for line in lines(data, source):
        if line:
            document.append(line)
        elif document:
            yield document
            document = []
    if document:
        yield document


def short_sentences(data: Path, source: str, count: int, seed: int, max_words: int = 36):
    """Up to `count` distinct sentences of 3 to `max_words` words, shuffled."""
    kept = {}
    for line in lines(data, source):
        if 3 <= len(line.split()) <= max_words:
            kept.setdefault(line.lower(), line)
    kept = list(kept.values())
    random.Random(f"{seed} {source}").shuffle(kept)
    return kept[:count]
