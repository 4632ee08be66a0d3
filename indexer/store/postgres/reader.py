"""Opening an index on PostgreSQL for search: one consistent generation at a time, on all servers that answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from indexer.errors import IndexMissingError, IndexStateError, IndexUnreachableError, LoccitError
from indexer.store.manifest import Commit, Manifest, is_known, read_commit, read_meta
from indexer.store.postgres.schema import CATCH_UP, check_first, connect, enter, present, settle, shards_of
from indexer.store.postgres.session import Session, shown
from indexer.store.postgres.sharded import ShardedSnapshot
from indexer.store.postgres.snapshot import Memory, ShardSnapshot, read_collection
from indexer.store.postings import Collection
from indexer.store.records import Shard

_THREADS = 32
"""That ask servers, of all searches together."""
_PATIENCE_S = 10
"""A server that takes longer to answer a search is as good as gone."""
_UNLIMITED = (
    "SELECT set_config(name, '0', true) FROM pg_settings "
    "WHERE name IN ('idle_in_transaction_session_timeout', 'statement_timeout', 'transaction_timeout')"
)
"""For a transaction that may take hours; not every version has all three."""
_RETRY_S = 2
"""A server that did not answer is not looked at again for so long."""
_LOOKING_S = 30
"""To look takes less."""
_AGREEING_TRIES, _AGREEING_PAUSE_S = 50, 0.02
"""A commit reaches one server after the other: within a few milliseconds."""
_SETTLING_TRY = 10
"""Until then, the writer is taken to be at it."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Meta:
    """What a server's commit has, read once."""

    schema: str
    commit: Commit
    manifest: Manifest
    collection: Collection
    memory: Memory
    others: tuple[tuple[int, str], ...]
    """Of the first server: the numbers and URLs of those that share the index with it."""


@dataclass(slots=True)
class _Shard:
    """A server, and the sessions with it that nobody uses just now."""

    number: int
    url: str
    is_patient: bool
    idle: list[Session] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_down: bool = False
    look_at: float = 0.0
    """When it is looked at again, while it is down."""
    meta: _Meta | None = None
    is_closed: bool = False

    def lend(self) -> Session:
        """A session that holds one moment still. Raises IndexUnreachableError."""
        if self.is_down:
            self._look_again()
            raise IndexUnreachableError(f"{shown(self.url)} did not answer a moment ago; check that it is up")
        while (session := self._idle_one()) is not None:
            try:
                session.hold_still()
            except IndexUnreachableError:  # it was restarted since, or stands still: no other will do
                self.take_back(session)
                self.close()
                if self.is_down:
                    raise
            else:
                return session
        try:
            return self._connected()
        except IndexUnreachableError as error:
            self._is_lost(error)
            raise

    def _is_lost(self, error: object) -> None:
        if not self.is_down:
            _log.warning("%s is away (%s): searches go on without it", shown(self.url), error)
        self.is_down, self.look_at = True, time.monotonic() + _RETRY_S

    def _look_again(self) -> None:
        """Look whether the server is back, beside the searches: none waits for that."""
        if time.monotonic() < self.look_at:
            return
        self.look_at = time.monotonic() + _LOOKING_S  # should two come here at once, both look
        threading.Thread(target=self._look, name="shard", daemon=True).start()

    def _look(self) -> None:
        try:
            session = self._connected()
        except LoccitError as error:
            self._is_lost(error)
            return
        self.is_down = False
        _log.warning("%s is back", shown(self.url))
        self.take_back(session)

    def close(self) -> None:
        """Close every idle session."""
        while (session := self._idle_one()) is not None:
            session.close()

    def _idle_one(self) -> Session | None:
        try:
            return self.idle.pop()
        except IndexError:  # also where another thread took the last one just now
            return None

    def _connected(self) -> Session:
        session = connect(self.url, patience_s=None if self.is_patient else _PATIENCE_S)
        try:
            if self.number == 0:
                check_first(session)
            session.hold_still()
        except BaseException:
            session.close()
            raise
        return session

    def take_back(self, session: Session) -> None:
        """Keep the session for the next search, if it is of use still."""
        session.let_go()
        if session.has_failed_to_answer:
            self._is_lost("it did not answer in time")
        if self.is_closed or not session.plans:
            session.close()
        elif not session.is_lost:
            self.idle.append(session)

    def open(self) -> _Open:
        """A session and what it sees. Raises the IndexStateError that fits."""
        try:
            return self._open()
        except IndexMissingError:  # or it was built anew, and the old schema dropped as this looked for it
            return self._open()

    def _open(self) -> _Open:
        session = self.lend()
        try:
            if self.is_patient:
                session.execute(_UNLIMITED)
            return _Open(self, session, *self._seen(session))
        except BaseException:
            self.take_back(session)
            raise

    def _seen(self, session: Session) -> tuple[_Meta, ShardSnapshot]:
        schema, n_in_graph = present(session)
        enter(session, schema)
        newest = read_commit(session)
        with self.lock:
            if self.is_down:  # another thread found out while this one waited
                raise IndexUnreachableError(f"{shown(self.url)} did not answer a moment ago; check that it is up")
            meta = self.meta
            if meta is None or (meta.schema, meta.commit) != (schema, newest):
                commit, manifest = read_meta(session)
                # A standby that lacks what its primary had goes on with the same numbers, for something else.
                follows = meta is not None and meta.schema == schema and is_known(session, meta.commit)
                before = meta.collection.segments if meta is not None and follows else {}
                meta = self.meta = _Meta(
                    schema, commit, manifest, read_collection(session, before), Memory(), tuple(shards_of(session))
                )
        seen = ShardSnapshot(
            session, newest.generation, meta.manifest, lambda: meta.collection, n_in_graph, meta.memory
        )
        return meta, seen


