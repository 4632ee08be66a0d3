"""Fuzz a parser: no input may crash it, lose a word, or break what `tests/invariants.py` promises.

    python benchmarks/fuzz.py markdown|jats --with hypothesis|atheris [--minutes 10] [--work DIR]
    python benchmarks/fuzz.py markdown|jats --try FILE...
    python benchmarks/fuzz.py times [NAME...]

hypothesis makes papers and shrinks what fails; atheris (`pip install 'loccit[fuzz]'`, Linux) changes papers so that
they reach code that none before did. Both begin with the golden files and the shared papers (`LOCCIT_SHARED`, else
`../shared`). Each kind of failure is saved once, in the work folder; `--try` checks such a file again. `times` prints
seconds per MB of hostile input at two sizes. Results go to stdout, the rest to stderr; the exit code is 1 where
something was found.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import fuzz_jats
import fuzz_markdown
from fuzz_choices import Bytes, Case, Choose

ROOT = Path(__file__).parents[1]
_BATCH = 300
"""Examples that hypothesis makes from one seed."""
_MIN_CHOICES = 400
"""Bytes. hypothesis would make do with five; a shorter input is one whose bytes are zero."""
_SLOW_S = 2.0
"""Of processor time. No input is longer than some 20 KB; a paper of 60 KB takes a tenth of it."""
_MAX_BYTES = 4_096
"""Of what libFuzzer changes: a longer input takes its time, and reaches nothing else."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, how inputs for it are made, and what must hold of them."""

    suffix: str
    make: Callable[[Choose], Case]
    check: Callable[[Case], object]
    seeds: Callable[[], list[bytes]]
    dictionary: list[str]


def target_of(parser: str) -> Target:
    """The parser of that name. Imports it: before that, atheris must be told to watch."""
    sys.path.insert(0, str(ROOT))
    from tests.invariants import check_jats, check_markdown

    if parser == "jats":
        dictionary = [f"<{tag}>" for tag in fuzz_jats.TAGS] + [f"</{tag}>" for tag in fuzz_jats.TAGS] + fuzz_jats.DECOR
        check = lambda case: check_jats(case.data, case.words)  # noqa: E731
        return Target(".xml", fuzz_jats.any_case, check, fuzz_jats.seeds, dictionary)
    text = lambda case: check_markdown(case.data.decode("utf-8", "replace"))  # noqa: E731
    tokens = [*fuzz_markdown.TOKENS, *fuzz_markdown.ODD]
    return Target(".md", fuzz_markdown.any_case, text, fuzz_markdown.seeds, tokens)


