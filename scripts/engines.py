"""Embeds many rows with PySpark, compares every vector with a single run, and measures the costs.

    python scripts/engines.py                        # 20,000 rows, local[2]
    python scripts/engines.py --rows 1000000         # an hour on two cores

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

import numpy as np
import pyarrow as pa
import pyspark
from pyspark.sql import SparkSession

import albert_candle
from albert_candle import Embedder
from albert_candle.spark import embed

SENTENCES = Path(__file__).parent / "sentences.txt"


def digest_of_partition(batches):
    """Returns a row for each partition: rows, the ids' sum, and a digest for each row's vector."""
    for batch in batches:
        ids = batch.column("id").to_pylist()
        vectors = batch.column("embedding")
        digests = []
        for vector in vectors:
            bits = b"" if not vector.is_valid else vector.values.to_numpy().tobytes()
            digests.append(hashlib.blake2b(bits, digest_size=8).hexdigest())
        yield pa.RecordBatch.from_arrays([pa.array(ids), pa.array(digests)], ["id", "digest"])


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
    print(f"one run: {1000 * took / len(texts):.3f} ms of processor time a row, peak memory {peak:.0f} MB")
    values = column.flatten().to_numpy() if column.null_count == 0 else None
    del values
    expected = {}
    for row, vector in enumerate(column):
        bits = b"" if not vector.is_valid else vector.values.to_numpy().tobytes()
        expected[row] = hashlib.blake2b(bits, digest_size=8).hexdigest()

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.memory", "2g").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    table = pa.table({"id": pa.array(range(len(texts)), pa.int64()), "text": pa.array(texts), "note": pa.array([str(row) for row in range(len(texts))])})
    frame = spark.createDataFrame(table).repartition(options.partitions)
    embedded = embed(frame, "text")
    assert embedded.columns == ["id", "text", "note", "embedding"]
    start = time.perf_counter()
    found = dict(embedded.mapInArrow(digest_of_partition, "id long, digest string").toArrow().to_pydict().items())
    clock = time.perf_counter() - start
    pairs = dict(zip(found["id"], found["digest"]))
    assert len(found["id"]) == len(pairs) == len(texts), "rows are missing or repeated"
    different = sum(pairs[row] != expected[row] for row in range(len(texts)))
    print(f"Spark local[2], {options.partitions} partitions: {len(pairs)} rows, {different} vectors "
          f"differ from the single run, {clock:.0f} s of clock time")
    spark.stop()
    np.testing.assert_equal(different, 0)


if __name__ == "__main__":
    main()
