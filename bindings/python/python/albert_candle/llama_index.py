"""Embeddings for LlamaIndex: ``AlbertEmbedding`` for ``Settings.embed_model``."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from ._embedder import Embedder

__all__ = ["AlbertEmbedding"]


class AlbertEmbedding(BaseEmbedding):
    """Embeds nodes and queries, each with the model's own prompt.

    Args:
        model: A name on the Hub, a folder, or by default the built-in model.
        embed_batch_size: The number of texts that LlamaIndex passes at once.
        arguments: Other arguments of :class:`albert_candle.Embedder`.
    """

    _embedder: Embedder = PrivateAttr()

    def __init__(
        self, model: str | None = None, *, embed_batch_size: int = 256, **arguments: Any
    ) -> None:
        embedder = Embedder(model, **arguments)
        super().__init__(model_name=embedder.model_id, embed_batch_size=embed_batch_size)
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        """Returns the name that LlamaIndex stores."""
        return "AlbertEmbedding"

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._embedder.encode_document(texts).tolist()
        return vectors

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._embedder.encode_query(query).tolist()
        return vector

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)
