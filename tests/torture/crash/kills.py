"""Kills at random moments: `python -m tests.torture.crash.kills`.

A writer changes papers and has the index follow: indexes, re-indexes, rebuilds, removes, fetches, watches. It is
killed, again and again, while readers search all the time and hold every citation against the text that it cites.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path

from indexer.jats import read_jats
from indexer.provenance import provenance_path
from indexer.store import IndexReader, Snapshot
from service.cli import main as loccit
from service.library import Library
from service.query import Query
from tests.fetch_server import jats
from tests.torture.crash import operations
from tests.torture.crash.forks import Fork, Tell, forked
from tests.torture.crash.holdings import embedder, faults_of, held
from tests.torture.crash.operations import commits_told, sources, without_a_model
from tests.torture.crash.world import World, queries

_N_PAPERS = 12
_MAX_WATCH_S = 3.0
"""The watcher waits for a pause in the changes, and begins with a look at everything."""
_MAX_S = 7200


@dataclass(slots=True)
class Kills:
    """What came of them."""

    kills: int = 0
    during: dict[str, int] = field(default_factory=dict)
    """What was being done."""
    commits: int = 0
    """Told of before a kill."""
    searches: int = 0
    citations: int = 0
    """Held against their texts by readers meanwhile."""
    seconds: float = 0.0
    unreadable: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Other faults of what a kill left."""
    reader_errors: list[str] = field(default_factory=list)


def write(world: World, random: random.Random, tell: Tell) -> None:
    """Change papers and have the index follow, until killed."""
    commits_told(tell, _committed)
    while True:
        what = random.choice(["index", "index", "prune", "rebuild", "remove", "fetch"])
        if what != "remove":
            for _ in range(random.randint(1, 3)):
                _change(world, random, may_vanish=what == "prune")
        paper_id = f"PMC{7000 + random.randrange(_N_PAPERS)}"
        tell(f"begins {what} {paper_id}")
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            if what == "remove":
                code = loccit(["remove", paper_id, "--index", str(world.index)])
            elif what == "fetch":
                _forget_fetched(world, random)
                code = operations.fetch(world)
            else:
                code = operations.index(world, [] if what == "index" else [f"--{what}"])
        if code not in (0, 4 if what == "remove" else 0):
            raise AssertionError(f"{what}: exit {code}: {out.getvalue()} {err.getvalue()}")


def watch(world: World, random: random.Random, tell: Tell) -> None:
    """The same with a watcher, which looks at the files that change beside it."""
    commits_told(tell, _committed)
    tell("begins watch -")

    def change() -> None:
        while True:
            time.sleep(random.random() / 5)
            _change(world, random, may_vanish=True)

    threading.Thread(target=change, daemon=True).start()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        operations.index(world, ["--watch"])


def _change(world: World, random: random.Random, *, may_vanish: bool) -> None:
    number = random.randrange(_N_PAPERS)
    if may_vanish and number and random.random() < 0.3:
        (world.papers / f"paper{number:02}.md").unlink(missing_ok=True)
    else:
        world.write(number, random.randrange(1_000_000))


def _forget_fetched(world: World, random: random.Random) -> None:
    """Have something to fetch: an older text, or none."""
    if random.random() < 0.5:
        operations.put_before(world)
    else:
        for path in (world.papers / "PMC102.xml", provenance_path(world.papers / "PMC102.xml")):
            path.unlink(missing_ok=True)


def _committed(snapshot: Snapshot) -> str:
    """The generation, and the papers with their files' hashes, as told of a commit."""
    return "commit " + json.dumps([snapshot.generation, {each.paper_id: each.sha256 for each in snapshot.papers()}])


