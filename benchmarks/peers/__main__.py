"""Run the peers, score them together, show the table and write the results."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

# Before a library is imported: no hub, no telemetry, and threads that do not fight over two cores.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HAYSTACK_TELEMETRY_ENABLED="False",
    LANGSMITH_TRACING="false",
    TOKENIZERS_PARALLELISM="false",
)

from benchmarks.peers.encoding import Encoder, characters_read
from benchmarks.peers.results import Row, Saved, condense, due, load, rows_of, save, saved_path, table
from benchmarks.peers.systems import PEERS, Bench
from indexer.errors import UsageError
from service.evaluate import Question, load_questions


def main() -> None:
    """Run what is due, then score everything that is saved."""
    args = _arguments()
    bench = _bench(args)
    work: Path = args.work
    work.mkdir(parents=True, exist_ok=True)
    for name in due(list(PEERS), args.only, work):
        began = time.monotonic()
        try:
            found = PEERS[name].search(bench)
        except ImportError as error:
            sys.stderr.write(f"{name}: not run, {error}\n")
            continue
        versions = {package: version(package) for package in PEERS[name].packages}
        save(condense(found.chunks, found.rankings, versions, f"{datetime.now(UTC):%Y-%m-%d}"), saved_path(work, name))
        sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    found_by = {name: load(path) for name in PEERS if (path := saved_path(work, name)).exists()}
    try:
        rows = _scored(found_by, bench.questions)
    except UsageError as error:
        raise SystemExit(str(error)) from error
    shown = table(rows, {name: peer.title for name, peer in PEERS.items()})
    results = {
        "set": f"{len(bench.questions)} questions, {len(bench.papers)} papers",
        "machine": f"{os.cpu_count()} cores, {_processor()}",
        "settings": {name: PEERS[name].settings for name in found_by},
        "rows": [asdict(row) for row in rows],
    }
    (work / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (work / "results.md").write_text(shown, encoding="utf-8")
    sys.stdout.write(f"{shown}\n{json.dumps(results, ensure_ascii=False)}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=[], help="run these, saved or not")
    parser.add_argument("--index", type=Path, help="loccit's index; made where there is none [WORK/index]")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("LOCCIT_SHARED", "../shared")))
    parser.add_argument("--work", type=Path, default=Path(".peers"), help="saved rankings, vectors and results")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--cut", type=int, default=0, help="only so many papers with questions, and as many without")
    args = parser.parse_args()
    args.vectors = args.work / "vectors.sqlite"
    if args.cut:
        args.work = args.work / f"cut-{args.cut}"
    args.index = args.index or args.work / "index"
    return args


def _bench(args: argparse.Namespace) -> Bench:
    asked = args.shared / "eval/covidqa"
    questions: Sequence[Question] = load_questions(asked).questions
    own, others = (sorted(folder.glob("*.md")) for folder in (asked / "papers", args.shared / "papers/markdown"))
    if args.cut:
        own, others = own[: args.cut], others[: args.cut]
    files = {path.stem: path for path in (*own, *others)}
    return Bench(
        files=files,
        papers={paper_id: path.read_bytes().decode() for paper_id, path in files.items()},
        questions=tuple(question for question in questions if question.paper_id in files),
        encode=Encoder(args.vectors, args.threads),
        index=args.index,
        threads=args.threads,
    )


def _scored(found_by: dict[str, Saved], questions: Sequence[Question]) -> list[Row]:
    read: dict[str, list[int] | None] = {}
    for name, saved in found_by.items():
        limit = PEERS[name].reads
        read[name] = None if limit is None else characters_read([chunk.text for chunk in saved.chunks], limit)
    return rows_of(found_by, questions, read)


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "processor not known"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unnamed")


if __name__ == "__main__":
    main()
