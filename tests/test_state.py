"""An index over a life of changes, crashes and readers, against a plain model. The long form is in tests/torture."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import indexer.build.embed
from indexer.build import build
from indexer.embedding import PassageText, PassageVectors
from indexer.store import IndexReader, IndexWriter, Snapshot
from service.library import Library
from service.query import Query
from tests.crashing import CONFIG, build_until_killed
from tests.fakes import WordEmbedder

N_PAPERS, N_VERSIONS = 5, 3
WORDS = ["limpet", "granite", "tide", "mucus", "lichen", "slate", "frost", "kettle", "ash", "glacier", "foot", "shell"]

Held = dict[str, tuple[str, dict[str, str]]]
"""Paper id -> the file's name, and its passages' texts by id."""


@lru_cache
def paper(number: int, version: int) -> str:
    """A paper as its file has it: versions share all paragraphs but one."""
    chance = random.Random(number)
    paragraphs = [_sentence(chance) for _ in range(4)]
    paragraphs[number % 4] = _sentence(random.Random(f"{number} {version}"))
    body = "\n\n".join(paragraphs)
    record = f"---\ntitle: Paper {number}\npmcid: PMC100000{number}\ndate: 20{10 + number}\n---"
    return f"{record}\n\n# Paper {number}\n\n## Results\n\n{body}\n"


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=16)).capitalize() + "."


class Failing(WordEmbedder):
    """Gives up at a text."""

    def encode(
        self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
    ) -> list[PassageVectors]:
        if passages:
            raise OSError("no more")
        return super().encode(passages, on_progress)


class Life(RuleBasedStateMachine):
    """A folder of papers, its index, and readers of it."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="loccit-life-"))
        self.papers, self.index = self.place / "papers", self.place / "index"
        self.papers.mkdir()
        self.files: dict[str, tuple[int, int]] = {}
        """What stands in the folder: paper and version by name."""
        self.indexed: dict[str, str] = {}
        """What the index must hold: each file's name by paper id, as of `texts`."""
        self.texts: dict[str, str] = {}
        self.ids: dict[tuple[str, str], frozenset[str]] = {}
        """Passage ids by paper id and text, ever seen."""
        self.holding = ExitStack()
        self.held: list[tuple[Snapshot, Held]] = []

    @initialize(number=st.integers(0, N_PAPERS - 1))
    def begin(self, number: int) -> None:
        self.write(f"{number}.md", number, 0)
        self.run()
        self.done()
        self.library = Library.open(self.index, load=lambda name: WordEmbedder())
        self.reader = IndexReader(self.index)

    def teardown(self) -> None:
        self.holding.close()
        if hasattr(self, "library"):
            self.library.close()
            self.reader.close()
        shutil.rmtree(self.place)

    # The folder

    def write(self, name: str, number: int, version: int) -> None:
        (self.papers / name).write_text(paper(number, version), encoding="utf-8")
        self.files[name] = number, version

    @rule(number=st.integers(0, N_PAPERS - 1), version=st.integers(0, N_VERSIONS - 1))
    def put(self, number: int, version: int) -> None:
        name = next((name for name, (other, _) in self.files.items() if other == number), f"{number}.md")
        self.write(name, number, version)

    @precondition(lambda self: len(self.files) > 1)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.files)))
        (self.papers / name).unlink()
        del self.files[name]

    @rule(data=st.data(), to=st.sampled_from(["first", "sub/second", "third"]))
    def rename(self, data: st.DataObject, to: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.files)))
        target = f"{to}-{self.files[name][0]}.md"
        (self.papers / target).parent.mkdir(exist_ok=True)
        (self.papers / name).rename(self.papers / target)
        self.files[target] = self.files.pop(name)

    # The index

    def run(self, **options: bool) -> None:
        report = build([self.papers], self.index, WordEmbedder(), CONFIG, prune=True, **options)
        assert not report.failed

    def done(self) -> None:
        """The index must hold what the folder does."""
        self.indexed = {f"PMC100000{number}": name for name, (number, _) in self.files.items()}
        self.texts = {f"PMC100000{each[0]}": paper(*each) for each in self.files.values()}

    @rule(rebuild=st.booleans())
    def bring_up_to_date(self, rebuild: bool) -> None:
        self.run(rebuild=rebuild)
        self.done()

    @rule(rebuild=st.booleans())
    def rehearse(self, rebuild: bool) -> None:
        with self.reader.snapshot() as snapshot:
            before = snapshot.generation
        self.run(dry_run=True, rebuild=rebuild)
        with self.reader.snapshot() as snapshot:
            assert snapshot.generation == before

    @precondition(lambda self: len(self.indexed) > 1)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        paper_id = data.draw(st.sampled_from(sorted(self.indexed)))
        with IndexWriter(self.index, None) as writer:
            writer.remove(paper_id)
            writer.commit()
        del self.indexed[paper_id], self.texts[paper_id]

    @rule(after=st.integers(0, 90), rebuild=st.booleans())
    def be_killed(self, after: int, rebuild: bool) -> None:
        """Each paper is as it was or as it is to be, none that is in both is lost; then the next run ends the work."""
        before, texts = dict(self.indexed), dict(self.texts)
        killed = build_until_killed(self.papers, self.index, after=after, rebuild=rebuild)
        self.done()
        if not killed:
            return
        found = self.holdings()
        assert before.keys() & self.indexed.keys() <= found.keys() <= before.keys() | self.indexed.keys()
        for paper_id, (name, passages) in found.items():
            was, is_now = (before.get(paper_id), texts.get(paper_id)), (
                self.indexed.get(paper_id), self.texts.get(paper_id)
            )  # fmt: skip
            assert name in (was[0], is_now[0])
            assert any(text and self.agree(paper_id, text, passages) for text in (was[1], is_now[1]))
        self.run()

    @rule()
    def fail(self) -> None:
        """An error in the middle: what was there stays, unless it was committed otherwise before."""
        changed = self.texts != {f"PMC100000{each[0]}": paper(*each) for each in self.files.values()}
        try:
            build([self.papers], self.index, Failing(), CONFIG, prune=True)
        except OSError:
            assert changed
        self.holdings()
        self.run()
        self.done()

    @rule(how=st.sampled_from(["missing", "cut", "flipped"]))
    def lose_the_vectors(self, how: str) -> None:
        path = self.index / "vectors.faiss"
        raw = path.read_bytes() if path.exists() else b""
        if how == "missing":
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(
                raw[: len(raw) // 2] + (b"" if how == "cut" else bytes(each ^ 1 for each in raw[len(raw) // 2 :]))
            )
        self.reopen()

    # Readers

    @rule()
    def reopen(self) -> None:
        self.library.close()
        self.reader.close()
        self.library = Library.open(self.index, load=lambda name: WordEmbedder())
        self.reader = IndexReader(self.index)

    @precondition(lambda self: len(self.held) < 3)
    @rule()
    def hold(self) -> None:
        snapshot = self.holding.enter_context(IndexReader(self.index).snapshot())
        self.held.append((snapshot, _holdings(snapshot)))

    @precondition(lambda self: self.held)
    @rule()
    def let_go(self) -> None:
        for snapshot, then in self.held:
            assert _holdings(snapshot) == then
        self.held = []
        self.holding.close()

    @rule(word=st.sampled_from(WORDS))
    def search_for_a_word(self, word: str) -> None:
        """A required word finds the passages that hold it, all of them and no other."""
        wanted = {
            passage_id
            for _, passages in self.holdings().values()
            for passage_id, text in passages.items()
            if re.search(rf"\b{word}\b", text, re.IGNORECASE)
        }
        reply = self.library.search(Query(f'"{word}"', 200))
        assert {hit.passage_id for hit in reply.hits} == wanted

    @rule(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))
    def search_as_if_built_at_once(self, words: list[str]) -> None:
        """Hits, their order and their scores are those of an index made of the same files in one go."""
        with tempfile.TemporaryDirectory(prefix="loccit-fresh-") as place:
            fresh_papers = Path(place, "papers")
            for paper_id, name in self.indexed.items():
                path = fresh_papers / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self.texts[paper_id], encoding="utf-8")
            build([fresh_papers], Path(place, "index"), WordEmbedder(), CONFIG)
            fresh = Library.open(Path(place, "index"), load=lambda name: WordEmbedder())
            query = Query(" ".join(words), 50)
            there, here = (
                [(hit.passage_id, round(hit.score, 5), hit.text, hit.citation.start) for hit in each.search(query).hits]
                for each in (fresh, self.library)
            )
            fresh.close()
        assert sorted(here) == sorted(there)
        assert [each[1] for each in here] == [each[1] for each in there]

    # What always holds

    @invariant()
    def the_index_is_as_the_model(self) -> None:
        if not hasattr(self, "reader") or not self.indexed:
            return
        with self.reader.snapshot() as snapshot:
            found = _holdings(snapshot)
            rows = {row.row_id for each in found for row in snapshot.passages_of(each)}
            near = snapshot.nearest(WordEmbedder().encode_query("tide"), 1000, None).tolist()
            assert (len(near), set(near)) == (len(rows), rows)  # each has a vector that a search finds
        assert {paper_id: name for paper_id, (name, _) in found.items()} == self.indexed
        for paper_id, (_, passages) in found.items():
            assert self.agree(paper_id, self.texts[paper_id], passages)

    def holdings(self) -> Held:
        with self.reader.snapshot() as snapshot:
            return _holdings(snapshot)

    def agree(self, paper_id: str, text: str, passages: dict[str, str]) -> bool:
        """Whether the passages are those of the text: all its sentences, under the ids that it ever had."""
        if any(sentence not in " ".join(passages.values()) for sentence in re.findall(r"[A-Z][a-z ]+\.", text)):
            return False
        assert self.ids.setdefault((paper_id, text), frozenset(passages)) == frozenset(passages)
        return True


def _holdings(snapshot: Snapshot) -> Held:
    found: Held = {}
    for each in snapshot.papers():
        rows = snapshot.passages_of(each.paper_id)
        found[each.paper_id] = each.source, {row.passage.passage_id: row.passage.text for row in rows}
    return found


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each paper is a commit of its own."""
    monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)


def live(n_lives: int, n_steps: int) -> None:
    """Run so many lives of so many steps."""
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=n_lives,
            stateful_step_count=n_steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),  # to shrink a life takes many
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.usefixtures("small_batches")
def test_a_life_of_changes_crashes_and_readers() -> None:
    live(8, 12)
