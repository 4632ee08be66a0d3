"""Papers' files of every format, from disk to the place cited, and what changes among them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import indexer.sources.reading
from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.errors import NotFoundError, SourceError
from indexer.sources import Changes, SourceFile, changes, find_sources, only_of, parse_source, read_bytes
from indexer.store import IndexWriter
from service.api import create_app
from service.library import Library
from service.verify import read_claims
from tests.conftest import Run
from tests.fakes import WordEmbedder
from tests.fetch_server import jats

ROOT = Path(__file__).parents[1]
CONFIG = BuildConfig(model="words", max_wordpieces=32, merge_below=8)
Loccit = Callable[..., Run]

PARTS = {
    "00.front-matter.md": "{## A template {{manubot.date}} ##}\n",
    "01.abstract.md": "## Abstract {.page_break_before}\n\nBees find home by the sun.\n",
    "02.main.md": "## Results\n\nThey dance the way [@doi:10.1000/dance].",
    "90.back.md": "## References {.page_break_before}\n\n<!-- here -->\n",
    "README.md": "# About this folder\n\nBuild it with make.\n",
}
METADATA = "title: Bees find home\nauthors:\n- name: Ada Marsh\n  orcid: 0000\nkeywords:\n- bees\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A paper in JATS, one in Markdown, and a manuscript in several files."""
    papers = tmp_path / "papers"
    (papers / "bees" / "content").mkdir(parents=True)
    (papers / "PMC707.nxml").write_bytes(jats("PMC707"))
    (papers / "one.md").write_text("# One\n\n## Results\n\nSnails climb β walls.\n", encoding="utf-8")
    for name, text in PARTS.items():
        (papers / "bees/content" / name).write_text(text, encoding="utf-8")
    (papers / "bees/content/metadata.yaml").write_text(METADATA, encoding="utf-8")
    return papers


@pytest.fixture
def index(folder: Path, tmp_path: Path) -> Path:
    report = build([folder], tmp_path / "index", WordEmbedder(), CONFIG)
    assert (sorted(report.added), report.failed) == (["PMC707", "README", "bees", "one"], [])
    return tmp_path / "index"


@contextmanager
def opened(index: Path) -> Iterator[Library]:
    with closing(Library.open(index, load=lambda _: WordEmbedder())) as library:
        yield library


def test_every_citation_stands_in_the_source_text(index: Path, folder: Path) -> None:
    with opened(index) as library:
        formats: dict[str, str] = {}
        for paper in library.papers().papers:
            source = library.source(paper.paper_id)
            assert (source.source_sha256, source.format) == (paper.source_sha256, paper.format)
            formats[paper.source] = paper.format
            passages = [library.passage(each).passage for each in library.paper(paper.paper_id).passage_ids]
            assert passages
            for each in passages:
                assert source.text[each.citation.start : each.citation.end] == each.citation.exact
        assert formats == {
            "PMC707.nxml": "jats", "bees/content": "manuscript", "bees/content/README.md": "markdown",
            "one.md": "markdown",
        }  # fmt: skip
        assert library.source("one").text == (folder / "one.md").read_text(encoding="utf-8")
        assert library.paper("PMC707").paper.source_sha256 == hashlib.sha256(jats("PMC707")).hexdigest()


def test_a_manuscript_is_one_paper_of_its_parts_in_order(index: Path) -> None:
    with opened(index) as library:
        paper = library.paper("bees")
        text = library.source("bees").text
    assert (paper.paper.title, paper.paper.authors) == ("Bees find home", ("Ada Marsh",))
    assert [section.title for section in paper.sections] == ["Abstract", "Results", "References"]
    parts = [f"---\n{METADATA.strip()}\n---", *(PARTS[name].strip("\n") for name in sorted(PARTS)[:4])]
    assert text == "\n\n".join(parts) + "\n"


