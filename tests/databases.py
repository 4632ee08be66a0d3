"""An index's database, opened by hand: for tests that look into it, or spoil it."""

from __future__ import annotations

from pathlib import Path

from indexer.store.embedded.database import Connection, create_database, open_database

__all__ = ["Connection", "opened"]


def opened(path: Path) -> Connection:
    """A connection to the database, made if there is none. What is executed is committed at once."""
    return open_database(path) if path.exists() else create_database(path)
