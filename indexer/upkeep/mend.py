"""Setting an index right by its own rows: what can be read of it makes a new one, whatever else is made of the rows
anew. The damaged one is kept beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from indexer.durable import beside
from indexer.errors import IndexDamagedError, IndexStateError
from indexer.store import IndexWriter
from indexer.store.embedded.database import Connection, damage_named, lengthen, log_ahead, open_database
from indexer.store.embedded.folder import DATABASE, VECTORS, exchange, locked, sweep_folder
from indexer.store.embedded.schema import begin
from indexer.store.files import Files
from indexer.store.manifest import Commit, Manifest, read_meta
from indexer.store.rows import PASSAGES, TABLES, PaperRows, Row, read_rows, stored_rows
from indexer.upkeep.findings import Examination, Repair
from indexer.upkeep.migrate import migrate
from indexer.upkeep.rows import what_is_wrong, write_word_lists

_UNUSABLE = "unusable"


@dataclass(slots=True)
class Mended:
    """What was done."""

    done: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Papers that could not be read from the index, by their ids where these could be."""
    files: list[str] = field(default_factory=list)
    """The files of those, as far as they are known: to be indexed again."""


def mend(folder: Path, examination: Examination) -> Mended:
    """Do what the findings ask for. Nothing that can be read is lost, and the old files are kept under other names.

    Raises IndexBusyError, IndexNotWritableError; IndexDamagedError where nothing can be read.
    """
    wanted: set[Repair] = {each.repair for each in examination.findings}
    mended = Mended()
    with locked(folder):
        if left := sweep_folder(folder):
            mended.done.append(f"removed {', '.join(left)}")
        if "migrate" in wanted:
            before, kept = migrate(folder)
            mended.done.append(f"made an index of this loccit's schema of version {before}, which is kept as {kept}")
        if "salvage" in wanted:
            _salvage(folder, mended)
        if "vectors" in wanted:
            (folder / VECTORS).unlink(missing_ok=True)
    if wanted & {"migrate", "salvage", "vectors"}:
        IndexWriter(folder, None).close()
        mended.done.append(f"made {VECTORS} of the rows")
    return mended


def _salvage(folder: Path, mended: Mended) -> None:
    """Make a new database of all papers that can be read whole."""
    with damage_named(folder), beside(folder / DATABASE) as part:
        with closing(_opened(folder)) as old:
            commit, manifest = _meta(folder, old)
            with closing(begin(part, manifest)) as new:
                new.execute("BEGIN")
                n_papers = _copy_papers(folder, old, new, manifest, mended)
                if mended.lost and not n_papers:
                    raise _nothing_left(folder, f"none of its {len(mended.lost):,} papers can be read whole")
                _copy_files(folder, old, new, mended)
                _copy_history(folder, old, new, commit)
                new.execute("INSERT INTO passages_fts (passages_fts) VALUES ('rebuild')")
                write_word_lists(new)
                new.execute("COMMIT")
                log_ahead(new)
        kept = exchange(folder, part, _UNUSABLE)
    mended.done.append(f"made a new database of the {n_papers} papers that can be read; the old one is kept as {kept}")


def _meta(folder: Path, old: Connection) -> tuple[Commit, Manifest]:
    try:
        with damage_named(folder):
            return read_meta(old)
    except IndexStateError as error:
        raise _nothing_left(folder, f"not even its manifest can be read ({error})") from error


def _nothing_left(folder: Path, what: str) -> IndexDamagedError:
    """An empty index in its place would answer less than what is there still does, and look sound."""
    return IndexDamagedError(
        f"{folder}: {what}; nothing was changed. "
        "Put a backup back with `loccit restore`, or make it anew with `loccit index PATH... --rebuild`"
    )


def _opened(folder: Path) -> Connection:
    if not (folder / f"{DATABASE}-wal").exists():
        lengthen(folder / DATABASE)
    with damage_named(folder):
        return open_database(folder / DATABASE)


def _copy_papers(folder: Path, old: Connection, new: Connection, manifest: Manifest, mended: Mended) -> int:
    n_copied = 0
    for paper, rows in _readable(folder, old):
        if rows is None or not rows["papers"] or what_is_wrong(rows, manifest.model.dim):
            paper_id = rows["papers"][0]["paper_id"] if rows and rows["papers"] else _name_of(folder, old, paper)
            mended.lost.append(paper_id)
            continue
        for table in TABLES:
            _put_rows(new, table, rows[table])
        n_copied += 1
    return n_copied


