"""Columns of texts in Arrow's memory layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["encode", "vector_type"]


def encode(native: Any, column: Any, options: dict[str, Any]) -> pa.FixedSizeListArray:
    """Returns the vectors of a column; nulls stay null."""
    import pyarrow as pa

    texts = _texts(column)
    _, offsets_buffer, data_buffer = texts.buffers()
    offsets = np.zeros(1, dtype=np.int64)
    if offsets_buffer is not None and len(offsets_buffer):
        offsets = np.frombuffer(offsets_buffer, dtype=np.int64)
        offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
    # The buffer may be missing if all texts are empty.
    data = np.frombuffer(data_buffer or b"", dtype=np.uint8)
    valid = None
    if texts.null_count:
        valid = texts.is_valid().to_numpy(zero_copy_only=False)
    vectors = native.encode_column(data, offsets, valid, options)
    mask = None if valid is None else pa.array(~valid)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.reshape(-1)), type=vector_type(vectors.shape[1]), mask=mask
    )


def vector_type(dim: int) -> pa.DataType:
    """Returns the type of a column of vectors."""
    import pyarrow as pa

    return pa.list_(pa.field("item", pa.float32(), nullable=False), dim)


def _texts(column: Any) -> pa.Array:
    """Returns a column as one array of large strings or of large binary values."""
    import pyarrow as pa

    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        texts = column
    elif hasattr(column, "__arrow_c_stream__"):
        texts = pa.chunked_array(column)
    elif hasattr(column, "__arrow_c_array__"):
        texts = pa.array(column)
    else:
        raise TypeError(f"expected an Arrow array of texts, found {type(column).__name__}")
    if pa.types.is_dictionary(texts.type):
        texts = texts.cast(texts.type.value_type)
    kind = texts.type
    # By name, because older versions of pyarrow lack some of these types.
    if str(kind) in ("binary", "large_binary", "binary_view"):
        texts = texts.cast(pa.large_binary())
    elif str(kind) in ("string", "large_string", "string_view", "null"):
        texts = texts.cast(pa.large_string())
    else:
        raise TypeError(f"expected an Arrow array of texts, found one of {kind}")
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
        # Older versions of pyarrow return a chunked array.
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.chunk(0) if texts.num_chunks else pa.array([], texts.type)
    return texts
