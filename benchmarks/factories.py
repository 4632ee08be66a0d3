"""FAISS's ways to hold vectors: bytes each takes a vector, what it finds, and how long a search takes.

    python benchmarks/factories.py REAL_INDEX QUESTIONS [--size 100000]

Synthetic vectors made of the real index's (see synthetic.py), and real questions. Recall@10 is against comparing every
vector, of the 10 best of 200 that the structure gives, compared again by the vectors themselves as a search does.
Prints a row a factory.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
from synthetic import make_papers, read_real

from indexer.embedding import load_embedder

FACTORIES = (
    "Flat",
    "IVF{n},Flat",
    "IVF{n},SQfp16",
    "IVF{n},SQ8",
    "IVF{n},RaBitQ4",
    "IVF{n},RaBitQ",
    "HNSW32",
    "HNSW32_SQ8",
)
N_QUESTIONS, EVERY_QUESTION, N_FOUND, N_BEST = 200, 3, 200, 10
PROBED = (8, 16, 32, 64, 128)
WANTED = 0.98


def tried(
    factory: str, vectors: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]
) -> str:
    """A row of the table: the fewest lists that find enough, else the most."""
    n_lists = 1 << round(np.log2(2 * np.sqrt(len(vectors))))
    began = time.perf_counter()
    index = faiss.index_factory(vectors.shape[1], factory.format(n=n_lists), faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    made_s = time.perf_counter() - began
    n_bytes = faiss.serialize_index(index).nbytes / len(vectors)
    faiss.omp_set_num_threads(1)
    for n_probed in PROBED if "IVF" in factory else PROBED[-1:]:
        if "IVF" in factory:
            faiss.extract_index_ivf(index).nprobe = n_probed
        elif "HNSW" in factory:
            index.hnsw.efSearch = N_FOUND
        began = time.perf_counter()
        _, found = index.search(queries, N_FOUND)
        ms = 1e3 * (time.perf_counter() - began) / len(queries)
        recall = np.mean(
            [_best(query, rows, vectors, best) for query, rows, best in zip(queries, found, truth, strict=True)]
        )
        if recall >= WANTED:
            break
    faiss.omp_set_num_threads(0)
    cells = (factory.format(n=n_lists), f"{n_bytes:.0f}", f"{recall:.3f}", n_probed if "IVF" in factory else "")
    return f"| {' | '.join(map(str, cells))} | {ms:.2f} | {made_s:.0f} |"


def _best(
    query: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    vectors: npt.NDArray[np.float32],
    best: npt.NDArray[np.int64],
) -> float:
    rows = rows[rows >= 0]
    order = np.argsort(-(vectors[rows] @ query))[:N_BEST]
    return len(np.intersect1d(rows[order], best)) / N_BEST


def main() -> None:
    """Make the vectors, try each factory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--size", type=int, default=100_000)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.questions.read_text(encoding="utf-8").splitlines() if line]
    embedder = load_embedder("all-MiniLM-L6-v2", threads=1)
    queries = np.stack([embedder.encode_query(row["question"]) for row in rows[::EVERY_QUESTION][:N_QUESTIONS]])
    real = read_real(args.real)
    vectors = np.stack([each.passage for made in make_papers(real, args.size) for each in made.vectors.values()])
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :N_BEST]
    head = ("factory", "bytes a vector", "recall@10", "lists probed", "ms", "made in s")
    sys.stdout.write(f"{len(vectors):,} vectors\n\n| {' | '.join(head)} |\n{'|---' * len(head)}|\n")
    for factory in FACTORIES:
        sys.stdout.write(tried(factory, vectors, queries, truth) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
