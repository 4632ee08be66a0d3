"""Time loccit, each figure beside its baseline in the same run.

    python benchmarks/bench.py [PART...] [--work DIR] [--sizes N,N] [--seconds S] [--write]

throughput  indexing 200 papers from nothing, and again unchanged, beside SentenceTransformer.encode
cold        a fresh process: help, and a first answer, beside `import sentence_transformers`
growth      the store filled with so many synthetic passages: synthetic.py
latency     searches over HTTP at every size, beside sentence-transformers and exact FAISS
neighbour   searches with one core kept busy by another process
load        16 clients at once beside one

The papers and questions stand in the shared folder (`LOCCIT_SHARED`, else `../shared`). Each part's figures are kept in
the work folder, so that a part can be run again on its own. Indexes are kept too: only `throughput` and `growth`, which
time the making, make theirs anew. The report of all parts goes to stdout; with --write to docs/benchmarks.md and
docs/benchmarks.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plot
import report
from figures import Row, middle
from load import latency as ask_all
from measure import LOCCIT, QUESTIONS, serving
from processes import Finished, folder_mb, machine, memory, script, timed

QUESTION = "how do AGEs affect bone quality?"
N_TIMES, N_WARM, EVERY_QUESTION, N_CLIENTS = 5, 20, 3, 16
EXIT_NOTHING_FOUND, EXIT_FAILED_FILES = 4, 1
LOAD_SIZE = 100_000
_DOCS = Path(__file__).parents[1] / "docs"

Result = dict[str, Any]


class AbsentError(Exception):
    """Material that a part needs is not there."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things are, and how much to measure."""

    shared: Path
    work: Path
    sizes: tuple[int, ...]
    """Passages of the synthetic indexes."""
    seconds: float
    """How long to keep up a load."""

    @property
    def papers(self) -> Path:
        """The papers' folder. Raises AbsentError."""
        return _there(self.shared / "papers/markdown")

    @property
    def n_papers(self) -> int:
        """How many papers are indexed. Raises AbsentError."""
        return len(list(self.papers.glob("*.md")))

    def index_papers(self) -> Finished:
        """Index the papers, as `loccit index` does."""
        return timed([LOCCIT, "index", str(self.papers), "--index", str(self.index)], (0, EXIT_FAILED_FILES))

    @property
    def index(self) -> Path:
        """Where the papers' index is, or will be."""
        return self.work / "papers"

    def indexed(self) -> Path:
        """The papers' index, made now unless it is there and can be read."""
        if subprocess.run([LOCCIT, "info", "--index", str(self.index)], capture_output=True, check=False).returncode:
            shutil.rmtree(self.index, ignore_errors=True)
            self.index_papers()
        return self.index

    def synthetic(self, *options: str) -> list[Result]:
        """What each of the synthetic indexes took, made now unless it is there."""
        sizes = ",".join(map(str, self.sizes))
        made: list[Result] = script("synthetic.py", self.indexed(), "--work", self.work, "--sizes", sizes, *options)
        return made

    def synthetic_folder(self, size: int) -> Path:
        """Where the synthetic index of that size is."""
        return self.work / f"synthetic-{size}"

    def questions(self) -> Path:
        """A file with every third of COVID-QA's questions: 20 to ask before, the others to time. Raises AbsentError."""
        source = _there(self.shared / QUESTIONS["covidqa"] / "questions.jsonl")
        rows = [json.loads(line) for line in source.read_text(encoding="utf-8").split("\n") if line]
        asked = [row["question"] for row in rows][::EVERY_QUESTION]
        file = self.work / "questions.json"
        file.write_text(json.dumps({"warm": asked[:N_WARM], "asked": asked[N_WARM:]}), encoding="utf-8")
        return file


def _rows(index: Path) -> closing[sqlite3.Connection]:
    """The index's database, to be read. The index's own modules are not loaded here: see `processes`."""
    return closing(sqlite3.connect(f"{(index / 'index.sqlite').absolute().as_uri()}?mode=ro", uri=True))


def _there(path: Path) -> Path:
    if not path.exists():
        raise AbsentError(f"{path} is not there; set LOCCIT_SHARED to the folder that has papers/ and eval/")
    return path


def throughput(bench: Bench) -> Result:
    """The papers from nothing, then unchanged, then encoded alone."""
    n_papers = bench.n_papers
    shutil.rmtree(bench.index, ignore_errors=True)
    first = bench.index_papers()
    again = [bench.index_papers().seconds for _ in range(N_TIMES)]
    with _rows(bench.index) as connection:
        n_passages, n_tokens = connection.execute(
            "SELECT count(*), sum(n_wordpieces) FROM passages WHERE role = 'body'"
        ).fetchone()
    return {
        "papers": n_papers,
        "passages": n_passages,
        "tokens": n_tokens,
        "seconds": first.seconds,
        "tokens_per_s": n_tokens / first.seconds,
        "peak_mb": first.peak_mb,
        "again": middle(again),
        "folder_mb": folder_mb(bench.index),
        "baseline": script("probe.py", "encode", bench.index),
    }


def cold(bench: Bench) -> Result:
    """Fresh processes in turn, round after round; the first round only fills the file cache."""
    index = str(bench.indexed())
    commands = {
        "help": ([LOCCIT, "--help"], (0,)),
        "ask": ([LOCCIT, "ask", QUESTION, "--index", index], (0, EXIT_NOTHING_FOUND)),
        "baseline": ([sys.executable, "-c", "import sentence_transformers"], (0,)),
    }
    rounds = [{name: timed(*each) for name, each in commands.items()} for _ in range(1 + N_TIMES)][1:]
    measured = {
        name: middle([each[name].seconds for each in rounds]) | {"peak_mb": max(each[name].peak_mb for each in rounds)}
        for name in commands
    }
    return {"papers": bench.n_papers, **measured}


