"""Changing an index: one writer at a time, one transaction a commit, a new generation each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indexer.errors import (
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    IndexNotWritableError,
)
from indexer.store import postings
from indexer.store.embedded import dense
from indexer.store.embedded.database import Connection, damage_named
from indexer.store.embedded.folder import DATABASE, VECTORS, set_aside, sweep_folder, take_lock
from indexer.store.embedded.schema import connect, create, read_collection
from indexer.store.embedded.snapshot import EmbeddedSnapshot
from indexer.store.files import FailedFile, FileRecord, Files
from indexer.store.manifest import Commit, Manifest, read_meta
from indexer.store.postings import Collection, PassageTerms
from indexer.store.rows import PaperRows, insert_paper
from indexer.store.snapshot import Snapshot
from indexer.store.writing import Writer


class IndexWriter(Writer):
    """An index in a folder, open for writing. Holds its lock until it is closed."""

    def __init__(
        self, folder: Path, manifest: Manifest | None, *, rebuild: bool = False, rehearse: bool = False
    ) -> None:
        """Open the index in `folder`, making it if there is none and `manifest` says how. To `rehearse` is to commit
        nothing: all that was changed is dropped at the end.

        With no manifest, an existing index is taken as it is. Raises IndexBusyError at once when another process
        writes; IndexMismatchError when the index was made otherwise; IndexNotWritableError.
        """
        self.folder, self.place = folder, str(folder)
        if manifest is None and not (folder / DATABASE).exists():
            connect(folder)  # raises, with the reason
        self._lock = take_lock(folder)
        try:
            sweep_folder(folder)
            self._connection, self._generation, self.manifest, self.dropped = _open(folder, manifest, rebuild, rehearse)
            self._rebuilding = rebuild
            self._rehearsing = rehearse
            self._new: dict[int, PassageTerms] = {}
        except BaseException:
            self._lock.release()
            raise

    def view(self) -> Snapshot:
        """The index as this writer sees it, its uncommitted changes included. Has no vectors to search."""
        vectors = dense.empty(self.manifest.model.dim)
        return EmbeddedSnapshot(self._connection, self._generation, self.manifest, vectors, self._collection)

    def put_rows(self, rows: PaperRows) -> None:
        """Store a paper in place of any other with its id, as its rows are made of it or stand in another index."""
        self._begin()
        with damage_named(self.folder):
            self._remove(rows["papers"][0]["paper_id"])
            key = insert_paper(self._connection, rows)
            self._connection.execute(
                "INSERT INTO passages_fts (rowid, title, headings, body) SELECT id, title, headings, body "
                "FROM passage_terms WHERE id IN (SELECT id FROM passages WHERE paper = ?)",
                (key,),
            )
            self._new.update(postings.read_terms(self._connection, "paper = ?", key))

    def take_down(self, paper_id: str) -> None:
        """Take a paper out, if it is there; what is known of its files stays."""
        self._begin()
        with damage_named(self.folder):
            self._remove(paper_id)

    @property
    def files(self) -> Files:
        """What is known of the files, uncommitted changes included. For reading: it takes no part in transactions."""
        return Files(self._connection)

    def put_file(self, record: FileRecord) -> None:
        """Keep what is known of a file."""
        self._begin()
        with damage_named(self.folder):
            self.files.put(record)

    def forget_file(self, origin: str) -> None:
        """Keep nothing of that file."""
        self._begin()
        with damage_named(self.folder):
            self.files.forget(origin)

    def keep_failures(self, failures: Sequence[FailedFile]) -> None:
        """Keep these as the files that gave no paper, if others are kept so far."""
        if sorted(failures, key=lambda each: each.origin) != self.files.failures():
            self._begin()
            with damage_named(self.folder):
                self.files.keep_failures(failures)

    def move(self, paper_id: str, origin: str, source: str) -> None:
        """Note that a paper's unchanged file now stands elsewhere."""
        self._begin()
        with damage_named(self.folder):
            self._connection.execute(
                "UPDATE papers SET origin = ?, source = ? WHERE paper_id = ?", (origin, source, paper_id)
            )

    def checkpoint(self) -> None:
        """Commit what is done so far, unless this is a rebuild, which is seen as a whole or not at all."""
        if self._rebuilding or self._rehearsing:
            self._write_words()
        else:
            self.commit()

    def commit(self) -> int:
        """Make the changes visible and durable; the generation that has them. Without changes, and in a rehearsal, the
        present one."""
        if self._connection.in_transaction and not self._rehearsing:
            self._write_words()
            with damage_named(self.folder):
                commit = Commit.after(self._generation)
                self._connection.execute("INSERT INTO commits VALUES (?, ?)", commit)
                self._connection.execute("COMMIT")
                self._generation = commit.generation
            self._rebuilding = False
        return self._generation

    def close(self) -> None:
        """Drop what was not committed, bring the FAISS file up to date, and let the next writer in."""
        try:
            with damage_named(self.folder):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if not self._rehearsing:
                    self._save_vectors()
        finally:
            self._connection.close()
            self._lock.release()

    def _begin(self) -> None:
        if not self._connection.in_transaction:
            with damage_named(self.folder):
                self._connection.execute("BEGIN IMMEDIATE")
            self._new.clear()  # of a transaction that an error ended

    def _remove(self, paper_id: str) -> None:
        # The full-text index has no copy of its text: it must be told what to forget before the rows go.
        self._connection.execute(
            "INSERT INTO passages_fts (passages_fts, rowid, title, headings, body) "
            "SELECT 'delete', id, title, headings, body FROM passage_terms WHERE id IN "
            "(SELECT passages.id FROM passages JOIN papers ON papers.id = passages.paper WHERE papers.paper_id = ?)",
            (paper_id,),
        )
        rows: list[Any] = self._connection.execute(
            "SELECT passages.id FROM passages JOIN papers ON papers.id = passages.paper WHERE papers.paper_id = ?",
            (paper_id,),
        ).fetchall()
        written = [(row_id,) for (row_id,) in rows if self._new.pop(row_id, None) is None]
        self._connection.executemany("INSERT INTO removed_rows VALUES (?)", written)
        self._connection.execute("DELETE FROM papers WHERE paper_id = ?", (paper_id,))

    def _write_words(self) -> None:
        """Put the words of the new passages into the word lists, in the transaction that has the passages."""
        if self._connection.in_transaction:
            with damage_named(self.folder):
                postings.write(self._connection, self._new)
            self._new.clear()

    def _collection(self) -> Collection:
        self._write_words()
        return read_collection(self._connection)

    def _save_vectors(self) -> None:
        commit, manifest = read_meta(self._connection)
        path = self.folder / VECTORS
        present = dense.load(path, manifest.model.dim)
        if present.commit != commit:
            try:
                present.renewed(self._connection, manifest.model.dim).save(path)
            except OSError as error:
                raise IndexNotWritableError(
                    f"{path} cannot be written ({error}); the papers themselves are safe"
                ) from error


