"""Building: incremental, complete, and honest about what failed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import indexer.build.embed
import indexer.build.workshop
import indexer.sources.reading
from indexer.build import BuildReport, Silence, build
from indexer.config import BuildConfig
from indexer.embedding import PassageText, PassageVectors
from indexer.errors import IndexMismatchError, IndexNotWritableError, ModelError, SourceError
from indexer.papers import Paper
from indexer.store import IndexReader, IndexWriter
from service import terminal
from tests.fakes import WordEmbedder

CONFIG = BuildConfig(model="words", max_wordpieces=32, merge_below=8)

ONE = """# First paper

PMC1000001 · DOI: 10.1000/one · J Bone · 2001

## Methods

We measured the density of the femur in forty mice over a full year, twice a month, by hand.

## Results

The density fell by a third in the treated group and did not change at all in the others.

## References

1. Smith A. On mice. J Mice 2000 1 2
"""
TWO = ONE.replace("First", "Second").replace("PMC1000001", "PMC1000002").replace("10.1000/one", "10.1000/two")


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    (folder / "sub").mkdir(parents=True)
    (folder / "one.md").write_text(ONE, encoding="utf-8")
    (folder / "sub" / "two.md").write_text(TWO, encoding="utf-8")
    return folder


def run(
    papers: Path, index: Path, embedder: WordEmbedder | None = None, *, rebuild: bool = False, prune: bool = False
) -> BuildReport:
    return build([papers], index, embedder or WordEmbedder(), CONFIG, rebuild=rebuild, prune=prune)


def state(index: Path) -> list[tuple[object, ...]]:
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        rows = [
            (p.paper.source, p.passage.passage_id, p.passage.text, p.passage.ordinal)
            for paper in snapshot.papers()
            for p in snapshot.passages_of(paper.paper_id)
        ]
        assert len(rows) == snapshot.counts()["passages"]
    reader.close()
    return rows


def test_first_run_then_nothing_to_do(papers: Path, tmp_path: Path) -> None:
    embedder = WordEmbedder()
    report = run(papers, tmp_path / "index", embedder)
    assert report.added == ["PMC1000001", "PMC1000002"]
    assert (report.n_passages, report.n_embedded, report.failed) == (6, 4, [])
    assert [row[0] for row in state(tmp_path / "index")] == ["one.md"] * 3 + ["sub/two.md"] * 3
    embedder.encoded.clear()
    again = run(papers, tmp_path / "index", embedder)
    assert (again.n_unchanged, again.n_embedded, again.generation) == (2, 0, report.generation)
    assert embedder.encoded == []


def test_only_the_edited_passage_is_embedded_again(papers: Path, tmp_path: Path) -> None:
    run(papers, tmp_path / "index")
    before = state(tmp_path / "index")
    (papers / "one.md").write_text(ONE.replace("forty mice", "fifty mice"), encoding="utf-8")
    embedder = WordEmbedder()
    report = run(papers, tmp_path / "index", embedder)
    assert (report.updated, report.n_embedded, report.n_reused) == (["PMC1000001"], 1, 1)
    assert [text for text in embedder.encoded if "fifty mice" in text] == embedder.encoded
    after = state(tmp_path / "index")
    assert [a[1] == b[1] for a, b in zip(before, after, strict=True)] == [False, True, True, True, True, True]


def test_a_vanished_file_is_reported_and_pruned_on_request(papers: Path, tmp_path: Path) -> None:
    run(papers, tmp_path / "index")
    (papers / "sub" / "two.md").unlink()
    assert run(papers, tmp_path / "index").vanished == ["PMC1000002"]
    assert len(state(tmp_path / "index")) == 6
    assert run(papers, tmp_path / "index", prune=True).removed == ["PMC1000002"]
    assert {row[0] for row in state(tmp_path / "index")} == {"one.md"}


def test_a_moved_file_keeps_its_vectors(papers: Path, tmp_path: Path) -> None:
    run(papers, tmp_path / "index")
    (papers / "one.md").rename(papers / "sub" / "uno.md")
    embedder = WordEmbedder()
    report = run(papers, tmp_path / "index", embedder)
    assert (report.moved, report.vanished, embedder.encoded) == (["PMC1000001"], [], [])
    assert {row[0] for row in state(tmp_path / "index")} == {"sub/uno.md", "sub/two.md"}


def test_a_paper_id_that_another_paper_has(papers: Path, tmp_path: Path) -> None:
    (papers / "three.md").write_text(
        ONE.replace("First paper", "Elephants remember").replace("forty", "sixty"), encoding="utf-8"
    )
    report = run(papers, tmp_path / "index")
    assert report.added == ["PMC1000001", "PMC1000002"]
    ((source, reason),) = [(failure.source, failure.reason) for failure in report.failed]
    assert source == "three.md"
    assert "paper id PMC1000001 is taken by" in reason
    assert "paper_id:" in reason


def test_bad_files_do_not_stop_the_rest(papers: Path, tmp_path: Path) -> None:
    (papers / "a-binary.md").write_bytes(b"\x89PNG\r\n\0\0\0")
    (papers / "b-latin1.md").write_bytes("# Ti\n\nna\xefve".encode("latin-1"))
    (papers / "c-empty.md").write_bytes(b" \n\n")
    with (papers / "d-huge.md").open("wb") as file:
        file.truncate(100_000_000)
    (papers / "e-plain.md").write_text("Just one line of words without any heading", encoding="utf-8")
    (papers / "f-invisible.md").write_text("\ufeff\u200b\n\u2060 \u00ad\n", encoding="utf-8")
    bad_name = os.fsencode(papers) + b"/g-caf\xe9.md"
    with open(bad_name, "wb") as file:  # noqa: PTH123 - a name that is not UTF-8
        file.write(ONE.encode())
    report = run(papers, tmp_path / "index")
    assert {failure.source: failure.reason.split(":")[0] for failure in report.failed} == {
        "f-invisible.md": "the file is empty",
        "g-caf\ufffd.md": f"its path {papers}/g-caf\ufffd.md is not UTF-8",
        "a-binary.md": "the file is binary, not Markdown text",
        "b-latin1.md": "the file is not UTF-8",
        "c-empty.md": "the file is empty",
        "d-huge.md": "the file has 100 MB, and one paper may have 50",
    }
    assert "byte 0xef in line 3" in report.failed[1].reason
    assert sorted(report.added) == ["PMC1000001", "PMC1000002", "e-plain"]


@pytest.mark.parametrize("where", ["parse", "chunk"])
def test_a_bug_that_one_paper_trips_does_not_stop_the_rest(
    papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    run(papers, tmp_path / "index")
    before = state(tmp_path / "index")
    module, name = (
        (indexer.sources.reading, "parse_markdown") if where == "parse" else (indexer.build.workshop, "chunk")
    )
    real = getattr(module, name)

    def broken(what: str | Paper, *args: object, **kwargs: object) -> object:
        if "forty-one" in (what if isinstance(what, str) else what.text):
            raise RecursionError("too deep")
        return real(what, *args, **kwargs)

    monkeypatch.setattr(module, name, broken)
    # Another paper's words in the place of an indexed one: as long as they cannot be read, nothing is displaced.
    (papers / "one.md").write_text(ONE.replace("PMC1000001", "PMC1000009").replace("forty", "forty-one"))
    (papers / "three.md").write_text(ONE.replace("PMC1000001", "PMC1000003"))
    report = run(papers, tmp_path / "index")
    assert (report.added, report.removed) == (["PMC1000003"], [])
    ((source, reason),) = [(failure.source, failure.reason) for failure in report.failed]
    assert source == "one.md"
    assert reason.startswith("internal error (RecursionError: too deep): please report")
    assert "Traceback" in caplog.text
    assert [row for row in state(tmp_path / "index") if row[0] != "three.md"] == before


def test_a_file_that_went_bad_keeps_what_was_indexed(papers: Path, tmp_path: Path) -> None:
    run(papers, tmp_path / "index")
    (papers / "one.md").write_bytes(b"\xff\xfe broken")
    report = run(papers, tmp_path / "index")
    assert [failure.source for failure in report.failed] == ["one.md"]
    assert len(state(tmp_path / "index")) == 6


def test_a_file_that_holds_another_paper_now(papers: Path, tmp_path: Path) -> None:
    run(papers, tmp_path / "index")
    (papers / "one.md").write_text(ONE.replace("PMC1000001", "PMC1000009"), encoding="utf-8")
    report = run(papers, tmp_path / "index")
    assert (report.added, report.removed) == (["PMC1000009"], ["PMC1000001"])
    assert {row[0] for row in state(tmp_path / "index")} == {"one.md", "sub/two.md"}


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match="does not exist"):
        run(tmp_path / "nowhere", tmp_path / "index")
    with pytest.raises(SourceError, match="holds no papers"):
        run(tmp_path / "empty", tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_an_index_of_another_model_or_configuration_is_not_mixed(papers: Path, tmp_path: Path) -> None:
    run(papers, tmp_path / "index")
    with pytest.raises(IndexMismatchError, match=r"model: the index was made with words, now it is other.*--rebuild"):
        run(papers, tmp_path / "index", WordEmbedder("other", dim=16))
    with pytest.raises(IndexMismatchError, match="configuration"):
        build([papers], tmp_path / "index", WordEmbedder(), BuildConfig(model="words", max_wordpieces=40))
    report = build(
        [papers], tmp_path / "index", WordEmbedder("other", dim=16), BuildConfig(model="other"), rebuild=True
    )
    assert report.added == ["PMC1000001", "PMC1000002"]
    reader = IndexReader(tmp_path / "index")
    with reader.snapshot() as snapshot:
        assert snapshot.manifest.model.name == "other"
        assert snapshot.counts() == {"papers": 2, "passages": 6, "vectors": 4}
    reader.close()


def test_an_interrupted_rebuild_leaves_the_old_index(papers: Path, tmp_path: Path) -> None:
    run(papers, tmp_path / "index")
    before = state(tmp_path / "index")

    class Broken(WordEmbedder):
        def encode(self, texts, on_progress=lambda n: None):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(papers, tmp_path / "index", Broken("third", dim=8), rebuild=True)
    assert state(tmp_path / "index") == before


def test_a_folder_that_takes_no_files(papers: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(IndexNotWritableError, match="--index"):
        run(papers, tmp_path / "file" / "index")


def test_two_builds_give_the_same_ids_in_the_same_order(papers: Path, tmp_path: Path) -> None:
    run(papers, tmp_path / "a")
    run(papers, tmp_path / "b")
    assert state(tmp_path / "a") == state(tmp_path / "b")


def test_order_of_changes_does_not_matter(papers: Path, tmp_path: Path) -> None:
    """An index reached by edits, removals and additions is the same as one built at once."""
    (papers / "one.md").write_text(ONE.replace("third", "fourth"), encoding="utf-8")
    run(papers, tmp_path / "a")
    (papers / "one.md").write_text(ONE, encoding="utf-8")
    run(papers, tmp_path / "a")
    with IndexWriter(tmp_path / "a", None) as writer:
        writer.remove("PMC1000002")
        writer.commit()
    run(papers, tmp_path / "a")
    run(papers, tmp_path / "b")
    assert state(tmp_path / "a") == state(tmp_path / "b")


def places(index: Path) -> dict[str, str]:
    """Paper id -> file, with every passage held against what stands there, and no file with two papers."""
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        found = {paper.paper_id: paper for paper in snapshot.papers()}
        for paper in found.values():
            text = Path(paper.origin).read_bytes().decode()
            for each in snapshot.passages_of(paper.paper_id):
                assert text[each.passage.start : each.passage.end] == each.passage.text
        assert len({paper.origin for paper in found.values()}) == len(found)
        assert len(snapshot.nearest(WordEmbedder().encode_query("femur"), 99, None)) == snapshot.counts()["vectors"]
    reader.close()
    return {paper_id: paper.source for paper_id, paper in found.items()}


def numbered(number: int) -> str:
    return ONE.replace("PMC1000001", f"PMC{1000000 + number}").replace("First", f"Number {number}")


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """a.md to d.md with PMC1000001 to PMC1000004, indexed."""
    folder = tmp_path / "four"
    folder.mkdir()
    for number, name in enumerate("abcd", start=1):
        (folder / f"{name}.md").write_text(numbered(number))
    run(folder, tmp_path / "index")
    return folder


class Failing(WordEmbedder):
    """Fails at the third batch, and is slow about every other."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.n_batches = 0

    def encode(
        self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
    ) -> list[PassageVectors]:
        self.n_batches += 1
        if self.n_batches == 3:
            raise self.error
        for _ in range(10):
            time.sleep(0.01)
            on_progress(1)
        return super().encode(passages)


