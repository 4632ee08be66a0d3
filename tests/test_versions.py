"""One paper in several files: one is searched, the others are its versions, whatever the order they come in."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indexer.build.embed
from indexer.build import BuildReport, build
from indexer.config import BuildConfig
from indexer.embedding import PassageText, PassageVectors
from indexer.likeness import MIN_WORDS, bands, resemblance, signature, words_of
from indexer.provenance import Provenance, keep_provenance
from indexer.store import IndexReader, IndexWriter
from service.library import Library
from tests.databases import opened
from tests.fakes import WordEmbedder

CONFIG = BuildConfig(model="words", max_wordpieces=32, merge_below=8)
_LETTERS = "abdefgiklmnoprstu"


def prose(seed: int, n_words: int) -> str:
    """Sentences of invented words, the same for the same seed."""
    chance = random.Random(seed)
    words = ["".join(chance.choices(_LETTERS, k=chance.randint(3, 9))) for _ in range(n_words)]
    return " ".join(
        f"{' '.join(words[n : n + 12]).capitalize()}." + ("\n\n" if n % 60 == 48 else "") for n in range(0, n_words, 12)
    )


def markdown(title: str, body: str, **record: str) -> str:
    head = "".join(f"{name}: {value}\n" for name, value in record.items())
    return f'---\ntitle: "{title}"\n{head}---\n\n# {title}\n\n## Results\n\n{body}\n'


def jats(title: str, body: str, *, pmcid: str, doi: str, year: str) -> str:
    paragraphs = "".join(f"<p>{each}</p>" for each in body.split("\n\n"))
    return (
        f'<?xml version="1.0"?><article article-type="research-article"><front><article-meta>'
        f'<article-id pub-id-type="pmcid">{pmcid}</article-id><article-id pub-id-type="doi">{doi}</article-id>'
        f"<title-group><article-title>{title}</article-title></title-group>"
        f'<pub-date pub-type="epub"><day>3</day><month>4</month><year>{year}</year></pub-date></article-meta></front>'
        f"<body><sec><title>Results</title>{paragraphs}</sec></body></article>"
    )


TITLE = "Strength of cortical bone in older mice"
BODY = prose(1, 900)
STUB = f"""# {TITLE}

PMC1000001 · DOI: 10.1000/one · J Bone · 2021

## Abstract

{prose(2, 30)}

## Full text

_Full body text omitted from this summary view._ Fetch the complete paper: https://example.org/PMC1000001/full.md
"""
FULL = markdown(TITLE, BODY, pmcid="PMC1000001", doi="10.1000/one", date="2021")
JATS = jats(TITLE, BODY, pmcid="PMC1000001", doi="10.1000/one", year="2021")
PREPRINT = markdown(
    "Cortical bone strength in old mice",
    BODY.replace("a", "a", 1) + prose(3, 20),
    doi="10.1101/2020.01.02",
    date="2020-01-02",
)
OTHER = markdown("Honey bees find home", prose(4, 900), pmcid="PMC1000002", doi="10.1000/two", date="2019")
NAMELESS = markdown("Tides of the moon", prose(5, 900), date="2018")
NAMELESS_AGAIN = markdown("Tides of the moon", prose(5, 900) + prose(6, 12), date="2018-05")


def run(folder: Path, index: Path, embedder: WordEmbedder | None = None, **options: bool) -> BuildReport:
    return build([folder], index, embedder or WordEmbedder(), CONFIG, **options)


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        stem, _, kind = name.rpartition("_")
        (folder / f"{stem}.{kind}").write_text(text, encoding="utf-8")
    return folder


def holdings(index: Path) -> dict[str, tuple[str, list[tuple[str, str]], list[str]]]:
    """Paper id -> the file that is searched, versions and how they were told, and the passages' texts."""
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        found = {}
        for paper in snapshot.papers():
            files = snapshot.files(paper.paper_id)
            assert [each.is_searched for each in files] == [True] + [False] * (len(files) - 1)
            assert (files[0].origin, files[0].sha256) == (paper.origin, paper.sha256)
            versions = sorted((each.source, each.why) for each in files[1:])
            texts = [each.passage.text for each in snapshot.passages_of(paper.paper_id)]
            found[paper.paper_id] = (paper.source, versions, texts)
    reader.close()
    return found


