"""What is wrong with an index in a folder: its files held against one another, the papers' files and the model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from indexer.embedding import Embedder
from indexer.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    IndexNotWritableError,
)
from indexer.store.embedded import dense
from indexer.store.embedded.database import Connection, damage_named, held_still
from indexer.store.embedded.folder import DATABASE, VECTORS, is_index, locked, unfinished
from indexer.store.embedded.schema import OLDEST_SCHEMA, SCHEMA_VERSION, connect
from indexer.store.manifest import Manifest, read_commits, read_meta
from indexer.upkeep.findings import (
    N_NAMED,
    REPAIR,
    Examination,
    Finding,
    look_at_model,
    look_at_papers,
    look_at_sources,
    named,
)
from indexer.upkeep.migrate import schema_of
from indexer.upkeep.rows import word_lists_agree


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
                look_at_sources(connection, found)
                if load is not None:
                    look_at_model(connection, manifest, load, found)
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
        what = f"files that a killed process left half made: {named(left)}"
        found.add(Finding("folder", "warning", what, f"{REPAIR}, or the next `loccit index`, removes them", "sweep"))
    kept = sorted(each.name for each in folder.iterdir() if each.name.startswith((f"{DATABASE}.", f"{VECTORS}.")))
    if kept := [each for each in kept if each not in left]:
        what = f"files of an earlier index that were kept: {named(kept)}"
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
            said = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({N_NAMED})")]
            orphans = {str(row[0]) for row in connection.execute("PRAGMA foreign_key_check")}
    except IndexDamagedError as error:
        said, orphans = [str(error)], set()
    if said != ["ok"]:
        found.add(Finding("database", "error", "; ".join(said), REPAIR, "salvage"))
    if orphans:
        what = f"rows of papers that are not there, in {named(sorted(orphans))}"
        found.add(Finding("database", "error", what, REPAIR, "salvage"))


def _papers(connection: Connection, manifest: Manifest, found: Examination) -> None:
    if wrong := look_at_papers(connection, manifest, found):
        remedy = f"{REPAIR} takes them out; then `loccit index PATH...` has them again from their files"
        found.add(Finding("papers", "error", f"not whole: {named(wrong)}", remedy, "salvage"))


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
