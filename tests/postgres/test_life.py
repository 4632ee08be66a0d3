"""The life of an index on PostgreSQL, beside one in a folder: after every change, both say the same.

`TORTURE_POSTGRES_LIVES` is how many lives there are, `TORTURE_POSTGRES_STEPS` how long each is.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

import indexer.build.embed
import indexer.store.postings
from indexer.build import build
from indexer.store import IndexPlace, Writer, open_reader, open_writer
from indexer.store.postgres import schema
from indexer.store.postgres.writer import PostgresWriter
from tests.fakes import WordEmbedder
from tests.postgres.saying import CONFIG, MANIFEST, assert_alike, facts
from tests.postgres.servers import Server
from tests.test_store import WORDS
from tests.test_versions import jats

N_LIVES = int(os.environ.get("TORTURE_POSTGRES_LIVES", "2"))
N_STEPS = int(os.environ.get("TORTURE_POSTGRES_STEPS", "25"))
N_SHARDS = 3


def text_of(number: int, version: int) -> str:
    """A paper as its file has it: versions share all paragraphs but one."""
    chance = random.Random(number)

    def sentence(chance: random.Random) -> str:
        return f"{' '.join(chance.choices(WORDS, k=14)).capitalize()}."

    paragraphs = [sentence(chance) for _ in range(4)]
    paragraphs[number % 4] = sentence(random.Random(f"{number} {version}"))
    title = f"On {chance.choice(WORDS)} {number}"
    if number % 5 == 4:
        return jats(title, "\n\n".join(paragraphs), pmcid=f"PMC{8000 + number}", doi=f"10.1/{number}", year="2012")
    body = "\n\n".join(paragraphs)
    return (
        f"---\ntitle: {title}\npmcid: PMC{8000 + number}\ndate: {2010 + number}\n---\n\n# {title}\n\n## A\n\n{body}\n"
    )


class Life:
    """A folder of papers, and two indexes of it. What happens to one happens to the other."""

    def __init__(self, seed: int, folder: Path, urls: list[str]) -> None:
        self.chance = random.Random(seed)
        self.papers, self.oracle = folder / "papers", folder / "index"
        self.papers.mkdir()
        self.url, self.others = urls[0], urls[1:]
        self.files: dict[str, int] = {}
        """What stands in the folder: the number of the paper by the file's name."""
        self.done: list[str] = []
        for _ in range(4):
            self.write()
        self.index()

    def both(self, change: Callable[[IndexPlace], object]) -> None:
        """Make the change to both, with the same outcome."""
        outcomes = [change(place) for place in (self.url, self.oracle)]
        assert outcomes[0] == outcomes[1], self.done

    def step(self) -> None:
        """One change of the folder or of the index."""
        steps: list[Callable[[], None]] = [
            *[self.write] * 5, *[self.delete] * 2, self.rename, self.copy_a_file, self.spoil,
            *[self.index] * 5, self.prune, self.remove, self.rebuild, self.rehearse, self.give_up,
            self.add_shard, self.rebalance,
        ]  # fmt: skip
        step = self.chance.choice(steps)
        self.done.append(step.__name__)
        step()

    # The folder

    def write(self) -> None:
        number = self.chance.randrange(12)
        name = next((name for name, other in self.files.items() if other == number), "")
        name = name or f"{number}.{'xml' if number % 5 == 4 else 'md'}"
        (self.papers / name).write_text(text_of(number, self.chance.randrange(4)), encoding="utf-8")
        self.files[name] = number

    def delete(self) -> None:
        if len(self.files) > 1:
            name = self.chance.choice(sorted(self.files))
            (self.papers / name).unlink()
            del self.files[name]

    def rename(self) -> None:
        name = self.chance.choice(sorted(self.files))
        target = f"renamed {name}"
        (self.papers / name).rename(self.papers / target)
        self.files[target] = self.files.pop(name)

    def copy_a_file(self) -> None:
        """The same paper twice: one is a version of the other."""
        name = self.chance.choice(sorted(self.files))
        target = f"again {name}"
        if target not in self.files:
            (self.papers / target).write_bytes((self.papers / name).read_bytes())
            self.files[target] = self.files[name]

    def spoil(self) -> None:
        (self.papers / "spoilt.md").write_bytes(b"\0" * self.chance.randrange(2))

    # The index

    def index(self) -> None:
        self.both(self._built)

    def prune(self) -> None:
        self.both(lambda place: self._built(place, prune=True))

    def rebuild(self) -> None:
        self.both(lambda place: self._built(place, rebuild=True))

    def rehearse(self) -> None:
        self.both(lambda place: self._built(place, dry_run=True, prune=True, rebuild=len(self.files) % 2 == 0))

    def _built(self, place: IndexPlace, **options: bool) -> object:
        report = build([self.papers], place, WordEmbedder(), CONFIG, **options)
        return (
            report.added, report.updated, report.moved, report.removed, report.failed, report.versions,
            report.n_unchanged, report.n_passages, report.n_embedded, report.n_reused, report.left_out,
        )  # fmt: skip

    def remove(self) -> None:
        with closing(open_reader(self.oracle)) as reader, reader.snapshot() as snapshot:
            present = [each.paper_id for each in snapshot.papers()]
        if len(present) > 1:
            paper_id = self.chance.choice(present)
            self.both(lambda place: self._removed(place, paper_id))

    def _removed(self, place: IndexPlace, paper_id: str) -> None:
        with open_writer(place, None) as writer:
            writer.remove(paper_id)
            writer.commit()

    def give_up(self) -> None:
        """Change much, and end before the commit."""

        def change(writer: Writer) -> None:
            for each in writer.view().papers():
                writer.take_down(each.paper_id)
            writer.keep_failures([])

        rebuild = self.chance.random() < 0.5

        def try_it(place: IndexPlace) -> None:
            with open_writer(place, MANIFEST, rebuild=rebuild) as writer:
                change(writer)
                if rebuild:
                    writer.checkpoint()

        self.both(try_it)

    def add_shard(self) -> None:
        if self.others:
            with PostgresWriter(self.url, None) as writer:
                writer.add_shard(self.others.pop())

    def rebalance(self) -> None:
        with PostgresWriter(self.url, None) as writer:
            writer.rebalance()
            assert writer.rebalance() == 0


@pytest.mark.parametrize("seed", range(N_LIVES))
def test_a_life_beside_one_in_a_folder(
    seed: int, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:
        monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)  # each paper is a commit of its own
        monkeypatch.setattr(indexer.store.postings, "_SMALL", 8)  # segments are merged early
    monkeypatch.setattr(schema, "_DROPPING_MS", 100)
    with ExitStack() as stack:
        urls = [server.url(stack.enter_context(server.fresh_database())) for _ in range(N_SHARDS)]
        life = Life(seed, tmp_path, urls)
        reader, oracle = (stack.enter_context(closing(open_reader(place))) for place in (life.url, life.oracle))
        for _ in range(N_STEPS):
            with reader.snapshot() as held:
                before = (held.generation, facts(held)) if life.chance.random() < 0.2 else None
                life.step()
                if before is not None:
                    assert (held.generation, facts(held)) == before, life.done
            with reader.snapshot() as snapshot, oracle.snapshot() as other:
                try:
                    assert_alike(snapshot, other)
                except AssertionError as error:
                    error.add_note(f"after {life.done}")
                    raise
