"""A copy of an index, made while it is read and written, and put back.

A backup is a folder of the index's files and `backup.json`, which is written last: without it, a backup is not whole.
The papers' own files are not in it.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from indexer.durable import beside, make_folder, put_in_place, write_whole
from indexer.embedding.models import file_sha256
from indexer.errors import IndexDamagedError, IndexMismatchError, IndexNotWritableError, UsageError
from indexer.store.embedded import dense
from indexer.store.embedded.database import copy_database, damage_named, held_still, log_ahead, open_database
from indexer.store.embedded.folder import DATABASE, VECTORS, exchange, is_index, locked, sweep_folder
from indexer.store.embedded.schema import OLDEST_SCHEMA, SCHEMA_VERSION, connect
from indexer.store.manifest import read_meta
from indexer.upkeep.migrate import schema_in

RECORD = "backup.json"


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of an index."""

    folder: str
    generation: int
    papers: int
    passages: int
    made: str
    """When: ISO 8601, UTC."""
    sha256: dict[str, str]
    """Of its files, by their names."""


def back_up(index: Path, folder: Path) -> Backup:
    """Copy the index in `index` to the new or empty folder `folder`, as it is at one moment; others go on using it.

    Raises IndexStateError, UsageError for a folder with something in it, IndexNotWritableError.
    """
    connection = connect(index)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is not an empty folder: name a new one for each backup")
        make_folder(folder)
        with damage_named(index), held_still(connection):
            commit, manifest = read_meta(connection)
            with damage_named(folder):
                copy_database(connection, folder / DATABASE)
            n_papers = int(connection.execute("SELECT count(*) FROM papers").get)
            n_passages = int(connection.execute("SELECT count(*) FROM passages").get)
            vectors = dense.load(index / VECTORS, manifest.model.dim).caught_up(connection, manifest.model.dim)
        vectors.save(folder / VECTORS)
        _check_copy(folder)
        made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        sums = {name: file_sha256(folder / name) for name in (DATABASE, VECTORS)}
        backup = Backup(str(folder), commit.generation, n_papers, n_passages, made, sums)
        write_whole(folder / RECORD, (json.dumps(asdict(backup), indent=2) + "\n").encode())
        return backup
    except OSError as error:
        raise IndexNotWritableError(
            f"{folder} does not take the backup ({error}): what is there is not whole, remove it"
        ) from error
    finally:
        connection.close()


def restore(folder: Path, index: Path, *, replace: bool = False) -> Backup:
    """Put the backup in `folder` in the place of the index in `index`; one that is there only with `replace`, and it is
    kept beside. Readers of the index go on with the restored one.

    Raises UsageError, IndexDamagedError for a backup that is not whole, IndexMismatchError for one of a newer loccit,
    IndexBusyError, IndexNotWritableError.
    """
    backup = _read_record(folder)
    for name, wanted in backup.sha256.items():
        if not (folder / name).is_file() or file_sha256(folder / name) != wanted:
            raise IndexDamagedError(f"{folder / name} is not what was backed up: take another backup")
    if is_index(index) and not replace:
        raise UsageError(f"there is an index in {index}: name another folder with --index, or say --replace")
    with locked(index):
        sweep_folder(index)
        try:
            with beside(index / DATABASE) as database, beside(index / VECTORS) as vectors:
                _copy(folder / DATABASE, database)
                _copy(folder / VECTORS, vectors)
                _check_schema(folder, database)
                exchange(index, database, "replaced")
                put_in_place(vectors, index / VECTORS)
        except OSError as error:
            raise IndexNotWritableError(f"{index} does not take the backup: {error}") from error
        connect(index).close()
    return backup


def _check_copy(folder: Path) -> None:
    """Read every page of the copy: an index that is damaged has no good backup. Raises IndexDamagedError."""
    with damage_named(folder), closing(open_database(folder / DATABASE)) as copy:
        log_ahead(copy)
        if (said := copy.execute("PRAGMA quick_check(1)").get) != "ok":
            raise IndexDamagedError(f"the copy in {folder} is damaged ({said}), and so is the index, it seems")


def _check_schema(folder: Path, database: Path) -> None:
    """Raise IndexMismatchError where no way leads from the copy's schema to this one: before anything is replaced."""
    version = schema_in(database)
    if not OLDEST_SCHEMA <= version <= SCHEMA_VERSION:
        raise IndexMismatchError(
            f"the backup in {folder} has schema version {version}, this loccit reads {SCHEMA_VERSION}: "
            "install the loccit that made it"
        )


def _read_record(folder: Path) -> Backup:
    path = folder / RECORD
    try:
        backup = Backup(**json.loads(path.read_text(encoding="utf-8")))
        if backup.sha256.keys() != {DATABASE, VECTORS}:
            raise ValueError("it names other files")
    except FileNotFoundError as error:
        raise UsageError(f"{folder} is no backup, or not a whole one: there is no {RECORD} in it") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise IndexDamagedError(f"{path} cannot be read ({error}): take another backup") from error
    return backup


def _copy(path: Path, to: Path) -> None:
    with path.open("rb") as source, to.open("xb") as target:
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