@pytest.mark.parametrize("error", [ModelError("no model"), MemoryError(), KeyboardInterrupt()])
def test_what_goes_wrong_with_a_batch_is_raised_and_those_before_it_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)
    papers = tmp_path / "papers"
    papers.mkdir()
    for number in range(1, 9):
        (papers / f"{number}.md").write_text(numbered(number), encoding="utf-8")
    embedder = Failing(error)
    n_threads = threading.active_count()
    with pytest.raises(type(error)):
        run(papers, tmp_path / "index", embedder)
    assert embedder.n_batches <= 4
    assert set(places(tmp_path / "index")) == {"PMC1000001", "PMC1000002"}
    assert threading.active_count() == n_threads
    assert run(papers, tmp_path / "index").added == [f"PMC100000{number}" for number in range(3, 9)]


def test_a_build_that_is_stopped_does_not_wait_for_its_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)
    papers = tmp_path / "papers"
    papers.mkdir()
    for number in range(1, 4):
        (papers / f"{number}.md").write_text(numbered(number), encoding="utf-8")

    class Slow(WordEmbedder):
        def encode(
            self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
        ) -> list[PassageVectors]:
            for _ in range(2000):
                time.sleep(0.01)
                on_progress(1)
            raise AssertionError("it went on to the end")

    class Interrupted(Silence):
        def advanced(self, n_papers: int, n_passages: int, n_wordpieces: int) -> None:
            if threading.current_thread() is not threading.main_thread():
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build([papers], tmp_path / "index", Slow(), CONFIG, progress=Interrupted())


