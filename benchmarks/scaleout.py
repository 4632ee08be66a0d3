"""An index on PostgreSQL as it grows: load, graph, bytes a passage, searches with and without filters, recall.

    python benchmarks/scaleout.py REAL_INDEX QUESTIONS URL [URL...] --sizes 100000,1000000

QUESTIONS is a `questions.jsonl`. The first URL's empty database gets synthetic papers made of the real index's (see
synthetic.py), the others share them; one that has some gets those that lack. At each size the writer is closed, which
makes the graphs, and a library asks every third question, one at a time. Prints a JSON object a size; progress goes to
stderr.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import Made, Real, make_papers, read_real

from indexer.abbreviations import find_abbreviations
from indexer.embedding import load_embedder
from indexer.store.postgres.reader import PostgresReader
from indexer.store.postgres.schema import connect, present
from indexer.store.postgres.writer import PostgresWriter
from indexer.store.rows import PaperRows, rows_of
from service.library import Library
from service.query import Filters, Query
from service.search import MIN_CANDIDATES
from service.stages import listen

BATCH_PASSAGES = 5_000
N_WARM, EVERY_QUESTION, N_RECALLED = 20, 3, 100
FILTERS = {
    "none": Filters(),
    "half (year_from 2013)": Filters(year_from=2013),
    "a twentieth (year 2020)": Filters(year_from=2020, year_to=2020),
    "section methods": Filters(section="methods"),
}


Result = dict[str, Any]


def load(papers: Iterator[Made], n_wanted: int, writer: PostgresWriter) -> float:
    """Write papers until so many passages more are there; the seconds that writing took."""
    n, spent, batch = 0, 0.0, list[PaperRows]()
    for made in papers:
        names = find_abbreviations(made.paper)
        batch.append(rows_of(made.paper, made.paper.source, made.passages, made.vectors, {}, names, ()))
        n += len(made.passages)
        is_last = n >= n_wanted
        if is_last or sum(len(rows["passages"]) for rows in batch) >= BATCH_PASSAGES:
            began = time.perf_counter()
            writer.put_many(batch)
            writer.checkpoint()
            spent += time.perf_counter() - began
            batch = []
            sys.stderr.write(f"\r{n:,} of {n_wanted:,} passages, {n / spent:,.0f} a second ")
        if is_last:
            break
    sys.stderr.write("\n")
    return spent


def ask(library: Library, questions: Sequence[str], filters: Filters) -> Result:
    """Milliseconds of a search: the median, the 95th percentile, and the mean of its stages."""
    stages: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        stages[name] = stages.get(name, 0.0) + time.perf_counter() - began

    taken = []
    for n, question in enumerate(questions):
        if n == N_WARM:
            stages.clear()
            taken.clear()
            listen(timed)
        began = time.perf_counter()
        library.search(Query(question, 10, filters))
        taken.append(time.perf_counter() - began)
    listen(None)
    p50, p95 = 1e3 * np.quantile(taken, (0.5, 0.95))
    means = {name: round(1e3 * spent / len(taken), 2) for name, spent in stages.items()}
    return {"p50_ms": round(p50, 1), "p95_ms": round(p95, 1), "stages_ms": means, "n": len(taken)}


def recall(url: str, questions: Sequence[str]) -> float:
    """Recall@10 of the nearest vectors against comparing every one."""
    embedder = load_embedder("all-MiniLM-L6-v2", threads=1)
    shares = []
    reader = PostgresReader(url)
    with reader.snapshot() as snapshot:
        for question in questions:
            vector = embedder.encode_query(question)
            found = snapshot.nearest(vector, MIN_CANDIDATES, None)[:10]
            shares.append(len(np.intersect1d(found, snapshot.exactly_nearest(vector, 10))) / 10)
    reader.close()
    return float(np.mean(shares))


def sizes(urls: Sequence[str], n_passages: int) -> Result:
    """Bytes a passage of each table and index, and the megabytes of each server's memory that is its own or shared."""
    found: dict[str, float] = {}
    for url in urls:
        session = connect(url)
        rows = session.execute(
            "SELECT relname, pg_total_relation_size(pg_class.oid) - pg_indexes_size(pg_class.oid), "
            "CASE WHEN relname = 'codes' THEN pg_relation_size(to_regclass(nspname || '.codes_graph')) END, "
            "pg_indexes_size(pg_class.oid) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE nspname = ? AND relkind = 'r'",
            (present(session)[0],),
        )
        for table, n_bytes, graph, indexes in rows:
            found[table] = found.get(table, 0) + n_bytes
            found["graph of vectors"] = found.get("graph of vectors", 0) + (graph or 0)
            found["other indexes"] = found.get("other indexes", 0) + indexes - (graph or 0)
        session.close()
    each = {name: round(n / n_passages, 1) for name, n in sorted(found.items(), key=lambda item: -item[1])}
    return {"total": round(sum(found.values()) / n_passages), **{name: n for name, n in each.items() if n >= 1}}


def measure(urls: Sequence[str], real: Real, size: int, asked: list[str]) -> Result:
    """Grow the index to that size, and ask it."""
    with PostgresWriter(urls[0], real.manifest) as writer:
        there = writer.view().counts()
        if not there["papers"]:
            for url in urls[1:]:
                writer.add_shard(url)
        n_new = size - there["passages"]
        papers = make_papers(real, max(n_new, 0), number=there["papers"])
        if n_new > there["passages"]:  # it is quicker made anew
            writer.drop_graphs()
        load_s = load(papers, n_new, writer) if n_new > 0 else 0.0
        writer.commit()
        began = time.perf_counter()
    close_s = time.perf_counter() - began
    began = time.perf_counter()
    library = Library.open(urls[0])
    library.search(Query(asked[0], 10))
    first_s = time.perf_counter() - began
    try:
        return {
            "passages": size,
            "load_s": round(load_s, 1),
            "passages_a_second": round(n_new / load_s) if load_s else 0,
            "graph_s": round(close_s, 1),
            "open_and_first_search_s": round(first_s, 2),
            "searches": {name: ask(library, asked, filters) for name, filters in FILTERS.items()},
            "recall_at_10": round(recall(urls[0], asked[:N_RECALLED]), 4),
            "bytes_a_passage": sizes(urls, size),
            "reader_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
    finally:
        library.close()


def main() -> None:
    """Grow, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--sizes", default="100000,1000000")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.questions.read_text(encoding="utf-8").splitlines() if line]
    asked = [row["question"] for row in rows][::EVERY_QUESTION]
    real = read_real(args.real)
    wanted = sorted(int(size) for size in args.sizes.split(","))
    for size in wanted:
        sys.stdout.write(json.dumps(measure(args.urls, real, size, asked)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
