"""Changing an index on PostgreSQL: one writer at a time, one commit on all servers, a new generation each.

A commit over several servers is prepared on each and decided on the first one (two-phase commit): what is left
prepared by a writer that was killed, the next one ends as it was decided. Changes are kept until they are committed:
when a server is lost and its standby takes over, they are made again there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np

from indexer.errors import IndexBusyError, IndexDamagedError, IndexUnreachableError, UsageError
from indexer.places import has_password
from indexer.store import postings
from indexer.store.files import FailedFile, FileRecord, Files
from indexer.store.manifest import Commit, Manifest, read_commit, read_commits, read_meta
from indexer.store.postgres import schema
from indexer.store.postgres.loading import Types, load, types_of
from indexer.store.postgres.session import Session, shown
from indexer.store.postgres.sharded import ShardedFiles, ShardedSnapshot
from indexer.store.postgres.snapshot import EXACT_ROWS, Memory, ShardSnapshot, read_collection
from indexer.store.postings import Collection, PassageTerms
from indexer.store.rows import PaperRows, stored_rows
from indexer.store.snapshot import Snapshot
from indexer.store.sql import value
from indexer.store.writing import Writer

_LOCK = 0x4C4F4343
"""`LOCC`: PostgreSQL's advisory lock of that number is held by the one who writes."""
FAILOVER_S = 60
"""A server that is lost is waited for so long: until its standby has taken over, or it is up again."""
_PAUSE_S = 0.3
_LOCKED_MS = 60_000
"""What another session holds is waited for so long: one of a writer that is gone, which its server has not noticed."""
_UNDISTURBED = (
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"
)
"""A writer may take its time; but if its machine is gone, its server notices within some ten seconds."""
_MOVED_AT_ONCE = 20
"""Papers that are moved from server to server in one commit."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


def _one_by_one(function: Callable[[Any], T], things: Iterable[Any]) -> list[T]:
    return [function(each) for each in things]


class _Link:
    """A server as the writer reaches it, through one session after the other."""

    def __init__(self, writer: PostgresWriter, number: int, url: str) -> None:
        self.number, self.url = number, url
        self.new: dict[int, PassageTerms] = {}
        """Passages that stand in no word list yet."""
        self._writer = writer
        self._session: Session | None = None
        self._types: Types = {}

    def reach(self) -> None:
        """Begin a new session, in place of any other. Raises IndexUnreachableError."""
        self.close()
        self._session = schema.connect(self.url, target_session_attrs="read-write")
        self._session.run(f"SET lock_timeout = {_LOCKED_MS}; {_UNDISTURBED}")

    @property
    def session(self) -> Session:
        """The present one."""
        if self._session is None:
            raise IndexUnreachableError(f"{shown(self.url)} is not reached yet")
        return self._session

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Any:  # noqa: ANN401  a cursor
        """Run a statement: once more where the server is lost meanwhile, and no change is being made."""
        return self._writer.persisting(lambda: self.session.execute(statement, values))

    def execute_once(self, statement: str, values: Sequence[Any] = (), /) -> Any:  # noqa: ANN401  a cursor
        """The same of a statement that is planned by its values."""
        return self._writer.persisting(lambda: self.session.execute_once(statement, values))

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run a statement for each of these rows of values."""
        return self.session.executemany(statement, rows)

    def run(self, script: str) -> None:
        """Run several statements without values."""
        self.session.run(script)

    def commit_prepared(self, name: str) -> bool:
        """Commit a prepared transaction. Whether it was there: another session may have ended it."""
        return self.session.commit_prepared(name)

    def load(self, papers: Sequence[PaperRows]) -> None:
        """Put papers in."""
        if not self._types:
            self._types = types_of(self.session)
        self.new.update(load(self.session, self._types, papers, self._writer.manifest.model.dim))

    def take_out(self, paper_id: str) -> None:
        """Take a paper out, if it is there."""
        rows = self.execute(
            "SELECT passages.id FROM passages JOIN papers ON papers.id = passages.paper WHERE papers.paper_id = ?",
            (paper_id,),
        ).fetchall()
        written = [row_id for (row_id,) in rows if self.new.pop(row_id, None) is None]
        if written:
            self.execute("INSERT INTO removed_rows SELECT unnest(?)", (np.array(written, dtype=np.int64),))
        self.execute("DELETE FROM papers WHERE paper_id = ?", (paper_id,))

    def collection(self) -> Collection:
        """What the server has to count words by, uncommitted passages included."""
        return self._writer.persisting(self._collection)

    def _collection(self) -> Collection:
        with self._writer.changing():
            self.write_words()
        return read_collection(self)

    def write_words(self) -> None:
        """Put the words of new passages into the word lists, in the transaction that has the passages."""
        if self.session.in_transaction:
            postings.write(self, self.new)
        self.new.clear()

    def close(self) -> None:
        """End the session, and forget what was done in it."""
        self.new.clear()
        if self._session is not None:
            self._session.leave()


