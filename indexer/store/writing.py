"""Changing an index, whatever holds it: what a build may ask for."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from indexer.embedding import PassageVectors
from indexer.errors import LoccitError
from indexer.papers import Abbreviation, AliasGroup, Paper, Passage
from indexer.store.files import FailedFile, FileRecord, Files
from indexer.store.manifest import Manifest
from indexer.store.rows import PaperRows, rows_of
from indexer.store.snapshot import Snapshot

_log = logging.getLogger(__name__)


class Writer(ABC):
    """An index open for writing. Nobody else writes to it until it is closed.

    Nothing is seen by readers before `commit`. A rebuild empties the index and becomes visible as a whole with the
    first `commit`; `checkpoint` then waits for it.
    """

    place: str
    """Where the index is, as it may be told."""
    manifest: Manifest
    dropped: frozenset[str]
    """Papers that a rebuild began by taking out."""

    @abstractmethod
    def view(self) -> Snapshot:
        """The index as this writer sees it, its uncommitted changes included. Has no vectors to search."""

    @property
    @abstractmethod
    def files(self) -> Files:
        """What is known of the files, uncommitted changes included. For reading: it takes no part in transactions."""

    @abstractmethod
    def put_rows(self, rows: PaperRows) -> None:
        """Store a paper in place of any other with its id, as its rows are made of it or stand in another index."""

    def put_many(self, papers: Sequence[PaperRows]) -> None:
        """The same of several papers."""
        for rows in papers:
            self.put_rows(rows)

    def put(
        self,
        paper: Paper,
        origin: str,
        passages: Sequence[Passage],
        vectors: Mapping[str, PassageVectors],
        left_out: Mapping[str, int],
        abbreviations: Sequence[Abbreviation] = (),
        aliases: Sequence[AliasGroup] = (),
    ) -> None:
        """Store a paper in place of any other with its id. `vectors` are by passage id; not every passage has one."""
        self.put_rows(rows_of(paper, origin, passages, vectors, left_out, abbreviations, aliases))

    def remove(self, paper_id: str) -> None:
        """Take a paper out, and forget its files. Raises NotFoundError."""
        self.view().paper(paper_id)
        for record in self.files.of(paper_id):
            self.forget_file(record.origin)
        self.take_down(paper_id)

    @abstractmethod
    def take_down(self, paper_id: str) -> None:
        """Take a paper out, if it is there; what is known of its files stays."""

    @abstractmethod
    def put_file(self, record: FileRecord) -> None:
        """Keep what is known of a file."""

    @abstractmethod
    def forget_file(self, origin: str) -> None:
        """Keep nothing of that file."""

    @abstractmethod
    def keep_failures(self, failures: Sequence[FailedFile]) -> None:
        """Keep these as the files that gave no paper, if others are kept so far."""

    @abstractmethod
    def move(self, paper_id: str, origin: str, source: str) -> None:
        """Note that a paper's unchanged file now stands elsewhere."""

    @abstractmethod
    def checkpoint(self) -> None:
        """Commit what is done so far, unless this is a rebuild, which is seen as a whole or not at all."""

    @abstractmethod
    def commit(self) -> int:
        """Make the changes visible and durable; the generation that has them. Without changes, and in a rehearsal, the
        present one."""

    @abstractmethod
    def close(self) -> None:
        """Drop what was not committed, bring what searches need up to date, and let the next writer in."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except LoccitError as second:
            if error is None:
                raise
            _log.warning("%s could not be closed in order: %s", self.place, second)  # the first error says why
