"""What an index says, whatever holds it, to be compared with what another one says; and places to hold one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest

from indexer.config import BuildConfig
from indexer.papers import PaperOrder
from indexer.store import Ids, IndexPlace, Manifest, Snapshot, open_reader, open_writer
from indexer.store.postgres.writer import PostgresWriter
from indexer.store.rows import PASSAGES, VECTORS
from tests.fakes import WordEmbedder
from tests.postgres.servers import Server

CONFIG = BuildConfig(model="words", max_wordpieces=32, merge_below=0)
EMBEDDER = WordEmbedder()
MANIFEST = Manifest(CONFIG, EMBEDDER.identity, EMBEDDER.encoder)
QUERIES = (
    ("bone",),
    ("bone", "sugar", "femur", "bone"),
    ("method",),
    ("absent", "mous"),
    ("bone mass", "mass"),
    ("sugar bone", "collagen protein", "gene"),
)

Kind = Literal["folder", "server", "shards"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ORDERS: tuple[PaperOrder, ...] = get_args(PaperOrder)


@contextmanager
def fresh_place(kind: Kind, server: Server, folder: Path) -> Iterator[IndexPlace]:
    """A place that holds no index yet; of shards, an empty one on two databases."""
    if kind == "folder":
        yield folder / "index"
    elif kind == "server":
        with server.fresh_database() as name:
            yield server.url(name)
    else:
        with server.fresh_database() as one, server.fresh_database() as two:
            with open_writer(server.url(one), MANIFEST):
                pass
            spread(server.url(one), server.url(two))
            yield server.url(one)


def spread(url: str, *others: str) -> int:
    """Have other servers share the index too. How many papers moved."""
    with PostgresWriter(url, None) as writer:
        for other in others:
            writer.add_shard(other)
        return writer.rebalance()


@contextmanager
def reading(place: IndexPlace) -> Iterator[Snapshot]:
    """What the index says now."""
    with closing(open_reader(place)) as reader, reader.snapshot() as snapshot:
        yield snapshot


def passage_ids(snapshot: Snapshot, row_ids: Ids | Sequence[int]) -> list[str]:
    """Those of the passages of these rows."""
    return [each.passage.passage_id for each in snapshot.passages([int(row_id) for row_id in row_ids])]


def bm25(snapshot: Snapshot, phrases: Sequence[str], selected: Ids | None = None) -> dict[str, float]:
    """Scores by passage id."""
    ids, scores = snapshot.lexical(phrases, selected)
    assert (ids.dtype, scores.dtype) == (np.int64, np.float64)
    assert ids.tolist() == sorted(set(ids.tolist()))
    return dict(zip(passage_ids(snapshot, ids), scores.tolist(), strict=True))


def cosines(snapshot: Snapshot, query: str, n: int, selected: Ids | None = None) -> dict[str, float]:
    """The nearest passages with their cosines, best first."""
    vector = EMBEDDER.encode_query(query)
    nearest = snapshot.nearest(vector, n, selected).tolist()
    assert len(nearest) == len(set(nearest)) <= n
    found = snapshot.similarities(vector, nearest)
    by_row = dict(zip(found.ids.tolist(), found.passages.tolist(), strict=True))
    in_order = [by_row[row_id] for row_id in nearest]
    assert in_order == pytest.approx(sorted(in_order, reverse=True), abs=1e-5)
    return dict(zip(passage_ids(snapshot, nearest), in_order, strict=True))


def facts(snapshot: Snapshot) -> dict[str, Any]:
    """All that it says to the letter."""
    papers = snapshot.papers()
    return {
        "counts": snapshot.counts(),
        "papers": papers,
        "orders": {order: [each.paper_id for each in snapshot.papers(order)] for order in ORDERS},
        "failures": snapshot.failures(),
        "of papers": {each.paper_id: _of_paper(snapshot, each.paper_id) for each in papers},
    }


def _of_paper(snapshot: Snapshot, paper_id: str) -> dict[str, Any]:
    rows = snapshot.rows(paper_id)
    places = {row["id"]: n for n, row in enumerate(rows[PASSAGES])}
    return {
        "passages": [(each.passage, each.markers, each.paper) for each in snapshot.passages_of(paper_id)],
        "files": snapshot.files(paper_id),
        "outline": snapshot.outline(paper_id),
        "references": snapshot.references(paper_id),
        "text": snapshot.kept_text(paper_id),
        "vectors": {
            text: (each.passage.tobytes(), each.sentences.tobytes())
            for text, each in snapshot.vectors_of(paper_id).items()
        },
        "rows": {
            table: sorted(
                (
                    {name: each for name, each in row.items() if name not in ("id", "paper")}
                    | ({"place": places[row["id"]]} if table in (PASSAGES, VECTORS) else {})
                    for row in found
                ),
                key=repr,
            )
            for table, found in rows.items()
        },
    }


def scores(snapshot: Snapshot) -> dict[str, dict[str, float]]:
    """What it finds, by passage id, with scores: additions may be made in another order elsewhere."""
    return {
        **{f"words {' | '.join(each)}": bm25(snapshot, each) for each in QUERIES},
        **{f"vector {' '.join(each)}": cosines(snapshot, " ".join(each), 10_000) for each in QUERIES},
    }


def assert_alike(one: Snapshot, other: Snapshot) -> None:
    """Both say the same, and find the same."""
    here, there = facts(one), facts(other)
    for name in ("counts", "orders", "failures", "papers"):
        assert here[name] == there[name], name
    for paper_id, ours in here["of papers"].items():
        for name, each in ours.items():
            assert each == there["of papers"][paper_id][name], f"{name} of {paper_id}"
    terms = sorted({term for each in QUERIES for phrase in each for term in phrase.split()})
    assert one.document_frequency(terms) == other.document_frequency(terms)
    ours, theirs = scores(one), scores(other)
    for name in ours:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-5), name
