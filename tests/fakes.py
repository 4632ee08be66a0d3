"""What tests of everything else use: an embedder without a model, and a citation that says little."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from indexer.embedding import Encoder, ModelIdentity, PassageText, PassageVectors, Vectors
from service.cite import Citation, Links

_NOWHERE = Citation(
    paper_id="",
    title="",
    authors=(),
    year=None,
    journal="",
    date="",
    doi="",
    pmcid="",
    pmid="",
    url="",
    section=(),
    paragraph=1,
    sentences=(1,),
    start=0,
    end=0,
    exact="",
    prefix="",
    suffix="",
    source="",
    source_sha256="",
    label="",
    links=Links("", ""),
    references=(),
)

_WORD = re.compile(r"\w+|[^\w\s]")


def _direction(word: str, dim: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(dim)


def citation(**fields: Any) -> Citation:
    """A citation of these fields; the others are empty."""
    return replace(_NOWHERE, **fields)


class WordEmbedder:
    """The normalised sum of its words' fixed random directions. Notes what it encoded, each text once."""

    def __init__(self, name: str = "words", dim: int = 32, max_wordpieces: int = 64) -> None:
        self.identity = ModelIdentity(name, "1", "0" * 64, dim, "mean", max_wordpieces)
        self.encoder = Encoder("reference", 1.0)
        self.encoded: list[str] = []

    def count(self, texts: Sequence[str]) -> list[int]:
        return [2 + len(_WORD.findall(text)) for text in texts]

    def encode(
        self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
    ) -> list[PassageVectors]:
        texts = list(dict.fromkeys(text for each in passages for text in (each.text, *each.sentences)))
        assert max(self.count(texts), default=0) <= self.identity.max_wordpieces
        self.encoded.extend(texts)
        on_progress(sum(self.count(texts)))
        vectors = {text: self.encode_query(text) for text in texts}
        return [
            PassageVectors(vectors[each.text], np.array([vectors[text] for text in each.sentences], dtype=np.float32))
            for each in passages
        ]

    def encode_query(self, text: str) -> Vectors:
        total = np.sum([_direction(word, self.identity.dim) for word in _WORD.findall(text) or [""]], axis=0)
        return np.asarray(total / np.linalg.norm(total), dtype=np.float32)
