"""Whether there is an index on a server, and what it takes up there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from indexer.store.postgres import schema
from indexer.store.postgres.session import Session
from indexer.store.sql import value

_PATIENCE_S = 10


def is_index(url: str) -> bool:
    """Whether there is an index, whatever its state. Raises IndexUnreachableError."""
    with _session(url) as session:
        return schema.version_of(session) is not None


def on_disk(url: str) -> tuple[int, float]:
    """Bytes of the index's tables and what is made of them, on all servers; and when the first was last written to, in
    seconds since 1970, 0 where it does not say."""
    with _session(url) as session:
        n_bytes = _n_bytes(session)
        for _, other in schema.shards_of(session):
            with _session(other) as shard:
                n_bytes += _n_bytes(shard)
        return n_bytes, float(value(session, f"SELECT extract(epoch FROM written_at)::float8 FROM {schema.HOME}.meta"))


def _n_bytes(session: Session) -> int:
    name, _ = schema.present(session)
    return int(
        value(
            session,
            "SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint FROM pg_class "
            "JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = ? AND relkind = 'r'",
            (name,),
        )
    )


@contextmanager
def _session(url: str) -> Iterator[Session]:
    session = Session(url, patience_s=_PATIENCE_S)
    try:
        yield session
    finally:
        session.close()