@dataclass(frozen=True, slots=True)
class _Open:
    """A server's session at one moment."""

    shard: _Shard
    session: Session
    meta: _Meta
    snapshot: ShardSnapshot

    @property
    def commit(self) -> Commit:
        """What it has last."""
        return self.meta.commit

    def close(self) -> None:
        self.shard.take_back(self.session)


class PostgresReader:
    """An open index on one server or several. Safe to use from several threads."""

    def __init__(self, url: str, *, is_patient: bool = False) -> None:
        """Open the index that the URL's server has, or whose first one it is. Raises the IndexStateError that fits.

        If `is_patient`, servers may take as long as they will to answer, and snapshots may last for hours.
        """
        self.place = url
        self._is_patient = is_patient
        self._shards = {0: _Shard(0, url, is_patient)}
        self._apart: frozenset[Commit] = frozenset()
        """Commits of servers that did not come to agree: they are not waited for again."""
        self._threads = ThreadPoolExecutor(_THREADS, "shards")
        self._is_closed = False
        try:
            with self.snapshot():
                pass  # a damaged or foreign index is found now, not at the first question
        except BaseException:
            self.close()
            raise

    @contextmanager
    def snapshot(self) -> Iterator[ShardedSnapshot]:
        """The newest committed generation, held still until the block ends.

        Servers that do not answer are left out, and named in its `missing`. Raises IndexUnreachableError where none
        does.
        """
        opened, missing = self._open()
        try:
            newest = max(opened, key=lambda each: each.commit.generation).snapshot
            shards = {each.shard.number: each.snapshot for each in opened}
            yield ShardedSnapshot(shards, newest.generation, newest.manifest, missing, self._fan)
        finally:
            for each in opened:
                each.close()

    def shards(self) -> tuple[Shard, ...]:
        """The servers, and what each has."""
        opened, _ = self._open()
        try:
            counts = {each.shard.number: each.snapshot.counts() for each in opened}
        finally:
            for each in opened:
                each.close()
        return tuple(
            Shard(number, shown(shard.url), number in counts, own.get("papers", 0), own.get("passages", 0))
            for number, shard in sorted(self._shards.items())
            for own in (counts.get(number, {}),)
        )

    def _open(self) -> tuple[list[_Open], list[str]]:
        """The servers that answer, all at one commit; and the places of the others."""
        for n_tries in count(1):
            shards = list(self._shards.values())
            found = self._fan(_opened, shards)
            opened = [each for each in found if isinstance(each, _Open)]
            errors = [each for each in found if isinstance(each, LoccitError)]
            serious = [each for each in errors if not isinstance(each, IndexUnreachableError)]
            commits = frozenset(each.commit for each in opened)
            if opened and not serious:
                self._look_for_others(opened)
                is_all = len(shards) == len(self._shards)
                if is_all and (len(commits) == 1 or commits == self._apart):
                    break
                if n_tries == _AGREEING_TRIES:
                    self._apart = commits
                    _log.warning("the servers of %s are not at one commit: %s", shown(self.place), CATCH_UP)
                    break
            for each in opened:
                each.close()
            if serious or not opened:
                raise (serious or errors)[0]
            if n_tries == _SETTLING_TRY:
                self._settle()
            if n_tries > 1:
                time.sleep(_AGREEING_PAUSE_S)
        # A server at an earlier commit than the others would give papers that moved or went since: it is as if away.
        newest = max(opened, key=lambda each: each.commit).commit
        for each in opened:
            if each.commit != newest:
                each.close()
        whole = [each for each in opened if each.commit == newest]
        numbers = {each.shard.number for each in whole}
        return whole, [shown(shard.url) for shard in shards if shard.number not in numbers]

    def _look_for_others(self, opened: Sequence[_Open]) -> None:
        """Ask, from now on, the servers that share the index since it was last looked at."""
        for each in opened:
            for number, url in each.meta.others:
                self._shards.setdefault(number, _Shard(number, url, self._is_patient))

    def _settle(self) -> None:
        """Have the other servers do what the first one decided: their writer may have been killed in between."""
        first, *others = self._shards.values()
        with suppress(IndexStateError), ExitStack() as stack:  # whoever may not write leaves it to the next writer

            def to_write(shard: _Shard) -> Session:
                return stack.enter_context(
                    closing(connect(shard.url, patience_s=_PATIENCE_S, target_session_attrs="read-write"))
                )

            decided = to_write(first)
            for shard in others:
                settle(to_write(shard), decided, is_writer=False)

    def _fan(self, function: Callable[[Any], T], things: Iterable[Any]) -> list[T]:
        given = list(things)
        if len(given) == 1 or self._is_closed:
            return [function(each) for each in given]
        begun = [self._threads.submit(function, each) for each in given]
        wait(begun)  # all of them, also where one fails: a session goes back when nobody is at it any more
        return [each.result() for each in begun]

    def close(self) -> None:
        """Close every idle session, and those that are in use when they are not any more."""
        self._is_closed = True
        self._threads.shutdown()
        for shard in self._shards.values():
            shard.is_closed = True
            shard.close()


def _opened(shard: _Shard) -> _Open | LoccitError:
    try:
        return shard.open()
    except LoccitError as error:
        return error
