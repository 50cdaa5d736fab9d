"""Embeddings in Ray Data: :class:`Embed` is a class for ``Dataset.map_batches``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ._columns import ColumnEmbedder, Errors, check_names

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Embed", "embed"]


class Embed:
    """Adds a column of vectors to a table; null texts have null vectors.

    ``dataset.map_batches(Embed, fn_constructor_kwargs={"text": "body"}, batch_format="pyarrow",
    concurrency=2)`` loads the model once in each of two actors. Actors must have fewer CPUs in
    total than Ray has, or they wait for each other.

    Args:
        text: The column of texts.
        out: The name of the column to add.
        model: A name on the Hub, a folder that every worker has, or by default the built-in model.
        errors: ``"null"`` gives a text that cannot be embedded null instead of failing.
        threads: The number of threads of an actor or task, its ``num_cpus``.
        model_options: Other arguments of :class:`albert_candle.Embedder`, such as ``dtype``.
    """

    def __init__(
        self,
        text: str = "text",
        *,
        out: str = "embedding",
        model: str | os.PathLike[str] | None = None,
        errors: Errors = "raise",
        threads: int | None = 1,
        **model_options: Any,
    ) -> None:
        self._text, self._out = text, out
        self._column = ColumnEmbedder(model, errors=errors, threads=threads, **model_options)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Returns the batch with the vectors."""
        check_names(batch.column_names, self._text, self._out)
        return batch.append_column(self._out, self._column(batch.column(self._text)))


def embed(dataset: Any, text: str = "text", **arguments: Any) -> Any:
    """Returns the dataset with a column of vectors, computed by tasks of one CPU each.

    A worker process loads the model once and keeps it for its later tasks. The arguments are those
    of :class:`Embed`.
    """
    return dataset.map_batches(Embed(text, **arguments).__call__, batch_format="pyarrow")
