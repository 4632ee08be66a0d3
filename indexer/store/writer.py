"""Changing an index: one writer at a time, one transaction a commit, a new generation each."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from indexer.embedding import Vectors
from indexer.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    IndexNotWritableError,
)
from indexer.papers import Paper, Passage
from indexer.store import dense
from indexer.store.reader import Snapshot
from indexer.store.schema import DATABASE, LOCK, VECTORS, Manifest, connect, create, damage_named, read_meta
from indexer.terms import terms


class IndexWriter:
    """An index open for writing. Holds the index's lock until it is closed.

    Nothing is seen by readers before `commit`. A rebuild empties the index and becomes visible as a whole with the
    first `commit`; `checkpoint` then waits for it.
    """

    def __init__(self, folder: Path, manifest: Manifest | None, *, rebuild: bool = False) -> None:
        """Open the index in `folder`, making it if there is none and `manifest` says how.

        With no manifest, an existing index is taken as it is. Raises IndexBusyError at once when another process
        writes; IndexMismatchError when the index was made otherwise; IndexNotWritableError.
        """
        self.folder = folder
        if manifest is None and not (folder / DATABASE).exists():
            connect(folder)  # raises, with the reason
        self._lock = _take_lock(folder)
        try:
            self._connection, self.manifest = _open(folder, manifest, rebuild)
            with damage_named(folder):
                self._generation, _ = read_meta(self._connection)
                self._rebuilding = rebuild
                if rebuild:
                    self._clear()
        except BaseException:
            self._lock.release()
            raise

    def view(self) -> Snapshot:
        """The index as this writer sees it, its uncommitted changes included. Has no vectors to search."""
        return Snapshot(self._connection, self._generation, self.manifest, dense.empty(self.manifest.model.dim))

    def put(
        self,
        paper: Paper,
        origin: str,
        passages: Sequence[Passage],
        vectors: Mapping[str, Vectors],
        left_out: Mapping[str, int],
    ) -> None:
        """Store a paper in place of any other with its id. `vectors` are by passage id; not every passage has one."""
        self._begin()
        with damage_named(self.folder):
            self._remove(paper.paper_id)
            key = self._insert("papers", _paper_row(paper, origin, left_out))
            self._connection.executemany(
                "INSERT INTO reference_entries VALUES (?, ?, ?, ?, ?, ?)",
                [(key, n, entry.key, entry.text, entry.doi, entry.pmid) for n, entry in enumerate(paper.references)],
            )
            for passage in passages:
                row_id = self._insert("passages", {"paper": key, **_passage_row(paper, passage)})
                if passage.passage_id in vectors:
                    blob = vectors[passage.passage_id].astype("<f4").tobytes()
                    self._connection.execute("INSERT INTO vectors VALUES (?, ?)", (row_id, blob))
            self._connection.execute(
                "INSERT INTO passages_fts (rowid, title, headings, body) SELECT id, title, headings, body "
                "FROM passage_terms WHERE id IN (SELECT id FROM passages WHERE paper = ?)",
                (key,),
            )

    def remove(self, paper_id: str) -> None:
        """Take a paper out. Raises NotFoundError."""
        self.view().paper(paper_id)
        self._begin()
        with damage_named(self.folder):
            self._remove(paper_id)

    def move(self, paper_id: str, origin: str, source: str) -> None:
        """Note that a paper's unchanged file now stands elsewhere."""
        self._begin()
        with damage_named(self.folder):
            self._connection.execute(
                "UPDATE papers SET origin = ?, source = ? WHERE paper_id = ?", (origin, source, paper_id)
            )

    def checkpoint(self) -> None:
        """Commit what is done so far, unless this is a rebuild, which is seen as a whole or not at all."""
        if not self._rebuilding:
            self.commit()

    def commit(self) -> int:
        """Make the changes visible and durable; the generation that has them. Without changes, the present one."""
        if self._connection.in_transaction:
            with damage_named(self.folder):
                self._generation += 1
                self._connection.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (str(self._generation),))
                self._connection.execute("COMMIT")
            self._rebuilding = False
        return self._generation

    def close(self) -> None:
        """Drop what was not committed, bring the FAISS file up to date, and let the next writer in."""
        try:
            with damage_named(self.folder):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._save_vectors()
        finally:
            self._connection.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        if not self._connection.in_transaction:
            with damage_named(self.folder):
                self._connection.execute("BEGIN IMMEDIATE")

    def _clear(self) -> None:
        """Empty every table, in the transaction that the rebuild is made in. Row ids go on from where they were."""
        self._begin()
        self._connection.execute("INSERT INTO passages_fts (passages_fts) VALUES ('delete-all')")
        self._connection.execute("DELETE FROM papers")
        self._connection.execute("UPDATE meta SET value = ? WHERE key = 'manifest'", (self.manifest.to_json(),))

    def _remove(self, paper_id: str) -> None:
        # The full-text index has no copy of its text: it must be told what to forget before the rows go.
        self._connection.execute(
            "INSERT INTO passages_fts (passages_fts, rowid, title, headings, body) "
            "SELECT 'delete', id, title, headings, body FROM passage_terms WHERE id IN "
            "(SELECT passages.id FROM passages JOIN papers ON papers.id = passages.paper WHERE papers.paper_id = ?)",
            (paper_id,),
        )
        self._connection.execute("DELETE FROM papers WHERE paper_id = ?", (paper_id,))

    def _insert(self, table: str, row: Mapping[str, str | int | None]) -> int:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        cursor = self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _save_vectors(self) -> None:
        generation, manifest = read_meta(self._connection)
        path = self.folder / VECTORS
        present = dense.load(path, manifest.model.dim)
        if present.generation != generation:
            try:
                present.caught_up(self._connection, generation, manifest.model.dim).save(path)
            except OSError as error:
                raise IndexNotWritableError(
                    f"{path} cannot be written ({error}); the papers themselves are safe"
                ) from error