def _open(
    folder: Path, manifest: Manifest | None, rebuild: bool, rehearse: bool
) -> tuple[Connection, int, Manifest, frozenset[str]]:
    """A connection to the index, made or checked; its generation and manifest; papers dropped for a rebuild."""
    try:
        connection = _connect_or_create(folder, manifest)
        try:
            with damage_named(folder):
                commit, present = read_meta(connection)
                if rebuild and manifest is not None:
                    return connection, commit.generation, manifest, _emptied(connection, manifest)
            if manifest is not None:
                present.check(manifest)
            return connection, commit.generation, present, frozenset()
        except BaseException:
            connection.close()
            raise
    except (IndexDamagedError, IndexMismatchError):
        if not rebuild or manifest is None or rehearse:
            raise
        set_aside(folder, "unusable")
        connection = create(folder, manifest)
        return connection, read_meta(connection)[0].generation, manifest, frozenset()


def _emptied(connection: Connection, manifest: Manifest) -> frozenset[str]:
    """Begin a rebuild: one transaction, every table emptied in it. Gives the papers that were there.

    Row ids go on from where they were.
    """
    connection.execute("BEGIN IMMEDIATE")
    papers = frozenset(row[0] for row in connection.execute("SELECT paper_id FROM papers"))
    connection.execute("INSERT INTO passages_fts (passages_fts) VALUES ('delete-all')")
    for table in ("papers", "segments", "postings", "removed_rows", "files", "likenesses", "failures"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute("UPDATE meta SET value = ? WHERE key = 'manifest'", (manifest.to_json(),))
    return papers


def _connect_or_create(folder: Path, manifest: Manifest | None) -> Connection:
    path = folder / DATABASE
    if manifest is not None and (not path.exists() or path.stat().st_size == 0) and not (folder / VECTORS).exists():
        return create(folder, manifest)
    try:
        return connect(folder)
    except IndexMissingError:
        if manifest is None:
            raise
        return create(folder, manifest)
