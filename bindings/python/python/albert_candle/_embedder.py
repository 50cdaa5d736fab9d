"""Sentence embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _albert_candle, _arrow
from ._errors import AlbertError
from ._model import Model
from ._tokenizer import Tokenizer

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Embedder", "Precision", "quantize"]

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
Side = Literal["left", "right"]


class Embedder(Model):
    """Turns texts into vectors, like ``SentenceTransformer`` of sentence-transformers.

    Pooling, normalization, prompts and the maximum length come from the model's files.

    >>> embedder = Embedder()
    >>> vectors = embedder.encode(["A man plays the guitar.", "Someone plays an instrument."])
    >>> vectors.shape == (2, embedder.dim), vectors.dtype.name
    (True, 'float32')
    >>> bool(embedder.similarity(vectors[0], vectors[1])[0, 0] > 0.5)
    True
    """

    _native_class = _albert_candle.Embedder
    _tokenizer: Tokenizer | None = None

    @property
    def model_id(self) -> str:
        """The name of the model on the Hub or of the built-in model, or its folder."""
        return str(self._native.name)

    @property
    def dim(self) -> int:
        """The number of values of a vector."""
        return int(self._native.dim)

    @property
    def threads(self) -> int:
        """The number of threads that compute."""
        return int(self._native.threads)

    @property
    def prompts(self) -> dict[str, str]:
        """The prompts that the model was trained with, by name."""
        return dict(self._native.prompts)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        if self._tokenizer is None:
            arguments = self._arguments
            self._tokenizer = Tokenizer(
                arguments["model"], revision=arguments["revision"], offline=arguments["offline"]
            )
        return self._tokenizer

    # The names of sentence-transformers for the same values.

    @property
    def max_seq_length(self) -> int:
        """The value of :attr:`max_length`, as sentence-transformers names it."""
        return self.max_length

    def get_sentence_embedding_dimension(self) -> int:
        """Returns :attr:`dim`, as sentence-transformers names it."""
        return self.dim

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        normalize: bool | None = ...,
        truncate_dim: int | None = ...,
        precision: Precision = ...,
        output: Literal["sentence"] = ...,
        stride: int | None = ...,
        truncation_side: Side = ...,
        show_progress_bar: bool | None = ...,
        batch_size: int | None = ...,
    ) -> NDArray[Any]: ...

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        normalize: bool | None = ...,
        truncate_dim: int | None = ...,
        precision: Precision = ...,
        output: Literal["tokens"],
        stride: int | None = ...,
        truncation_side: Side = ...,
        show_progress_bar: bool | None = ...,
        batch_size: int | None = ...,
    ) -> NDArray[Any] | list[NDArray[Any]]: ...

    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        output: Literal["sentence", "tokens"] = "sentence",
        stride: int | None = None,
        truncation_side: Side = "right",
        show_progress_bar: bool | None = None,
        batch_size: int | None = None,
    ) -> NDArray[Any] | list[NDArray[Any]]:
        """Returns the vector of each text.

        A vector depends on its text alone: it has the same bits in any list and with any number of
        threads.

        Args:
            sentences: A text, or several.
            prompt_name: The name of one of the model's :attr:`prompts`, put before every text.
            prompt: A prompt of your own; an empty one removes the model's default prompt.
            normalize: True to scale vectors to length 1, False not to, None to follow the model's
                files.
            truncate_dim: The number of values of a vector to keep, from the first.
            precision: Quantizes vectors as :func:`quantize` does.
            output: ``"tokens"`` returns a vector for each token of a text, special tokens included.
            stride: Reads a text that is too long in windows that share this many tokens, instead of
                truncating it.
            truncation_side: The side on which a text that is too long is truncated.
            show_progress_bar: True to show a bar; it needs the package tqdm.
            batch_size: Ignored, because batches are counted in tokens. It exists for code that was
                written for sentence-transformers.

        Returns:
            An array of shape (dim,) for a text and (n, dim) for several, C-contiguous. With
            ``output="tokens"`` an array of shape (tokens, width) for a text, and a list of them for
            several.

        Raises:
            TypeError: If an element is not a string; ``index`` says which.
            AlbertError: If a text has a lone surrogate (``index`` says which), or an option does
                not fit the model.
            KeyboardInterrupt: After Ctrl-C, within about a second of a base model's computation.
        """
        del batch_size
        options = {
            "prompt": prompt,
            "prompt_name": prompt_name,
            "normalize": normalize,
            "truncate_dim": truncate_dim,
            "stride": stride,
            "truncation_side": truncation_side,
        }
        texts = [sentences] if isinstance(sentences, str) else sentences
        vectors: NDArray[Any]
        if output == "tokens":
            if precision != "float32":
                raise AlbertError('precision: expected "float32" for the vectors of tokens')
            arrays: list[NDArray[Any]] = [
                rows for _, rows in self._native.encode_tokens(texts, options)
            ]
            return arrays[0] if isinstance(sentences, str) else arrays
        if output != "sentence":
            raise AlbertError(f"unknown output `{output}`: expected one of sentence, tokens")
        if show_progress_bar:
            from tqdm.auto import tqdm

            texts = list(texts)
            with tqdm(total=len(texts), unit="text") as bar:
                vectors = self._native.encode(texts, options, bar.update)
        else:
            vectors = self._native.encode(texts, options, None)
        if precision != "float32":
            vectors = quantize(vectors, precision)
        if isinstance(sentences, str):
            row: NDArray[Any] = vectors[0]
            return row
        return vectors

    def encode_query(self, sentences: str | Iterable[str], **options: Any) -> NDArray[Any]:
        """Returns the vectors of search queries.

        Puts the model's prompt ``query`` before every text, if the model has one and the options
        (those of :meth:`encode`) name no other.
        """
        return self._encode_with(self._native.query_prompt, sentences, options)

    def encode_document(self, sentences: str | Iterable[str], **options: Any) -> NDArray[Any]:
        """Returns the vectors of documents to search.

        Puts the model's prompt ``document``, ``passage`` or ``corpus`` before every text, if the
        model has one and the options (those of :meth:`encode`) name no other.
        """
        return self._encode_with(self._native.document_prompt, sentences, options)

    def _encode_with(
        self, prompt_name: str | None, sentences: str | Iterable[str], options: dict[str, Any]
    ) -> NDArray[Any]:
        if options.get("prompt") is None and options.get("prompt_name") is None:
            options["prompt_name"] = prompt_name
        vectors: NDArray[Any] = self.encode(sentences, **options)
        return vectors

    def encode_arrow(
        self,
        column: Any,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        stride: int | None = None,
        truncation_side: Side = "right",
    ) -> pa.FixedSizeListArray:
        """Returns the vectors of a column of texts as an Arrow array; nulls stay null.

        Texts are read from the column's buffers, and the result shares the memory to which the
        vectors were written. It has the type ``fixed_size_list<float32>[dim]``.

        Args:
            column: An array or chunked array of pyarrow, or any object that implements the Arrow
                PyCapsule interface, such as a column of Polars. Its type is one of the string and
                binary types, or a dictionary of them.

        The other arguments are those of :meth:`encode`. This method needs the package pyarrow.

        Raises:
            TypeError: If the column has another type.
            AlbertError: If a value is not UTF-8; ``index`` says which.
        """
        options = {
            "prompt": prompt,
            "prompt_name": prompt_name,
            "normalize": normalize,
            "truncate_dim": truncate_dim,
            "stride": stride,
            "truncation_side": truncation_side,
        }
        return _arrow.encode(self._native, column, options)

    def count_tokens(self, sentences: str | Iterable[str], **options: Any) -> NDArray[np.int64]:
        """Returns the number of tokens of each text that enter the network.

        Args:
            sentences: A text, or several.
            options: ``prompt``, ``prompt_name``, ``stride`` and ``truncation_side`` of
                :meth:`encode`.
        """
        defaults = {
            "prompt": None,
            "prompt_name": None,
            "normalize": None,
            "truncate_dim": None,
            "stride": None,
            "truncation_side": "right",
        }
        unknown = options.keys() - defaults.keys()
        if unknown:
            raise TypeError(f"unexpected arguments: {', '.join(sorted(unknown))}")
        texts = [sentences] if isinstance(sentences, str) else sentences
        counts = self._native.count_tokens(texts, {**defaults, **options})
        return np.array([tokens for tokens, _ in counts], dtype=np.int64)

    def similarity(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Returns the cosine of each vector of ``a`` with each of ``b``, of shape (len(a), len(b)).

        A single vector counts as one row. A vector of zeros has the cosine 0.
        """
        return np.asarray(_unit(a) @ _unit(b).T, dtype=np.float32)

    def similarity_pairwise(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Returns the cosine of each vector of ``a`` with the vector of ``b`` in the same row."""
        first, second = _unit(a), _unit(b)
        if first.shape != second.shape:
            raise AlbertError(
                f"b: expected the shape {first.shape} of a, found {second.shape}"
            )
        return np.asarray(np.sum(first * second, axis=1), dtype=np.float32)


def quantize(
    vectors: ArrayLike, precision: Precision, samples: ArrayLike | None = None
) -> NDArray[Any]:
    """Converts vectors to a byte or a bit for each value instead of four bytes.

    As ``quantize_embeddings`` of sentence-transformers does: ``int8`` and ``uint8`` divide the
    range of each dimension into 256 steps, ``binary`` and ``ubinary`` keep the sign of a value,
    eight to a byte.

    Args:
        vectors: An array of shape (n, dim).
        precision: The type of the result; ``float32`` returns the vectors.
        samples: Vectors that determine the range of each dimension for ``int8`` and ``uint8``, such
            as those of a few hundred representative texts. By default the vectors themselves; a
            result then depends on the other vectors of the call.

    >>> quantize([[0.5, -0.5, 0.25]], "ubinary")
    array([[160]], dtype=uint8)
    """
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if precision == "float32":
        return rows
    sampled = rows if samples is None else np.ascontiguousarray(samples, dtype=np.float32)
    quantized: NDArray[Any] = _albert_candle.quantize(rows, precision, sampled)
    return quantized


def _unit(vectors: ArrayLike) -> NDArray[np.float32]:
    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)
