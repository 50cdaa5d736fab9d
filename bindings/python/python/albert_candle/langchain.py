"""Embeddings for LangChain: ``AlbertEmbeddings`` for its vector stores and retrievers."""

from __future__ import annotations

from typing import Any

from langchain_core.embeddings import Embeddings

from ._embedder import Embedder

__all__ = ["AlbertEmbeddings"]


class AlbertEmbeddings(Embeddings):
    """Embeds documents and queries, each with the model's own prompt.

    Args:
        model: A name on the Hub, a folder, or by default the built-in model.
        arguments: Other arguments of :class:`albert_candle.Embedder`.
    """

    def __init__(self, model: str | None = None, **arguments: Any) -> None:
        #: The model.
        self.embedder = Embedder(model, **arguments)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Returns the vectors of documents."""
        vectors: list[list[float]] = self.embedder.encode_document(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Returns the vector of a query."""
        vector: list[float] = self.embedder.encode_query(text).tolist()
        return vector
