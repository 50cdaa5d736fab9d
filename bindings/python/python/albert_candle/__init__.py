"""Embeddings, fill-mask, classification, NER and question answering with ALBERT and BERT.

>>> from albert_candle import Embedder
>>> Embedder().encode(["A cat sleeps."]).dtype.name
'float32'

The extension module needs NumPy and nothing else. The modules :mod:`albert_candle.spark`,
:mod:`~albert_candle.duckdb`, :mod:`~albert_candle.ray`, :mod:`~albert_candle.polars`,
:mod:`~albert_candle.dask`, :mod:`~albert_candle.langchain`, :mod:`~albert_candle.llama_index` and
:mod:`~albert_candle.chroma` connect it to other packages, which they import when they are imported.
"""

from __future__ import annotations

from ._albert_candle import __version__
from ._embedder import Embedder, Precision, quantize
from ._errors import AlbertError, HubError
from ._model import Dtype, Model
from ._pipeline import Pipeline, pipeline
from ._tasks import (
    Answer,
    Answerer,
    Classifier,
    Entity,
    Filled,
    Filling,
    LabelScore,
    MaskFiller,
    Ranked,
    Reranker,
    Tagger,
    TextScore,
    ZeroShot,
    ZeroShotLabels,
)
from ._tokenizer import Encoding, Tokenizer

__all__ = [
    "AlbertError",
    "Answer",
    "Answerer",
    "Classifier",
    "Dtype",
    "Embedder",
    "Encoding",
    "Entity",
    "Filled",
    "Filling",
    "HubError",
    "LabelScore",
    "MaskFiller",
    "Model",
    "Pipeline",
    "Precision",
    "Ranked",
    "Reranker",
    "Tagger",
    "TextScore",
    "Tokenizer",
    "ZeroShot",
    "ZeroShotLabels",
    "__version__",
    "pipeline",
    "quantize",
]
