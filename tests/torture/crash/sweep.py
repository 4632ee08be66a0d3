"""A fault at every call that changes a file: `python -m tests.torture.crash.sweep OPERATION ...`, with the shim loaded.

This process imports everything once; each run is a fork of it that is armed, faulted, and done with. Another fork then
looks at what is left, does what the user would do next, and compares with an undisturbed run.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path

from indexer.errors import IndexDamagedError, IndexMismatchError, IndexMissingError
from indexer.store.embedded.schema import OLDEST_SCHEMA
from tests.torture.crash.forks import Ended, Tell, forked
from tests.torture.crash.holdings import faults_of, held, replies
from tests.torture.crash.operations import OPERATIONS, Operation, commits_told, sources, without_a_model
from tests.torture.crash.shim import FAULTS, Fault, Shim
from tests.torture.crash.world import World

_DEADLY = ("kill", "torn", "lose", "lose-some")
_NEED_NO_SPACE = ("fsync", "unlink", "rmdir")
_NONE, _DAMAGED, _OLD = "no index", "a damaged index", "an index of an older schema"
_EMPTY = hashlib.sha256(repr([]).encode()).hexdigest()
"""The digest of an index without papers."""


@dataclass(slots=True)
class Sweep:
    """What a sweep of one operation did."""

    operation: str
    points: dict[str, int] = field(default_factory=dict)
    """Calls that a fault may happen at, by their kind."""
    runs: dict[str, int] = field(default_factory=dict)
    """By fault."""
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


class Sweeper:
    """Sweeps one operation in a folder."""

    def __init__(self, name: str, folder: Path, shim: Shim) -> None:
        self.sweep = Sweep(name)
        self.operation: Operation = OPERATIONS[name]
        self.world = World(folder / name / "world")
        self.template = folder / name / "template"
        self.shim = shim
        self._arm("off", 0)
        self.world.root.mkdir(parents=True)
        self._must(self._prepare)
        shutil.copytree(self.world.root, self.template)
        self.states = [self._held()]
        undisturbed = self._must(self._run)
        if not isinstance(undisturbed.result, list) or undisturbed.result[0]:
            raise RuntimeError(f"undisturbed, {name} fails: {undisturbed.result}")
        self.states += undisturbed.told
        self.final = self._held()
        self.states += [self.final] if self.final not in self.states else []
        self.replies = self._must(lambda tell: replies(self.world.index)).result if self.final != _NONE else []
        self.listing = self._listing()
        self._warm()
        self.kinds = self._kinds()
        self.sweep.points = dict(Counter(self.kinds))

    def try_at(self, fault: Fault, at: int, seed: int = 0) -> None:
        """One run with the fault at that call."""
        self._reset()
        self._arm(fault, at, seed)
        ended = forked(self._run)
        self._arm("off", 0)
        self.sweep.runs[fault] = self.sweep.runs.get(fault, 0) + 1
        wrong = list(self._faults_of_run(fault, ended))
        looked = forked(lambda tell: list(self._faults_after(ended.told)))
        wrong += looked.result if isinstance(looked.result, list) else [f"while looking: {looked.failed or looked}"]
        where = f"{self.sweep.operation}: {fault} at {at} ({self.kinds[at - 1]}{f', seed {seed}' if seed else ''})"
        self.sweep.failures += [f"{where}: {each}" for each in wrong]

    def points(self, fault: Fault) -> list[int]:
        """The calls that the fault may happen at."""
        every = range(1, len(self.kinds) + 1)
        return [at for at in every if not (fault.startswith("enospc") and self.kinds[at - 1] in _NEED_NO_SPACE)]

    def _prepare(self, tell: Tell) -> None:
        with redirect_stdout(StringIO()):
            self.operation.prepare(self.world)

    def _run(self, tell: Tell) -> list[object]:
        commits_told(tell)
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = self.operation.run(self.world)
        return [code, out.getvalue() + err.getvalue()]

    def _faults_of_run(self, fault: Fault, ended: Ended) -> Iterator[str]:
        """A fault that the program lives through is either got over, or told in words that name the place."""
        if ended.signal == signal.SIGALRM:
            yield "it hangs"
        if fault in _DEADLY and ended.signal != signal.SIGKILL:
            yield "it ended before it came to that call"
        if ended.signal:
            return
        if ended.failed:
            yield f"not told in words: {ended.failed}"
            return
        assert isinstance(ended.result, list)
        code, said = ended.result
        if code and str(self.world.root) not in said:
            yield f"the error does not name the folder: {said}"
        if code and not any(words in said for words in _WORDS):
            yield f"the error does not say what is wrong: {said}"

    def _faults_after(self, told: list[str]) -> Iterator[str]:
        yield from self.operation.faults(self.world)
        state = self._held_here()
        if state not in self._allowed(told):
            yield f"it told of {self._named(told[-1]) if told else 'no commit'}, and now stands {self._named(state)}"
        if state not in (_DAMAGED, _NONE, _OLD):
            yield from faults_of(self.world.index, self.world)
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
            code = self.operation.resume(self.world)
        done_before = self.sweep.operation == "remove" and state == self.final
        if code and not done_before:
            yield f"the next run fails: {said.getvalue()}"
        if self._held_here() != self.final:
            yield "the next run does not bring it to where an undisturbed one does"
        elif self.final != _NONE:
            yield from faults_of(self.world.index, self.world, at_rest=True)
            if replies(self.world.index) != [tuple(each) for each in self.replies]:
                yield "its answers are others than after an undisturbed run"
        if left := self._listing() ^ self.listing:
            yield f"left over, or gone: {sorted(left)}"

    def _allowed(self, told: list[str]) -> list[str]:
        """What may stand there: what was told last, or what an undisturbed run commits after that."""
        if told and told[-1] not in self.states:  # it went on without what could not be done
            return told[-1:]
        known = max(n for n, each in enumerate(self.states) if each in told[-1:] or n == 0)
        begun = [_EMPTY, _NONE] if self.states[known] in (_NONE, _DAMAGED) else []
        return [*self.states[known : known + 2], *begun]

    def _named(self, state: str) -> str:
        return f"commit {self.states.index(state)} of {len(self.states) - 1}" if state in self.states else state

    def _held_here(self) -> str:
        try:
            return held(self.world.index)
        except IndexMissingError:
            return _NONE
        except IndexDamagedError:
            return _DAMAGED
        except IndexMismatchError:
            return _OLD

    def _held(self) -> str:
        return str(self._must(lambda tell: self._held_here()).result)

    def _listing(self) -> frozenset[str]:
        found = self.world.root.rglob("*")
        return frozenset(
            str(path.relative_to(self.world.root))
            for path in found
            if path.suffix not in (".lock", ".unusable", ".replaced", f".schema-{OLDEST_SCHEMA}")
        )

    def _kinds(self) -> list[str]:
        self._reset()
        with (self.template.with_name("log")).open("w+", encoding="utf-8") as log:
            self._arm("log", 0, log=log.fileno())
            self._must(self._run)
            self._arm("off", 0)
            log.seek(0)
            return [line.split(" ")[0] for line in log]

    def _warm(self) -> None:
        """Do once in this process what its forks will do, so that they find it imported and read."""
        self._reset()
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            self.operation.run(self.world)
        list(self._faults_after([]))
        gc.freeze()

    def _reset(self) -> None:
        for folder in (self.world.root, self.world.grave):
            shutil.rmtree(folder, ignore_errors=True)
        self.world.grave.mkdir()
        shutil.copytree(self.template, self.world.root)

    def _arm(self, fault: Fault, at: int, seed: int = 0, log: int = -1) -> None:
        self.shim.arm(fault, at, below=self.world.root, grave=self.world.grave, seed=seed, log=log)

    def _must(self, function: Callable[[Tell], object]) -> Ended:
        ended = forked(function)
        if ended.signal or ended.failed:
            raise RuntimeError(str(ended))
        return ended


_WORDS = (
    "Input/output error",
    "No space left",
    "disk I/O error",
    "full",
    "takes no files",
    "cannot be written",
    "unable to open",
)


def main() -> int:
    """Sweep, and write what came of it as a line of JSON an operation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("operations", nargs="+", choices=OPERATIONS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=FAULTS)
    parser.add_argument("--sample", type=int, default=0, help="So many calls of each fault only.")
    parser.add_argument("--seeds", type=int, default=3, help="Power cuts with a part lost, at each call.")
    parser.add_argument("--at", type=int, default=0, help="At this call only.")
    given = parser.parse_args()
    shim = Shim.loaded()
    without_a_model()
    failed = False
    with sources(given.folder / "sources") as settings:
        os.environ.update(settings)
        for name in given.operations:
            began = time.monotonic()
            sweeper = Sweeper(name, given.folder, shim)
            for fault in given.faults:
                points = [given.at] if given.at else sweeper.points(fault)
                if given.sample and given.sample < len(points):
                    points = sorted(random.Random(f"{name} {fault}").sample(points, given.sample))
                for at in points:
                    for seed in range(1, given.seeds + 1) if fault == "lose-some" else [0]:
                        sweeper.try_at(fault, at, seed)
            sweeper.sweep.seconds = round(time.monotonic() - began, 1)
            failed |= bool(sweeper.sweep.failures)
            print(json.dumps(asdict(sweeper.sweep)), flush=True)  # noqa: T201
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
