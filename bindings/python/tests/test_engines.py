"""Engines: the same bits as one call, other columns and nulls kept.

Spark, Ray, Dask, LangChain, LlamaIndex and chromadb are only installed by
``scripts/python.sh --engines``; their tests are skipped without them.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from albert_candle import AlbertError, Embedder

pa = pytest.importorskip("pyarrow")

#: Rows of a table with nulls.
ROWS = 600


@pytest.fixture(scope="module")
def table(sentences) -> pa.Table:
    texts = [sentences[row % len(sentences)] + f" {row}" for row in range(ROWS)]
    texts[27] = None
    return pa.table(
        {
            "id": pa.array(range(ROWS), pa.int64()),
            "text": pa.array(texts, pa.string()),
            "note": pa.array([{"a": str(row)} if row % 7 else None for row in range(ROWS)]),
        }
    )


@pytest.fixture(scope="module")
def expected(embedder, table) -> list:
    return embedder.encode_arrow(table.column("text")).to_pylist()


def same_bits(found: list, expected: list) -> bool:
    """Compares vectors bit by bit, and nulls."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        if (one is None) != (other is None):
            return False
        if one is not None and np.float32(one).tobytes() != np.float32(other).tobytes():
            return False
    return True


def test_a_column_embedder_makes_bad_texts_null():
    from albert_candle._columns import ColumnEmbedder

    column = pa.array([b"fine", b"\xff", None, b"\xfe", b"fine"])
    vectors = ColumnEmbedder(None, errors="null")(column)
    assert vectors.is_null().to_pylist() == [False, True, True, True, False]
    with pytest.raises(AlbertError, match="text 1: expected UTF-8"):
        ColumnEmbedder(None)(column)
    with pytest.raises(AlbertError, match="unknown errors `skip`"):
        ColumnEmbedder(None, errors="skip")
    with pytest.raises(AlbertError, match="unknown kind `passage`"):
        ColumnEmbedder(None, kind="passage")
    assert len(pickle.dumps(ColumnEmbedder(None))) < 500


def test_duckdb(table, expected):
    duckdb = pytest.importorskip("duckdb")
    from albert_candle.duckdb import register

    connection = duckdb.connect()
    register(connection)
    query = "SELECT id, embed(text) AS embedding FROM input_table ORDER BY id"
    connection.register("input_table", table)
    found = connection.execute(query).fetchall()
    assert same_bits([row[1] for row in found], expected)
    best = connection.execute(
        "SELECT text FROM input_table WHERE text IS NOT NULL"
        " ORDER BY array_cosine_similarity(embed(text), embed(?)) DESC LIMIT 1",
        [table.column("text")[5].as_py()],
    ).fetchone()
    assert best[0] == table.column("text")[5].as_py()


def test_polars(table, expected):
    polars = pytest.importorskip("polars")
    from albert_candle.polars import embed

    frame = polars.from_arrow(table)
    dim = Embedder().dim
    for one in (frame, frame.lazy()):
        found = one.with_columns(embedding=embed("text")).lazy().collect()
        assert found.schema["embedding"] == polars.Array(polars.Float32, dim)
        assert found.columns == ["id", "text", "note", "embedding"]
        vectors = [None if it is None else list(it) for it in found["embedding"].to_list()]
        assert same_bits(vectors, expected)


def test_dask(table, expected):
    dataframe = pytest.importorskip("dask.dataframe")
    from albert_candle.dask import embed

    frame = dataframe.from_pandas(table.select(["id", "text"]).to_pandas(), npartitions=3)
    found = embed(frame, "text").compute(scheduler="threads")
    assert list(found["id"]) == list(range(ROWS))
    assert same_bits(pa.array(found["embedding"]).to_pylist(), expected)
    with pytest.raises(AlbertError, match="already a column `id`"):
        embed(frame, "text", out="id")


