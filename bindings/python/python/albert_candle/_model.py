"""Loading and pickling, which all tasks have in common."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Literal, TypeVar

__all__ = ["Dtype", "Model"]

Dtype = Literal["auto", "float32", "float16", "bfloat16", "int8"]
_Self = TypeVar("_Self", bound="Model")


class Model:
    """A model that is loaded for a task.

    Objects can be used by several threads at once and after a fork. Pickling stores the arguments,
    and unpickling loads the model again.

    Args:
        model: The name of a model on the Hugging Face Hub (``owner/name``), a folder with a model's
            files, or by default ``albert-mini-en``, the model inside this package.
        revision: A branch, tag or commit of the model on the Hub.
        dtype: The type of the weights. ``float16`` and ``bfloat16`` only take less memory;
            ``int8`` also computes in 8 bits, which is faster and less exact. ``auto`` is ``float32``,
            or ``int8`` for weights that are stored in it.
        threads: The number of threads that compute. By default all objects share one thread for
            each core that this process may use, or ``RAYON_NUM_THREADS`` threads.
        offline: True to use no network, only the cache that huggingface_hub also uses. By default
            ``HF_HUB_OFFLINE`` decides.
        max_length: The maximum length of a text in tokens, special tokens included, if the model
            does not have a lower limit.
        batch_tokens: The number of tokens in a batch, which changes speed and memory only.

    Raises:
        AlbertError: If the files of the model are incomplete or wrong, or do not fit the task.
        HubError: If the model is not on the Hub or the Hub cannot be reached.
    """

    _native_class: ClassVar[Any]
    _native: Any

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        revision: str | None = None,
        dtype: Dtype = "auto",
        threads: int | None = None,
        offline: bool | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        if model is not None:
            model = os.fspath(model)
            # A process that unpickles this object may have another current folder.
            if os.path.isdir(model):
                model = os.path.abspath(model)
        self._arguments: dict[str, Any] = {
            "model": model,
            "revision": revision,
            "dtype": dtype,
            "threads": threads,
            "offline": offline,
            "max_length": max_length,
            "batch_tokens": batch_tokens,
        }
        self._native = self._native_class(self._arguments)

    @property
    def max_length(self) -> int:
        """The maximum number of tokens that enter the network, special tokens included."""
        return int(self._native.max_length)

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (type(self), self._arguments)

    def __repr__(self) -> str:
        given = [repr(self._arguments["model"] or "albert-mini-en")]
        for name, value in self._arguments.items():
            if name != "model" and value is not None and (name, value) != ("dtype", "auto"):
                given.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(given)})"


def _load(kind: type[_Self], arguments: dict[str, Any]) -> _Self:
    return kind(**arguments)
