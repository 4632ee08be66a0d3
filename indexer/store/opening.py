"""Which engine holds an index: a folder is the embedded one's, a postgresql:// URL is PostgreSQL's.

An engine is imported when it is asked for: its libraries may not be here.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from indexer.places import IndexPlace
from indexer.store.embedded.folder import is_index as is_folder
from indexer.store.embedded.footprint import on_disk as folder_on_disk
from indexer.store.embedded.reader import IndexReader
from indexer.store.embedded.writer import IndexWriter
from indexer.store.manifest import Manifest
from indexer.store.snapshot import Snapshot
from indexer.store.writing import Writer


class Reader(Protocol):
    """An open index. Safe to use from several threads."""

    @property
    def place(self) -> IndexPlace:
        """Where it is."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """The newest committed generation, held still until the block ends."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def open_reader(place: IndexPlace, *, is_patient: bool = False) -> Reader:
    """Open an index for searching; if `is_patient`, for reading all of it, however long a server takes to answer.

    Raises the IndexStateError that fits.
    """
    if isinstance(place, Path):
        return IndexReader(place)
    from indexer.store.postgres.reader import PostgresReader

    return PostgresReader(place, is_patient=is_patient)


def open_writer(
    place: IndexPlace, manifest: Manifest | None, *, rebuild: bool = False, rehearse: bool = False
) -> Writer:
    """Open an index for writing, making it if there is none and `manifest` says how; see `Writer`.

    To `rehearse` is to commit nothing. Raises IndexBusyError where another process writes, else the IndexStateError
    that fits.
    """
    if isinstance(place, Path):
        return IndexWriter(place, manifest, rebuild=rebuild, rehearse=rehearse)
    from indexer.store.postgres.writer import PostgresWriter

    return PostgresWriter(place, manifest, rebuild=rebuild, rehearse=rehearse)


def is_index(place: IndexPlace) -> bool:
    """Whether there is an index, whatever its state. Raises IndexUnreachableError."""
    if isinstance(place, Path):
        return is_folder(place)
    from indexer.store.postgres.footprint import is_index as is_on_server

    return is_on_server(place)


def on_disk(place: IndexPlace) -> tuple[int, float]:
    """Bytes that the index takes up, and when it was last written to, in seconds since 1970; 0 if there is none."""
    if isinstance(place, Path):
        return folder_on_disk(place)
    from indexer.store.postgres.footprint import on_disk as on_servers

    return on_servers(place)


def shown_place(place: IndexPlace) -> str:
    """The place as it may be told: a URL without its password. Raises UsageError for one that is none."""
    if isinstance(place, Path):
        return str(place)
    from indexer.store.postgres.session import shown

    return shown(place)