@pytest.fixture(scope="module")
def spark():
    sql = pytest.importorskip("pyspark.sql")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = sql.SparkSession.builder.master("local[2,3]").appName("albert-candle")
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "4"}
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def test_spark_keeps_columns_and_nulls(spark, table, expected):
    from albert_candle.spark import embed

    rows = [
        (row["id"], row["text"], {"a": str(row["id"])} if row["note"] else None, float(row["id"]))
        for row in table.to_pylist()
    ]
    schema = "id long, text string, note map<string,string>, weight double"
    frame = spark.createDataFrame(rows, schema).repartition(4)
    embedded = embed(frame, "text")
    assert embedded.columns == ["id", "text", "note", "weight", "embedding"]
    found = sorted(embedded.collect(), key=lambda row: row["id"])
    assert [tuple(row)[:4] for row in found] == rows
    assert same_bits([row["embedding"] for row in found], expected)
    with pytest.raises(AlbertError, match="no column `body`: expected one of id, text"):
        embed(frame, "body")


def test_spark_sql_has_the_function(spark, table, expected):
    pytest.importorskip("pandas")
    from albert_candle.spark import embed_udf

    spark.udf.register("embed", embed_udf())
    rows = [(row["id"], row["text"]) for row in table.to_pylist()]
    spark.createDataFrame(rows, "id long, text string").createOrReplaceTempView("texts")
    found = spark.sql("SELECT id, embed(text) AS embedding FROM texts ORDER BY id").collect()
    assert same_bits([row["embedding"] for row in found], expected)


def test_spark_survives_a_killed_worker(spark, table, expected, tmp_path):
    from albert_candle.spark import embed

    marker = str(tmp_path / "killed")

    def kill_once(batches):
        for batch in batches:
            if 300 in batch.column("id").to_pylist() and not Path(marker).exists():
                Path(marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    rows = [(row["id"], row["text"]) for row in table.to_pylist()]
    frame = spark.createDataFrame(rows, "id long, text string").repartition(4, "id")
    embedded = embed(frame.mapInArrow(kill_once, frame.schema), "text")
    found = sorted(embedded.collect(), key=lambda row: row["id"])
    assert Path(marker).exists()
    assert [row["id"] for row in found] == list(range(ROWS))
    assert same_bits([row["embedding"] for row in found], expected)


def test_ray(table, expected):
    ray = pytest.importorskip("ray")
    data = pytest.importorskip("ray.data")
    from albert_candle.ray import Embed, embed

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    try:
        dataset = data.from_arrow(table.select(["id", "text"]))
        for embedded in (
            embed(dataset),
            dataset.map_batches(Embed, batch_format="pyarrow", batch_size=200, concurrency=1),
        ):
            found = sorted(embedded.take_all(), key=lambda row: row["id"])
            assert [row["id"] for row in found] == list(range(ROWS))
            assert same_bits([row["embedding"] for row in found], expected)
    finally:
        ray.shutdown()


def test_langchain(embedder):
    pytest.importorskip("langchain_core")
    from langchain_core.vectorstores import InMemoryVectorStore

    from albert_candle.langchain import AlbertEmbeddings

    embeddings = AlbertEmbeddings(threads=1)
    assert embeddings.embed_documents(["A cat."]) == embedder.encode(["A cat."]).tolist()
    store = InMemoryVectorStore.from_texts(["A cat sleeps.", "Prices rose."], embeddings)
    assert store.similarity_search("A cat sleeps.", k=1)[0].page_content == "A cat sleeps."


def test_llama_index(embedder):
    pytest.importorskip("llama_index.core")
    from albert_candle.llama_index import AlbertEmbedding

    model = AlbertEmbedding(threads=1)
    assert model.model_name == embedder.model_id
    assert model.get_text_embedding_batch(["A cat."]) == embedder.encode(["A cat."]).tolist()
    assert model.get_query_embedding("A cat.") == embedder.encode_query("A cat.").tolist()


def test_chroma(embedder):
    chromadb = pytest.importorskip("chromadb")
    from albert_candle.chroma import AlbertEmbeddingFunction

    client = chromadb.EphemeralClient()
    collection = client.create_collection("texts", embedding_function=AlbertEmbeddingFunction())
    collection.add(ids=["a", "b"], documents=["A cat sleeps.", "Prices rose."])
    found = collection.query(query_texts=["A cat sleeps."], n_results=1)
    assert found["ids"] == [["a"]]
    stored = AlbertEmbeddingFunction.build_from_config(AlbertEmbeddingFunction().get_config())
    assert np.array_equal(stored(["A cat."])[0], embedder.encode("A cat."))
