"""What is wrong with an index on PostgreSQL: each of its servers looked at, and held against the others.

Nothing is changed. `mend` ends what a writer has left half done: it opens the index for writing, and that does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from indexer.embedding import Embedder
from indexer.errors import IndexDamagedError, IndexMismatchError, IndexMissingError, IndexUnreachableError
from indexer.store.manifest import Commit, read_commit, read_meta
from indexer.store.postgres import schema
from indexer.store.postgres.session import Session
from indexer.store.postgres.snapshot import EXACT_ROWS, read_collection
from indexer.store.postgres.writer import PostgresWriter
from indexer.store.sql import value
from indexer.upkeep.findings import (
    REPAIR,
    Examination,
    Finding,
    look_at_model,
    look_at_papers,
    look_at_sources,
    named,
)
from indexer.upkeep.mend import Mended

_TRIES, _PAUSE_S = 5, 0.1
"""A commit reaches one server after the other: within a few milliseconds."""


def examine(url: str, load: Callable[[str], Embedder] | None = None) -> Examination:
    """Look over the index whose first server the URL names, and its papers' files; with `load`, its model too.

    Reads all of it. Raises IndexMissingError where there is no index, IndexUnreachableError where the first server does
    not answer.
    """
    found = Examination()
    with ExitStack() as opened:
        found.checked.append("servers")
        sessions = list(_sessions(url, found, opened))
        for session in sessions:
            _settings(session, found)
        if found.is_sound:
            _commits(sessions, found)
        if found.is_sound:
            _rows(sessions, found)
        if found.is_sound and load is not None:
            look_at_model(sessions[0], read_meta(sessions[0])[1], load, found)
    return found


def mend(url: str, examination: Examination) -> Mended:
    """Do what the findings say can be done. Raises IndexBusyError where another process writes, IndexStateError."""
    mended = Mended()
    if any(each.repair for each in examination.findings):
        with PostgresWriter(url, None, mends=True) as writer:
            mended.done.append("ended what was left half done on the index's servers")
            if any(each.check == "commits" for each in examination.findings):
                writer.agree()
                mended.done.append(
                    "had the servers agree: run `loccit index PATH...` over the folders of all papers now"
                )
    return mended


def _sessions(url: str, found: Examination, opened: ExitStack) -> Iterator[Session]:
    """A session with each server that answers, the first one first."""
    try:
        first = opened.enter_context(_connected(url))
    except IndexMismatchError as error:
        _mismatch(error, found)
        return
    schema.check_first(first)
    yield first
    for _, other in schema.shards_of(first):
        try:
            yield opened.enter_context(_connected(other))
        except IndexMismatchError as error:
            _mismatch(error, found)
        except IndexMissingError as error:
            remedy = "restore its database, or its standby, from a backup"
            found.add(Finding("servers", "error", str(error), remedy))
        except IndexUnreachableError as error:
            found.add(Finding("servers", "error", str(error), "start the server; searches go on without its papers"))


@contextmanager
def _connected(url: str) -> Iterator[Session]:
    session = schema.connect(url)
    try:
        yield session
    finally:
        session.close()


def _mismatch(error: IndexMismatchError, found: Examination) -> None:
    found.add(Finding("schema", "error", str(error), "do that, and look again"))


def _settings(session: Session, found: Examination) -> None:
    """What a commit over several servers has left prepared. Which schema and pgvector it has, connecting to it says."""
    left = [str(gid) for (gid,) in session.execute(
        "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE ? ORDER BY gid",
        (f"{schema.HOME}:%",),
    )]  # fmt: skip
    if left:
        what = f"{session.place} has transactions that a killed writer left prepared: {named(left)}"
        remedy = f"{REPAIR}, or the next `loccit index`, ends them as the first server decided"
        found.add(Finding("prepared", "warning", what, remedy, "settle"))
    for name in ("schema", "prepared"):
        if name not in found.checked:
            found.checked.append(name)


def _commits(sessions: list[Session], found: Examination) -> None:
    """One moment of all servers, held still: the same commit, by the same manifest."""
    found.checked.append("commits")
    for _ in range(_TRIES):
        commits = [_held_still(session) for session in sessions]
        if len(set(commits)) == 1:
            break
        time.sleep(_PAUSE_S)
    found.generation = commits[0].generation
    for session, commit in zip(sessions, commits, strict=True):
        if commit != commits[0]:
            what = f"{session.place} is at generation {commit.generation}, the first server at {commits[0].generation}"
            remedy = (
                f"restore the one that is behind to the moment of the other; or {REPAIR}, and `loccit index PATH...` "
                "over the folders of all papers, which finds what was lost"
            )
            found.add(Finding("commits", "error", what, remedy, "settle"))
        elif read_meta(session)[1] != read_meta(sessions[0])[1]:
            what = f"{session.place} was made with another model or configuration than the first server"
            found.add(Finding("commits", "error", what, "run `loccit index PATH... --rebuild`"))


def _held_still(session: Session) -> Commit:
    session.let_go()
    session.hold_still()
    schema.enter(session, schema.present(session)[0])
    return read_commit(session)


def _rows(sessions: list[Session], found: Examination) -> None:
    """Every paper's rows, the word lists by the number of passages that they count, and the papers' files."""
    standing: Counter[str] = Counter()
    wrong: list[str] = []
    for session in sessions:
        standing.update(paper_id for (paper_id,) in session.execute("SELECT paper_id FROM papers"))
        wrong += look_at_papers(session, read_meta(session)[1], found)
        _word_lists(session, found)
        _graph(session, found)
    if wrong:
        remedy = "take them out with `loccit remove`; then `loccit index PATH...` has them again from their files"
        found.add(Finding("papers", "error", f"not whole: {named(wrong)}", remedy))
    if twice := sorted(paper_id for paper_id, n in standing.items() if n > 1):
        remedy = "run `loccit remove` for each, then `loccit index PATH...`"
        found.add(Finding("papers", "error", f"on several servers at once: {named(twice)}", remedy))
    for session in sessions:
        look_at_sources(session, found)
    found.checked[:] = dict.fromkeys(found.checked)


def _word_lists(session: Session, found: Examination) -> None:
    found.checked.append("word lists")
    n_passages = int(value(session, "SELECT count(*) FROM passages"))
    remedy = "run `loccit index PATH... --rebuild`, and report it as a bug"
    try:
        n_counted = read_collection(session).n_passages
    except IndexDamagedError as error:
        found.add(Finding("word lists", "error", f"{session.place}: {error}", remedy))
        return
    if n_counted != n_passages:
        what = f"those on {session.place} count {n_counted:,} passages, and it has {n_passages:,}"
        found.add(Finding("word lists", "error", what, remedy))


def _graph(session: Session, found: Examination) -> None:
    """The graph of vectors: where they are many, searches without one compare each of them."""
    found.checked.append("vectors")
    n_vectors = int(value(session, "SELECT count(*) FROM vectors"))
    if n_vectors > EXACT_ROWS and not schema.present(session)[1]:
        what = f"the {n_vectors:,} on {session.place} have no graph, so that each search compares all of them"
        found.add(Finding("vectors", "warning", what, f"{REPAIR}, or the next `loccit index`, makes it", "settle"))