class Findings:
    """What a run found, each kind of failure once, and what it took."""

    def __init__(self, folder: Path, suffix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.suffix = folder, suffix
        self.known: Counter[str] = Counter()
        self.n_runs = 0
        self.slowest = 0.0
        self.last = Case(b"")

    def check(self, target: Target, case: Case) -> None:
        """Check one input; raises what is wrong with it."""
        self.last = case
        self.n_runs += 1
        began = time.thread_time()
        target.check(case)
        taken = time.thread_time() - began
        self.slowest = max(self.slowest, taken)
        assert taken < _SLOW_S, f"{taken:.1f} s for {len(case.data)} bytes"

    def save(self, signature: str, error: BaseException) -> None:
        """Write the input and its traceback, once for each kind."""
        stem = self.folder / re.sub(r"\W+", "-", signature)
        if not self.known[signature]:
            stem.with_suffix(self.suffix).write_bytes(self.last.data)
            said = "".join(traceback.format_exception(error))
            stem.with_suffix(".txt").write_text(f"{said}\nwords: {self.last.words}\n", encoding="utf-8")
            sys.stderr.write(f"found {signature}: {stem.with_suffix(self.suffix)}\n")
        self.known[signature] += 1


class Sieve(AbstractContextManager[None]):
    """Keeps failures back: those that are known already, and with `new` those that are not, which it saves."""

    def __init__(self, findings: Findings, *, new: bool) -> None:
        self.findings, self.new = findings, new

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or isinstance(error, KeyboardInterrupt | SystemExit):
            return False
        signature = signature_of(error)
        if self.new or signature in self.findings.known:
            self.findings.save(signature, error)
            return True
        return False


def signature_of(error: BaseException) -> str:
    """The kind of error, and the line of this project that it comes from."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(ROOT))]
    where = f"{Path(own[-1].filename).stem}-{own[-1].lineno}" if own else "nowhere"
    return f"{type(error).__name__}-{where}"


def run_hypothesis(target: Target, findings: Findings, seconds: float) -> dict[str, object]:
    """Batches of examples from one seed after another."""
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    cases = st.binary(min_size=_MIN_CHOICES, max_size=4 * _MIN_CHOICES).map(lambda data: target.make(Bytes(data)))
    ends = time.monotonic() + seconds
    n_batches = 0

    def one(case: Case) -> None:
        with Sieve(findings, new=False):
            findings.check(target, case)

    while time.monotonic() < ends:
        n_batches += 1
        batch = settings(
            max_examples=_BATCH,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )(seed(time.time_ns())(given(cases)(one)))
        with Sieve(findings, new=True):
            batch()
    return {"batches": n_batches}


def run_atheris(parser: str, target: Target, findings: Findings, seconds: float) -> dict[str, object]:
    """libFuzzer in a process of its own, begun again where an input ends it: a hang, a crash outside of Python."""
    corpus = findings.folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for n, data in enumerate(target.seeds()):
        start = n * _MAX_BYTES % max(1, len(data) - _MAX_BYTES) if n % 2 else 0
        (corpus / f"seed{n}").write_bytes(b"\0" + data[start : start + _MAX_BYTES // 2])
    words = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in target.dictionary if word)
    (findings.folder / "dictionary").write_text("".join(f'"{word}"\n' for word in words), encoding="ascii")
    n_crashes = n_executions = 0
    log = b""
    ends = time.monotonic() + seconds
    while (left := int(ends - time.monotonic())) > 0:
        command = [sys.executable, __file__, parser, "--with", "atheris", "--work", str(findings.folder)]
        done = subprocess.run([*command, "--child", str(left)], stderr=subprocess.PIPE, check=False)
        log = done.stderr
        (findings.folder / "log").write_bytes(log)
        n_executions += int(
            (re.findall(rb"number_of_executed_units: (\d+)", log) or re.findall(rb"#(\d+)", log) or [0])[-1]
        )
        if done.returncode:
            n_crashes += 1
            sys.stderr.write(log.decode("utf-8", "replace")[-1500:])
        if (stats := findings.folder / "stats.json").exists():
            found = json.loads(stats.read_text(encoding="utf-8"))
            findings.known.update(found["known"])
            findings.slowest = max(findings.slowest, found["slowest"])
    findings.n_runs = n_executions
    if n_crashes:
        findings.known["ended the process"] += n_crashes
    progress = re.findall(rb"cov: (\d+) ft: (\d+) corp: (\d+)", log)
    covered = dict(zip(("edges", "features", "corpus"), map(int, progress[-1]), strict=True)) if progress else {}
    return {**covered, "processes ended early": n_crashes}


def fuzz_in_this_process(parser: str, folder: Path, seconds: int) -> None:
    """What `run_atheris` starts. Does not return: libFuzzer ends the process."""
    import atheris

    logging.disable()
    with atheris.instrument_imports(include=["indexer", "markdown_it"]):
        target = target_of(parser)
    findings = Findings(folder, target.suffix)

    def one(data: bytes) -> None:
        case = Case(data[1:]) if data[:1] < b"\x80" else target.make(Bytes(data[1:]))
        with Sieve(findings, new=True):
            findings.check(target, case)
        if findings.n_runs % 200 == 0:
            said = json.dumps({"known": findings.known, "slowest": findings.slowest})
            (folder / "stats.json").write_text(said, encoding="utf-8")

    options = [
        f"-max_total_time={seconds}", f"-max_len={_MAX_BYTES}", "-timeout=60", "-rss_limit_mb=4096",
        f"-dict={folder / 'dictionary'}", f"-artifact_prefix={folder}/native-", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], one)
    atheris.Fuzz()


def fuzz(parser: str, engine: str, minutes: float, work: Path) -> int:
    """Run it and print what came of it, as JSON."""
    folder = (work / f"{parser}-{engine}").absolute()
    target = target_of(parser)
    findings = Findings(folder, target.suffix)
    began = time.monotonic()
    if engine == "hypothesis":
        more = run_hypothesis(target, findings, minutes * 60)
    else:
        more = run_atheris(parser, target, findings, minutes * 60)
    seconds = time.monotonic() - began
    report = {
        "parser": parser, "engine": engine, "executions": findings.n_runs, "seconds": round(seconds, 1),
        "executions/s": round(findings.n_runs / seconds, 1), "slowest, s": round(findings.slowest, 2), **more,
        "findings": dict(findings.known),
    }  # fmt: skip
    sys.stdout.write(json.dumps(report) + "\n")
    return 1 if findings.known else 0


def try_again(parser: str, files: list[Path]) -> int:
    """Check saved inputs; prints what is wrong with each. The words that a JATS article must have are not saved."""
    target = target_of(parser)
    n_wrong = 0
    for path in files:
        try:
            target.check(Case(path.read_bytes()))
        except AssertionError:
            n_wrong += 1
            sys.stdout.write(f"{path}: {traceback.format_exc()}\n")
    return 1 if n_wrong else 0


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("parser", choices=["markdown", "jats", "times"])
    arguments.add_argument("names", nargs="*", help="of the hostile inputs to time (default: all)")
    arguments.add_argument("--with", dest="engine", choices=["hypothesis", "atheris"], default="hypothesis")
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--work", type=Path, default=Path(".fuzz"))
    arguments.add_argument("--try", dest="files", type=Path, nargs="+", metavar="FILE")
    arguments.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if args.parser == "times":
        import fuzz_times

        sys.exit(fuzz_times.main(args.names))
    if args.child:
        fuzz_in_this_process(args.parser, args.work, args.child)
    sys.exit(
        try_again(args.parser, args.files) if args.files else fuzz(args.parser, args.engine, args.minutes, args.work)
    )
