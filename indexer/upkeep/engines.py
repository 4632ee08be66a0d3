"""Looking after an index wherever it is: which engine's hands it is in.

An engine is imported when it is asked for: its libraries may not be here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from indexer.embedding import Embedder
from indexer.errors import UsageError
from indexer.store import IndexPlace, shown_place
from indexer.upkeep import backup
from indexer.upkeep.backup import Backup
from indexer.upkeep.examine import examine as examine_folder
from indexer.upkeep.findings import Examination
from indexer.upkeep.mend import Mended
from indexer.upkeep.mend import mend as mend_folder


def examine(place: IndexPlace, load: Callable[[str], Embedder] | None = None) -> Examination:
    """Look an index over, and its papers' files; with `load`, its model too.

    Reads all of it. Raises IndexMissingError where there is none, IndexUnreachableError.
    """
    if isinstance(place, Path):
        return examine_folder(place, load)
    from indexer.upkeep.servers import examine as examine_servers

    return examine_servers(place, load)


def mend(place: IndexPlace, examination: Examination) -> Mended:
    """Do what the examination's findings say can be done. Raises IndexBusyError, and the IndexStateError that fits."""
    if isinstance(place, Path):
        return mend_folder(place, examination)
    from indexer.upkeep.servers import mend as mend_servers

    return mend_servers(place, examination)


def back_up(place: IndexPlace, folder: Path) -> Backup:
    """Copy an index to a new or empty folder, as it is at one moment. Raises UsageError for one on a server, and as
    `backup.back_up`."""
    return backup.back_up(_folder(place, f"`loccit copy URL {folder}` makes an index in a folder of it"), folder)


def restore(folder: Path, place: IndexPlace, *, replace: bool = False) -> Backup:
    """Put a backup in the place of an index. Raises UsageError for one on a server, and as `backup.restore`."""
    step = f"restore {folder} to another folder, and bring that to an empty database with `loccit copy`"
    return backup.restore(folder, _folder(place, step), replace=replace)


def _folder(place: IndexPlace, step: str) -> Path:
    if isinstance(place, Path):
        return place
    raise UsageError(
        f"{shown_place(place)} is on a server, which PostgreSQL's own tools back up and restore (pg_dump, pg_restore, "
        f"pg_basebackup); {step}"
    )
