"""PostgreSQL, as the index uses it: sessions that speak the store's SQL, every complaint one of the index's own errors.

The only module that imports psycopg.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import zip_longest
from typing import Any

import numpy as np

from indexer.errors import (
    IndexBusyError,
    IndexMismatchError,
    IndexMissingError,
    IndexNotWritableError,
    IndexUnreachableError,
    UsageError,
)
from indexer.store.ids import Ids
from indexer.store.sql import Row

try:
    import psycopg
    from psycopg import errors
    from psycopg.abc import RV, Buffer, PQGen
    from psycopg.adapt import Dumper, Loader
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.pq import Format, TransactionStatus
    from psycopg.types import TypeInfo
    from psycopg.types.string import StrBinaryDumper, StrDumperUnknown
except ImportError as error:  # pragma: no cover
    raise UsageError(f"an index on PostgreSQL needs psycopg ({error}): pip install 'loccit[postgres]'") from error

_DEFAULTS = {
    "application_name": "loccit",
    "connect_timeout": "3",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}
"""Of a connection whose URL says nothing else: that a machine is gone is noticed within five seconds."""
_CHECK_S = 0.1
"""Between two looks for Ctrl-C while a server is waited for."""


class _Patient(psycopg.Connection[Row]):
    """A connection that waits for its server's answer so long, and no longer."""

    patience_s: float | None = None
    """For ever where it is None."""

    def wait(self, gen: PQGen[RV], interval: float = _CHECK_S, timeout: float | None = None) -> RV:
        return super().wait(gen, interval, self.patience_s if timeout is None else timeout)


