"""An index into another engine, or from one place to another: every row as it stands, and proof that it arrived."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from indexer.errors import IndexDamagedError, UsageError
from indexer.store import IndexPlace, Scores, Snapshot, Writer, open_reader, open_writer, shown_place
from indexer.store.packing import unpack_passage
from indexer.store.rows import PASSAGES, VECTORS, PaperRows

_BATCH = 2_000
"""Passages that are written and committed at once."""
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
    """Papers that the target did not have; the others were as they are already."""
    n_searches: int
    """That both were asked, each for its words and for a vector: the words' scores were the same for all."""
    overlap: float
    """Of the 10 passages with the nearest vectors in the source, the share that the target also finds, in the mean."""


def copy(source: IndexPlace, target: IndexPlace, heard: Callable[[int, int], None] = lambda done, n: None) -> Copied:
    """Bring all of one index into another place, which has none, or a part of the same one from an earlier try.

    `heard` is told how many papers are done, and of how many. Raises UsageError for a target that holds other papers,
    IndexDamagedError where what arrived is not what was sent, and the IndexStateError that fits.
    """
    reader = open_reader(source)
    try:
        with reader.snapshot() as snapshot:
            if snapshot.missing:
                raise UsageError(f"{', '.join(snapshot.missing)} did not answer: a copy would lack their papers")
            with open_writer(target, snapshot.manifest) as writer:
                n_new = _send(snapshot, writer, heard)
                generation = writer.commit()
            return _checked(snapshot, source, target, n_new, generation)
    finally:
        reader.close()


def _send(snapshot: Snapshot, writer: Writer, heard: Callable[[int, int], None]) -> int:
    """Write the papers that the target has not. How many these were."""
    there = dict(_marks(writer.view()))
    here = dict(_marks(snapshot))
    if others := sorted(there.keys() - here.keys()):
        raise UsageError(f"{writer.place} holds {others[0]} and other papers that the source has not: name a new place")
    wanted = [paper_id for paper_id, mark in here.items() if there.get(paper_id) != mark]
    batch: list[PaperRows] = []
    for n, paper_id in enumerate(wanted, start=1):
        batch.append(snapshot.rows(paper_id))
        if sum(len(rows[PASSAGES]) for rows in batch) >= _BATCH or n == len(wanted):
            writer.put_many(batch)
            for rows in batch:
                for record in snapshot.files(rows["papers"][0]["paper_id"]):
                    writer.put_file(record)
            writer.checkpoint()
            batch = []
            heard(len(here) - len(wanted) + n, len(here))
    writer.keep_failures(snapshot.failures())
    return len(wanted)


def _marks(snapshot: Snapshot) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Of each paper what tells whether another index has it as it is."""
    after = ""
    while page := snapshot.papers(after=after, limit=_PAGE):
        for each in page:
            yield each.paper_id, (each.sha256, each.source, each.origin, each.n_passages, each.n_versions)
        after = page[-1].paper_id


def _checked(snapshot: Snapshot, source: IndexPlace, target: IndexPlace, n_new: int, generation: int) -> Copied:
    """Compare both indexes: counts, every paper's rows, and what searches find. Raises IndexDamagedError."""
    reader = open_reader(target)
    try:
        with reader.snapshot() as other:
            counts = snapshot.counts()
            if counts != other.counts():
                raise IndexDamagedError(
                    f"{shown_place(target)} has {other.counts()}, {counts} were sent: copy once more"
                )
            chosen = random.Random(0)
            paper_ids = []
            for paper_id, _ in _marks(snapshot):
                paper_ids.append(paper_id)
                if _digest(snapshot.rows(paper_id)) != _digest(other.rows(paper_id)):
                    raise IndexDamagedError(f"{paper_id} is not the same in {shown_place(target)}: copy once more")
            overlaps = [
                _overlap(snapshot, other, chosen.choice(paper_ids), chosen)
                for _ in range(_N_SEARCHES if paper_ids else 0)
            ]
            return Copied(
                shown_place(source), shown_place(target), generation, counts["papers"], counts["passages"], n_new,
                len(overlaps), sum(overlaps) / max(len(overlaps), 1),
            )  # fmt: skip
    finally:
        reader.close()


def _digest(rows: PaperRows) -> str:
    """A hash of all that the rows say, whatever ids the tables gave them."""
    places = {row["id"]: n for n, row in enumerate(rows[PASSAGES])}
    said = sha256()
    for table, found in rows.items():
        for row in sorted((_own(table, row, places) for row in found), key=repr):
            said.update(json.dumps([table, row], sort_keys=True, default=bytes.hex).encode())
    return said.hexdigest()


def _own(table: str, row: dict[str, object], places: dict[object, int]) -> dict[str, object]:
    own = {name: each for name, each in row.items() if name not in ("id", "paper")}
    return own | {"place": places[row["id"]]} if table in (PASSAGES, VECTORS) else own


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
