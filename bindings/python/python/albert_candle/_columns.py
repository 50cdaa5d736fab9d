"""Columns of texts in engines that run several workers."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, Literal

from ._embedder import Embedder
from ._errors import AlbertError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ColumnEmbedder", "Errors"]

Errors = Literal["raise", "null"]


class ColumnEmbedder:
    """Embeds columns with a model that each process loads once.

    It is pickled by the model's name and options, as engines send functions to their workers.

    Args:
        model: A name on the Hub, a folder that every worker has, or by default the built-in model.
        errors: ``"null"`` makes a text that cannot be embedded null; ``"raise"`` raises its error.
        threads: The number of threads of a worker: 1 for an engine that runs a task on each core.
        kind: The prompt of the model to use, if it has one for queries or documents.
        model_options: Other arguments of :class:`Embedder`, such as ``dtype``.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None,
        *,
        errors: Errors = "raise",
        threads: int | None = 1,
        kind: Literal["text", "query", "document"] = "text",
        **model_options: Any,
    ) -> None:
        if errors not in ("raise", "null"):
            raise AlbertError(f"unknown errors `{errors}`: expected one of raise, null")
        if kind not in ("text", "query", "document"):
            raise AlbertError(f"unknown kind `{kind}`: expected one of text, query, document")
        self._errors = errors
        self._kind = kind
        name = None if model is None else os.fspath(model)
        if name is not None and os.path.isdir(name):
            name = os.path.abspath(name)
        self._model = tuple({"model": name, "threads": threads, **model_options}.items())

    @property
    def embedder(self) -> Embedder:
        """The model in this process."""
        return _loaded(self._model)

    def __call__(self, column: Any) -> pa.FixedSizeListArray:
        """Returns the vectors of an Arrow column; nulls stay null."""
        embedder = self.embedder
        prompt_name = {
            "text": None,
            "query": embedder._native.query_prompt,
            "document": embedder._native.document_prompt,
        }[self._kind]
        while True:
            try:
                return embedder.encode_arrow(column, prompt_name=prompt_name)
            except AlbertError as error:
                if self._errors == "raise" or error.index is None:
                    raise
                column = _with_null(column, error.index)


def _with_null(column: Any, index: int) -> Any:
    """Returns a column with null at an index."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keep = pa.array([row != index for row in range(len(column))])
    return pc.if_else(keep, column, pa.scalar(None, column.type))


@functools.lru_cache(maxsize=4)
def _loaded(arguments: tuple[tuple[str, Any], ...]) -> Embedder:
    return Embedder(**dict(arguments))


def check_names(names: list[str], text: str, out: str) -> None:
    """Checks the names of the column to read and of the one to add.

    Raises:
        AlbertError: If there is no column ``text``, or there is already a column ``out``.
    """
    if text not in names:
        raise AlbertError(f"no column `{text}`: expected one of {', '.join(names)}")
    if out in names:
        raise AlbertError(f"there is already a column `{out}`: choose another name for the vectors")