def test_a_part_that_changes_changes_its_paper(index: Path, folder: Path) -> None:
    (folder / "bees/content/02.main.md").write_text("## Results\n\nThey dance all day.")
    report = build([folder], index, WordEmbedder(), CONFIG)
    assert (report.updated, report.n_unchanged) == (["bees"], 3)
    (folder / "bees/content/00.front-matter.md").unlink()
    report = build([folder], index, WordEmbedder(), CONFIG, prune=True)
    assert "bees" in report.removed
    assert sorted(report.added) == ["01.abstract", "02.main", "90.back"]


def test_parts_that_become_a_manuscript_are_papers_no_longer(folder: Path, tmp_path: Path) -> None:
    front = folder / "bees/content/00.front-matter.md"
    text = front.read_text()
    front.unlink()
    index = tmp_path / "index"
    report = build([folder], index, WordEmbedder(), CONFIG)
    assert {"01.abstract", "02.main", "90.back"} <= set(report.added)
    front.write_text(text)
    report = build([folder], index, WordEmbedder(), CONFIG, changed=frozenset({front}))
    assert (report.added, sorted(report.removed)) == (["bees"], ["01.abstract", "02.main", "90.back"])
    front.unlink()
    report = build([folder], index, WordEmbedder(), CONFIG, changed=frozenset({front}), prune=True)
    assert (sorted(report.added), report.removed) == (["01.abstract", "02.main", "90.back"], ["bees"])


def test_citations_of_jats_are_verified_against_the_text_kept(
    index: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(index) as library:
        hit = library.passage(library.paper("PMC707").passage_ids[0]).passage
        cited = {"citation": json.loads(json.dumps(_fields(hit.citation)))}
        assert library.verify(read_claims(cited)).status == "ok"
        monkeypatch.setattr(indexer.sources.reading, "read_jats", lambda raw: 1 / 0)  # a later reader's, or none
        assert library.verify(read_claims(cited)).status == "ok"
        monkeypatch.undo()
        (folder / "PMC707.nxml").write_bytes(jats("PMC707").replace(b"<p>", b"<p>As it happens: "))
        assert library.verify(read_claims(cited)).status == "moved"
        (folder / "PMC707.nxml").write_bytes(jats("PMC707", body="<sec><title>Results</title><p>Nothing.</p></sec>"))
        assert library.verify(read_claims(cited)).status == "changed"
        assert library.source("PMC707").text.count("glycation") == 1  # what citations count in, whatever the file says


def _fields(citation: object) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(citation)  # type: ignore[call-overload, no-any-return]


def test_the_source_over_http_and_of_a_changed_file(index: Path, folder: Path) -> None:
    with opened(index) as library, TestClient(create_app(library)) as client:
        reply = client.get("/v1/papers/one/source")
        assert (reply.status_code, reply.json()["text"]) == (200, (folder / "one.md").read_text(encoding="utf-8"))
        (folder / "one.md").write_text("# One\n\nOtherwise.\n")
        reply = client.get("/v1/papers/one/source")
        assert (reply.status_code, reply.json()["detail"]) == (
            422, "one.md has changed since it was indexed: run `loccit index PATH...`, and cite it anew",
        )  # fmt: skip
        assert client.get("/v1/papers/none/source").status_code == 404


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<html><body>Sign in</body></html>", "a web page"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><article>&a;</article>', "declares the entity 'a'"),
        (b"<article><front>", "not well-formed XML"),
        (b"<rss/>", "an RSS feed"),
    ],
)
def test_xml_that_is_no_article_does_not_stop_the_rest(folder: Path, tmp_path: Path, data: bytes, said: str) -> None:
    (folder / "bad.xml").write_bytes(data)
    report = build([folder], tmp_path / "index", WordEmbedder(), CONFIG)
    ((source, reason),) = [(each.source, each.reason) for each in report.failed]
    assert source == "bad.xml"
    assert said in reason
    assert len(report.added) == 4


