"""Writes random CSV and TSV files and the rows that Python's csv module reads from them, for albert-data.

    python scripts/make_csv_fixtures.py [--out crates/albert-data/tests/fixtures/csv.jsonl.gz]

Needs nothing but Python 3.11 or later. A line of the output is [text, rows, open]: a file as text, its
rows without the empty ones of blank lines, and whether a quote is open at its end. The first 9,000 are CSV, the others TSV, which is read
without quoting. The script prints the version that it ran with.
"""

import argparse
import csv
import gzip
import io
import json
import platform
import random
from pathlib import Path

CSV_CASES, TSV_CASES = 9_000, 1_000
# Mostly what has a meaning, so that short texts meet every pair of them.
PIECES = ['"', '"', '"', ",", ",", "\n", "\r", "\r\n", "a", "a", "x y", "é", "😀", ";", "\t", "0", "\0"]


def random_text(generator: random.Random, pieces: list[str]) -> str:
    return "".join(generator.choice(pieces) for _ in range(generator.randrange(1, 12)))


def written_text(generator: random.Random) -> str:
    """A file as Python writes it, of fields that need quoting."""
    end = generator.choice(["\n", "\r\n", "\r"])
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=end, quoting=generator.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    width = generator.randrange(1, 4)
    for _ in range(generator.randrange(1, 4)):
        row = [random_text(generator, PIECES)[: generator.randrange(6)] for _ in range(width)]
        writer.writerow(row)
    return file.getvalue()


def rows(text: str, **options) -> list[list[str]]:
    # newline="" keeps the line ends within quotes as they are, as the module's documentation asks.
    return [row for row in csv.reader(io.StringIO(text, newline=""), **options) if row]


def is_open(text: str) -> bool:
    """Returns true if another line would belong to the last field, because a quote is open."""
    return rows(text + "\nend")[-1] != ["end"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-data/tests/fixtures/csv.jsonl.gz"))
    out = parser.parse_args().out
    generator = random.Random(1)
    cases = []
    for case in range(CSV_CASES):
        text = written_text(generator) if case % 3 == 0 else random_text(generator, PIECES)
        cases.append([text, rows(text), int(is_open(text))])
    tsv_pieces = PIECES + ["\t", "\t", "\t"]
    for _ in range(TSV_CASES):
        text = random_text(generator, tsv_pieces)
        cases.append([text, rows(text, delimiter="\t", quoting=csv.QUOTE_NONE), 0])
    lines = "".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) + "\n" for case in cases)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Without a time and a name the same bytes come out each time.
    out.write_bytes(gzip.compress(lines.encode(), mtime=0))
    print(f"Python {platform.python_version()}: {len(cases)} files, {out.stat().st_size} bytes in {out}")


if __name__ == "__main__":
    main()
