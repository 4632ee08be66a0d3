"""Building: incremental, complete, and honest about what failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.build import BuildReport, build
from indexer.config import BuildConfig
from indexer.errors import IndexMismatchError, IndexNotWritableError, SourceError
from indexer.store import IndexReader, IndexWriter
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


def test_two_files_with_one_paper_id(papers: Path, tmp_path: Path) -> None:
    (papers / "three.md").write_text(ONE.replace("forty", "sixty"), encoding="utf-8")
    (papers / "zwin.md").write_text(TWO, encoding="utf-8")
    report = run(papers, tmp_path / "index")
    assert report.added == ["PMC1000001", "PMC1000002"]
    reasons = {failure.source: failure.reason for failure in report.failed}
    assert "paper id PMC1000001 is taken by" in reasons["three.md"]
    assert "paper_id:" in reasons["three.md"]
    assert "the same file as" in reasons["zwin.md"]


def test_bad_files_do_not_stop_the_rest(papers: Path, tmp_path: Path) -> None:
    (papers / "a-binary.md").write_bytes(b"\x89PNG\r\n\0\0\0")
    (papers / "b-latin1.md").write_bytes("# Ti\n\nna\xefve".encode("latin-1"))
    (papers / "c-empty.md").write_bytes(b" \n\n")
    with (papers / "d-huge.md").open("wb") as file:
        file.truncate(100_000_000)
    (papers / "e-plain.md").write_text("Just one line of words without any heading", encoding="utf-8")
    report = run(papers, tmp_path / "index")
    assert {failure.source: failure.reason.split(":")[0] for failure in report.failed} == {
        "a-binary.md": "the file is binary, not Markdown text",
        "b-latin1.md": "the file is not UTF-8",
        "c-empty.md": "the file is empty",
        "d-huge.md": "the file has 100 MB, and one paper may have 50",
    }
    assert "byte 0xef in line 3" in report.failed[1].reason
    assert sorted(report.added) == ["PMC1000001", "PMC1000002", "e-plain"]


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
    with pytest.raises(SourceError, match="holds no Markdown"):
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
