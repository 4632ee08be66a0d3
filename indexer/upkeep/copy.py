"""An index into another engine, or from one place to another: every row as it stands, and proof that it arrived."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from indexer.errors import IndexDamagedError, UsageError
from indexer.store import IndexPlace, Scores, Snapshot, Writer, open_reader, open_writer, shown_place
from indexer.store.packing import unpack_passage
from indexer.store.rows import OF_A_PAPER, PASSAGES, VECTORS, PaperRows, Row

_BATCH = 2_000
"""Passages and papers that are written and committed at once."""
_PAGE = 500
"""Papers that are listed at once."""
_N_SEARCHES, _N_FOUND = 100, 10
_N_TERMS = 4
_SCORES_ALIKE = 1e-4
"""Two engines count BM25 in another order of additions."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy came to."""

    source: str
    target: str
    generation: int
    n_papers: int
    n_passages: int
    n_new: int
    """Papers that the target did not have as they are in the source; the others it had."""
    n_searches: int
    """That both were asked, each for its words and for a vector: the words' scores were the same for all."""
    overlap: float
    """Of the 10 passages with the nearest vectors in the source, the share that the target also finds, in the mean."""


def copy(
    source: IndexPlace,
    target: IndexPlace,
    heard: Callable[[int, int], None] = lambda done, n: None,
    *,
    prune: bool = False,
) -> Copied:
    """Bring all of one index into another place, which has none, or one of the same papers as they were once.

    That is every paper's rows, what is known of its files, and the files that gave no paper. Not what a build that was
    killed has left: files whose paper is not stored. The next build forgets these in any case, and reads them again.

    `heard` is told how many papers are done, and of how many. Raises UsageError for a target that is the source, or
    that holds other papers, unless these are to be taken out (`prune`); IndexDamagedError where what arrived is not
    what was sent, and the IndexStateError that fits.
    """
    if source == target or (
        isinstance(source, Path) and isinstance(target, Path) and source.resolve() == target.resolve()
    ):
        raise UsageError(f"{shown_place(source)} is both what is copied and where to: name two places")
    reader = open_reader(source, is_patient=True)
    try:
        with reader.snapshot() as snapshot:
            if snapshot.missing:
                raise UsageError(f"{', '.join(snapshot.missing)} did not answer: a copy would lack their papers")
            with open_writer(target, snapshot.manifest) as writer:
                n_new = _send(snapshot, writer, heard, prune=prune)
                generation = writer.commit()
            return _checked(snapshot, source, target, n_new, generation)
    finally:
        reader.close()


def _send(snapshot: Snapshot, writer: Writer, heard: Callable[[int, int], None], *, prune: bool) -> int:
    """Write the papers that the target has not, or otherwise. How many these were."""
    view = writer.view()
    gone: list[str] = []
    for page in _pages(view):
        others = sorted(set(page) - snapshot.known(page))
        if others and not prune:
            raise UsageError(
                f"{writer.place} holds {others[0]}, which the source has not, and maybe others: name a new place, or "
                "have them taken out with --prune"
            )
        gone += others
    for paper_id in gone:
        writer.remove(paper_id)
    n, n_new, is_empty = snapshot.n_papers(), 0, view.n_papers() == 0
    batch: list[PaperRows] = []
    for done, paper_id in enumerate(chain.from_iterable(_pages(snapshot)), start=1):
        if is_empty or not _is_same(snapshot, view, paper_id):
            batch.append(snapshot.rows(paper_id))
            n_new += 1
        if sum(1 + len(rows[PASSAGES]) for rows in batch) >= _BATCH:
            _write(batch, snapshot, writer)
            batch = []
        if not batch or done % _PAGE == 0:
            heard(done - len(batch), n)
    _write(batch, snapshot, writer)
    heard(n, n)
    writer.keep_failures(snapshot.failures())
    return n_new


def _write(batch: Sequence[PaperRows], snapshot: Snapshot, writer: Writer) -> None:
    """Put these papers in, each with its files and no others, and commit."""
    if not batch:
        return
    writer.put_many(batch)
    for rows in batch:
        paper_id = rows["papers"][0]["paper_id"]
        for record in writer.files.of(paper_id):
            writer.forget_file(record.origin)
        for record in snapshot.files(paper_id):
            writer.put_file(record)
    writer.checkpoint()


