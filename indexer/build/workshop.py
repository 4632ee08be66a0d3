"""What of a build depends on one file alone: its bytes -> the paper in it, taken apart into passages and names.

It may be done anywhere, and ahead of the rest. Knows nothing of the index and of other files; reads none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from indexer.abbreviations import find_abbreviations
from indexer.aliases import find_aliases
from indexer.build.identity import record_of
from indexer.chunking import chunk, left_out
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.errors import SourceError
from indexer.papers import CONTENT_KINDS, Abbreviation, AliasGroup, Paper, Passage, SourceFormat
from indexer.sources import SourceFile, bugs_named, parse_bytes
from indexer.store import FileRecord


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file as it was read."""

    file: SourceFile
    format: SourceFormat
    raw: bytes
    provenance: str
    """SHA-256 of what is kept beside it of where it came from."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a paper is taken apart into."""

    passages: list[Passage]
    left_out: dict[str, int]
    """Non-blank characters that stand in no passage, by kind of block."""
    abbreviations: tuple[Abbreviation, ...]
    aliases: tuple[AliasGroup, ...]


class Job(Protocol):
    """One file's work. It was begun, and is waited for where its results are asked for."""

    def is_done(self) -> bool:
        """Whether nobody would wait."""
        ...

    def opened(self) -> tuple[Paper, FileRecord]:
        """The paper in the file, by the file alone, and what the file says of itself. Raises SourceError."""
        ...

    def parts(self, paper: Paper) -> Parts:
        """The parts of that paper, by the id that it goes by now. Raises SourceError where some of it would be lost."""
        ...


class Workshop(Protocol):
    """Where this is done."""

    @property
    def works_ahead(self) -> bool:
        """Whether jobs are done before they are asked for, several at once."""
        ...

    def has_room(self, n_begun: int, n_bytes: int) -> bool:
        """Whether another job may be begun while so many are, over files of so many bytes in all."""
        ...

    def begin(self, sheet: Sheet) -> Job:
        """Have the file's paper made."""
        ...


def open_sheet(sheet: Sheet) -> tuple[Paper, FileRecord]:
    """The paper in the file, and what the file says of itself. Raises SourceError."""
    paper = parse_bytes(sheet.file, sheet.raw, sheet.format)
    with bugs_named(paper.source):
        return paper, record_of(paper, str(sheet.file.path), sheet.provenance)


def take_apart(paper: Paper, config: BuildConfig, embedder: Embedder) -> Parts:
    """The paper's passages and names. Raises SourceError when the passages would not hold all of it."""
    with bugs_named(paper.source):
        passages = chunk(paper, config, embedder.count, embedder.identity.max_wordpieces)
        out = left_out(paper, passages)
        names = find_abbreviations(paper), find_aliases(paper)
    lost = {kind: n for kind, n in out.items() if kind in CONTENT_KINDS}
    if lost:
        raise SourceError(f"characters would be lost in chunking ({lost}): please report this file as a bug")
    return Parts(passages, {**out, **paper.dropped}, *names)


@dataclass(frozen=True, slots=True)
class Bench:
    """The workshop in this process: each file's work is done when its results are asked for, and not before."""

    config: BuildConfig
    embedder: Embedder
    works_ahead: bool = False

    def has_room(self, n_begun: int, n_bytes: int) -> bool:
        """One at a time."""
        return n_begun == 0

    def begin(self, sheet: Sheet) -> Job:
        """The file's work, to be done."""
        return _Here(self, sheet)


@dataclass(frozen=True, slots=True)
class _Here:
    """A job that is done as it is asked for."""

    bench: Bench
    sheet: Sheet

    def is_done(self) -> bool:
        return True

    def opened(self) -> tuple[Paper, FileRecord]:
        return open_sheet(self.sheet)

    def parts(self, paper: Paper) -> Parts:
        return take_apart(paper, self.bench.config, self.bench.embedder)