def test_the_papers_list_says_what_was_kept_what_was_not_and_why(index: Path, folder: Path) -> None:
    (folder / "copy.md").write_bytes((folder / "one.md").read_bytes())
    (folder / "bad.md").write_bytes(b"\0")
    build([folder], index, WordEmbedder(), CONFIG)
    with opened(index) as library:
        listed = library.papers()
        papers = {paper.paper_id: paper for paper in listed.papers}
        assert [(each.source, each.reason) for each in listed.failed] == [
            ("bad.md", "the file is binary, not Markdown text")
        ]
        for paper_id, paper in papers.items():
            ink = len("".join(library.source(paper_id).text.split()))
            dropped = parse(folder / paper.source).dropped if paper.format == "jats" else {}
            assert sum(paper.kept.values()) + sum(paper.left_out.values()) - sum(dropped.values()) == ink
            assert paper.left_out.keys() == paper.left_out_why.keys()
            assert all(paper.left_out_why.values())
        assert [(each.source, each.why) for each in papers["one"].versions] == [("copy.md", "the same file")]


def parse(path: Path):  # type: ignore[no-untyped-def]
    return parse_source(SourceFile(path, path.name), read_bytes(path))


@pytest.mark.shared
def test_every_shared_article_is_in_the_index_whole(shared: Path, tmp_path: Path) -> None:
    """Of 60 articles every word of the body is in a passage: blocks are kept whole, and nothing of content left out."""
    folder = shared / "papers/jats"
    report = build([folder], tmp_path / "index", WordEmbedder(max_wordpieces=256), BuildConfig(model="words"))
    assert (len(report.added), report.failed, report.versions) == (60, [], [])
    with opened(tmp_path / "index") as library:
        for paper in library.papers().papers:
            text = library.source(paper.paper_id).text
            passages = [library.passage(each).passage for each in library.paper(paper.paper_id).passage_ids]
            covered = bytearray(len(text))
            for each in passages:
                covered[each.citation.start : each.citation.end] = b"\1" * (each.citation.end - each.citation.start)
            lost = sum(not each.isspace() and not covered[at] for at, each in enumerate(text))
            dropped = parse(folder / paper.source).dropped
            assert lost == sum(paper.left_out.values()) - sum(dropped.values())


@pytest.mark.shared
def test_shared_manuscripts_are_papers(shared: Path, tmp_path: Path) -> None:
    report = build([shared / "papers/manubot"], tmp_path / "index", WordEmbedder(), CONFIG)
    assert (sorted(report.added), report.failed) == (["deep-rules", "knowledge-graph-review", "meta-review"], [])


@pytest.mark.shared
def test_no_two_of_the_shared_papers_are_taken_for_one(shared: Path, tmp_path: Path) -> None:
    """The same article stands in both folders where its PMCID does; all others are themselves."""
    folders = [shared / "papers/markdown", shared / "papers/jats"]
    report = build(folders, tmp_path / "index", WordEmbedder(), CONFIG, dry_run=True)
    names = [{path.stem for path in folder.iterdir() if path.suffix in (".md", ".xml")} for folder in folders]
    assert report.failed == []
    assert len(report.added) == len(names[0] | names[1])
    assert {each.paper_id for each in report.versions} == names[0] & names[1]


# Watching


def files(*names: str) -> list[SourceFile]:
    return [SourceFile(Path("/data") / name, name) for name in names]


def test_which_files_a_change_concerns() -> None:
    every = files("a.md", "b.xml", "bees/content", "sub/c.md")

    def concerned(*changed: str) -> list[str]:
        return [each.source for each in only_of(every, frozenset(Path("/data") / name for name in changed))]

    assert concerned() == []
    assert concerned("a.md", "sub/c.md") == ["a.md", "sub/c.md"]
    assert concerned("b.xml.fetched.json") == ["b.xml"]
    assert concerned("bees/content/02.main.md") == ["bees/content"]
    assert concerned("bees/content/metadata.yaml") == ["bees/content"]
    assert concerned("sub") == ["sub/c.md"]
    assert only_of(every, None) == every