def _pages(snapshot: Snapshot) -> Iterator[list[str]]:
    """The ids of all papers, so many at once."""
    after = ""
    while page := [each.paper_id for each in snapshot.papers(after=after, limit=_PAGE)]:
        yield page
        after = page[-1]


def _checked(snapshot: Snapshot, source: IndexPlace, target: IndexPlace, n_new: int, generation: int) -> Copied:
    """Compare both indexes: counts, failures, all of every paper, and what searches find. Raises IndexDamagedError."""
    reader = open_reader(target, is_patient=True)
    try:
        with reader.snapshot() as other:
            counts = snapshot.counts()
            if counts != other.counts():
                raise IndexDamagedError(
                    f"{shown_place(target)} has {other.counts()}, {counts} were sent: copy once more"
                )
            if snapshot.failures() != other.failures():
                raise IndexDamagedError(
                    f"the files that gave no paper are not the same in {shown_place(target)}: copy once more"
                )
            chosen = random.Random(0)
            numbers = Counter(chosen.choices(range(counts["papers"]), k=_N_SEARCHES) if counts["papers"] else ())
            asked: list[str] = []
            for n, paper_id in enumerate(chain.from_iterable(_pages(snapshot))):
                if not _is_same(snapshot, other, paper_id):
                    raise IndexDamagedError(f"{paper_id} is not the same in {shown_place(target)}: copy once more")
                asked += [paper_id] * numbers[n]
            overlaps = [_overlap(snapshot, other, paper_id, chosen) for paper_id in asked]
            return Copied(
                shown_place(source), shown_place(target), generation, counts["papers"], counts["passages"], n_new,
                len(overlaps), sum(overlaps) / max(len(overlaps), 1),
            )  # fmt: skip
    finally:
        reader.close()


def _is_same(one: Snapshot, other: Snapshot, paper_id: str) -> bool:
    """Whether the other has the paper too, and all of it is the same."""
    return other.has(paper_id) and _all_of(one, paper_id) == _all_of(other, paper_id)


def _all_of(snapshot: Snapshot, paper_id: str) -> tuple[object, ...]:
    """All that the rows say of a paper, whatever ids the tables gave them, and what is known of its files."""
    rows = snapshot.rows(paper_id)
    places = {row["id"]: n for n, row in enumerate(rows[PASSAGES])}
    of_passages = [{places[row["id"]]: _own(row) for row in rows[table]} for table in (PASSAGES, VECTORS)]
    of_paper = [sorted(map(_own, rows[table]), key=repr) for table in ("papers", *OF_A_PAPER)]
    return *of_passages, *of_paper, snapshot.files(paper_id)


def _own(row: Row) -> Row:
    return {name: row[name] for name in sorted(row) if name not in ("id", "paper")}


def _overlap(snapshot: Snapshot, other: Snapshot, paper_id: str, chosen: random.Random) -> float:
    """Ask both for a passage's words and for its vector. The share of the nearest that both find.

    Raises IndexDamagedError where its words have other scores.
    """
    rows = snapshot.rows(paper_id)
    if not rows[VECTORS]:
        return 1.0
    vector = chosen.choice(rows[VECTORS])
    words = next(row["terms"] for row in rows[PASSAGES] if row["id"] == vector["id"]).split()
    asked = sorted(set(chosen.choices(words, k=_N_TERMS))) if words else []
    here, there = _scores(snapshot, asked), _scores(other, asked)
    if len(here) != len(there) or not np.allclose(here, there, atol=_SCORES_ALIKE):
        raise IndexDamagedError(f"a search for {' '.join(asked)!r} does not find the same in both: copy once more")
    query = unpack_passage(vector["vector"], snapshot.manifest.model.dim)
    nearest = [
        {each.passage.passage_id for each in one.passages(one.nearest(query, _N_FOUND, None).tolist())}
        for one in (snapshot, other)
    ]
    return len(nearest[0] & nearest[1]) / max(len(nearest[0]), 1)


def _scores(snapshot: Snapshot, terms: Sequence[str]) -> Scores:
    """The best scores for these terms, best first."""
    _, scores = snapshot.lexical(terms, None)
    return np.sort(scores)[::-1][:_N_FOUND]
