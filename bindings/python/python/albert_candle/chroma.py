"""Embeddings for Chroma: ``AlbertEmbeddingFunction`` for ``create_collection``."""

from __future__ import annotations

from typing import Any

from chromadb.api.types import Documents, EmbeddingFunction, Embeddings

from ._embedder import Embedder

__all__ = ["AlbertEmbeddingFunction"]


class AlbertEmbeddingFunction(EmbeddingFunction[Documents]):
    """Embeds documents, and queries with the model's own prompt.

    Args:
        model: A name on the Hub, a folder, or by default the built-in model.
        arguments: Other arguments of :class:`albert_candle.Embedder`.
    """

    def __init__(self, model: str | None = None, **arguments: Any) -> None:
        self._config = {"model": model, **arguments}
        #: The model.
        self.embedder = Embedder(model, **arguments)

    def __call__(self, input: Documents) -> Embeddings:
        """Returns the vectors of documents."""
        return list(self.embedder.encode_document(input))

    def embed_query(self, input: Documents) -> Embeddings:
        """Returns the vectors of queries."""
        return list(self.embedder.encode_query(input))

    @staticmethod
    def name() -> str:
        """Returns the name that a collection stores."""
        return "albert_candle"

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, which a collection stores."""
        return self._config

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> AlbertEmbeddingFunction:
        """Creates the function of a stored collection."""
        return AlbertEmbeddingFunction(**config)
