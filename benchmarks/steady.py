"""Whether an index holds still: incremental runs, a reader beside a writer, and the same index twice.

    python benchmarks/steady.py increments|readers|twins [--papers DIR] [--work DIR] [--seconds N]

`increments` indexes the papers, again unchanged, and again with one paragraph edited. `readers` searches in one process
while another edits papers and re-indexes them in a loop, and holds every hit against the very file version that it
cites. `twins` indexes the papers into two folders and compares passage ids and the rankings of 100 questions. Each
prints one JSON object; anything but what was promised is an error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from indexer.build import BuildReport, build
from indexer.config import DEFAULT_MODEL, BuildConfig
from indexer.embedding import load_embedder
from indexer.errors import UsageError
from service.library import Library
from service.query import Query

N_EDITED_PAPERS = 12
EDIT = "Measured anew in round {n}, the osteoblasts of the treated mice had grown by a factor of {n}."


def copy_papers(papers: Path, work: Path, n: int | None = None) -> Path:
    """The first `n` papers in a folder that may be changed."""
    folder = work / "papers"
    shutil.rmtree(work, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in sorted(papers.glob("*.md"))[:n]:
        shutil.copy(path, folder / path.name)
    return folder


def edit(path: Path, sentence: str) -> None:
    """Put one sentence at the end of the paper's longest paragraph line."""
    lines = path.read_bytes().decode().split("\n")
    at = max((n for n, line in enumerate(lines) if line[:1].isalpha()), key=lambda n: len(lines[n]))
    lines[at] = lines[at].split(" Measured anew in round")[0] + f" {sentence}"
    beside = path.with_suffix(".tmp")
    beside.write_bytes("\n".join(lines).encode())
    beside.replace(path)


def increments(papers: Path, work: Path) -> dict[str, Any]:
    """Seconds and embedded passages of a first run, a second, and one after an edit."""
    folder = copy_papers(papers, work)
    embedder = load_embedder(DEFAULT_MODEL)

    def run() -> BuildReport:
        return build([folder], work / "index", embedder, BuildConfig())

    first, second = run(), run()
    edit(sorted(folder.glob("*.md"))[0], EDIT.format(n=1))
    third = run()
    return {
        "papers": len(first.added),
        "failed": len(first.failed),
        "passages": first.n_passages,
        "first_s": round(first.seconds, 2),
        "second_s": round(second.seconds, 2),
        "second_embedded": second.n_embedded,
        "share": round(second.seconds / first.seconds, 4),
        "edited_papers": len(third.updated),
        "edited_embedded": third.n_embedded,
        "edited_reused": third.n_reused,
    }


def _write(folder: Path, index: Path, versions: Path, stop: Event) -> None:
    embedder = load_embedder(DEFAULT_MODEL, threads=1)
    files = sorted(folder.glob("*.md"))
    n = 0
    while not stop.is_set():
        n += 1
        path = files[n % len(files)]
        edit(path, EDIT.format(n=n))
        _keep(path, versions)
        build([folder], index, embedder, BuildConfig(), rebuild=n % 10 == 0)


def _keep(path: Path, versions: Path) -> None:
    raw = path.read_bytes()
    (versions / hashlib.sha256(raw).hexdigest()).write_bytes(raw)


def readers(papers: Path, work: Path, seconds: float) -> dict[str, Any]:
    """Searches beside a writer: how many, over how many generations, and what was torn (nothing)."""
    folder = copy_papers(papers, work, N_EDITED_PAPERS)
    versions = work / "versions"
    versions.mkdir()
    for path in folder.glob("*.md"):
        _keep(path, versions)
    embedder = load_embedder(DEFAULT_MODEL, threads=1)
    build([folder], work / "index", embedder, BuildConfig())
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=_write, args=(folder, work / "index", versions, stop))
    writer.start()
    library = Library.open(work / "index", load=lambda name: embedder)
    n_searches = n_hits = n_torn = n_cursors = 0
    generations: set[int] = set()
    texts: dict[str, str] = {}
    ends = time.monotonic() + seconds
    try:
        while time.monotonic() < ends:
            cursor = ""
            for _ in range(3):
                try:
                    reply = library.search(Query("treated mice and osteoblasts measured anew", 10, cursor=cursor))
                except UsageError:  # the generation that the cursor was made in has passed: said so, not torn
                    n_cursors += 1
                    break
                n_searches += 1
                generations.add(reply.generation)
                for hit in reply.hits:
                    cite = hit.citation
                    if cite.source_sha256 not in texts:
                        texts[cite.source_sha256] = (versions / cite.source_sha256).read_bytes().decode()
                    n_hits += 1
                    n_torn += texts[cite.source_sha256][cite.start : cite.end] != hit.text
                cursor = reply.next_cursor or ""
    finally:
        stop.set()
        writer.join(120)
        library.close()
    result = {
        "seconds": seconds,
        "searches": n_searches,
        "generations": len(generations),
        "hits": n_hits,
        "torn": n_torn,
        "stale_cursors_refused": n_cursors,
        "writer_exit": writer.exitcode,
    }
    if n_torn or writer.exitcode:
        raise SystemExit(f"not steady: {json.dumps(result)}")
    return result


def twins(papers: Path, work: Path, questions: Path) -> dict[str, Any]:
    """Two indexes of the same papers: equal passage ids, and equal rankings of 100 questions."""
    folder = copy_papers(papers, work, 40)
    embedder = load_embedder(DEFAULT_MODEL)
    libraries = []
    for name in ("one", "other"):
        build([folder], work / name, embedder, BuildConfig())
        libraries.append(Library.open(work / name, load=lambda name: embedder))
    ids = [[library.paper(each.paper_id).passage_ids for each in library.papers().papers] for library in libraries]
    asked = [json.loads(line)["question"] for line in questions.read_text(encoding="utf-8").split("\n")[:100]]
    rankings = [
        [[(hit.passage_id, hit.score) for hit in library.search(Query(question, 50)).hits] for question in asked]
        for library in libraries
    ]
    result = {
        "papers": len(ids[0]),
        "passages": sum(map(len, ids[0])),
        "same_ids": ids[0] == ids[1],
        "questions": len(asked),
        "same_rankings": sum(one == other for one, other in zip(*rankings, strict=True)),
    }
    if ids[0] != ids[1] or rankings[0] != rankings[1]:
        raise SystemExit(f"not the same: {json.dumps(result)}")
    return result


def main() -> None:
    """Run the part named."""
    shared = Path(os.environ.get("LOCCIT_SHARED", "../shared")).absolute()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["increments", "readers", "twins"])
    parser.add_argument("--papers", type=Path, default=shared / "papers/markdown")
    parser.add_argument("--questions", type=Path, default=shared / "eval/covidqa/questions.jsonl")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "loccit-steady")
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    for part in args.parts:
        work = args.work / part
        if part == "increments":
            result = increments(args.papers, work)
        elif part == "readers":
            result = readers(args.papers, work, args.seconds)
        else:
            result = twins(args.papers, work, args.questions)
        sys.stdout.write(json.dumps({"part": part, **result}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
