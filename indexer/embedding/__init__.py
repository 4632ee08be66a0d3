"""Texts -> unit vectors, and the embedder's own token counts.

`base` says what an embedder is, `pooling` what all do alike; `lean` runs an exported model with ONNX Runtime,
`reference` any model with sentence-transformers. `export` makes the one from the other, `cache` keeps what it made, and
`load` puts them together. Nothing heavy is imported before a model is loaded.
"""

from indexer.embedding.base import (
    Embedder,
    Encoder,
    ModelIdentity,
    PassageText,
    PassageVectors,
    Precision,
    Vectors,
    available_cpus,
    mean_vector,
    split_to_fit,
    unit,
)
from indexer.embedding.lean import OnnxEmbedder
from indexer.embedding.load import load_embedder
from indexer.embedding.models import DEFAULT_WEIGHTS_SHA256, model_folder
from indexer.embedding.reference import SentenceTransformerEmbedder, loading

__all__ = [
    "DEFAULT_WEIGHTS_SHA256",
    "Embedder",
    "Encoder",
    "ModelIdentity",
    "OnnxEmbedder",
    "PassageText",
    "PassageVectors",
    "Precision",
    "SentenceTransformerEmbedder",
    "Vectors",
    "available_cpus",
    "load_embedder",
    "loading",
    "mean_vector",
    "model_folder",
    "split_to_fit",
    "unit",
]
