"""The exceptions of this package."""

from __future__ import annotations

__all__ = ["AlbertError", "HubError"]


class AlbertError(ValueError):
    """A model, an option or a text that cannot be used.

    The message names the file or value, what was expected and what was found.
    """

    #: A suggested remedy, if one is known.
    hint: str | None = None
    #: The index of the text at fault in the call's list, if the error is about a text.
    index: int | None = None


class HubError(AlbertError):
    """An error of the Hugging Face Hub, its cache, or the connection to it."""
