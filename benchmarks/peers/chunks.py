"""Chunks of papers, and where they stand: splitters give strings, the metrics want offsets. Knows no library."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.papers import Span

ANY_OVERLAP = sys.maxsize
"""For a splitter whose overlap is not counted in characters."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a paper as a library holds it. `start == end` where it could not be found in the file."""

    paper_id: str
    start: int
    end: int
    text: str


def locate(text: str, pieces: Sequence[str], *, overlap: int = 0) -> list[Span | None]:
    """Where each piece of `text` stands in it, in code points; None for one that does not occur.

    The pieces come in reading order, and one shares at most `overlap` characters with the one before. White space is
    passed over, because splitters strip and collapse it. Each piece is put at its first place after that of the piece
    before (as far as the overlap allows), so that a piece is never put behind its true place and none that follows is
    lost; a text that stands there twice may be put too early.
    """
    places = [at for at, character in enumerate(text) if not character.isspace()]
    bare = "".join(text.split())
    spans: list[Span | None] = []
    floor = 0
    for piece in pieces:
        wanted = "".join(piece.split())
        at = bare.find(wanted, floor) if wanted else -1
        if at < 0:
            spans.append(None)
            continue
        end = at + len(wanted)
        spans.append(Span(places[at], places[end - 1] + 1))
        floor = max(at + 1, end - overlap)
    return spans


def chunks_of(paper_id: str, text: str, pieces: Sequence[str], *, overlap: int = 0) -> list[Chunk]:
    """The pieces as chunks of the paper; see `locate`."""
    spans = locate(text, pieces, overlap=overlap)
    return [
        Chunk(paper_id, span.start if span else 0, span.end if span else 0, piece)
        for span, piece in zip(spans, pieces, strict=True)
    ]