def _readable(folder: Path, old: Connection) -> Iterator[tuple[int, PaperRows | None]]:
    """Every paper that there is, or may be, with its rows; none where they cannot be read."""
    unread: list[int] = []
    for paper in _numbers(folder, old):
        try:
            with damage_named(folder):
                rows = stored_rows(old, paper)
        except IndexDamagedError:
            unread.append(paper)
            continue
        if rows["papers"] or rows[PASSAGES]:
            yield paper, rows
    if unread:
        found = _scanned(folder, old)
        for paper in unread:
            rows_again: PaperRows | None = None
            if found is not None:
                with suppress(IndexDamagedError), damage_named(folder):
                    rows_again = stored_rows(old, paper, found.get(paper, []))
            yield paper, rows_again


def _numbers(folder: Path, old: Connection) -> list[int]:
    """The papers' row ids: by the table, else an index of it, which may lack some, else every one that there may be."""
    found: set[int] = set()
    for statement in ("SELECT id FROM papers NOT INDEXED", "SELECT id FROM papers"):
        with suppress(IndexDamagedError), damage_named(folder):
            return [int(row[0]) for row in _rows(old, statement)]
    for statement in ("SELECT id FROM papers", "SELECT DISTINCT paper FROM passages"):
        with suppress(IndexDamagedError), damage_named(folder):
            found.update(int(row[0]) for row in _rows(old, statement))
    with suppress(IndexDamagedError), damage_named(folder):
        last = old.execute("SELECT seq FROM sqlite_sequence WHERE name = 'papers'").get
        found.update(range(1, int(last or 0) + 1))
    return sorted(found)


def _rows(connection: Connection, statement: str) -> Iterator[tuple[Any, ...]]:
    yield from connection.execute(statement)


def _scanned(folder: Path, old: Connection) -> dict[int, list[Row]] | None:
    """Passages by their paper, from the table itself: an index of it may be what is damaged."""
    try:
        with damage_named(folder):
            rows = read_rows(old, "SELECT * FROM passages NOT INDEXED ORDER BY id")
    except IndexDamagedError:
        return None
    ordered = sorted(rows, key=lambda row: (row["paper"], row["ordinal"]))
    return {paper: list(own) for paper, own in groupby(ordered, key=lambda row: int(row["paper"]))}


def _name_of(folder: Path, old: Connection, paper: int) -> str:
    for statement in ("SELECT paper_id FROM papers WHERE id = ?", "SELECT passage_id FROM passages WHERE paper = ?"):
        with suppress(IndexDamagedError), damage_named(folder):
            if name := old.execute(statement, (paper,)).get:
                return str(name).partition(":")[0]
    return f"the paper of row {paper}"


def _put_rows(connection: Connection, table: str, rows: list[Row]) -> None:
    """Put rows in, as they were read."""
    for row in rows:
        names = ", ".join(row)
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))


def _copy_files(folder: Path, old: Connection, new: Connection, mended: Mended) -> None:
    """What is known of the files of the papers that are there. Those of the others will be looked at again."""
    present = {str(row[0]) for row in new.execute("SELECT paper_id FROM papers")}
    files = Files(new)
    try:
        with damage_named(folder):
            for origin, paper_id, _ in Files(old).origins():
                record = Files(old).at(origin)
                if paper_id not in present:
                    mended.files.append(origin)
                elif record is not None:
                    files.put(record)
            files.keep_failures(Files(old).failures())
    except IndexDamagedError:
        files.keep_failures([])  # every file is read again by the next build, and no vector made again


def _copy_history(folder: Path, old: Connection, new: Connection, commit: Commit) -> None:
    """The commits so far, and one more: what is made of them has changed.

    Along one line of commits a row id is used once. Where it cannot be read which were, a new line begins.
    """
    commits: list[Any] = []
    last_ids: list[Any] = []
    with suppress(IndexDamagedError), damage_named(folder):
        last_ids = old.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
        commits = [tuple(commit)]
    if commits:
        with suppress(IndexDamagedError), damage_named(folder):
            commits = old.execute("SELECT generation, token FROM commits").fetchall()
    new.execute("DELETE FROM commits")
    new.executemany("INSERT INTO commits VALUES (?, ?)", [*commits, tuple(Commit.after(commit.generation))])
    for name, last in last_ids:
        present = new.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", (name,)).get
        new.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
        new.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, max(last, present)))