def read(world: World, seed: int, tell: Tell) -> None:
    """Search until told to stop by the folder `stop`; tell of every error, and in the end how much was searched."""
    chance = random.Random(seed)
    n_searches = n_citations = 0
    while not (world.known / "stop").exists():
        try:
            with closing(Library.open(world.index, load=lambda _: embedder())) as library:
                generation = 0
                for _ in range(chance.randint(1, 100)):
                    reply = library.search(Query(chance.choice(queries()), 5))
                    if reply.generation < generation:
                        tell(f"error generation {reply.generation} after {generation}")
                    generation = reply.generation
                    for hit in reply.hits:
                        text = world.text_with(hit.citation.source_sha256)
                        if text[hit.citation.start : hit.citation.end] != hit.text:
                            place = text[hit.citation.start : hit.citation.end]
                            tell(f"error {hit.passage_id} does not read as its file: {hit.text!r} is {place!r} there")
                        n_citations += 1
                    if not reply.hits:
                        tell("error nothing found")
                    n_searches += 1
        except Exception as error:  # noqa: BLE001 - every error of a reader counts
            tell(f"error {type(error).__name__}: {error}")
            time.sleep(0.05)
    tell(f"read {n_searches} {n_citations}")


def faults_after(world: World, told: list[str], before: list[object]) -> Iterator[tuple[str, str]]:
    """What is wrong with what a kill left: `unreadable`, `lost` or `wrong`, and the fault. Last the index's state."""
    commits = [json.loads(line.removeprefix("commit ")) for line in told if line.startswith("commit ")]
    generation, papers = commits[-1] if commits else before
    doing = ([line for line in told if line.startswith("begins ")] or ["begins nothing -"])[-1].split()
    try:
        with closing(IndexReader(world.index)) as reader, reader.snapshot() as snapshot:
            now = {each.paper_id: each.sha256 for each in snapshot.papers()}
            generation_now = snapshot.generation
    except Exception as error:  # noqa: BLE001 - whatever it is, the index cannot be read
        yield "unreadable", f"{doing}: {type(error).__name__}: {error}"
        return
    if not generation <= generation_now <= generation + 1:
        yield "wrong", f"{doing}: generation {generation} was told of, and now it is {generation_now}"
    if generation_now == generation and now != papers:
        yield "lost", f"{doing}: generation {generation} reads otherwise than it was told"
    on_disk = _on_disk(world)
    for paper_id in papers.keys() - now.keys():
        vanished = doing[1] in ("prune", "rebuild", "watch") and paper_id not in on_disk
        if not vanished and doing[1:] != ["remove", paper_id]:
            yield "lost", f"{doing}: {paper_id} was told of"
    for paper_id, sha256 in now.items():
        if sha256 not in (papers.get(paper_id), on_disk.get(paper_id)) and doing[1] != "watch":
            yield "lost", f"{doing}: {paper_id} has a text that is neither told of nor on disk"
    try:
        for fault in faults_of(world.index, world):
            yield "wrong", f"{doing}: {fault}"
    except Exception as error:  # noqa: BLE001 - likewise
        yield "unreadable", f"{doing}: {type(error).__name__}: {error}"
    for fault in operations.faults_of_fetched(world):
        yield "wrong", f"{doing}: {fault}"
    yield "state", json.dumps([generation_now, now])


