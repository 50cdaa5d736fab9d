"""Embeddings in Dask: :func:`embed` adds a column of vectors to a DataFrame."""

from __future__ import annotations

import functools
import os
from typing import Any

import pandas as pd
import pyarrow as pa

from ._arrow import vector_type
from ._columns import ColumnEmbedder, Errors, check_names

__all__ = ["embed"]


def embed(
    df: Any,
    text: str,
    *,
    out: str = "embedding",
    model: str | os.PathLike[str] | None = None,
    errors: Errors = "raise",
    threads: int | None = 1,
    **model_options: Any,
) -> Any:
    """Returns the DataFrame with a column of vectors; missing texts have missing vectors.

    The column has the type ``fixed_size_list<float32>[dim]`` of Arrow, which Dask writes to Parquet
    as it is. The arguments are those of :func:`albert_candle.spark.embed`.
    """
    check_names(list(df.columns), text, out)
    column = ColumnEmbedder(model, errors=errors, threads=threads, **model_options)
    kind = pd.ArrowDtype(vector_type(column.embedder.dim))
    meta = df._meta.assign(**{out: pd.Series([], dtype=kind, index=df._meta.index)})
    work = functools.partial(_embed_partition, column=column, text=text, out=out)
    return df.map_partitions(work, meta=meta)


def _embed_partition(
    partition: pd.DataFrame, *, column: ColumnEmbedder, text: str, out: str
) -> pd.DataFrame:
    texts = pa.array(partition[text], type=pa.large_string(), from_pandas=True)
    vectors = pd.arrays.ArrowExtensionArray(column(texts))
    return partition.assign(**{out: pd.Series(vectors, index=partition.index)})
