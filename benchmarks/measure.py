"""Index a question set, serve it, score it over HTTP, and check every hit against its source file.

    python benchmarks/measure.py covidqa|scifact|qasper [--shared DIR] [--work DIR] [--max-wordpieces N]

The papers, question sets and the scoring script stand in the shared folder (`LOCCIT_SHARED`, else `../shared`).
Prints one JSON object a set. The index is kept in the work folder, so that a second run only searches.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beir import write_papers

if TYPE_CHECKING:
    from indexer.store import Snapshot
    from service.evaluate import Question

LOCCIT = str(Path(sys.executable).with_name("loccit"))
SPAN_K, PAPER_K = 50, 100
"""What score.py asks for."""
_READY_TRIES = 3000
"""A tenth of a second apart: a million passages take their time to open."""
QUESTIONS = {"covidqa": "eval/covidqa", "qasper": "eval/qasper10", "scifact": "eval/scifact"}
"""Each question set's folder, below the shared one."""


def papers_of(name: str, shared: Path, work: Path) -> list[Path]:
    """The folders with a question set's papers; SciFact's abstracts are written to `work` as papers."""
    if name == "scifact":
        write_papers(shared / QUESTIONS[name] / "corpus.jsonl.gz", work / "scifact")
        return [work / "scifact"]
    distractors = [shared / "papers/markdown"] if name == "covidqa" else []
    return [shared / QUESTIONS[name] / "papers", *distractors]


def bring_up_to_date(name: str, shared: Path, work: Path) -> int:
    """Index a question set's papers in `work/NAME-index`, in this process; the exit code, 0 also where single files
    fail. What that says goes to stderr."""
    from service.cli import EXIT_FAILED_FILES, main

    with redirect_stdout(sys.stderr):
        code = main(["index", *map(str, papers_of(name, shared, work)), "--index", str(work / f"{name}-index")])
    return 0 if code == EXIT_FAILED_FILES else code


def by_stem(snapshot: Snapshot) -> dict[str, str]:
    """The papers' ids by what question sets name papers by: their files' names, without folder and ending."""
    return {Path(each.source).stem: each.paper_id for each in snapshot.papers()}


def answering(question: Question) -> list[str]:
    """The papers that answer it, by their files' names."""
    return [question.paper_id] if question.paper_id else [name for name, grade in question.grades if grade > 0]


@contextmanager
def served(index: Path) -> Iterator[str]:
    """`loccit serve` on a free port; its URL, once it is ready."""
    with serving(index) as (url, _):
        yield url


@contextmanager
def serving(index: Path, workers: int = 1) -> Iterator[tuple[str, int]]:
    """`loccit serve` on a free port; its URL, once it is ready, and its process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [LOCCIT, "serve", "--index", str(index), "--port", str(port), "--workers", str(workers)],
            stdout=log,
            stderr=log,
        ) as server,
    ):
        try:
            for _ in range(_READY_TRIES):
                if server.poll() is not None:
                    log.seek(0)
                    raise SystemExit(f"loccit serve ended: {log.read().decode()}")
                try:
                    urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield url, server.pid
        finally:
            server.terminate()


def search(url: str, query: str, k: int) -> list[dict[str, Any]]:
    """The hits of POST /v1/search."""
    body = json.dumps({"query": query, "k": k}).encode()
    request = urllib.request.Request(f"{url}/v1/search", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        hits: list[dict[str, Any]] = json.load(reply)["hits"]
        return hits


def check_hits(url: str, queries: list[str], k: int, folders: list[Path]) -> dict[str, int]:
    """How many hits there were, and how many do not read in their source as they say."""
    files: dict[str, tuple[str, str]] = {}
    n_hits = n_wrong = 0
    for query in queries:
        for hit in search(url, query, k):
            cite = hit["citation"]
            if cite["source"] not in files:
                raw = next(path for folder in folders if (path := folder / cite["source"]).exists()).read_bytes()
                files[cite["source"]] = raw.decode(), hashlib.sha256(raw).hexdigest()
            text, digest = files[cite["source"]]
            n_hits += 1
            n_wrong += text[cite["start"] : cite["end"]] != hit["text"] or digest != cite["source_sha256"]
            n_wrong += any(not 0 <= mark["start"] < mark["end"] <= len(hit["text"]) for mark in hit["highlights"])
    return {"hits_checked": n_hits, "hits_wrong": n_wrong}


def score(shared: Path, url: str, what: str, **files: Path) -> dict[str, Any]:
    """What the scoring script says."""
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    command = [sys.executable, str(shared / "checks/score.py"), what, "--url", url, *options]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result


def main() -> None:
    """Measure the sets named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=list(QUESTIONS))
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("LOCCIT_SHARED", "../shared")))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "loccit-measure")
    parser.add_argument("--max-wordpieces", type=int, default=0)
    parser.add_argument("--no-check", action="store_true", help="leave out the check of every hit")
    args = parser.parse_args()
    shared = args.shared.absolute()
    for name in args.sets:
        index = args.work / f"{name}-{args.max_wordpieces or 'default'}"
        folders = papers_of(name, shared, args.work)
        size = ["--max-wordpieces", str(args.max_wordpieces)] if args.max_wordpieces else []
        began = time.monotonic()
        subprocess.run([LOCCIT, "index", *map(str, folders), "--index", str(index), *size], check=False)
        result: dict[str, Any] = {"set": name, "index_s": round(time.monotonic() - began, 1)}
        with served(index) as url:
            if name == "scifact":
                queries_file = shared / QUESTIONS[name] / "queries.jsonl"
                qrels_file = shared / QUESTIONS[name] / "qrels.tsv"
                result |= score(shared, url, "papers", queries=queries_file, qrels=qrels_file)
                with qrels_file.open(encoding="utf-8") as file:
                    judged = {row["query-id"] for row in csv.DictReader(file, delimiter="\t")}
                rows = [json.loads(line) for line in queries_file.read_text(encoding="utf-8").splitlines()]
                queries, k = [row["text"] for row in rows if row["_id"] in judged], PAPER_K
            else:
                questions = shared / QUESTIONS[name] / "questions.jsonl"
                result |= score(shared, url, "spans", questions=questions)
                rows = [json.loads(line) for line in questions.read_text(encoding="utf-8").split("\n") if line]
                queries, k = [row["question"] for row in rows], SPAN_K
            if not args.no_check:
                result |= check_hits(url, queries, k, folders)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