class Watched:
    """What `changes` tells, gathered in a thread."""

    def __init__(self, paths: list[Path], leave_out: Path) -> None:
        self.heard: list[Changes] = []
        self._stop = False
        self._source = changes(paths, leave_out=leave_out)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        for each in self._source:
            if each != frozenset():
                self.heard.append(each)
            if self._stop:
                break

    def waits_for(self, *paths: Path | None) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if any(path in (each or {None}) for path in paths for each in self.heard):
                return
            time.sleep(0.02)
        raise AssertionError(f"none of {paths} was told: {self.heard}")

    def stop(self) -> None:
        self._stop = True
        self._thread.join()


def test_what_changes_is_told_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    (folder / "index").mkdir(parents=True)
    watched = Watched([folder], folder / "index")
    try:
        watched.waits_for(None)
        (folder / "notes.txt").write_text("x")
        (folder / ".hidden.md").write_text("x")
        (folder / "index" / "a.md").write_text("x")
        (folder / "paper.md").write_text("x")
        watched.waits_for(folder / "paper.md")
        (folder / "sub").mkdir()
        (folder / "sub" / "deep.xml").write_text("x")
        watched.waits_for(folder / "sub" / "deep.xml", folder / "sub")  # a new folder may stand for what is in it
        (folder / "paper.md").unlink()
        watched.heard.clear()
        watched.waits_for(folder / "paper.md")
        told = {path for each in watched.heard if each for path in each}
        assert told <= {folder / "paper.md", folder / "sub", folder / "sub" / "deep.xml"}
    finally:
        watched.stop()


def test_a_folder_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    watched = Watched([folder], tmp_path / "index")
    try:
        watched.waits_for(None)
        folder.rename(tmp_path / "away")
        watched.heard.clear()
        time.sleep(1)
        (tmp_path / "away").rename(folder)
        watched.waits_for(None)
        (folder / "paper.md").write_text("x")
        watched.waits_for(folder / "paper.md")
    finally:
        watched.stop()