def _on_disk(world: World) -> dict[str, str]:
    found = {}
    for path in world.papers.iterdir():
        if path.suffix in (".md", ".xml") and not path.name.startswith("."):
            name = f"PMC{7000 + int(path.stem[5:])}" if path.suffix == ".md" else path.stem
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def run(world: World, n_kills: int, seed: int, max_life_s: float) -> Kills:
    """So many kills, and what came of them."""
    kills, chance, began = Kills(), random.Random(seed), time.monotonic()
    during: Counter[str] = Counter()
    before = json.loads(_prepared(world))
    readers = [Fork(lambda tell, n=n: read(world, n, tell), _MAX_S) for n in range(2)]
    for n in range(n_kills):
        does, max_s = (watch, _MAX_WATCH_S) if n % 10 == 9 else (write, max_life_s)
        life = Fork(lambda tell, does=does, n=n: does(world, random.Random(f"{seed} {n}"), tell))
        time.sleep(chance.random() * max_s)
        life.kill()
        ended = life.ended()
        kills.kills += 1
        if ended.failed:
            kills.wrong.append(ended.failed)
        kills.commits += sum(line.startswith("commit ") for line in ended.told)
        during[next((line.split()[1] for line in reversed(ended.told) if line.startswith("begins")), "nothing")] += 1
        looked = forked(lambda tell, told=ended.told, before=before: list(faults_after(world, told, before)))
        if not isinstance(looked.result, list):
            kills.unreadable.append(f"while looking: {looked}")
            continue
        for kind, said in looked.result:
            if kind == "state":
                before = json.loads(said)
            else:
                getattr(kills, kind).append(said)
    (world.known / "stop").touch()
    for reader in readers:
        ended = reader.ended()
        kills.reader_errors += [line for line in ended.told if line.startswith("error")]
        kills.reader_errors += [ended.failed] if ended.failed else []
        for line in ended.told:
            if line.startswith("read "):
                kills.searches += int(line.split()[1])
                kills.citations += int(line.split()[2])
    kills.wrong += _faults_in_the_end(world)
    kills.during, kills.seconds = dict(during), round(time.monotonic() - began, 1)
    return kills


def _prepared(world: World) -> str:
    """Write and index the papers; in this process, so that its forks find everything imported."""
    for body in (jats("PMC101"), jats("PMC102"), operations.BEFORE):
        world.know(body, read_jats(body).markdown)
    for number in range(_N_PAPERS):
        world.write(number, 0)
    operations.put_before(world)
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        assert operations.index(world) == 0
    list(faults_of(world.index, world))
    with closing(Library.open(world.index, load=lambda _: embedder())) as library:
        for each in queries():
            library.search(Query(each, 5))
    with suppress(ImportError):
        import watchfiles  # noqa: F401
    gc.freeze()
    with closing(IndexReader(world.index)) as reader, reader.snapshot() as snapshot:
        return _committed(snapshot).removeprefix("commit ")


def _faults_in_the_end(world: World) -> list[str]:
    """An ordinary run brings the index to where a new one is, and sweeps up."""

    def compare(tell: Tell) -> object:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            assert operations.fetch(world) == 0
            assert operations.index(world, ["--prune"]) == 0
            assert loccit(["index", str(world.papers), "--index", str(world.root / "fresh")]) == 0
        wrong = list(faults_of(world.index, world, at_rest=True))
        if held(world.index) != held(world.root / "fresh"):
            wrong += _differences(world.index, world.root / "fresh")
        names = [{path.name for path in folder.iterdir()} for folder in (world.index, world.root / "fresh")]
        parts = [path.name for path in world.papers.iterdir() if path.name.endswith(".part")]
        return [*wrong, *(f"left over, or gone: {name}" for name in (*(names[0] ^ names[1]), *parts))]

    ended = forked(compare)
    return ended.result if isinstance(ended.result, list) else [f"in the end: {ended.failed or ended}"]


def _differences(one: Path, other: Path) -> list[str]:
    """What two indexes say differently, paper by paper."""

    def said(index: Path) -> set[str]:
        with closing(IndexReader(index)) as reader, reader.snapshot() as snapshot:
            papers = snapshot.papers()
            rows = [repr((each, snapshot.files(each.paper_id))) for each in papers]
            return {*rows, repr(snapshot.failures())}

    return [f"a new index is another: {each}" for each in said(one) ^ said(other)] or ["a new index is another"]


def main() -> int:
    """Kill, and write what came of it as a line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--life", type=float, default=0.6, help="Seconds: the longest that the writer lives.")
    given = parser.parse_args()
    without_a_model()
    world = World(given.folder / "world")
    with sources(given.folder / "sources") as settings:
        os.environ.update(settings)
        kills = run(world, given.kills, given.seed, given.life)
    print(json.dumps(asdict(kills)), flush=True)  # noqa: T201
    return int(any((kills.unreadable, kills.lost, kills.wrong, kills.reader_errors)))


if __name__ == "__main__":
    sys.exit(main())
