"""Embeddings in Polars: :func:`embed` is an expression."""

from __future__ import annotations

import os
from typing import Any, Literal

import polars as pl

from ._columns import ColumnEmbedder

__all__ = ["embed"]


def embed(
    texts: str | pl.Expr,
    *,
    model: str | os.PathLike[str] | None = None,
    kind: Literal["text", "query", "document"] = "text",
    threads: int | None = None,
    **model_options: Any,
) -> pl.Expr:
    """Returns an expression for the vectors of a column, ``Array(Float32, dim)``; nulls stay null.

    ``frame.with_columns(embedding=embed("text"))`` adds them to a DataFrame or a LazyFrame.
    The function needs pyarrow.

    Args:
        texts: The name of the column of texts, or an expression.
        model: A name on the Hub, a folder, or by default the built-in model.
        kind: ``"query"`` or ``"document"`` puts that prompt of the model before the texts, if the
            model has one.
        threads: The number of threads; by default one for each core.
        model_options: Other arguments of :class:`albert_candle.Embedder`, such as ``dtype``.
    """
    column = ColumnEmbedder(model, kind=kind, threads=threads, **model_options)
    kind_of_result = pl.Array(pl.Float32, column.embedder.dim)

    def vectors(series: pl.Series) -> pl.Series:
        return pl.Series(series.name, column(series), dtype=kind_of_result)

    expression = pl.col(texts) if isinstance(texts, str) else texts
    return expression.map_batches(vectors, return_dtype=kind_of_result, is_elementwise=True)
