"""Embeds many rows with PySpark, compares every vector with a single run, and measures the costs.

    python scripts/engines.py                        # 20,000 rows, local[2]
    python scripts/engines.py --rows 1000000

The Python needs albert-candle, pyspark and pyarrow, and the machine Java 17. Figures are processor
time, which a busy machine changes less than the clock.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import resource
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyspark
from pyspark.sql import SparkSession

import albert_candle
from albert_candle import Embedder
from albert_candle.spark import embed

SENTENCES = Path(__file__).parent / "sentences.txt"


def digest(vector: pa.Scalar) -> str:
    """Returns a digest of a vector's bits; that of a null is the digest of nothing."""
    bits = vector.values.to_numpy().tobytes() if vector.is_valid else b""
    return hashlib.blake2b(bits, digest_size=8).hexdigest()


def digests_of_batches(batches):
    """Replaces the vectors of a DataFrame by their digests."""
    for batch in batches:
        digests = pa.array([digest(vector) for vector in batch.column("embedding")])
        yield pa.RecordBatch.from_arrays([batch.column("id"), digests], ["id", "digest"])


def texts_of(rows: int) -> list[str | None]:
    """Returns distinct texts of about ten words; every thousandth is null."""
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    return [
        None if row % 1000 == 999 else f"{sentences[row % len(sentences)]} {row}"
        for row in range(rows)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--partitions", type=int, default=8)
    options = parser.parse_args()
    texts = texts_of(options.rows)

    print(f"albert-candle {albert_candle.__version__}, pyspark {pyspark.__version__}, "
          f"pyarrow {pa.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores")

    start = time.process_time()
    embedder = Embedder(threads=1)
    embedder.encode("A first text.")
    print(f"load and first vector: {time.process_time() - start:.3f} s of processor time")
    start = time.process_time()
    column = embedder.encode_arrow(pa.array(texts))
    took = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"one run: {1000 * took / len(texts):.3f} ms of processor time for each row, "
          f"peak memory {peak:.0f} MB")
    expected = [digest(vector) for vector in column]

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    spark = builder.config("spark.driver.memory", "2g").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    ids = pa.array(range(len(texts)), pa.int64())
    table = pa.table({"id": ids, "text": pa.array(texts), "note": ids.cast(pa.string())})
    embedded = embed(spark.createDataFrame(table).repartition(options.partitions), "text")
    assert embedded.columns == ["id", "text", "note", "embedding"]
    start = time.perf_counter()
    found = embedded.mapInArrow(digests_of_batches, "id long, digest string").toArrow().to_pydict()
    clock = time.perf_counter() - start
    spark.stop()
    pairs = dict(zip(found["id"], found["digest"]))
    assert len(found["id"]) == len(pairs) == len(texts), "rows are missing or repeated"
    different = sum(pairs[row] != expected[row] for row in range(len(texts)))
    print(f"Spark local[2], {options.partitions} partitions, {clock:.0f} s of clock time: "
          f"{len(pairs)} rows, {different} vectors differ from the single run")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