def growth(bench: Bench) -> Result:
    """What it takes to make the synthetic indexes anew."""
    return {"sizes": bench.synthetic("--anew")}


def latency(bench: Bench) -> Result:
    """Searches of the papers' index and of every synthetic one."""
    file = bench.questions()
    index = bench.indexed()
    sizes = bench.synthetic()
    folders = {f"{bench.n_papers} papers": index} | {
        f"synthetic, {size:,}": bench.synthetic_folder(size) for size in bench.sizes
    }
    with _rows(index) as connection:
        (n_real,) = connection.execute("SELECT count(*) FROM passages").fetchone()
    passages = [n_real, *(each["passages"] for each in sizes)]
    return {
        "n_warm": N_WARM,
        "indexes": [
            {"index": name, "passages": n, **_searched(folder, file)}
            for (name, folder), n in zip(folders.items(), passages, strict=True)
        ],
    }


def _searched(index: Path, questions: Path) -> Result:
    with serving(index) as (url, pid):
        loccit = ask_all(url, **_read(questions))
        held = memory(pid)
    opened = [script("probe.py", "open", index)["seconds"] for _ in range(N_TIMES)]
    return {"loccit": loccit, **held, "open": middle(opened), **script("probe.py", "search", index, questions)}


def neighbour(bench: Bench) -> Result:
    """The index of the papers searched in quiet, and beside a process that never rests, free and held to one core."""
    questions = _read(bench.questions())
    with serving(bench.indexed()) as (url, _):
        result: Result = {"papers": bench.n_papers, "n_warm": N_WARM, "quiet": ask_all(url, **questions)}
        with _busy_process():
            result["busy"] = ask_all(url, **questions)
        if hasattr(os, "sched_setaffinity"):  # Linux only
            with _busy_process() as pid:
                os.sched_setaffinity(pid, {max(os.sched_getaffinity(pid))})
                result["pinned"] = ask_all(url, **questions)
        result["quiet again"] = ask_all(url, **questions)
    return result


@contextmanager
def _busy_process() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def load(bench: Bench) -> Result:
    """One client and then many on the synthetic index nearest to 100,000 passages, from a process of their own."""
    file = bench.questions()
    bench.synthetic()
    size = min(bench.sizes, key=lambda size: abs(size - LOAD_SIZE))
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with serving(bench.synthetic_folder(size), workers) as (url, _):
        ask_all(url, **_read(file))
        one, many = (
            script("load.py", url, file, "--clients", str(n), "--seconds", str(bench.seconds)) for n in (1, N_CLIENTS)
        )
    return {"passages": size, "workers": workers, "one": one, "many": many}


def _read(questions: Path) -> dict[str, list[str]]:
    read: dict[str, list[str]] = json.loads(questions.read_text(encoding="utf-8"))
    return read


PARTS: dict[str, Callable[[Bench], Result]] = {
    "throughput": throughput,  # first: it makes the papers' index, which the others use
    "cold": cold,
    "growth": growth,
    "latency": latency,
    "neighbour": neighbour,
    "load": load,
}


def run(bench: Bench, parts: Sequence[str]) -> bool:
    """Measure the parts named, and keep what each gave; whether there was material for any."""
    results = bench.work / "results"
    results.mkdir(parents=True, exist_ok=True)
    n_done = 0
    for name in PARTS:
        if name not in parts:
            continue
        about: Row | Result = {"at": time.strftime("%Y-%m-%d %H:%M"), "load": os.getloadavg()[0], "machine": machine()}
        sys.stderr.write(f"{name} ...\n")
        try:
            figures = PARTS[name](bench)
        except AbsentError as absent:
            sys.stderr.write(f"no {name}: {absent}\n")
            continue
        (results / f"{name}.json").write_text(json.dumps(about | figures, indent=1), encoding="utf-8")
        n_done += 1
    return n_done > 0


def kept(work: Path) -> dict[str, Result]:
    """What every part gave when it was last run."""
    files = {name: work / "results" / f"{name}.json" for name in PARTS}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}


def main() -> int:
    """Run the parts named; 1 where nothing could be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path(".bench"))
    parser.add_argument("--sizes", default="10000,100000,1000000", help="passages of the synthetic indexes")
    parser.add_argument("--seconds", type=float, default=60, help="how long to keep up a load")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and .svg")
    args = parser.parse_args()
    if unknown := sorted(set(args.parts) - PARTS.keys()):
        parser.error(f"there is no part {unknown[0]}: name {', '.join(PARTS)}")
    try:
        sizes = tuple(sorted({int(size) for size in args.sizes.split(",")}))
    except ValueError:
        parser.error(f"--sizes {args.sizes}: give numbers with commas between")
    shared = Path(os.environ.get("LOCCIT_SHARED") or "../shared").absolute()
    if not run(Bench(shared, args.work.absolute(), sizes, args.seconds), args.parts or list(PARTS)):
        return 1
    results = kept(args.work)
    text = report.render(results)
    if args.write:
        (_DOCS / "benchmarks.md").write_text(text, encoding="utf-8")
        if panels := report.panels(results):
            (_DOCS / "benchmarks.svg").write_text(plot.draw(panels), encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