class Session:
    """A connection to one server. Statements stand on their own unless a transaction was begun."""

    def __init__(self, url: str, *, patience_s: float | None = None, **settings: str) -> None:
        """Connect. A statement that takes longer than `patience_s` seconds fails as if the server were gone.

        `settings` are libpq's, and go before the URL's. Raises IndexUnreachableError, UsageError.
        """
        self.place = shown(url)
        self.vectors_in = "public"
        """The schema that has pgvector."""
        self.in_schema = ""
        """The one that names of tables mean."""
        self.has_failed_to_answer = False
        with self._complaints_named():
            conninfo = make_conninfo(url, **{**_DEFAULTS, **_said(url), **settings, "client_encoding": "UTF8"})
            self._connection = _Patient.connect(conninfo, autocommit=True)
        self._connection.patience_s = patience_s
        self._connection.adapters.register_dumper(str, _BinaryTextDumper)
        self._connection.adapters.register_dumper(str, _TextDumper)
        self._connection.adapters.register_loader("text", _TextLoader)
        self._connection.adapters.register_dumper(np.ndarray, _IdsDumper)
        self._connection.adapters.register_dumper(Bits, _BitsDumper)
        self._connection.adapters.register_loader(_INT8_ARRAY, _IdsLoader)

    def learn_vectors(self) -> bool:
        """Learn how this database calls pgvector's type; whether it has that."""
        row = self.execute(
            "SELECT extversion, extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'"
        ).fetchone()
        if row is None:
            return False
        version, self.vectors_in = row
        if [int(part) for part in version.split(".")[:2]] < [0, 8]:
            raise IndexMismatchError(
                f"{self.place} has pgvector {version}, and 0.8 is the oldest that will do: install that, and run ALTER "
                "EXTENSION vector UPDATE"
            )
        with self._complaints_named():
            found = TypeInfo.fetch(self._connection, f"{self.vectors_in}.vector")
        assert found is not None
        found.register(self._connection)
        dumper = type("_Dumper", (_VectorDumper,), {"oid": found.oid})
        self._connection.adapters.register_dumper(Vector, dumper)
        self._connection.adapters.register_loader(found.oid, _VectorLoader)
        return True

    def plan_no_more(self) -> None:
        """Plan every statement as it comes from now on: what was planned before is of other tables."""
        self._connection.prepare_threshold = None

    @property
    def plans(self) -> bool:
        """Whether statements that come often are planned once."""
        return self._connection.prepare_threshold is not None

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[Row]:
        """Run a statement of the store's SQL, or of PostgreSQL's own with `?` for its values."""
        translated, widths = _translated(statement)
        with self._complaints_named():
            cursor = self._connection.cursor(binary=True)
            return cursor.execute(translated, _regrouped(values, widths))

    def execute_once(self, statement: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[Row]:
        """The same of a statement that is to be planned by its values: a plan for any would take long."""
        translated, widths = _translated(statement)
        with self._complaints_named():
            return self._connection.cursor(binary=True).execute(translated, _regrouped(values, widths), prepare=False)

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run a statement for each of these rows of values, without waiting for one before the next is sent."""
        translated, widths = _translated(statement)
        with self._complaints_named():
            self._connection.cursor().executemany(translated, [_regrouped(row, widths) for row in rows])
        return None

    def copy_in(self, table: str, types: dict[str, str], rows: Iterable[Sequence[Any]]) -> None:
        """Load rows into a table by COPY: of columns of these types."""
        names = ", ".join(f'"{name}"' for name in types)
        with (
            self._complaints_named(),
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(list(types.values()))
            for row in rows:
                copy.write_row(row)

    def run(self, script: str) -> None:
        """Run several statements without values."""
        with self._complaints_named():
            self._connection.execute(script)

    def commit_prepared(self, name: str, *, waits: bool = True) -> bool:
        """Commit a prepared transaction. Whether it was there: another session may have ended it.

        One that another session is at is waited for, unless it is not to be.
        """
        with self._complaints_named():
            while True:
                try:
                    self._connection.execute(f"COMMIT PREPARED '{name}'")
                except errors.UndefinedObject:
                    return False
                except errors.ObjectNotInPrerequisiteState:
                    if not waits:
                        return False
                    time.sleep(_CHECK_S)
                else:
                    return True

    def hold_still(self) -> None:
        """Begin a read transaction that sees one moment, until `let_go`."""
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def let_go(self) -> None:
        """End the transaction, and drop what it changed. A connection that is lost needs none of that."""
        try:
            if not self.is_lost and self.in_transaction:
                self.run("ROLLBACK")
        except IndexUnreachableError:
            self.close()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun."""
        return self._connection.info.transaction_status != TransactionStatus.IDLE

    @property
    def is_lost(self) -> bool:
        """Whether the connection is of no use any more."""
        return self._connection.closed

    def leave(self) -> None:
        """End the transaction and the connection, all locks let go when this returns: the server takes its time to
        notice that a connection is gone."""
        self.let_go()
        with suppress(IndexUnreachableError):
            if not self.is_lost:
                self.run("SELECT pg_advisory_unlock_all()")
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @contextmanager
    def _complaints_named(self) -> Iterator[None]:
        """Turn what PostgreSQL says into the index's own errors, naming the server."""
        try:
            yield
        except errors._WaitTimeout as error:
            self.has_failed_to_answer = True
            self.close()
            raise IndexUnreachableError(f"{self.place} did not answer in time; check that it is up") from error
        except psycopg.Error as error:
            said = f"{self.place}: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
            for kinds, made, step in _MEANINGS:
                if isinstance(error, kinds):
                    raise made(f"{said}; {step}") from error
            raise


_Meaning = tuple[tuple[type[Exception], ...], Callable[[str], Exception], str]
_MEANINGS: tuple[_Meaning, ...] = (
    ((errors.InvalidSchemaName, errors.UndefinedTable), IndexMissingError, "run `loccit index PATH... --index URL`"),
    (
        (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure),
        IndexBusyError,
        "wait for the other program to end, then try again",
    ),
    (
        (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction, errors.DiskFull),
        IndexNotWritableError,
        "check the server's free space, and the rights of the user that the URL names",
    ),
    (
        (errors.ObjectNotInPrerequisiteState,),
        IndexNotWritableError,
        "set max_prepared_transactions to 10 or more in postgresql.conf, which commits over several shards need",
    ),
    (
        (errors.UndefinedFile, errors.FeatureNotSupported),
        IndexNotWritableError,
        "install pgvector 0.8 or later on the server",
    ),
    (
        (errors.QueryCanceled,),
        IndexBusyError,
        "try again, or give the user that the URL names a longer statement_timeout",
    ),
    (
        (errors.ProgramLimitExceeded,),
        IndexNotWritableError,
        "an id or a name is too long for the server's indexes: shorten it in its paper's file",
    ),
    (
        (psycopg.OperationalError, errors.IdleInTransactionSessionTimeout, errors.TransactionTimeout),
        IndexUnreachableError,
        "check that the server is up, and the index's URL",
    ),
)
"""Errors, what they are to the index, and the next step; the first that fits."""


def shown(url: str) -> str:
    """The URL as it may be told: without password and settings. Raises UsageError for one that is none."""
    said = _said(url)
    hosts, ports = said.get("host", "").split(","), said.get("port", "").split(",")
    places = (f"{host}:{port}" if port else host for host, port in zip_longest(hosts, ports, fillvalue=ports[-1]))
    return f"postgresql://{','.join(places)}/{said.get('dbname', '')}"


def _said(url: str) -> dict[str, str]:
    try:
        return {name: str(given) for name, given in conninfo_to_dict(url).items() if given is not None}
    except psycopg.ProgrammingError as error:  # which may repeat a part of a password
        raise UsageError("the index's URL cannot be read: give postgresql://USER@HOST:PORT/DATABASE") from error


_PLACEHOLDER = re.compile(r"(?:(NOT) )?IN \((\?(?:, \?)*)\)|\?")
_LITERAL = 0
"""How many values a placeholder stands for, when it stands for itself."""


@lru_cache(maxsize=1 << 10)
def _translated(statement: str) -> tuple[str, tuple[int, ...]]:
    """The statement with psycopg's placeholders, and how many values each of them takes.

    A list of values becomes one array, so that lists of any length are one statement to the server.
    """
    widths: list[int] = []

    def placed(found: re.Match[str]) -> str:
        listed = found[2]
        widths.append(listed.count("?") if listed else _LITERAL)
        if not listed:
            return "%s"
        return "<> ALL(%s)" if found[1] else "= ANY(%s)"

    prepared = statement.replace("%", "%%").replace("IN ()", "IN (NULL)")  # SQLite knows lists of nothing
    return _PLACEHOLDER.sub(placed, prepared), tuple(widths)


def _regrouped(values: Sequence[Any], widths: Sequence[int]) -> list[Any]:
    if not any(widths):
        return list(values)
    grouped: list[Any] = []
    at = 0
    for width in widths:
        if width == _LITERAL:
            grouped.append(values[at])
            at += 1
        else:
            listed = list(values[at : at + width])
            grouped.append(np.array(listed, dtype=np.int64) if isinstance(listed[0], int) else listed)
            at += width
    return grouped


class Vector:
    """A vector on its way to PostgreSQL, from the float32 bytes that the store packs."""

    __slots__ = ("packed",)

    def __init__(self, packed: bytes) -> None:
        self.packed = packed


class Bits:
    """A string of bits on its way to PostgreSQL, the first one the highest of its byte."""

    __slots__ = ("packed",)

    def __init__(self, packed: bytes) -> None:
        self.packed = packed


class _BitsDumper(Dumper):
    """How many, and the bits: of whole bytes."""

    format = Format.BINARY
    oid = 1560

    def dump(self, obj: Bits) -> bytes:
        return struct.pack(">i", 8 * len(obj.packed)) + obj.packed


class _VectorDumper(Dumper):
    """As pgvector's `vector_recv` reads them: how many, two bytes of zeros, and big-endian floats."""

    format = Format.BINARY

    def dump(self, obj: Vector) -> bytes:
        floats = np.frombuffer(obj.packed, dtype="<f4")
        return struct.pack(">HH", len(floats), 0) + floats.astype(">f4").tobytes()


class _VectorLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return np.frombuffer(bytes(data)[4:], dtype=">f4").astype("<f4").tobytes()


_ITEM = np.dtype([("n_bytes", ">i4"), ("item", ">i8")])
_INT8, _INT8_ARRAY, _ARRAY_HEADER = 20, 1016, struct.Struct(">iiIii")
"""PostgreSQL's own numbers for 64-bit whole numbers and arrays of them, and what such an array begins with: the number
of dimensions, a flag, the items' type, their number, and the first one's place."""


class _IdsDumper(Dumper):
    """Whole numbers as one array, many times as fast as one by one."""

    format = Format.BINARY
    oid = _INT8_ARRAY

    def dump(self, obj: Ids) -> bytes:
        items = np.empty(len(obj), dtype=_ITEM)
        items["n_bytes"], items["item"] = 8, obj
        return _ARRAY_HEADER.pack(1, 0, _INT8, len(obj), 1) + items.tobytes()


class _IdsLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> Ids:
        items = np.frombuffer(bytes(data)[_ARRAY_HEADER.size :], dtype=_ITEM)
        return items["item"].astype(np.int64)


_NUL, _ESCAPE = "\0", "\U0010fffe"
"""PostgreSQL's texts hold no NUL: a noncharacter and a digit stand for it, and for that noncharacter."""


class _TextDumper(StrDumperUnknown):
    def dump(self, obj: str) -> Buffer | None:
        if _NUL in obj or _ESCAPE in obj:
            obj = obj.replace(_ESCAPE, f"{_ESCAPE}1").replace(_NUL, f"{_ESCAPE}0")
        return super().dump(obj)


class _BinaryTextDumper(StrBinaryDumper):
    def dump(self, obj: str) -> Buffer | None:
        if _NUL in obj or _ESCAPE in obj:
            obj = obj.replace(_ESCAPE, f"{_ESCAPE}1").replace(_NUL, f"{_ESCAPE}0")
        return super().dump(obj)


class _TextLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        text = str(data, "utf-8")
        return text.replace(f"{_ESCAPE}0", _NUL).replace(f"{_ESCAPE}1", _ESCAPE) if _ESCAPE in text else text
