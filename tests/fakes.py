"""What tests use in place of the real thing: an embedder without a model, citations and passages that say little."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from indexer.embedding import Encoder, ModelIdentity, PassageText, PassageVectors, Vectors
from indexer.errors import ModelError
from indexer.papers import BlockKind, Passage, Sentence
from indexer.sentences import split_sentences
from indexer.store import StoredPaper, StoredPassage
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


@lru_cache(maxsize=1 << 17)
def _direction(word: str, dim: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(dim)


def citation(**fields: Any) -> Citation:
    """A citation of these fields; the others are empty."""
    return replace(_NOWHERE, **fields)


def stored_passage(
    text: str,
    *,
    start: int = 1000,
    section: str = "3. Results",
    paper_id: str = "p",
    title: str = "Limpets",
    kind: BlockKind = "paragraph",
) -> StoredPassage:
    """A passage of that text, as if it stood at `start` in its paper. `[1,2]` in it is a marker, a blank line ends a
    paragraph."""
    spans = [
        (paragraph, number, span)
        for paragraph, (first, last) in enumerate(_paragraphs(text), start=1)
        for number, span in enumerate(split_sentences(text, first, last), start=1)
    ]
    passage = Passage(
        passage_id=f"{paper_id}:{start}",
        paper_id=paper_id,
        ordinal=start,
        start=start,
        end=start + len(text),
        text=text,
        kind=kind,
        role="body",
        section=(section,),
        section_number="3",
        sentences=tuple(Sentence(start + s.start, start + s.end, paragraph, n) for paragraph, n, s in spans),
        embedded_text=text,
        n_wordpieces=0,
        n_tokens=0,
    )
    paper = StoredPaper(
        paper_id, f"{paper_id}.md", "", "0" * 64, title, ("Ada Marsh",), "", "", "", "", "", 2021, "", "", "",
        "markdown", (), 0, 1, {}, {},
    )  # fmt: skip
    at = text.find("[1,2]")
    return StoredPassage(start, passage, paper, ((start + at, start + at + 5, (1, 2)),) if at >= 0 else ())


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    first = 0
    for gap in re.finditer(r"\n\n", text):
        yield first, gap.start()
        first = gap.end()
    yield first, len(text)


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


class SlowEmbedder(WordEmbedder):
    """One that takes its time, as models do. A text with POISON in it ends the process that counts its words."""

    def count(self, texts: Sequence[str]) -> list[int]:
        if any("POISON" in text for text in texts):
            os._exit(1)
        return super().count(texts)

    def encode(
        self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
    ) -> list[PassageVectors]:
        if max(self.count([each.text for each in passages]), default=0) > self.identity.max_wordpieces:
            raise ModelError("a text would be cut")
        time.sleep(0.01 * len(passages))
        return super().encode(passages, on_progress)


def other_weights() -> WordEmbedder:
    """An embedder of the same name whose weights are others."""
    embedder = WordEmbedder()
    embedder.identity = replace(embedder.identity, weights_sha256="1" * 64)
    return embedder
