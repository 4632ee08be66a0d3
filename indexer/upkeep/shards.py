"""The servers that share an index on PostgreSQL: which there are, one more, and papers spread over them anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from indexer.store import Shard


@dataclass(frozen=True, slots=True)
class Shards:
    """The servers of an index, the first one first."""

    shards: tuple[Shard, ...]


def shards_of(url: str) -> Shards:
    """The servers of the index whose first one the URL names. Raises the IndexStateError that fits."""
    from indexer.store.postgres.reader import PostgresReader

    reader = PostgresReader(url)
    try:
        return Shards(reader.shards())
    finally:
        reader.close()


def add_shard(url: str, other: str) -> int:
    """Have another server's empty database share the index; new papers come to it from now on. Its number.

    Raises UsageError for a database that has an index, and the IndexStateError that fits.
    """
    from indexer.store.postgres.writer import PostgresWriter

    with PostgresWriter(url, None) as writer:
        return writer.add_shard(other)


def rebalance(url: str, heard: Callable[[int, int], None] = lambda done, n: None) -> int:
    """Move papers to the servers on which new ones of their ids would stand. How many; `heard` is told how far it is.

    Readers find each of them all the while. Raises the IndexStateError that fits.
    """
    from indexer.store.postgres.writer import PostgresWriter

    with PostgresWriter(url, None) as writer:
        return writer.rebalance(heard)