def _take_lock(folder: Path) -> FileLock:
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise IndexBusyError(
            f"another process is writing to {folder}: wait for it to end, then run the command again"
        ) from error
    except OSError as error:
        raise IndexNotWritableError(f"{folder} takes no files ({error}): name another folder with --index") from error
    return lock


def _open(folder: Path, manifest: Manifest | None, rebuild: bool) -> tuple[sqlite3.Connection, Manifest]:
    """A connection to the index, made or checked, and its manifest."""
    try:
        connection = _connect_or_create(folder, manifest)
        if not rebuild:
            try:
                with damage_named(folder):
                    _, present = read_meta(connection)
                if manifest is not None:
                    present.check(manifest)
                return connection, present
            except BaseException:
                connection.close()
                raise
    except (IndexDamagedError, IndexMismatchError):
        if not rebuild or manifest is None:
            raise
        _set_aside(folder)
        connection = create(folder, manifest)
    assert manifest is not None, "a rebuild says what to build"
    return connection, manifest


def _connect_or_create(folder: Path, manifest: Manifest | None) -> sqlite3.Connection:
    path = folder / DATABASE
    if manifest is not None and (not path.exists() or path.stat().st_size == 0) and not (folder / VECTORS).exists():
        return create(folder, manifest)
    try:
        return connect(folder)
    except IndexMissingError:
        if manifest is None:
            raise
        return create(folder, manifest)


def _set_aside(folder: Path) -> None:
    """Keep an unreadable index's files under another name: a rebuild replaces them, it does not destroy them."""
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", VECTORS):
        path = folder / name
        if path.exists():
            path.replace(path.with_name(f"{name}.unusable"))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _paper_row(paper: Paper, origin: str, left_out: Mapping[str, int]) -> dict[str, str | int | None]:
    return {
        "paper_id": paper.paper_id,
        "source": paper.source,
        "origin": origin,
        "sha256": paper.sha256,
        "title": paper.title,
        "authors": _json(paper.authors),
        "pmcid": paper.pmcid,
        "doi": paper.doi,
        "pmid": paper.pmid,
        "journal": paper.journal,
        "date": paper.date,
        "year": paper.year,
        "licence": paper.licence,
        "url": paper.url,
        "body_omitted": paper.body_omitted,
        "sections": _json(
            [
                {
                    "title": each.title,
                    "number": each.number,
                    "level": each.level,
                    "start": each.start,
                    "role": each.role,
                }
                for each in paper.sections[1:]
            ]
        ),
        "entities": _json([asdict(entity) for entity in paper.entities]),
        "left_out": _json(dict(left_out)),
        "title_terms": " ".join(terms(paper.title)),
    }


def _passage_row(paper: Paper, passage: Passage) -> dict[str, str | int | None]:
    markers = [
        (marker.start, marker.end, marker.references)
        for marker in paper.markers
        if passage.start <= marker.start and marker.end <= passage.end
    ]
    return {
        "passage_id": passage.passage_id,
        "ordinal": passage.ordinal,
        "start": passage.start,
        "end": passage.end,
        "text": passage.text,
        "kind": passage.kind,
        "role": passage.role,
        "section": _json(passage.section),
        "section_number": passage.section_number,
        "sentences": _json([(each.start, each.end, each.paragraph, each.number) for each in passage.sentences]),
        "markers": _json(markers),
        "embedded_text": passage.embedded_text,
        "n_wordpieces": passage.n_wordpieces,
        "n_tokens": passage.n_tokens,
        "heading_terms": " ".join(terms(" ".join(passage.section))),
        "terms": " ".join(terms(passage.embedded_text)),
    }
