"""What is wrong with an index: its files held against one another, against the papers' files and the model.

Nothing is changed. Each finding names what is wrong and what to do; `mend` does what can be done from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from indexer.embedding import Embedder, PassageText
from indexer.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    IndexNotWritableError,
    ModelError,
    SourceError,
)
from indexer.sources import read_bytes
from indexer.store.embedded import dense
from indexer.store.embedded.database import Connection, damage_named, held_still
from indexer.store.embedded.folder import DATABASE, VECTORS, is_index, locked, unfinished
from indexer.store.embedded.schema import OLDEST_SCHEMA, SCHEMA_VERSION, connect
from indexer.store.files import Files
from indexer.store.manifest import Manifest, read_commits, read_meta
from indexer.store.packing import unpack_passage
from indexer.store.rows import PASSAGES, stored_rows
from indexer.upkeep.migrate import schema_of
from indexer.upkeep.rows import what_is_wrong, word_lists_agree

Check = Literal["folder", "schema", "database", "papers", "full text", "word lists", "vectors", "model", "sources"]
Repair = Literal["", "migrate", "salvage", "vectors", "sweep"]
"""What `mend` does about a finding; nothing where it is not for the index's rows to say."""

REPAIR = "`loccit doctor --repair`"
_N_NAMED = 3
_N_ENCODED = 8
"""Passages that are encoded again, to see whether the model is the one that made the vectors."""
_LEAST_COSINE = 0.97
"""Between a vector as it was made and as it is made now: by 8-bit arithmetic of another machine, 0.99."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    check: Check
    level: Literal["warning", "error"]
    """An error keeps the index from answering rightly; a warning is for whoever looks after it."""
    what: str
    remedy: str
    repair: Repair = ""


@dataclass(slots=True)
class Examination:
    """What was looked at, and what was found."""

    checked: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    papers: int = 0
    passages: int = 0
    generation: int = -1

    @property
    def is_sound(self) -> bool:
        """Whether no error was found."""
        return all(each.level != "error" for each in self.findings)

    def add(self, finding: Finding) -> None:
        """One more."""
        self.findings.append(finding)


def examine(folder: Path, load: Callable[[str], Embedder] | None = None) -> Examination:
    """Look the index in `folder` over, and its papers' files; with `load`, its model too.

    Reads all of it. Raises IndexMissingError where there is no index.
    """
    found = Examination()
    _folder(folder, found)
    try:
        with damage_named(folder), closing(connect(folder)) as connection, held_still(connection):
            _database(folder, connection, found)
            if found.is_sound:
                commit, manifest = read_meta(connection)
                found.generation = commit.generation
                _papers(connection, manifest, found)
                _full_text(folder, found)
                _word_lists(connection, found)
                if found.is_sound:  # else there may be no vectors to read
                    _vectors(folder, connection, manifest, found)
                _sources(connection, found)
                if load is not None:
                    _model(connection, manifest, load, found)
    except IndexMismatchError as error:
        _mismatch(folder, error, found)
    except IndexDamagedError as error:
        found.add(Finding("database", "error", str(error), REPAIR, "salvage"))
    return found


def _folder(folder: Path, found: Examination) -> None:
    found.checked.append("folder")
    if not is_index(folder) and not list(folder.glob(f"{DATABASE}.*")):
        raise IndexMissingError(f"there is no index in {folder}: run `loccit index PATH... --index {folder}`")
    if left := unfinished(folder):
        what = f"files that a killed process left half made: {_named(left)}"
        found.add(Finding("folder", "warning", what, f"{REPAIR}, or the next `loccit index`, removes them", "sweep"))
    kept = sorted(each.name for each in folder.iterdir() if each.name.startswith((f"{DATABASE}.", f"{VECTORS}.")))
    if kept := [each for each in kept if each not in left]:
        what = f"files of an earlier index that were kept: {_named(kept)}"
        found.add(Finding("folder", "warning", what, "remove them when nothing is missed from them"))


def _mismatch(folder: Path, error: IndexMismatchError, found: Examination) -> None:
    found.checked.append("schema")
    is_older = OLDEST_SCHEMA <= schema_of(folder) < SCHEMA_VERSION
    remedy = REPAIR if is_older else "install the loccit that made it, or `loccit index PATH... --rebuild`"
    found.add(Finding("schema", "error", str(error), remedy, "migrate" if is_older else ""))


def _database(folder: Path, connection: Connection, found: Examination) -> None:
    """Every page read, every tree held against its table, and the full-text index against itself."""
    found.checked.append("database")
    try:
        with damage_named(folder):
            said = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_N_NAMED})")]
            orphans = {str(row[0]) for row in connection.execute("PRAGMA foreign_key_check")}
    except IndexDamagedError as error:
        said, orphans = [str(error)], set()
    if said != ["ok"]:
        found.add(Finding("database", "error", "; ".join(said), REPAIR, "salvage"))
    if orphans:
        what = f"rows of papers that are not there, in {_named(sorted(orphans))}"
        found.add(Finding("database", "error", what, REPAIR, "salvage"))


def _papers(connection: Connection, manifest: Manifest, found: Examination) -> None:
    """Every paper's passages, vectors and places, held against its text where that is at hand."""
    found.checked.append("papers")
    wrong: list[str] = []
    papers: list[Any] = connection.execute("SELECT id, paper_id FROM papers ORDER BY id").fetchall()
    for paper, paper_id in papers:
        rows = stored_rows(connection, paper)
        found.papers += 1
        found.passages += len(rows[PASSAGES])
        if said := what_is_wrong(rows, manifest.model.dim):
            wrong.append(f"{paper_id} ({said})")
    if wrong:
        remedy = f"{REPAIR} takes them out; then `loccit index PATH...` has them again from their files"
        found.add(Finding("papers", "error", f"not whole: {_named(wrong)}", remedy, "salvage"))


