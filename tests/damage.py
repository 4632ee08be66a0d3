"""An index's files spoilt in every way, and what comes of it: the right answer, or an error that says so."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from indexer.build import build
from indexer.errors import IndexStateError
from indexer.upkeep import examine, mend
from service.library import Library
from service.query import Filters, Query
from tests.fakes import WordEmbedder
from tests.test_store import CONFIG

N_CUTS, N_FLIPS = 20, 200
TIMEOUT_S = 60
_DIGITS = 4
QUESTIONS = (
    Query("femur fracture of the old mouse", k=20),
    Query("sugar", k=50),
    Query("bone density", k=10, filters=Filters(phrases=("the bone",))),
    Query("protein", k=10, filters=Filters(section="2.1", year_from=2003)),
    Query("funding of the cell", k=30, filters=Filters(include=("backmatter",))),
)


@dataclass(frozen=True, slots=True)
class Harm:
    """One way in which a file is spoilt."""

    name: str
    what: str
    do: Callable[[bytes], bytes]


def harms(folder: Path, n_cuts: int = N_CUTS, n_flips: int = N_FLIPS, seed: int = 0) -> Iterator[Harm]:
    """Every file of an index cut at so many places, and so many of its bytes changed, each alone."""
    chance = random.Random(seed)
    for path in sorted(folder.iterdir()):
        size = path.stat().st_size
        if not size:
            continue
        for number in range(n_cuts):
            at = size * number // n_cuts
            yield Harm(path.name, f"cut at {at}", lambda raw, at=at: raw[:at])
        for _ in range(n_flips):
            at, bit = chance.randrange(size), 1 << chance.randrange(8)
            yield Harm(
                path.name,
                f"bit {bit} of byte {at}",
                lambda raw, at=at, bit=bit: raw[:at] + bytes((raw[at] ^ bit,)) + raw[at + 1 :],
            )


def answers(folder: Path) -> dict[str, Any]:
    """All that an index says: to questions, and of every paper. Raises IndexStateError."""
    with closing(Library.open(folder, load=lambda _: WordEmbedder())) as library:
        listed = library.papers()
        said: dict[str, Any] = {"papers": [asdict(each) for each in listed.papers]}
        said["searches"] = [asdict(library.search(query)) for query in QUESTIONS]
        said["answer"] = asdict(library.ask(QUESTIONS[0].text))
        said["texts"] = [asdict(library.text(each.paper_id)) for each in listed.papers]
        for reply in (*said["searches"], said["answer"]):
            del reply["took_ms"], reply["generation"], reply["next_cursor"]
            reply["hits"] = _in_order(reply["hits"])
    plain: dict[str, Any] = json.loads(json.dumps(said))
    return plain


def _in_order(hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The hits without those that nothing speaks for; of equals, which stands first goes by when it was indexed."""
    told = [
        {**hit, "rank": 0, "score": round(hit["score"], _DIGITS), "scores": None} for hit in hits if hit["score"] > 0
    ]
    return sorted(told, key=lambda hit: (-hit["score"], hit["passage_id"]))


@dataclass(slots=True)
class Outcome:
    """What came of the harms."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By file and what came of it."""
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """A line for each, to be read."""
        return [f"{name}: {what}: {n}" for (name, what), n in sorted(self.counts.items())] + self.wrong


def outcome_of(index: Path, work: Path, which: Iterator[Harm], rights: list[dict[str, Any]], again: Path) -> Outcome:
    """Do each harm to a copy, ask it everything, then have it mended, and ask again.

    Right is what any of `rights` has. What a mended index has lost must come back with `again`, the papers' folder.
    """
    found = Outcome()
    for harm in which:
        copy = work / "harmed"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(index, copy)
        path = copy / harm.name
        path.write_bytes(harm.do(path.read_bytes()))
        first, after = _apart(lambda copy=copy: _tried(copy, rights, again))
        found.counts[harm.name, f"{first}; then {after}"] += 1
        if "WRONG" in first + after:
            found.wrong.append(f"{harm.name}, {harm.what}: {first}; then {after}")
    return found


def _tried(copy: Path, rights: list[dict[str, Any]], again: Path) -> tuple[str, str]:
    first = _told(copy, rights)
    try:
        mended = mend(copy, examine(copy, lambda _: WordEmbedder()))
    except IndexStateError as error:
        return first, f"{type(error).__name__} from doctor"
    after = _told(copy, rights)
    if mended.lost or after.startswith("WRONG"):
        build([again], copy, WordEmbedder(), CONFIG)
        after = f"{'mended but for papers lost, ' if mended.lost else ''}indexed again: {_told(copy, rights)}"
    if not (found := examine(copy, lambda _: WordEmbedder())).is_sound:
        return first, f"WRONG not sound after doctor: {found.findings}"
    return first, after


def _told(copy: Path, rights: list[dict[str, Any]]) -> str:
    try:
        said = answers(copy)
    except IndexStateError as error:
        return f"{type(error).__name__}"
    except Exception as error:  # noqa: BLE001
        return f"WRONG {type(error).__name__}: {error}"
    return "the right answer" if said in rights else "WRONG answer"


def _apart(work: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """In a process of its own, which may crash or hang."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(there, work))
    process.start()
    there.close()
    try:
        if not here.poll(TIMEOUT_S):
            return "WRONG it hangs", ""
        told: tuple[str, str] = here.recv()
        return told
    except EOFError:
        process.join()
        return f"WRONG it crashed ({process.exitcode})", ""
    finally:
        process.kill()
        process.join()
        here.close()


def _send(there: Connection, work: Callable[[], tuple[str, str]]) -> None:
    try:
        there.send(work())
    except BaseException as error:  # noqa: BLE001
        there.send((f"WRONG {type(error).__name__}: {error}", ""))
    there.close()
    os._exit(0)