def files_of(index: Path) -> dict[str, tuple[str, list[str]]]:
    return {name: (source, [each for each, _ in versions]) for name, (source, versions, _) in holdings(index).items()}


def test_a_stub_is_replaced_when_its_full_text_arrives(tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", PMC1000001_md=STUB, other_md=OTHER)
    assert run(folder, tmp_path / "index").without_body == ["PMC1000001"]
    write(folder, full_xml=JATS)
    embedder = WordEmbedder()
    report = run(folder, tmp_path / "index", embedder)
    assert (report.updated, report.added, report.removed, report.failed) == (["PMC1000001"], [], [], [])
    assert [(each.source, each.paper_id, each.why) for each in report.versions] == [
        ("PMC1000001.md", "PMC1000001", "the same PMCID")
    ]
    assert all("Honey" not in text for text in embedder.encoded)
    assert (report.n_unchanged, report.n_embedded) == (2, report.n_passages)
    assert files_of(tmp_path / "index") == {
        "PMC1000001": ("full.xml", ["PMC1000001.md"]),
        "PMC1000002": ("other.md", []),
    }
    again = run(folder, tmp_path / "index")
    assert (again.n_unchanged, again.generation, again.versions) == (3, report.generation, [])


def test_a_stub_that_comes_later_takes_no_place(tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", full_md=FULL)
    run(folder, tmp_path / "index")
    write(folder, a_md=STUB)
    embedder = WordEmbedder()
    report = run(folder, tmp_path / "index", embedder)
    assert (report.updated, report.added, embedder.encoded) == ([], [], [])
    assert files_of(tmp_path / "index") == {"PMC1000001": ("full.md", ["a.md"])}


@pytest.mark.parametrize("order", [("preprint_md", "full_md"), ("full_md", "preprint_md")])
def test_a_preprint_and_its_paper_are_one_by_their_text(tmp_path: Path, order: Sequence[str]) -> None:
    texts = {"preprint_md": PREPRINT, "full_md": FULL}
    for name in order:
        write(tmp_path / "papers", **{name: texts[name]})
        report = run(tmp_path / "papers", tmp_path / "index")
    (version,) = report.versions
    assert version.why.startswith("nearly the same text (")
    assert files_of(tmp_path / "index") == {"PMC1000001": ("full.md", ["preprint.md"])}
    assert report.removed == (["10.1101_2020.01.02"] if order[0] == "preprint_md" else [])


def test_copies_are_one_paper(tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", long_name_md=NAMELESS, short_md=NAMELESS)
    report = run(folder, tmp_path / "index")
    assert (report.added, report.failed) == (["short"], [])
    assert holdings(tmp_path / "index")["short"][:2] == ("short.md", [("long_name.md", "the same file")])


def test_texts_alike_that_pubmed_has_as_two_are_two(tmp_path: Path) -> None:
    """An editorial that several journals print."""
    twin = FULL.replace("PMC1000001", "PMC1000003").replace("10.1000/one", "10.1000/three")
    journals = FULL.replace("pmcid: PMC1000001\n", "").replace("10.1000/one", "10.1000/four")
    report = run(write(tmp_path / "papers", a_md=FULL, b_md=twin, c_md=journals), tmp_path / "index")
    assert (report.added, report.versions, report.failed) == (["PMC1000001", "PMC1000003", "10.1000_four"], [], [])


def test_what_goes_by_a_papers_doi_and_reads_otherwise_is_not_lost(tmp_path: Path) -> None:
    supplement = markdown(f"Supplementary material: {TITLE}", prose(7, 900), doi="10.1000/one", date="2021")
    first = FULL.replace("pmcid: PMC1000001\n", "")
    report = run(write(tmp_path / "papers", a_md=first, b_md=supplement), tmp_path / "index")
    assert report.added == ["10.1000_one"]
    ((source, reason),) = [(each.source, each.reason) for each in report.failed]
    assert source == "b.md"
    assert "its paper id 10.1000_one is taken by" in reason
    reader = IndexReader(tmp_path / "index")
    with reader.snapshot() as snapshot:
        assert [(each.source, each.reason) for each in snapshot.failures()] == [(source, reason)]
    reader.close()
    (tmp_path / "papers" / "b.md").write_text(supplement.replace("doi:", "paper_id: one-supplement\ndoi:"))
    assert run(tmp_path / "papers", tmp_path / "index").added == ["one-supplement"]
    reader = IndexReader(tmp_path / "index")
    with reader.snapshot() as snapshot:
        assert snapshot.failures() == []
    reader.close()


def test_the_best_version_left_is_searched_when_the_file_is_pruned(tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", full_xml=JATS, full_md=FULL, preprint_md=PREPRINT)
    run(folder, tmp_path / "index")
    assert files_of(tmp_path / "index") == {"PMC1000001": ("full.xml", ["full.md", "preprint.md"])}
    (folder / "full.xml").unlink()
    report = run(folder, tmp_path / "index")
    assert (report.updated, report.removed, report.vanished) == (["PMC1000001"], [], [])
    assert files_of(tmp_path / "index") == {"PMC1000001": ("full.md", ["preprint.md"])}
    (folder / "full.md").unlink()
    report = run(folder, tmp_path / "index")
    assert (report.added, report.removed) == (["10.1101_2020.01.02"], ["PMC1000001"])
    assert files_of(tmp_path / "index") == {"10.1101_2020.01.02": ("preprint.md", [])}


def test_a_file_that_holds_another_paper_now_leaves_its_versions_searched(tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", a_xml=JATS, b_md=FULL)
    run(folder, tmp_path / "index")
    write(folder, a_xml=jats("Honey bees find home", prose(4, 900), pmcid="PMC1000002", doi="10.1000/two", year="2019"))
    report = run(folder, tmp_path / "index")
    assert files_of(tmp_path / "index") == {"PMC1000001": ("b.md", []), "PMC1000002": ("a.xml", [])}
    assert (report.added, report.updated, report.removed, report.failed) == (["PMC1000002"], ["PMC1000001"], [], [])


def test_removing_a_paper_forgets_its_versions(tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", a_xml=JATS, b_md=FULL)
    run(folder, tmp_path / "index")
    with IndexWriter(tmp_path / "index", None) as writer:
        writer.remove("PMC1000001")
        writer.commit()
    assert run(folder, tmp_path / "index").added == ["PMC1000001"]
    assert files_of(tmp_path / "index") == {"PMC1000001": ("a.xml", ["b.md"])}


def test_a_notice_of_any_version_is_the_papers(tmp_path: Path) -> None:
    stub = STUB.replace(f"# {TITLE}", f"# RETRACTED: {TITLE}")
    run(write(tmp_path / "papers", a_md=FULL, b_md=stub), tmp_path / "index")
    with closing(Library.open(tmp_path / "index", load=lambda _: WordEmbedder())) as library:
        paper = library.paper("PMC1000001").paper
    assert (paper.source, paper.notices) == ("a.md", ("retracted",))


def test_what_the_place_of_a_file_says_counts(tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", a_md=FULL)
    run(folder, tmp_path / "index")
    came = Provenance("https://example.org/a", "2026-01-01T00:00:00Z", "0" * 64, "CC BY", (), "", "")
    keep_provenance(folder / "a.md", replace(came, notices=("retracted",)))
    embedder = WordEmbedder()
    report = run(folder, tmp_path / "index", embedder)
    assert (report.updated, embedder.encoded) == (["PMC1000001"], [])
    with closing(Library.open(tmp_path / "index", load=lambda _: WordEmbedder())) as library:
        paper = library.paper("PMC1000001").paper
        passage = library.passage(library.paper("PMC1000001").passage_ids[0]).passage
    assert (paper.notices, paper.licence) == (("retracted",), "CC BY")
    assert passage.citation.notices == ("retracted",)
    assert passage.citation.label.startswith("RETRACTED: ")
    assert run(folder, tmp_path / "index").n_unchanged == 1


class Killed(WordEmbedder):
    """Is interrupted at some batch."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.n_left = last

    def encode(
        self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
    ) -> list[PassageVectors]:
        self.n_left -= 1
        if not self.n_left:
            raise KeyboardInterrupt
        return super().encode(passages, on_progress)


@pytest.mark.parametrize("lost", ["", "a.md", "c.xml"])
def test_a_killed_build_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """What is known of files is written before their papers are stored, and must not be believed without them."""
    monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)
    for last in range(1, 7):
        folder = write(tmp_path / f"papers{last}", a_md=STUB, b_md=OTHER)
        index = tmp_path / f"index{last}"
        if last > 4:  # it had been gone through before
            run(folder, index)
        write(folder, c_xml=JATS, d_md=NAMELESS, e_md=NAMELESS_AGAIN)
        with pytest.raises(KeyboardInterrupt):
            run(folder, index, Killed(last if last <= 4 else last - 4))
        if lost:
            (folder / lost).unlink()
        run(folder, index, prune=True)
        run(folder, tmp_path / f"whole{last}")
        assert holdings(index) == holdings(tmp_path / f"whole{last}")
        assert run(folder, index).n_unchanged == len(list(folder.iterdir()))


def test_a_paper_whose_file_a_killed_build_had_forgotten_already(tmp_path: Path) -> None:
    """Its file is looked at again where it is there; where it is gone, so is the paper, with --prune."""
    folder = write(tmp_path / "papers", a_md=FULL, b_md=OTHER)
    run(folder, tmp_path / "index")
    with IndexWriter(tmp_path / "index", None) as writer:
        for name in ("a.md", "b.md"):
            writer.forget_file(str(folder / name))
        writer.commit()
    (folder / "b.md").unlink()
    assert run(folder, tmp_path / "index").vanished == ["PMC1000002"]
    assert run(folder, tmp_path / "index", prune=True).removed == ["PMC1000002"]
    run(folder, tmp_path / "whole")
    assert holdings(tmp_path / "index") == holdings(tmp_path / "whole")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", a_md=STUB, b_md=OTHER)
    embedder = WordEmbedder()
    report = run(folder, tmp_path / "index", embedder, dry_run=True)
    assert (sorted(report.added), report.dry_run, embedder.encoded) == (["PMC1000001", "PMC1000002"], True, [])
    assert not (tmp_path / "index").exists()
    done = run(folder, tmp_path / "index")
    assert (report.n_passages, report.n_embedded) == (done.n_passages, done.n_embedded)
    write(folder, c_xml=JATS, e_md="\0")
    (folder / "b.md").unlink()
    before = holdings(tmp_path / "index")
    embedder = WordEmbedder()
    planned = run(folder, tmp_path / "index", embedder, dry_run=True, prune=True)
    assert (embedder.encoded, holdings(tmp_path / "index"), planned.generation) == ([], before, done.generation)
    really = run(folder, tmp_path / "index", prune=True)
    for name in ("added", "updated", "removed", "failed", "versions", "n_passages", "n_embedded", "n_reused"):
        assert getattr(planned, name) == getattr(really, name)
    assert (really.updated, really.removed, len(really.failed)) == (["PMC1000001"], ["PMC1000002"], 1)
    rebuilt = run(folder, tmp_path / "index", embedder, dry_run=True, rebuild=True)
    assert (rebuilt.added, embedder.encoded) == (["PMC1000001"], [])
    assert run(folder, tmp_path / "index").n_unchanged == 2


def test_a_dry_run_of_a_rebuild_leaves_an_index_that_cannot_be_read_as_it_is(tmp_path: Path) -> None:
    folder = write(tmp_path / "papers", a_md=FULL)
    run(folder, tmp_path / "index")
    database = tmp_path / "index" / "index.sqlite"
    for spoil in ("PRAGMA user_version = 5", "DROP TABLE commits"):
        with closing(opened(database)) as connection:
            connection.execute(spoil)
        before = {path.name for path in database.parent.iterdir()}, database.read_bytes()
        assert run(folder, tmp_path / "index", dry_run=True, rebuild=True).added == ["PMC1000001"]
        assert ({path.name for path in database.parent.iterdir()}, database.read_bytes()) == before
    assert run(folder, tmp_path / "index", rebuild=True).added == ["PMC1000001"]


@pytest.mark.parametrize("order", [("a_md", "b_md", "c_md"), ("c_md", "b_md", "a_md"), ("a_md", "c_md", "b_md")])
def test_a_copy_without_an_id_joins_no_two_papers(tmp_path: Path, order: Sequence[str]) -> None:
    texts = {"a_md": FULL, "b_md": IDLESS, "c_md": TWIN}
    for name in order:
        write(tmp_path / "papers", **{name: texts[name]})
        run(tmp_path / "papers", tmp_path / "index")
    found = files_of(tmp_path / "index")
    assert found.keys() == {"PMC1000001", "PMC1000003"}
    assert sorted(version for _, versions in found.values() for version in versions) == ["b.md"]


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "a", "b"), ("b", "c", "a")])
def test_a_supplement_takes_no_papers_place_by_way_of_its_stub(tmp_path: Path, names: tuple[str, str, str]) -> None:
    supplement = markdown(f"Supplementary material: {TITLE}", prose(7, 1500), doi="10.1000/one", date="2022")
    paper, stub = FULL, STUB
    write(
        tmp_path / "papers", **{f"{name}_md": text for name, text in zip(names, (stub, paper, supplement), strict=True)}
    )
    report = run(tmp_path / "papers", tmp_path / "index")
    assert files_of(tmp_path / "index")["PMC1000001"][0] == f"{names[1]}.md"
    told = {each.source for each in report.failed} | {source for source, _ in files_of(tmp_path / "index").values()}
    assert f"{names[2]}.md" in told


TWIN = FULL.replace("PMC1000001", "PMC1000003").replace("10.1000/one", "10.1000/three")
IDLESS = FULL.replace("pmcid: PMC1000001\n", "").replace("doi: 10.1000/one\n", "")
POOL = {
    "twin": TWIN,
    "idless": IDLESS,
    "stub": STUB,
    "full": FULL,
    "jats": JATS,
    "preprint": PREPRINT,
    "other": OTHER,
    "nameless": NAMELESS,
    "again": NAMELESS_AGAIN,
    "broken": "\0",
}
_NAMES = ("a.md", "b.md", "c.md", "d.xml", "e.xml")


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from([*POOL, ""])), min_size=1, max_size=4),
        min_size=2,
        max_size=5,
    ),
    small=st.booleans(),
)
def test_whatever_the_way_the_index_is_as_if_built_at_once(
    steps: list[list[tuple[str, str]]], small: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("way")
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "z.md").write_text(markdown("Always here", prose(8, 120), doi="10.1000/z"))
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)
        for step in steps:
            for name, what in step:
                path = folder / name
                if what:
                    text = POOL[what]
                    if (what == "jats") != (path.suffix == ".xml"):
                        continue
                    path.write_text(text)
                else:
                    path.unlink(missing_ok=True)
            run(folder, tmp_path / "index", prune=True)
    # A file that went bad keeps what was indexed of it; a build from nothing knows nothing of that.
    for path in folder.iterdir():
        if path.read_text() == POOL["broken"]:
            path.unlink()
    run(folder, tmp_path / "index", prune=True)
    run(folder, tmp_path / "fresh")
    assert {name.removesuffix("_papers"): each for name, each in holdings(tmp_path / "index").items()} == holdings(
        tmp_path / "fresh"
    )
    assert run(folder, tmp_path / "index").n_unchanged == len(list(folder.iterdir()))
    shutil.rmtree(tmp_path)


SUPPLEMENT = markdown(f"Supplementary material: {TITLE}", prose(7, 900), doi="10.1000/one", date="2021")
CLASHES = POOL | {"supplement": SUPPLEMENT, "by doi": FULL.replace("pmcid: PMC1000001\n", ""),
                  "stolen id": OTHER.replace("PMC1000002", "PMC1000001")}  # fmt: skip


def test_a_version_of_what_a_file_held_before_takes_no_paper_from_it(tmp_path: Path) -> None:
    """The version goes with its twin, and the file with the other text keeps the id."""
    folder = write(tmp_path / "papers", a_md=FULL, c_md=IDLESS)
    run(folder, tmp_path / "index")
    write(folder, a_md=CLASHES["stolen id"], b_md=TWIN)
    run(folder, tmp_path / "index")
    assert {source for source, _ in files_of(tmp_path / "index").values()} == {"a.md", "b.md"}


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.lists(st.tuples(st.sampled_from(_NAMES[:3]), st.sampled_from([*CLASHES, ""])), min_size=1, max_size=3),
        min_size=2,
        max_size=5,
    ),
    prune=st.booleans(),
)
def test_no_file_is_passed_over_in_silence(
    steps: list[list[tuple[str, str]]], prune: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every file is searched, known as a version, or told to have failed, also where papers share an id."""
    tmp_path = tmp_path_factory.mktemp("clash")
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "z.md").write_text(markdown("Always here", prose(8, 120), doi="10.1000/z"))
    for step in steps:
        for name, what in step:
            if what == "jats":
                continue
            if what:
                (folder / name).write_text(CLASHES[what])
            else:
                (folder / name).unlink(missing_ok=True)
        report = run(folder, tmp_path / "index", prune=prune)
        known = files_of(tmp_path / "index")
        told = {each.source for each in report.failed}
        searched = [source for source, _ in known.values()]
        versions = [source for _, others in known.values() for source in others]
        assert len(set(searched + versions)) == len(searched + versions)
        assert {path.name for path in folder.iterdir()} <= {*searched, *versions, *told}
        again = run(folder, tmp_path / "index", prune=prune)
        assert (again.n_unchanged + len(again.failed), again.added, again.updated) == (
            len(list(folder.iterdir())), [], [],
        )  # fmt: skip
    shutil.rmtree(tmp_path)


def shares(n_words: int, n_changed: int) -> float:
    """Exactly: of the runs of five words of a text and of one with its last words changed."""
    one = words_of(prose(9, n_words))
    other = one[: n_words - n_changed] + words_of(prose(10, n_changed))
    runs = [{tuple(words[n : n + 5]) for n in range(len(words) - 4)} for words in (one, other)]
    estimate = resemblance(signature(one), signature(other))
    exact = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
    assert abs(estimate - exact) < 0.14
    return exact


@pytest.mark.parametrize("n_changed", [0, 20, 60, 200, 600, 1000])
def test_resemblance_is_about_the_share_of_runs_in_common(n_changed: int) -> None:
    assert 0 <= shares(1000, n_changed) <= 1


def test_a_short_text_is_like_no_other() -> None:
    words = words_of(prose(11, MIN_WORDS - 1))
    assert signature(words) == b""
    assert resemblance(b"", b"") == 0
    assert bands(b"") == []
    assert len(set(bands(signature(words_of(prose(11, 200)))))) == 40