def _full_text(folder: Path, found: Examination) -> None:
    """The full-text index, held against the passages.

    That only looks, but as a statement that writes: nobody else may write meanwhile, and no longer than that.
    """
    found.checked.append("full text")
    try:
        with locked(folder), damage_named(folder), closing(connect(folder)) as connection:
            connection.execute("INSERT INTO passages_fts (passages_fts, rank) VALUES ('integrity-check', 1)")
    except IndexDamagedError as error:
        found.add(Finding("full text", "error", f"it is not of the passages: {error}", REPAIR, "salvage"))
    except (IndexBusyError, IndexNotWritableError) as error:
        what = f"it was not held against the passages, which takes the right to write: {error}"
        found.add(Finding("full text", "warning", what, "look again when nobody writes"))


def _word_lists(connection: Connection, found: Examination) -> None:
    """The word lists, held against the passages."""
    found.checked.append("word lists")
    if not word_lists_agree(connection):
        found.add(Finding("word lists", "error", "they are not of the passages", REPAIR, "salvage"))


def _vectors(folder: Path, connection: Connection, manifest: Manifest, found: Examination) -> None:
    """The FAISS file, held against the vectors' rows."""
    found.checked.append("vectors")
    path, commit = folder / VECTORS, max(read_commits(connection))
    present = dense.load(path, manifest.model.dim)
    remedy = f"{REPAIR} makes it anew from the rows; so does the next `loccit index`"
    if present.commit.generation < 0:
        found.add(Finding("vectors", "error", f"{path} is missing, damaged, or no such file", remedy, "vectors"))
    elif present.commit not in read_commits(connection):
        found.add(Finding("vectors", "warning", f"{path} is of another index", remedy, "vectors"))
    elif present.commit != commit:
        found.add(Finding("vectors", "warning", f"{path} is behind the rows", remedy, "vectors"))
    elif not present.agrees(connection):
        found.add(Finding("vectors", "error", f"{path} holds other vectors than the rows", remedy, "vectors"))


def _sources(connection: Connection, found: Examination) -> None:
    """The papers' files, held against the hashes that were taken when they were indexed."""
    found.checked.append("sources")
    files = Files(connection)
    gone, changed, unreadable = [], [], []
    for origin, _, _ in files.origins():
        record, path = files.at(origin), Path(origin)
        try:
            if not path.exists():
                gone.append(origin)
            elif record is None or sha256(read_bytes(path)).hexdigest() != record.sha256:
                changed.append(origin)
        except (OSError, SourceError) as error:
            unreadable.append(f"{origin} ({error})")
    for names, what, remedy in (
        (gone, "gone", "put them back, or run `loccit index PATH... --prune` to take their papers out"),
        (changed, "changed since they were indexed, or forgotten", "run `loccit index PATH...`"),
        (unreadable, "not readable", "mend them, then run `loccit index PATH...`"),
    ):
        if names:
            found.add(Finding("sources", "warning", f"{len(names)} files are {what}: {_named(names)}", remedy))


def _model(connection: Connection, manifest: Manifest, load: Callable[[str], Embedder], found: Examination) -> None:
    """The model's files by their hash, and some passages encoded again."""
    found.checked.append("model")
    try:
        embedder = load(manifest.model.name)
    except ModelError as error:
        found.add(Finding("model", "error", str(error), "put the model back where it was, or name another and rebuild"))
        return
    if embedder.identity != manifest.model:
        what = f"{manifest.model.name} is not the model that the vectors were made with"
        found.add(Finding("model", "error", what, "put that one back, or run `loccit index PATH... --rebuild`"))
        return
    if rows := list(_sample(connection)):
        made = embedder.encode([PassageText(text, ()) for text, _ in rows])
        least = min(
            float(each.passage @ unpack_passage(blob, manifest.model.dim))
            for each, (_, blob) in zip(made, rows, strict=True)
        )
        if least < _LEAST_COSINE:
            what = f"a passage's vector, made again, is not the one that is stored (cosine {least:.3f})"
            found.add(Finding("model", "error", what, "run `loccit index PATH... --rebuild`, and report it as a bug"))


def _sample(connection: Connection) -> Iterator[tuple[str, bytes]]:
    """Some passages' embedded texts and vectors, spread over the index."""
    ids: list[Any] = [row[0] for row in connection.execute("SELECT id FROM vectors ORDER BY id")]
    for row_id in ids[:: max(len(ids) // _N_ENCODED, 1)][:_N_ENCODED]:
        row: Any = connection.execute(
            "SELECT embedded_text, vector FROM passages JOIN vectors USING (id) WHERE id = ?", (row_id,)
        ).fetchone()
        yield row


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
    return ", ".join(names[:_N_NAMED]) + more
