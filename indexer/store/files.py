"""The files that an index knows: which paper each one is of, which one is searched, and what tells them alike.

A paper may stand in several files. One of them is searched; the others are its versions. The rows are written as a
build goes through the files, before the papers themselves: `reconcile` takes out what a build that was killed left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, get_args

from indexer.likeness import bands
from indexer.papers import Notice, SourceFormat
from indexer.store.sql import Connection, value

Standing = tuple[int, ...]
"""What files of one paper are compared by: the greatest is searched."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file with a paper in it, and what it says of itself."""

    origin: str
    """Its absolute path."""
    source: str
    sha256: str
    provenance: str
    """SHA-256 of what is kept beside it of where it came from; empty where nothing is."""
    paper_id: str
    """The paper that it is of, as the index has it."""
    is_searched: bool
    own_id: str
    """The id that the file's own text, or its path, gives."""
    title: str
    """Folded, to compare."""
    pmcid: str
    doi: str
    """In lower case."""
    pmid: str
    date: str
    format: SourceFormat
    notices: tuple[Notice, ...]
    standing: Standing
    n_words: int
    signature: bytes
    why: str
    """How it was told that the file is of this paper; empty for the file that is searched."""


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that gave no paper when it was last seen, and why."""

    origin: str
    source: str
    reason: str


_COLUMNS = (
    "origin, source, sha256, provenance, paper_id, is_searched, own_id, title, pmcid, doi, pmid, date, format, "
    "notices, standing, n_words, signature, why"
)
_KNOWN_BY = ("sha256", "own_id", "pmcid", "doi", "pmid")


class Files:
    """The files of an index, over its connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def at(self, origin: str) -> FileRecord | None:
        """What stands in the file."""
        return next(iter(self._rows("origin = ?", origin)), None)

    def searched(self, paper_id: str) -> FileRecord | None:
        """The file of that paper that is searched."""
        return next(iter(self._rows("paper_id = ? AND is_searched = 1", paper_id)), None)

    def of(self, paper_id: str) -> list[FileRecord]:
        """All files of a paper: the one that is searched, then the others by their standing, best first."""
        found = self._rows("paper_id = ?", paper_id)
        return sorted(found, key=lambda each: (each.is_searched, each.standing), reverse=True)

    def called(self, own_id: str) -> list[FileRecord]:
        """The files whose own text or path gives that id, by their path."""
        return sorted(self._rows("own_id = ?", own_id), key=lambda each: each.origin)

    def holding(self, sha256: str, own_id: str) -> list[FileRecord]:
        """The files that are not searched and have these bytes, then those that give that id."""
        found = [
            *self._rows("sha256 = ? AND is_searched = 0", sha256),
            *self._rows("own_id = ? AND is_searched = 0", own_id),
        ]
        return list({each.origin: each for each in found}.values())

    def origins(self) -> list[tuple[str, str, bool]]:
        """Of every file its path, its paper's id, and whether it is searched, by path.

        Also of papers whose file is not known: a build that ended in between had forgotten it already.
        """
        rows = self._connection.execute(
            "SELECT origin, paper_id, is_searched FROM files UNION SELECT origin, paper_id, 1 FROM papers WHERE NOT "
            "EXISTS (SELECT 1 FROM files WHERE files.paper_id = papers.paper_id AND is_searched = 1) ORDER BY origin"
        )
        return [(origin, paper_id, bool(is_searched)) for origin, paper_id, is_searched in rows]

    def related(self, record: FileRecord) -> list[FileRecord]:
        """Other files that share an id with this one, or its bytes, or some of its text."""
        found: dict[str, FileRecord] = {}
        for column in _KNOWN_BY:
            if value := getattr(record, column):
                found |= {each.origin: each for each in self._rows(f"{column} = ? AND {column} <> ''", value)}
        wanted = bands(record.signature)
        where = f"id IN (SELECT file FROM likenesses WHERE band IN ({', '.join('?' * len(wanted))}))"
        found |= {each.origin: each for each in self._rows(where, *wanted)}
        found.pop(record.origin, None)
        return sorted(found.values(), key=lambda each: each.origin)

    def put(self, record: FileRecord) -> None:
        """Keep the record, in place of any other of its file."""
        self.forget(record.origin)
        file = value(
            self._connection,
            f"INSERT INTO files ({_COLUMNS}) VALUES ({', '.join('?' * 18)}) RETURNING id",
            (
                record.origin, record.source, record.sha256, record.provenance, record.paper_id,
                int(record.is_searched), record.own_id, record.title, record.pmcid, record.doi, record.pmid,
                record.date, record.format, " ".join(record.notices), json.dumps(record.standing), record.n_words,
                record.signature, record.why,
            ),
        )  # fmt: skip
        self._connection.executemany(
            "INSERT INTO likenesses VALUES (?, ?)", [(band, file) for band in bands(record.signature)]
        )

    def forget(self, origin: str) -> None:
        """Keep nothing of that file."""
        row = self._connection.execute("SELECT id, signature FROM files WHERE origin = ?", (origin,)).fetchone()
        if row is not None:
            file, own = row
            self._connection.executemany(
                "DELETE FROM likenesses WHERE band = ? AND file = ?", [(band, file) for band in bands(own)]
            )
            self._connection.execute("DELETE FROM files WHERE id = ?", (file,))

    def failures(self) -> list[FailedFile]:
        """The files that gave no paper when they were last seen, by their path."""
        rows = self._connection.execute("SELECT origin, source, reason FROM failures ORDER BY origin")
        return [FailedFile(*row) for row in rows]

    def keep_failures(self, failures: Iterable[FailedFile]) -> None:
        """Keep these failures, and no others."""
        self._connection.execute("DELETE FROM failures")
        self._connection.executemany(
            "INSERT INTO failures VALUES (?, ?, ?)",
            [astuple(each) for each in {each.origin: each for each in failures}.values()],
        )

    def left_over(self) -> list[str]:
        """The files of papers whose searched file is not the one that was stored: a build ended in between."""
        rows = self._connection.execute(
            "SELECT origin FROM files WHERE NOT EXISTS (SELECT 1 FROM files AS head JOIN papers ON "
            "papers.paper_id = head.paper_id AND papers.origin = head.origin AND papers.sha256 = head.sha256 "
            "WHERE head.paper_id = files.paper_id AND head.is_searched = 1)"
        )
        return [row[0] for row in rows]

    def _rows(self, where: str, *values: str | int) -> list[FileRecord]:
        """Those files, in the order in which they came to be known."""
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM files WHERE {where} ORDER BY id", values)
        return [_record(row) for row in rows]


def read_notices(*written: str | None) -> tuple[Notice, ...]:
    """The notices in columns of them, each once, in the order of their kinds."""
    said = {word for each in written if each for word in each.split()}
    return tuple(notice for notice in get_args(Notice) if notice in said)


def _record(row: Sequence[Any]) -> FileRecord:
    (origin, source, sha256, provenance, paper_id, is_searched, own_id, title, pmcid, doi, pmid, date, kind, notices,
     standing, n_words, own_signature, why) = row  # fmt: skip
    return FileRecord(
        origin, source, sha256, provenance, paper_id, bool(is_searched), own_id, title, pmcid, doi, pmid, date, kind,
        read_notices(notices), tuple(json.loads(standing)), n_words, own_signature, why,
    )  # fmt: skip