class PostgresWriter(Writer):
    """An index on one server or several, open for writing."""

    def __init__(
        self,
        url: str,
        manifest: Manifest | None,
        *,
        rebuild: bool = False,
        rehearse: bool = False,
        mends: bool = False,
    ) -> None:
        """Open the index that the URL's server has, or whose first server it is; make one if there is none and
        `manifest` says how. To `rehearse` is to commit nothing: all that was changed is dropped at the end.

        With no manifest, an existing index is taken as it is. One whose servers are not at one commit is opened only by
        who `mends` it. Raises IndexBusyError at once when another process writes; IndexMismatchError when the index was
        made otherwise; IndexDamagedError; IndexNotWritableError; IndexUnreachableError.
        """
        self.place = shown(url)
        self.dropped = frozenset()
        self._rebuilding, self._rehearsing = rebuild and manifest is not None, rehearse
        self._journal: list[Callable[[], None]] = []
        self._is_changing = False
        self._is_at_end = True
        """Whether there is no change that was not followed by a commit."""
        self._links = [_Link(self, 0, url)]
        if manifest is not None:
            _make_first(url, manifest)
        try:
            self._name = ""
            with self.changing():
                self._reach()
                _, present = read_meta(self._links[0])
                self._commit = max(map(read_commit, self._links))
                self._last = schema.last_decided(self._links[0].session)
                self._look_for_lost_commits(goes_on=mends)
            self.manifest = manifest if rebuild and manifest is not None else present
            if rebuild and manifest is not None:
                self._begin_anew(manifest)
            elif manifest is not None:
                present.check(manifest)
        except BaseException:
            self._let_go()
            raise

    def _look_for_lost_commits(self, *, goes_on: bool) -> None:
        """Whether each server has the newest commit. Raises IndexDamagedError, unless it is to go on all the same."""
        behind = [link for link in self._links if not self._has(link, self._commit)]
        if behind:
            places = ", ".join(shown(link.url) for link in behind)
            said = f"{places} lacks commits that the others have: {schema.CATCH_UP}"
            if not goes_on:
                raise IndexDamagedError(said)
            _log.warning("%s", said)

    def _is_written_since(self) -> bool:
        """Whether the first server has a commit that may have come after this writer's last one."""
        session = self._links[0].session
        newest = value(session, f"SELECT max(generation) FROM {schema.present(session)[0]}.commits")
        return bool(newest >= self._commit.generation)

    def _has(self, link: _Link, commit: Commit) -> bool:
        """Whether the server has that commit: in the index that is written, or before that is begun, the one read."""
        name = self._name if schema.exists(link.session, self._name) else schema.present(link.session)[0]
        found = link.execute(f"SELECT 1 FROM {name}.commits WHERE generation = ? AND token = ?", commit)
        return found.fetchone() is not None

    def _begin_anew(self, manifest: Manifest) -> None:
        """Begin a rebuild: an empty index in a schema of its own, which readers do not see before the end of it."""
        self.dropped = frozenset(row[0] for link in self._links for row in link.execute("SELECT paper_id FROM papers"))
        self._drop_others()
        self._name = name = schema.after(self._name)
        commit = self._commit

        def make() -> None:
            for link in self._links:
                schema.make(link.session, name, manifest, commit)

        self._change(make)

    def view(self) -> Snapshot:
        """The index as this writer sees it, its uncommitted changes included. Its vectors are compared one by one."""
        generation = self._commit.generation
        shards = {
            link.number: ShardSnapshot(link, generation, self.manifest, link.collection, 0, Memory())
            for link in self._links
        }
        return ShardedSnapshot(shards, generation, self.manifest, (), _one_by_one)

    @property
    def files(self) -> Files:
        """What is known of the files, uncommitted changes included. For reading: it takes no part in transactions."""
        return ShardedFiles(
            [Files(link) for link in self._links], lambda paper_id: Files(self._home(paper_id)), _one_by_one
        )

    def put_rows(self, rows: PaperRows) -> None:
        """Store a paper in place of any other with its id, as its rows are made of it or stand in another index."""
        self.put_many([rows])

    def put_many(self, papers: Sequence[PaperRows]) -> None:
        """The same of several papers, in less time than one by one."""

        last = {rows["papers"][0]["paper_id"]: rows for rows in papers}

        def put() -> None:
            homes: dict[int, list[PaperRows]] = {}
            for paper_id, rows in last.items():
                homes.setdefault(self._home(paper_id).number, []).append(rows)
                for link in self._links:
                    link.take_out(paper_id)
            for link in self._links:
                if link.number in homes:
                    link.load(homes[link.number])

        self._change(put)

    def take_down(self, paper_id: str) -> None:
        """Take a paper out, if it is there; what is known of its files stays."""

        def take_out() -> None:
            for link in self._links:
                link.take_out(paper_id)

        self._change(take_out)

    def put_file(self, record: FileRecord) -> None:
        """Keep what is known of a file."""
        self._change(lambda: self.files.put(record))

    def forget_file(self, origin: str) -> None:
        """Keep nothing of that file."""
        self._change(lambda: self.files.forget(origin))

    def keep_failures(self, failures: Sequence[FailedFile]) -> None:
        """Keep these as the files that gave no paper, if others are kept so far."""
        if sorted(failures, key=lambda each: each.origin) != self.files.failures():
            self._change(lambda: self.files.keep_failures(failures))

    def move(self, paper_id: str, origin: str, source: str) -> None:
        """Note that a paper's unchanged file now stands elsewhere."""

        def note() -> None:
            for link in self._links:
                link.execute("UPDATE papers SET origin = ?, source = ? WHERE paper_id = ?", (origin, source, paper_id))

        self._change(note)

    def checkpoint(self) -> None:
        """Commit what is done so far. Of a rebuild nobody sees it before the end."""
        if not self._rehearsing:
            self._commit_all(is_end=False)

    def commit(self) -> int:
        """Make the changes visible and durable; the generation that has them. Without changes, and in a rehearsal, the
        present one."""
        if not self._rehearsing:
            self._commit_all(is_end=True)
            self._is_at_end = True
        return self._commit.generation

    def close(self) -> None:
        """Drop what was not committed, make graphs of vectors that have become many, and let the next writer in."""
        try:
            for link in self._links:
                link.session.let_go()
            if self._is_at_end and not self._rehearsing:
                with ThreadPoolExecutor(len(self._links)) as threads:
                    list(threads.map(self._make_graph, self._links))
                self._drop_others()
        finally:
            self._let_go()

    def add_shard(self, url: str) -> int:
        """Have another server share the index: new papers come to it from now on. Its number.

        Raises UsageError for one that has an index already, IndexUnreachableError, IndexNotWritableError.
        """
        if has_password(url):
            raise UsageError(
                "the URL would be kept in the index's first database, where others may read it: leave the password out "
                "of it, and have it in the file that PGPASSFILE names, or in ~/.pgpass"
            )
        number = max(link.number for link in self._links) + 1
        self.commit()
        session = Session(url, target_session_attrs="read-write")
        try:
            is_own = not _can_lock(session)  # of servers that share the index this writer has the lock
            if not is_own:
                schema.migrate(session)
            left = "" if is_own else schema.present(session)[0]
            if is_own or (left and not self._was_half_added(session, left)):
                raise UsageError(f"{session.place} has an index already: name a database that has none")
            session.run("BEGIN")
            if left:
                session.run(f"DROP SCHEMA {left} CASCADE")
            schema.make(session, self._name, self.manifest, self._commit)
            schema.show(session, self._name)
            schema.belong(session, self._links[0].session)
            session.run("COMMIT")
        finally:
            session.leave()
        link = _Link(self, number, url)
        link.reach()
        _lock(link.session)
        schema.enter(link.session, self._name)
        self._links.append(link)
        first = self._links[0]
        self._change(lambda: schema.add_shard(first.session, number, url))
        self.commit()
        return number

    def _was_half_added(self, session: Session, name: str) -> bool:
        """Whether a server has no more than a shard gets at first: whoever added it came no further."""
        schema.enter(session, name)
        commits = read_commits(session)
        return len(commits) == 1 and commits <= read_commits(self._links[0])

    def agree(self) -> int:
        """Have servers that were at different commits be at one from here on, each with the papers that it has."""
        self._change(lambda: None)
        return self.commit()

    def rebalance(self, heard: Callable[[int, int], None] = lambda done, n: None) -> int:
        """Move the papers that stand on another server than new ones of their ids would. How many these were.

        Readers see each of them all the while. `heard` is told how many are moved, and of how many.
        """
        astray = [
            (link, paper_id)
            for link in self._links
            for (paper_id,) in link.execute("SELECT paper_id FROM papers ORDER BY paper_id").fetchall()
            if self._heaviest(paper_id) is not link
        ]
        for n, (link, paper_id) in enumerate(astray, start=1):
            self._change(partial(self._move, link, paper_id))
            if n % _MOVED_AT_ONCE == 0 or n == len(astray):
                self.checkpoint()
                heard(n, len(astray))
        return len(astray)

    def _move(self, link: _Link, paper_id: str) -> None:
        key = value(link, "SELECT id FROM papers WHERE paper_id = ?", (paper_id,))
        rows, records = stored_rows(link, key), Files(link).of(paper_id)
        home = self._heaviest(paper_id)
        link.take_out(paper_id)
        home.load([rows])
        for record in records:
            Files(link).forget(record.origin)
            Files(home).put(record)

    def persisting(self, read: Callable[[], T]) -> T:
        """What it reads; once more where a server is lost meanwhile, unless that is a part of a change."""
        try:
            return read()
        except IndexUnreachableError as error:
            if self._is_changing:
                raise
            self._start_over(error)
            return read()

    def _change(self, change: Callable[[], None]) -> None:
        """Make a change, and keep it in mind until it is committed."""
        self._journal.append(change)
        self._is_at_end = False
        try:
            with self.changing():
                self._begin()
                change()
        except IndexUnreachableError as error:
            self._start_over(error)

    def _begin(self) -> None:
        for link in self._links:
            if not link.session.in_transaction:
                link.run("BEGIN")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """While it lasts, a server that is lost is an error: what is half done is not to be gone on with."""
        before, self._is_changing = self._is_changing, True
        try:
            yield
        finally:
            self._is_changing = before

    def _commit_all(self, *, is_end: bool) -> None:
        """Commit on all servers what is in the journal."""
        is_flip = is_end and self._rebuilding
        if not self._journal and not is_flip:
            return
        commit = Commit.after(self._commit.generation)

        def seal() -> None:
            for link in self._links:
                link.write_words()
                link.execute("INSERT INTO commits VALUES (?, ?)", commit)
                if is_flip:
                    schema.show(link.session, self._name)
            schema.decide(self._links[0].session, commit)

        is_done = False
        while not is_done:
            try:
                with self.changing():
                    self._begin()
                    seal()
                    self._end(commit)
                is_done = True
            except IndexUnreachableError as error:
                is_done = self._start_over(error, commit)
        self._commit, self._last = commit, commit.token
        self._journal.clear()
        self._rebuilding = self._rebuilding and not is_flip

    def _end(self, commit: Commit) -> None:
        """End the transaction on all servers, or on none."""
        first, *others = self._links
        if not others:
            first.run("COMMIT")
            return
        try:
            for link in self._links:
                link.run(f"PREPARE TRANSACTION '{schema.name_of(commit, link.number)}'")
        except IndexUnreachableError:
            raise
        except BaseException:  # a server that can prepare none, or Ctrl-C
            self._settle()
            raise
        if not first.commit_prepared(schema.name_of(commit, first.number)):
            raise IndexBusyError(f"another process writes to {self.place} in this one's place: run the command again")
        for link in others:  # it is decided: a reader may have seen to it already
            link.commit_prepared(schema.name_of(commit, link.number))

    def _start_over(self, error: IndexUnreachableError, commit: Commit | None = None) -> bool:
        """Reach the servers again, and make the changes anew that were lost with a session.

        Not if `commit` turns out to be done: whether it is. Raises IndexUnreachableError after `FAILOVER_S` seconds,
        IndexBusyError where another writer came meanwhile.
        """
        _log.warning("%s; waiting for it", error)
        until = time.monotonic() + FAILOVER_S
        while True:
            try:
                with self.changing():
                    self._reach()
                    last = schema.last_decided(self._links[0].session)
                    is_done = commit is not None and commit.token == last
                    is_alone = is_done or last == self._last
                    if is_alone or not self._is_written_since():
                        self._look_for_lost_commits(goes_on=False)
                    if last == self._last:
                        self._change_anew()
                break
            except (IndexUnreachableError, IndexBusyError) as again:
                if time.monotonic() > until:
                    raise IndexUnreachableError(
                        f"{error} (waited for {FAILOVER_S} s): what was committed is safe, run the command again for "
                        "the rest"
                    ) from again
                time.sleep(_PAUSE_S)
        if not is_alone:
            raise IndexBusyError(
                f"another process has written to {self.place} while a server was away: run the command again"
            )
        return is_done

    def _change_anew(self) -> None:
        if self._journal:
            self._begin()
        for change in self._journal:
            change()

    def _reach(self) -> None:
        """A session with every server, and the lock. What another writer left prepared is ended as it was decided.

        Raises IndexBusyError, IndexUnreachableError.
        """
        first = self._links[0]
        first.reach()
        schema.check_first(first.session)
        _lock(first.session)
        known = {link.number: link for link in self._links}
        for number, url in schema.shards_of(first.session):
            if number not in known:
                self._links.append(_Link(self, number, url))
        for link in self._links[1:]:
            link.reach()
            schema.check_home(link.session, first.session)
            _lock(link.session)
        self._settle()
        self._name = self._name or schema.present(first.session)[0]
        for link in self._links:
            schema.enter(link.session, self._name)

    def _settle(self) -> None:
        """End what is prepared: as it was decided."""
        for link in self._links:
            schema.settle(link.session, self._links[0].session, is_writer=True)

    def _home(self, paper_id: str) -> _Link:
        """The server that has the paper, or what is known of its files; of a new one, the server it is to stand on.

        That is by the highest random weight (Thaler & Ravishankar 1998): of a server more, few papers are to move.
        """
        if len(self._links) == 1:
            return self._links[0]
        known = "SELECT 1 FROM papers WHERE paper_id = ? UNION ALL SELECT 1 FROM files WHERE paper_id = ? LIMIT 1"
        for link in self._links:
            if link.execute(known, (paper_id, paper_id)).fetchone():
                return link
        return self._heaviest(paper_id)

    def _heaviest(self, paper_id: str) -> _Link:
        return max(self._links, key=lambda link: _weight(link.number, paper_id))

    def _make_graph(self, link: _Link) -> None:
        """Make the graph of a server's vectors, where they have become many and there is none."""
        session = link.session
        n = value(session, "SELECT count(*) FROM (SELECT 1 FROM vectors LIMIT ?) AS counted", (EXACT_ROWS + 1,))
        if n > EXACT_ROWS and not schema.present(session)[1]:
            _log.info("making the graph of the vectors on %s", session.place)
            session.run(f"CREATE INDEX {schema.GRAPH} ON codes USING hnsw (code bit_hamming_ops); ANALYZE")

    def drop_graphs(self) -> None:
        """Drop the graphs of vectors, before many times as many come: put in one by one, each takes a millisecond.

        Until `close` makes them anew, searches compare every vector.
        """
        for link in self._links:
            link.run(f"DROP INDEX IF EXISTS {self._name}.{schema.GRAPH}")

    def _drop_others(self) -> None:
        """Drop what rebuilds that did not end have left, and what was there before one that did."""
        for link in self._links:
            for name in schema.others(link.session, schema.present(link.session)[0]):
                with suppress(IndexBusyError):
                    schema.drop(link.session, name)
                link.session.let_go()

    def _let_go(self) -> None:
        for link in self._links:
            link.close()


def _make_first(url: str, manifest: Manifest) -> None:
    """Have an index on the server: an empty one where there was none."""
    session = Session(url, target_session_attrs="read-write")
    try:
        if schema.version_of(session) == schema.SCHEMA_VERSION and schema.present(session)[0]:
            return
        _lock(session)
        schema.migrate(session)
        if not schema.present(session)[0]:
            session.run("BEGIN")
            name = schema.after("")
            schema.make(session, name, manifest, Commit.after(-1))
            schema.show(session, name)
            session.run("COMMIT")
    finally:
        session.leave()


def _lock(session: Session) -> None:
    """Be the one who writes, until the session ends. Raises IndexBusyError."""
    if not _can_lock(session):
        raise IndexBusyError(
            f"another process is writing to {session.place}: wait for it to end, then run the command again"
        )


def _can_lock(session: Session) -> bool:
    return bool(value(session, "SELECT pg_try_advisory_lock(?)", (_LOCK,)))


def _weight(number: int, paper_id: str) -> bytes:
    return sha256(f"{number}:{paper_id}".encode()).digest()
