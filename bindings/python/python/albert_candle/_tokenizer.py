"""The tokenizer of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypedDict

from . import _albert_candle

__all__ = ["Encoding", "Tokenizer"]


class Encoding(TypedDict):
    """The tokens of a text."""

    #: Token ids, special tokens included.
    ids: list[int]
    #: The vocabulary's piece of each id.
    pieces: list[str]
    #: 0 for the first text, 1 for the second.
    type_ids: list[int]
    #: 1 for the tokens that were added around the text.
    special_tokens_mask: list[int]
    #: The start and the end (exclusive) of each token in its text, in characters.
    offsets: list[tuple[int, int]]
    #: True if the text was truncated.
    truncated: bool


class Tokenizer:
    """Turns texts into the token ids of a model.

    Args:
        model: A name on the Hub, a folder, or by default the built-in model.
        revision: A branch, tag or commit of the model on the Hub.
        offline: True to use no network.

    >>> tokenizer = Tokenizer()
    >>> tokenizer.decode(tokenizer.encode("a quick test")["ids"][1:-1])
    'a quick test'
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        revision: str | None = None,
        offline: bool | None = None,
    ) -> None:
        self._arguments = {"model": model, "revision": revision, "offline": offline}
        unused: dict[str, Any] = {"threads": None, "max_length": None, "batch_tokens": None}
        self._native = _albert_candle.Tokenizer({**self._arguments, "dtype": "auto", **unused})

    def encode(
        self, text: str, pair: str | None = None, *, max_length: int | None = None
    ) -> Encoding:
        """Returns the tokens of a text, or of a pair of texts.

        Args:
            text: The text.
            pair: The second text of a pair.
            max_length: The number of tokens to which a text is truncated; by default it is not. In
                a pair the longer text is truncated first.
        """
        texts = [text] if pair is None else [text, pair]
        encoding: Encoding = self._native.encode(texts, max_length)
        return encoding

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids, special tokens included."""
        return str(self._native.decode(list(ids)))

    def token_to_id(self, token: str) -> int | None:
        """Returns the id of a piece, or None if the vocabulary lacks it."""
        found: int | None = self._native.token_to_id(token)
        return found

    def id_to_token(self, id: int) -> str | None:
        """Returns the piece of an id, or None if the vocabulary has no such id."""
        found: str | None = self._native.id_to_token(id)
        return found

    @property
    def vocab_size(self) -> int:
        """The number of pieces, added tokens included."""
        return int(self._native.vocab_size)

    @property
    def mask_token(self) -> str:
        """The token that a masked language model fills, such as ``[MASK]``."""
        return str(self._native.mask_token)

    def __len__(self) -> int:
        return self.vocab_size

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self._arguments,)


def _load(arguments: dict[str, Any]) -> Tokenizer:
    return Tokenizer(**arguments)
