"""Embeddings in Spark: :func:`embed` adds a column of vectors to a DataFrame.

The package must be installed on the workers. With the built-in model, nothing else is sent to them
or downloaded by them. A worker loads the model once and keeps it for later tasks.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

from ._columns import ColumnEmbedder, Errors, check_names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["embed", "embed_udf"]


def embed(
    df: DataFrame,
    text: str,
    *,
    out: str = "embedding",
    model: str | os.PathLike[str] | None = None,
    errors: Errors = "raise",
    threads: int | None = 1,
    **model_options: Any,
) -> DataFrame:
    """Returns the DataFrame with a column of vectors, ``array<float>``; null texts have null.

    All other columns stay, as do partitions and the order of their rows. A vector has the same bits
    as from :meth:`albert_candle.Embedder.encode`, however the rows are divided.

    Args:
        df: The DataFrame.
        text: The column of texts.
        out: The name of the column to add.
        model: A name on the Hub, a folder that every worker has, or by default the built-in model.
        errors: ``"null"`` gives a text that cannot be embedded null instead of failing the task.
        threads: The number of threads of a task, ``spark.task.cpus``.
        model_options: Other arguments of :class:`albert_candle.Embedder`, such as ``dtype``.
    """
    check_names(df.columns, text, out)
    vectors = StructField(out, ArrayType(FloatType(), containsNull=False), nullable=True)
    column = ColumnEmbedder(model, errors=errors, threads=threads, **model_options)
    work = functools.partial(_embed_batches, column=column, text=text, out=out)
    return df.mapInArrow(work, StructType([*df.schema.fields, vectors]))


def embed_udf(
    model: str | os.PathLike[str] | None = None,
    *,
    errors: Errors = "raise",
    threads: int | None = 1,
    **model_options: Any,
) -> Any:
    """Returns a function for expressions and SQL, which needs pandas.

    ``spark.udf.register("embed", embed_udf())`` makes it available as ``embed(text)`` in SQL. The
    arguments are those of :func:`embed`.
    """
    from pyspark.sql.functions import pandas_udf

    column = ColumnEmbedder(model, errors=errors, threads=threads, **model_options)

    def embed_series(texts: Any) -> Any:
        import pandas as pd

        vectors = _lists(column(pa.array(texts, type=pa.string(), from_pandas=True)))
        return pd.Series(vectors.to_pylist(), index=texts.index)

    embed_series.__annotations__ = {}
    return pandas_udf(
        embed_series, ArrayType(FloatType(), containsNull=False), functionType=200
    )


def _embed_batches(
    batches: Iterable[pa.RecordBatch], *, column: ColumnEmbedder, text: str, out: str
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        vectors = _lists(column(batch.column(text)))
        yield pa.RecordBatch.from_arrays([*batch.columns, vectors], [*batch.schema.names, out])


def _lists(vectors: pa.FixedSizeListArray) -> pa.ListArray:
    """Returns vectors in Spark's type, which has no fixed size."""
    kind = pa.list_(pa.field("element", pa.float32(), nullable=False))
    return vectors.cast(kind)