@pytest.mark.model
def test_an_index_is_kept_in_step_beside_a_reader(tmp_path: Path, embedder: Embedder, models: Path) -> None:
    folder, index = tmp_path / "papers", tmp_path / "index"
    folder.mkdir()
    (folder / "one.md").write_text("# One\n\n## Results\n\nSnails climb walls at night.\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCCIT_")}
    script = "import sys; from service.cli import main; sys.exit(main())"
    running = subprocess.Popen(
        [sys.executable, "-c", script, "index", "papers", "--index", "index", "--watch", "--json"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stderr is not None
    try:
        assert json.loads(running.stdout.readline())["added"] == ["one"]
        assert running.stderr.readline() == "watching for changes; Ctrl-C ends it\n"
        with closing(Library.open(index, load=lambda _: embedder)) as library:
            with IndexWriter(index, None):  # another process writes: it is waited for
                (folder / "two.md").write_text("# Two\n\n## Results\n\nKettles gather limescale.\n")
                assert "another process is writing to index" in running.stderr.readline()
            report = json.loads(running.stdout.readline())
            assert report["added"] == ["two"]
            assert library.ask("what gathers limescale?").hits[0].citation.paper_id == "two"
            (folder / "bad.md").write_bytes(b"\0")
            assert json.loads(running.stdout.readline())["failed"][0]["source"] == "bad.md"
            assert running.stderr.readline() == "loccit: 1 of 1 files failed; the others are in the index\n"
            (folder / "one.md").unlink()
            (folder / "bad.md").unlink()
            assert json.loads(running.stdout.readline())["removed"] == ["one"]
            assert [paper.paper_id for paper in library.papers().papers] == ["two"]
            (folder / "two.md").unlink()  # the last one
            assert json.loads(running.stdout.readline())["removed"] == ["two"]
            assert library.papers().papers == ()
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
        assert running.stderr.read().endswith("stopped watching\n")
    finally:
        running.kill()
        running.wait()
        running.stdout.close()
        running.stderr.close()


def test_an_empty_folder_in_the_place_of_another_is_a_drive_that_is_away(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "paper.md").write_text("x")
    watched = Watched([folder], tmp_path / "index")
    try:
        watched.waits_for(None)
        folder.rename(tmp_path / "away")
        folder.mkdir()
        watched.heard.clear()
        time.sleep(2)
        assert watched.heard == []
        folder.rmdir()
        (tmp_path / "away").rename(folder)
        watched.waits_for(None)
    finally:
        watched.stop()


def test_a_version_is_verified_and_named(tmp_path: Path) -> None:
    """What was cited of a preprint can be checked when the published paper is the one that is searched."""
    text = "---\ntitle: Bees find home\ndoi: {}\ndate: {}\n---\n\n## Results\n\n{}\n"
    words = " ".join(f"w{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n * 7 % 26)} is here." for n in range(400))
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "pre.md").write_text(text.format("10.1101/2020.01", "2020", words))
    build([folder], tmp_path / "index", WordEmbedder(), CONFIG)
    with opened(tmp_path / "index") as library:
        first = library.passage(library.paper("10.1101_2020.01").passage_ids[0])
        cited = {"citation": json.loads(json.dumps(_fields(first.passage.citation)))}
    (folder / "pub.md").write_text(text.format("10.1000/bees", "2021", words + " And more."))
    assert build([folder], tmp_path / "index", WordEmbedder(), CONFIG).added == ["10.1000_bees"]
    with opened(tmp_path / "index") as library:
        assert library.verify(read_claims(cited)).status == "ok"
        with pytest.raises(NotFoundError, match=r"is a version of '10\.1000_bees', which is searched"):
            library.paper("10.1101_2020.01")


def test_the_place_of_a_changed_article_is_of_its_format(index: Path, folder: Path) -> None:
    with opened(index) as library:
        cited = {"citation": _fields(library.passage(library.paper("PMC707").passage_ids[0]).passage.citation)}
        cited = json.loads(json.dumps(cited))
        (folder / "sub").mkdir()
        (folder / "PMC707.nxml").rename(folder / "sub" / "PMC707.nxml")
        build([folder], index, WordEmbedder(), CONFIG)
        (verdict,) = library.verify(read_claims(cited)).verdicts
        assert verdict.now is None or verdict.now.source_format == "jats"
        (folder / "sub/PMC707.nxml.fetched.json").write_text("{")  # of no account to what was cited
        assert library.verify(read_claims(cited)).status in ("ok", "moved")


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("nowhere"), lambda path: path.symlink_to(path)]
)
def test_what_is_no_file_is_told_and_never_pruned(folder: Path, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(folder / "odd.md")
    for _ in range(2):
        report = build([folder], tmp_path / "index", WordEmbedder(), CONFIG, prune=True)
        assert [each.source for each in report.failed] == ["odd.md"]


def test_watching_is_no_dry_run(loccit: Loccit) -> None:
    run = loccit("index", "--watch", "--dry-run")
    assert (run.code, "leave one of them out" in run.err) == (2, True)


def test_a_dry_run_on_the_command_line(loccit: Loccit, folder: Path, workdir: Path) -> None:
    run = loccit("index", str(folder), "--dry-run")
    assert (run.code, "4 added" in run.out, "nothing was changed in .loccit" in run.out) == (0, True, True)
    assert not (workdir / ".loccit").exists()


def test_show_source_prints_it_to_the_byte(loccit: Loccit, workdir: Path) -> None:
    (workdir / "one.md").write_bytes(b"# One\r\n\r\nSnails climb \xce\xb2 walls.\r\n")
    assert loccit("index", "one.md").code == 0
    script = "import sys; from service.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "show", "one", "--source"],
        cwd=workdir,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert done.stdout == (workdir / "one.md").read_bytes()


def test_a_folder_that_holds_no_papers(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match=r"holds no papers in Markdown \(\.md, \.markdown\) or JATS XML"):
        find_sources([tmp_path])