RENAMINGS = {
    "over another": {"a": "b"},
    "shifted down": {"b": "c", "a": "b", "c": "d", "d": "e"},
    "shifted up": {"d": "c", "c": "b", "b": "a", "a": "0"},
    "swapped": {"a": "b", "b": "a"},
    "turned": {"a": "b", "b": "c", "c": "d", "d": "a"},
    "turned back": {"b": "a", "c": "b", "d": "c", "a": "d"},
    "far": {"a": "z", "d": "a"},
}


@pytest.mark.parametrize("small_batches", [False, True])
@pytest.mark.parametrize("renaming", RENAMINGS.values(), ids=RENAMINGS)
def test_renamed_files_keep_their_papers_and_vectors(
    four: Path, tmp_path: Path, renaming: dict[str, str], small_batches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the index says is what the folder holds, at every commit on the way and at the end."""
    texts = {path.stem: path.read_bytes() for path in four.glob("*.md")}
    for name in renaming:
        (four / f"{name}.md").unlink()
    for name, other in renaming.items():
        (four / f"{other}.md").write_bytes(texts[name])
    if small_batches:
        monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)
    commit = IndexWriter.commit

    def checked(writer: IndexWriter) -> int:
        generation = commit(writer)
        origins = [paper.origin for paper in writer.view().papers()]
        assert len(set(origins)) == len(origins)
        return generation

    monkeypatch.setattr(IndexWriter, "commit", checked)
    embedder = WordEmbedder()
    report = run(four, tmp_path / "index", embedder)
    numbers = {texts[name]: f"PMC100000{n}" for n, name in enumerate("abcd", start=1)}
    holding = {path.name: numbers[path.read_bytes()] for path in four.glob("*.md")}
    assert {source: paper_id for paper_id, source in places(tmp_path / "index").items()} == holding
    assert (embedder.encoded, report.failed, report.added, report.updated, report.vanished) == ([], [], [], [], [])
    assert set(report.removed) == set(numbers.values()) - set(holding.values())
    assert len(report.moved) == len(set(report.moved)) == len(renaming)
    again = run(four, tmp_path / "index", embedder)
    assert (again.n_unchanged, again.failed, again.moved) == (len(holding), [], [])
    assert again.generation == report.generation


def test_swapped_and_edited_files_embed_only_what_is_new(four: Path, tmp_path: Path) -> None:
    a, b = (four / "a.md").read_text(), (four / "b.md").read_text()
    (four / "a.md").write_text(b.replace("by hand", "by eye"))
    (four / "b.md").write_text(a.replace("by hand", "by ear"))
    embedder = WordEmbedder()
    report = run(four, tmp_path / "index", embedder)
    assert (sorted(report.updated), report.removed, report.moved) == (["PMC1000001", "PMC1000002"], [], [])
    assert (report.n_embedded, report.n_reused) == (2, 2)
    assert places(tmp_path / "index") == {
        "PMC1000001": "b.md", "PMC1000002": "a.md", "PMC1000003": "c.md", "PMC1000004": "d.md",
    }  # fmt: skip


def test_an_unreadable_file_holds_no_paper(four: Path, tmp_path: Path) -> None:
    (four / "e.md").write_text((four / "a.md").read_text())
    (four / "a.md").write_bytes(b"\xff\xfe")
    report = run(four, tmp_path / "index")
    assert (report.moved, [each.source for each in report.failed]) == (["PMC1000001"], ["a.md"])
    assert places(tmp_path / "index")["PMC1000001"] == "e.md"


def test_one_folder_by_several_names(papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(papers / "sub")
    (tmp_path / "link").symlink_to(papers)
    (papers / "linked.md").symlink_to(papers / "one.md")
    for folder in (Path("../../papers"), papers, tmp_path / "link", Path("..")):
        report = build([folder], tmp_path / "index", WordEmbedder(), CONFIG)
        assert (report.failed, report.moved, report.vanished) == ([], [], [])
    assert report.n_unchanged == 2
    assert len(places(tmp_path / "index")) == 2
    nearer = build([Path()], tmp_path / "index", WordEmbedder(), CONFIG)
    assert (nearer.moved, places(tmp_path / "index")["PMC1000002"]) == (["PMC1000002"], "two.md")


def test_a_rebuild_says_what_it_drops(papers: Path, tmp_path: Path) -> None:
    run(papers, tmp_path / "index")
    report = build([papers / "sub"], tmp_path / "index", WordEmbedder(), CONFIG, rebuild=True)
    assert (report.added, report.removed) == (["PMC1000002"], ["PMC1000001"])
    assert run(papers, tmp_path / "index", rebuild=True).removed == []


def plain(folder: Path, word: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "paper.md"
    path.write_text(f"# About {word}\n\nIt says a few things of {word}.\n")
    return path


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("x", "y", "y/z", "."):
        plain(tmp_path / "papers" / name, f"number {name}")
    run(tmp_path / "papers", tmp_path / "index")
    ids = {"paper": "paper.md", "x_paper": "x/paper.md", "y_paper": "y/paper.md", "y_z_paper": "y/z/paper.md"}
    assert places(tmp_path / "index") == ids
    plain(tmp_path / "papers" / "y", "something else")
    report = run(tmp_path / "papers", tmp_path / "index")
    assert (report.updated, places(tmp_path / "index")) == (["y_paper"], ids)
    plain(tmp_path / "papers" / "y/z", "another thing")
    report = build([tmp_path / "papers/y/z"], tmp_path / "index", WordEmbedder(), CONFIG)
    assert (report.updated, report.failed, len(places(tmp_path / "index"))) == (["y_z_paper"], [], 4)


def test_ids_of_files_of_one_name_do_not_depend_on_the_order(tmp_path: Path) -> None:
    plain(tmp_path / "x", "one")
    plain(tmp_path / "y", "other")
    for index, order in (("a", "xy"), ("b", "yx")):
        build([tmp_path / name for name in order], tmp_path / index, WordEmbedder(), CONFIG)
        assert places(tmp_path / index).keys() == {"x_paper", "y_paper"}


def test_an_indexed_paper_keeps_its_id_when_another_of_its_name_comes(tmp_path: Path) -> None:
    plain(tmp_path / "x", "one")
    assert build([tmp_path / "x"], tmp_path / "index", WordEmbedder(), CONFIG).added == ["paper"]
    plain(tmp_path / "y", "other")
    assert build([tmp_path / "y"], tmp_path / "index", WordEmbedder(), CONFIG).added == ["y_paper"]
    plain(tmp_path / "x", "one more")
    report = build([tmp_path / "x", tmp_path / "y"], tmp_path / "index", WordEmbedder(), CONFIG)
    assert (report.updated, report.n_unchanged, report.failed) == (["paper"], 1, [])
    shutil.move(tmp_path / "x", tmp_path / "z")
    assert build([tmp_path / "z"], tmp_path / "index", WordEmbedder(), CONFIG).moved == ["paper"]
    assert places(tmp_path / "index") == {"paper": "paper.md", "y_paper": "paper.md"}


def test_papers_without_a_passage_are_named(papers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (papers / "comment.md").write_text("<!-- nothing yet -->\n")
    (papers / "front.md").write_text("---\ntitle: To come\n---\n")
    report = run(papers, tmp_path / "index")
    assert report.empty == ["comment", "front"]
    terminal.show_report(report, "index", {})
    assert "empty     front: its file gave no passage" in capsys.readouterr().out
    assert run(papers, tmp_path / "index").empty == []


def test_an_id_of_too_many_characters_is_a_failure_of_its_file(tmp_path: Path) -> None:
    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "long.md").write_text(f"---\npaper_id: {'x' * 501}\n---\n\n# Long\n\nA text.\n", encoding="utf-8")
    (papers / "fits.md").write_text(f"---\npaper_id: {'y' * 500}\n---\n\n# Fits\n\nA text.\n", encoding="utf-8")
    report = build([papers], tmp_path / "index", WordEmbedder(), CONFIG)
    assert report.added == ["y" * 500]
    ((failure),) = report.failed
    assert (failure.source, "501 characters, and 500 are the most" in failure.reason) == ("long.md", True)
