"""Embeddings in DuckDB: :func:`register` adds a function to SQL."""

from __future__ import annotations

import os
from typing import Any, Literal

from ._columns import ColumnEmbedder

__all__ = ["register"]


def register(
    connection: Any,
    name: str = "embed",
    *,
    model: str | os.PathLike[str] | None = None,
    kind: Literal["text", "query", "document"] = "text",
    threads: int | None = None,
    **model_options: Any,
) -> None:
    """Adds the function ``embed(VARCHAR) -> FLOAT[dim]`` to a connection; NULL stays NULL.

    ``array_cosine_similarity`` compares its vectors. The function needs pyarrow.

    Args:
        connection: The connection, a ``DuckDBPyConnection``.
        name: The name of the function.
        model: A name on the Hub, a folder, or by default the built-in model.
        kind: ``"query"`` or ``"document"`` puts that prompt of the model before the texts, if the
            model has one.
        threads: The number of threads; by default all, since DuckDB runs Python functions on one
            thread at a time.
        model_options: Other arguments of :class:`albert_candle.Embedder`, such as ``dtype``.
    """
    column = ColumnEmbedder(model, kind=kind, threads=threads, **model_options)

    # DuckDB evaluates annotations, and this function has none that it can.
    connection.create_function(
        name,
        lambda texts: column(texts),
        ["VARCHAR"],
        f"FLOAT[{column.embedder.dim}]",
        type="arrow",
        null_handling="special",
    )
