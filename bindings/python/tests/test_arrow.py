"""Columns of Arrow: types, nulls, slices, and the result's type."""

from __future__ import annotations

import numpy as np
import pytest

from albert_candle import AlbertError

pa = pytest.importorskip("pyarrow")

TEXTS = ["A cat sleeps.", "", "Zoë\nand 東京", "A dog runs."]


def rows(column) -> np.ndarray:
    return np.array(column.to_pylist(), dtype=np.float32)


@pytest.mark.parametrize(
    "kind",
    ["string", "large_string", "string_view", "binary", "large_binary", "binary_view", "dictionary"],
)
def test_every_type_of_text_is_read(embedder, kind):
    if kind == "dictionary":
        column = pa.array(TEXTS).dictionary_encode()
    else:
        column = pa.array(TEXTS).cast(getattr(pa, kind)())
    vectors = embedder.encode_arrow(column)
    assert isinstance(vectors, pa.FixedSizeListArray)
    assert vectors.type == pa.list_(pa.field("item", pa.float32(), nullable=False), embedder.dim)
    assert rows(vectors).tobytes() == embedder.encode(TEXTS).tobytes()


def test_nulls_stay_null(embedder):
    vectors = embedder.encode_arrow(pa.array([None, "A cat.", None, "A dog."]))
    assert vectors.is_null().to_pylist() == [True, False, True, False]
    assert np.array_equal(rows(vectors.drop_null()), embedder.encode(["A cat.", "A dog."]))
    assert embedder.encode_arrow(pa.nulls(3)).null_count == 3


def test_slices_and_chunks_are_read(embedder):
    column = pa.array([*TEXTS, None, "The end."])
    expected = embedder.encode_arrow(column)
    assert embedder.encode_arrow(column.slice(2, 3)).equals(expected.slice(2, 3))
    chunked = pa.chunked_array([column.slice(0, 1), column.slice(1), pa.array([], pa.string())])
    assert embedder.encode_arrow(chunked).equals(expected)
    assert len(embedder.encode_arrow(pa.array([], pa.string()))) == 0
    assert len(embedder.encode_arrow(pa.chunked_array([], pa.string()))) == 0


def test_options_are_those_of_encode(embedder):
    vectors = embedder.encode_arrow(pa.array(TEXTS), truncate_dim=8, normalize=True)
    expected = embedder.encode(TEXTS, truncate_dim=8, normalize=True)
    assert rows(vectors).tobytes() == expected.tobytes()


def test_a_value_that_is_not_utf8_is_refused_with_its_index(embedder):
    with pytest.raises(AlbertError, match="text 1: expected UTF-8") as raised:
        embedder.encode_arrow(pa.array([b"fine", b"\xff"]))
    assert raised.value.index == 1


@pytest.mark.parametrize("column", [["A cat."], "A cat.", 3])
def test_other_objects_are_refused(embedder, column):
    with pytest.raises(TypeError, match="expected an Arrow array of texts, found"):
        embedder.encode_arrow(column)


def test_numbers_are_refused(embedder):
    with pytest.raises(TypeError, match="found one of int64"):
        embedder.encode_arrow(pa.array([1, 2]))


def test_a_column_of_polars_is_read(embedder):
    polars = pytest.importorskip("polars")
    column = polars.Series([*TEXTS, None])
    vectors = embedder.encode_arrow(column)
    assert vectors.null_count == 1
    assert rows(vectors.drop_null()).tobytes() == embedder.encode(TEXTS).tobytes()
