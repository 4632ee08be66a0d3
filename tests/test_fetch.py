"""Papers fetched, from the services as they really answer to files on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from indexer.build import BuildReport, Failure
from indexer.embedding import Embedder
from indexer.errors import SourceError, UsageError
from indexer.fetch.client import Limits
from indexer.fetch.files import held_at
from indexer.fetch.report import FetchReport, PaperFetch
from indexer.fetch.run import fetch
from indexer.provenance import Provenance, provenance_of, provenance_path, write_source
from service.cli import main
from service.config import Settings, version
from service.library import Library
from tests.conftest import Run
from tests.fetch_server import (
    CC_BY,
    Handler,
    Services,
    answers,
    breaks_off,
    claims,
    drips,
    goes_until_it_closes,
    in_chunks,
    jats,
    markdown,
    redirects,
    sends,
    serving,
)

ROOT = Path(__file__).parents[1]
LIMITS = Limits(
    connect_s=0.5, read_s=0.4, total_s=0.8, tries=3, first_wait_s=0.01, max_wait_s=1, interval_s=0, max_bytes=1_000_000
)
REST = "/europepmc/webservices/rest"
XML = "application/xml"


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    with serving(tmp_path) as (running, trusted):
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "papers"


Fetch = Callable[..., FetchReport]


@pytest.fixture
def fetched(services: Services, folder: Path) -> Fetch:
    """Fetches papers into the folder."""

    def run(*ids: str, **options: Any) -> FetchReport:
        return fetch(ids, folder, **{"agent": "loccit/1", "places": services.places, "limits": LIMITS} | options)

    return run


def only(report: FetchReport) -> PaperFetch:
    (paper,) = report.papers
    return paper


def files(folder: Path) -> list[str]:
    """The folder's files; not those that are hidden."""
    return sorted(each.name for each in folder.iterdir() if not each.name.startswith(".")) if folder.exists() else []


def kept(path: Path) -> Provenance:
    provenance = provenance_of(path)
    assert provenance is not None
    return provenance


def age(path: Path, hours: int) -> None:
    """Let its source have been asked for the file so much earlier."""
    before = time.time() - hours * 3600
    os.utime(provenance_path(path), (before, before))


# The way of a paper


def test_a_paper_from_pmc(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")

    report = fetched("PMC101")

    path, text = folder / "PMC101.xml", jats("PMC101")
    assert report == FetchReport(
        folder.as_posix(),
        [PaperFetch("PMC101", "fetched", "PMC101", path.as_posix(), "PMC", "CC BY", len(text), (), "")],
    )
    assert path.read_bytes() == text
    provenance = kept(path)
    assert provenance == Provenance(
        url=f"{services.url}/s3/PMC101.1/PMC101.1.xml",
        fetched=provenance.fetched,
        sha256=hashlib.sha256(text).hexdigest(),
        licence="CC BY",
        notices=(),
        etag='"1"',
        last_modified="",
    )
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(provenance.fetched) < timedelta(seconds=10)
    assert files(folder) == ["PMC101.xml", "PMC101.xml.fetched.json"]
    assert services.paths == [
        "/s3/?list-type=2&prefix=PMC101.&delimiter=/",
        "/s3/PMC101.1/PMC101.1.json",
        "/s3/PMC101.1/PMC101.1.xml",
    ]
    assert {request.headers["user-agent"] for request in services.requests} == {"loccit/1"}


def test_the_second_time_only_what_is_newer_comes(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")
    fetched("PMC101")
    path = folder / "PMC101.xml"
    before = kept(path)
    services.requests.clear()

    same = only(fetched("PMC101"))

    assert (same.outcome, same.source, same.licence, same.path) == ("unchanged", "PMC", "CC BY", path.as_posix())
    assert services.requests[-1].path == "/s3/PMC101.1/PMC101.1.xml"
    assert services.requests[-1].headers["if-none-match"] == '"1"'
    assert len(services.requests) == 3
    assert kept(path) == before

    newer = jats("PMC101", body="<p>Corrected.</p>")
    services.in_pmc("PMC101", sends(newer, XML, etag='"2"'))
    assert only(fetched("PMC101")).outcome == "fetched"
    assert path.read_bytes() == newer
    assert (kept(path).etag, kept(path).sha256) == ('"2"', hashlib.sha256(newer).hexdigest())


def test_the_same_bytes_without_an_etag_are_unchanged(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101", sends(jats("PMC101"), XML))

    assert only(fetched("PMC101")).outcome == "fetched"
    assert only(fetched("PMC101")).outcome == "unchanged"
    assert "if-none-match" not in services.requests[-1].headers


def test_the_newest_version_is_fetched(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101", version=11)

    assert only(fetched("PMC101")).outcome == "fetched"
    assert services.paths[-1] == "/s3/PMC101.11/PMC101.11.xml"


def test_what_pmc_does_not_have_europe_pmc_is_asked_for(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_europepmc("PMC101", sends(jats("PMC101"), XML), license=None)

    paper = only(fetched("PMC101"))

    assert (paper.outcome, paper.source, paper.licence) == ("fetched", "Europe PMC", CC_BY)
    assert paper.reason == "PMC: does not have it"
    assert kept(folder / "PMC101.xml").url == f"{services.url}{REST}/PMC101/fullTextXML"


def test_and_what_that_does_not_have_tomesphere(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_europepmc("PMC101")
    services.in_tomesphere("PMC101")

    paper = only(fetched("PMC101"))
    again = only(fetched("PMC101"))

    assert (paper.outcome, paper.source, paper.licence) == ("fetched", "tomesphere", "cc by")
    assert paper.reason == "PMC: does not have it; Europe PMC: does not have it"
    assert (folder / "PMC101.md").read_text(encoding="utf-8") == markdown("PMC101")
    assert (again.outcome, again.source) == ("unchanged", "tomesphere")
    assert services.requests[-1].headers["if-modified-since"] == "Wed, 15 Jul 2026 10:00:00 GMT"


def test_a_moved_file_is_found_and_asked_for_only_if_newer(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_europepmc("PMC101")
    services.in_tomesphere("PMC101", redirects("/tomesphere/moved.md", 301))
    services.does("/tomesphere/moved.md", sends(markdown("PMC101").encode(), "text/markdown", etag='"m"'))

    assert [only(fetched("PMC101")).outcome for _ in range(2)] == ["fetched", "unchanged"]
    assert kept(folder / "PMC101.md").url == f"{services.url}/tomesphere/moved.md"
    assert services.requests[-1].headers["if-none-match"] == '"m"'


def test_the_failure_lists_what_each_source_said(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_europepmc("PMC101", answers(500))
    services.in_tomesphere("PMC101", sends(b"<!doctype html><title>x</title>", "text/html"))

    paper = only(fetched("PMC101"))

    assert (paper.outcome, paper.path) == ("failed", "")
    assert paper.reason == (
        "PMC: does not have it; "
        "Europe PMC: 127.0.0.1 answers 500 Internal Server Error, 3 times in a row: try again later; "
        "tomesphere: 127.0.0.1 sent a web page where markdown was asked for"
    )
    assert files(folder) == []


def test_a_busy_source_is_asked_again(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101", answers(500), answers(429, retry_after="0"), sends(jats("PMC101"), XML))

    paper = only(fetched("PMC101"))

    assert (paper.outcome, paper.source, paper.reason) == ("fetched", "PMC", "")
    assert services.paths.count("/s3/PMC101.1/PMC101.1.xml") == 3
    assert files(folder) == ["PMC101.xml", "PMC101.xml.fetched.json"]


def test_a_paper_that_is_named_twice_is_fetched_once(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")
    services.in_europepmc("PMC101")

    first, second = fetched("PMC101", "10.1234/PMC101", "PMC101").papers

    assert (first.outcome, first.reason) == ("fetched", "")
    assert (second.asked, second.outcome, second.reason) == ("10.1234/PMC101", "unchanged", "the same paper as PMC101")
    assert services.paths.count("/s3/PMC101.1/PMC101.1.xml") == 1


# Ids


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ("PMID: 30000101", "EXT_ID%3A30000101+AND+SRC%3AMED"),
        ("10.1234/PMC101", "DOI%3A%2210.1234%2FPMC101%22"),
        ("https://doi.org/10.1234/pmc101", "DOI%3A%2210.1234%2Fpmc101%22"),
    ],
)
def test_other_ids_are_looked_up(services: Services, folder: Path, fetched: Fetch, asked: str, query: str) -> None:
    services.in_pmc("PMC101")
    services.in_europepmc("PMC101")

    paper = only(fetched(asked))

    assert (paper.asked, paper.outcome, paper.paper_id) == (asked, "fetched", "PMC101")
    assert f"query={query}&" in services.paths[0]


def test_an_arxiv_paper_that_pmc_has(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc(
        "PMC101", sends(jats("PMC101", doi="10.48550/arxiv.2305.04091"), XML), doi="10.48550/arXiv.2305.04091"
    )
    services.in_europepmc("PMC101", doi="10.48550/arXiv.2305.04091")

    assert only(fetched("arXiv:2305.04091v2")).path == (folder / "PMC101.xml").as_posix()


def test_papers_that_are_nowhere(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_europepmc("PMC101", pmcid=None)

    unknown, without_text, arxiv = fetched("10.1234/none", "10.1234/pmc101", "2305.04091").papers

    assert [paper.outcome for paper in (unknown, without_text, arxiv)] == ["failed"] * 3
    assert unknown.reason == "Europe PMC knows no paper with the DOI 10.1234/none: check it"
    assert without_text.reason.startswith("Europe PMC has its record, and PMC no full text: get it from its publisher")
    assert arxiv.reason.startswith("arXiv papers are in none of these sources as full text")


def test_a_search_that_finds_another_paper_has_found_none(services: Services, folder: Path, fetched: Fetch) -> None:
    def another(handler: Any) -> None:
        handler.whole(
            json.dumps({"hitCount": 1, "resultList": {"result": [{"pmcid": "PMC7", "doi": "10.1234/x.y"}]}}).encode()
        )

    services.does(f"{REST}/search", another)

    assert only(fetched("10.1234/x")).reason == "Europe PMC knows no paper with the DOI 10.1234/x: check it"


@pytest.mark.parametrize(
    "reply", [b"[]", b"{}", b"not json", b'{"hitCount": "x", "resultList": {"result": [7]}}', b"null"]
)
def test_a_search_that_answers_otherwise(services: Services, folder: Path, fetched: Fetch, reply: bytes) -> None:
    services.does(f"{REST}/search", sends(reply, "application/json"))

    assert only(fetched("10.1234/x")).reason.startswith("Europe PMC's search did not answer as its documentation says")


@pytest.mark.parametrize("asked", ["file:///etc/passwd", "http://169.254.169.254/", "bones"])
def test_nothing_is_fetched_when_one_id_is_none(services: Services, fetched: Fetch, asked: str) -> None:
    services.in_pmc("PMC101")

    with pytest.raises(UsageError):
        fetched("PMC101", asked)
    with pytest.raises(UsageError, match="a limit of 0 papers"):
        fetched("PMC101", limit=0)
    with pytest.raises(UsageError, match="name papers by"):
        fetched()
    assert services.requests == []


# Licences and retractions


@pytest.mark.parametrize("licence", ["TDM", "NO-CC CODE", "All rights reserved"])
def test_a_licence_that_forbids_is_refused_before_the_text_is_asked_for(
    services: Services, folder: Path, fetched: Fetch, licence: str
) -> None:
    services.in_pmc("PMC101", license_code=licence)
    services.in_europepmc("PMC101", sends(jats("PMC101"), XML))

    paper = only(fetched("PMC101"))
    assert (paper.outcome, paper.licence, paper.path) == ("refused", licence, "")
    assert paper.reason == (
        f"its licence ({licence}) is not a Creative Commons one: if you may keep a copy, fetch it with --any-licence"
    )
    assert [path for path in services.paths if path.endswith((".xml", "XML"))] == []
    assert files(folder) == []

    any_licence = only(fetched("PMC101", any_licence=True))
    assert (any_licence.outcome, any_licence.licence) == ("fetched", licence)
    assert kept(folder / "PMC101.xml").licence == licence


@pytest.mark.parametrize("licence", ["CC BY-NC-ND", "CC0", "CC BY-SA"])
def test_every_creative_commons_licence_lets_it_be_read(services: Services, fetched: Fetch, licence: str) -> None:
    services.in_pmc("PMC101", license_code=licence)

    paper = only(fetched("PMC101"))

    assert (paper.outcome, paper.licence) == ("fetched", licence)


def test_the_text_s_own_licence_counts_where_the_record_has_none(
    services: Services, folder: Path, fetched: Fetch
) -> None:
    services.in_pmc("PMC101", license_code="")
    services.in_pmc("PMC102", sends(jats("PMC102", licence="https://example.org/all-rights"), XML), license_code="")
    services.in_pmc("PMC103", sends(jats("PMC103", licence=""), XML), license_code="")
    services.in_pmc("PMC104", sends(jats("PMC104", licence=""), XML), license_code="")
    services.in_europepmc("PMC104")

    own, forbidding, none, in_europepmc = fetched("PMC101", "PMC102", "PMC103", "PMC104").papers

    assert (own.outcome, own.licence) == ("fetched", CC_BY)
    assert (forbidding.outcome, forbidding.licence) == ("refused", "https://example.org/all-rights")
    assert (none.outcome, none.reason) == (
        "refused",
        "no licence is stated for it: if you may keep a copy, fetch it with --any-licence",
    )
    assert (in_europepmc.outcome, in_europepmc.licence) == ("fetched", "cc by")
    assert files(folder) == [f"{name}.xml{end}" for name in ("PMC101", "PMC104") for end in ("", ".fetched.json")]


def test_a_retracted_paper_is_fetched_and_marked(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101", is_retracted=True)

    assert only(fetched("PMC101")).notices == ("retracted",)
    assert kept(folder / "PMC101.xml").notices == ("retracted",)


def test_a_retraction_shows_though_the_text_is_as_it_was(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")
    assert only(fetched("PMC101")).notices == ()
    services.in_pmc("PMC101", is_retracted=True)

    again = only(fetched("PMC101"))

    assert (again.outcome, again.notices) == ("unchanged", ("retracted",))
    assert kept(folder / "PMC101.xml").notices == ("retracted",)


def test_what_the_text_and_europe_pmc_say_of_it_is_kept(services: Services, folder: Path, fetched: Fetch) -> None:
    relation = '<related-article related-article-type="correction-forward" xlink:href="10.1234/c"/>'
    services.in_europepmc(
        "PMC101", sends(jats("PMC101", relation=relation), XML), pubTypeList={"pubType": ["Retracted Publication"]}
    )

    assert only(fetched("PMC101")).notices == ("retracted", "corrected")
    assert kept(folder / "PMC101.xml").notices == ("retracted", "corrected")


def test_a_paper_that_was_withdrawn(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")
    services.in_pmc("PMC102", answers(410))
    services.in_pmc("PMC103", answers(410))
    services.in_europepmc("PMC103", sends(jats("PMC103"), XML))
    fetched("PMC101")
    services.in_pmc("PMC101", answers(410))

    had, never, elsewhere = fetched("PMC101", "PMC102", "PMC103").papers

    path = folder / "PMC101.xml"
    assert (had.outcome, had.notices) == ("failed", ("retracted",))
    assert had.reason.startswith(f"PMC: it was withdrawn there (410 Gone); {path} stays, marked as retracted; Europe")
    assert path.read_bytes() == jats("PMC101")
    assert kept(path).notices == ("retracted",)
    assert never.reason.startswith("PMC: it was withdrawn there (410 Gone); Europe PMC: does not have it")
    assert (elsewhere.outcome, elsewhere.source, elsewhere.notices) == ("fetched", "Europe PMC", ("retracted",))
    assert kept(folder / "PMC103.xml").notices == ("retracted",)


# What is sent instead of the paper


BOMB = (
    '<!DOCTYPE article [<!ENTITY a "bone bone bone bone bone bone">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)
STUB = (
    "# On PMC101\n\nPMC101 · DOI: 10.1234/pmc101 · Bone · 2024\n\n**License:** CC BY\n\n## Abstract\n\nOn bones.\n\n"
    "## Full text\n\n_Full body text omitted from this summary view._ Fetch the complete paper as Markdown: "
    "https://tomesphere.com/paper/PMC101/full.md\n"
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (jats("PMC102"), "it sent another paper's text: its PMCID is PMC102, not PMC101"),
        (jats("PMC101", doi="10.1234/other"), "another paper's text: its DOI is 10.1234/other, not 10.1234/pmc101"),
        (jats("PMC101", pmid="7"), "another paper's text: its PMID is 7, not 30000101"),
        (jats("PMC101", head=BOMB, body="<p>&j;</p>"), "it declares the entity 'a', which is refused"),
        (
            jats("PMC101", head='<!DOCTYPE article [<!ENTITY x SYSTEM "file:///etc/passwd">]>', body="<p>&x;</p>"),
            "it declares the entity 'x', which is refused",
        ),
        (jats("PMC101")[:-30], "not well-formed XML"),
        (jats("PMC101", body=""), "it has the paper's front matter alone, without a body"),
        (jats("PMC101", body="<sec><p> </p></sec>"), "it has the paper's front matter alone, without a body"),
        (b"<!DOCTYPE html>\n<html><body>Just a moment</body></html>", "it is a web page, not a paper's text"),
        (b"\n<!-- x --><HTML><body><p>Blocked</p></body></HTML>", "it is a web page, not a paper's text"),
        (b"<Error><Code>SlowDown</Code></Error>", "not a JATS article but <Error>"),
        (b"  \n", "it is empty"),
    ],
    ids=str,
)
def test_what_is_not_the_paper_s_xml_is_not_kept(
    services: Services, folder: Path, fetched: Fetch, text: bytes, why: str
) -> None:
    services.in_pmc("PMC101", sends(text, XML))

    paper = only(fetched("PMC101"))

    assert (paper.outcome, paper.path) == ("failed", "")
    assert why in paper.reason
    assert paper.reason.startswith("PMC: ")
    assert files(folder) == []


def test_the_next_source_makes_good_for_it(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101", sends(jats("PMC102"), XML))
    services.in_europepmc("PMC101", sends(jats("PMC101"), XML))

    paper = only(fetched("PMC101"))

    assert (paper.outcome, paper.source) == ("fetched", "Europe PMC")
    assert paper.reason == "PMC: it sent another paper's text: its PMCID is PMC102, not PMC101"
    assert (folder / "PMC101.xml").read_bytes() == jats("PMC101")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (markdown("PMC102"), "another paper's text: its PMCID is PMC102, not PMC101"),
        (STUB, "it is a summary view: it says that the full text stands elsewhere"),
        ("<html><body>Sign in</body></html>", "it is a web page"),
        ("# On PMC101\n\nPMC101 · DOI: 10.1234/pmc101 · Bone · 2024\n", "it has no body"),
        ("On bones.\0", "it is binary"),
        ("H\udce4lfte", "it is not UTF-8: byte 0xe4 at 1"),
    ],
    ids=str,
)
def test_what_is_not_the_paper_s_markdown_is_not_kept(
    services: Services, folder: Path, fetched: Fetch, text: str, why: str
) -> None:
    services.in_europepmc("PMC101")
    services.in_tomesphere("PMC101", sends(text.encode(errors="surrogateescape"), "text/markdown"))

    paper = only(fetched("PMC101"))

    assert paper.outcome == "failed"
    assert why in paper.reason.rpartition("tomesphere: ")[2]
    assert files(folder) == []


def test_markdown_whose_end_nobody_knows_is_not_kept(services: Services, folder: Path, fetched: Fetch) -> None:
    text = markdown("PMC101").encode()
    services.in_europepmc("PMC101")
    services.in_tomesphere("PMC101", goes_until_it_closes(text, "text/markdown"))

    assert "may have broken off" in only(fetched("PMC101")).reason
    services.in_tomesphere("PMC101", in_chunks(text, "text/markdown"))
    assert only(fetched("PMC101")).outcome == "fetched"


@pytest.mark.parametrize(
    "text", [claims(5_000_000_000), breaks_off(jats("PMC101")), drips(), sends(b"%PDF", "application/pdf")]
)
def test_what_does_not_come_whole_is_not_kept(services: Services, folder: Path, fetched: Fetch, text: Any) -> None:
    services.in_pmc("PMC101", text)

    assert only(fetched("PMC101")).outcome == "failed"
    assert files(folder) == []


def test_a_record_of_another_paper_stops_there(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101", pmcid="PMC102")

    assert "is another paper's: its PMCID is PMC102, not PMC101" in only(fetched("PMC101")).reason
    assert "/s3/PMC101.1/PMC101.1.xml" not in services.paths


def test_sources_that_disagree_are_not_believed(services: Services, folder: Path, fetched: Fetch) -> None:
    """The DOI that was asked for is PMC101's in Europe PMC, and another's in PMC."""
    services.in_europepmc("PMC101")
    services.in_pmc("PMC101", doi="10.1234/other")

    reason = only(fetched("10.1234/pmc101")).reason

    assert reason.startswith(
        "PMC: it has another paper there: its DOI is 10.1234/other, not 10.1234/pmc101; Europe PMC: "
    )


# Files that are there


def test_an_edited_file_is_left(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")
    fetched("PMC101")
    path = folder / "PMC101.xml"
    mine = path.read_bytes().replace(b"Bone stiffens", b"Bone, I note, stiffens")
    path.write_bytes(mine)
    services.requests.clear()

    paper = only(fetched("PMC101"))

    assert (paper.outcome, paper.path, paper.licence) == ("kept", path.as_posix(), "CC BY")
    assert paper.reason == (
        f"{path} was edited since it was fetched and is left as it is: move it away to fetch the paper anew"
    )
    assert path.read_bytes() == mine
    assert services.requests == []


def test_a_file_of_the_user_s_own_is_left(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")
    folder.mkdir()
    (folder / "PMC101.xml").write_bytes(b"<mine/>")

    paper = only(fetched("PMC101"))

    assert (paper.outcome, paper.reason.split(" and ")[0]) == (
        "kept",
        f"{folder / 'PMC101.xml'} was not fetched by loccit",
    )
    assert (folder / "PMC101.xml").read_bytes() == b"<mine/>"


def test_a_file_that_is_changed_meanwhile_is_left(services: Services, folder: Path, fetched: Fetch) -> None:
    path = folder / "PMC101.xml"

    def meanwhile(handler: Handler) -> None:
        folder.mkdir(exist_ok=True)
        path.write_bytes(b"<mine/>")
        handler.whole(jats("PMC101"), content_type=XML)

    services.in_pmc("PMC101", meanwhile)

    assert only(fetched("PMC101")).outcome == "kept"
    assert path.read_bytes() == b"<mine/>"
    assert files(folder) == ["PMC101.xml"]


def test_a_stub_beside_it_is_left(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")
    folder.mkdir()
    (folder / "PMC101.md").write_text(STUB, encoding="utf-8")

    assert only(fetched("PMC101")).outcome == "fetched"
    assert files(folder) == ["PMC101.md", "PMC101.xml", "PMC101.xml.fetched.json"]
    assert (folder / "PMC101.md").read_text(encoding="utf-8") == STUB


def test_a_sidecar_that_is_none_is_said(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")
    fetched("PMC101")
    provenance_path(folder / "PMC101.xml").write_text("{", encoding="utf-8")

    paper = only(fetched("PMC101"))

    assert paper.outcome == "failed"
    assert "is not what `loccit fetch` wrote" in paper.reason


def test_a_removed_file_is_fetched_again(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")
    fetched("PMC101")
    (folder / "PMC101.xml").unlink()

    assert only(fetched("PMC101")).outcome == "fetched"
    assert "if-none-match" not in services.requests[-1].headers


def test_a_folder_that_takes_no_files(services: Services, folder: Path, fetched: Fetch) -> None:
    services.in_pmc("PMC101")
    folder.write_text("a file", encoding="utf-8")

    paper = only(fetched("PMC101"))

    assert paper.outcome == "failed"
    assert "papers" in paper.reason


def test_two_fetches_at_once_leave_files_that_fit_their_sidecars(
    services: Services, folder: Path, fetched: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run gets another text of the same papers: whichever is kept, its sidecar is its own."""

    def takes_a_moment(path: Path, body: bytes) -> None:
        time.sleep(0.05)
        write_source(path, body)

    monkeypatch.setattr("indexer.fetch.files.write_source", takes_a_moment)
    names = [f"PMC{n}" for n in range(101, 107)]
    for name in names:
        texts = [sends(jats(name, body=f"<p>{SAIDS[n % 2]}</p>"), XML) for n in range(2)]
        services.in_pmc(name, *texts)
    reports: list[FetchReport] = []
    threads = [threading.Thread(target=lambda: reports.append(fetched(*names))) for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [{paper.outcome for paper in report.papers} <= {"fetched", "unchanged"} for report in reports] == [True] * 2
    for name in names:
        path = folder / f"{name}.xml"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == kept(path).sha256
    assert len(files(folder)) == 2 * len(names)


SAIDS = ("One text of it.", "Another text of it, which is longer.")


# Searches


def test_a_search_goes_through_its_pages(services: Services, folder: Path, fetched: Fetch) -> None:
    for n in range(101, 108):
        services.in_pmc(f"PMC{n}")
        services.in_europepmc(f"PMC{n}", pmcid=None if n == 102 else f"PMC{n}")

    report = fetched(query="bone AND age", limit=3)

    assert [(paper.asked, paper.outcome) for paper in report.papers] == [
        (f"PMC{n}", "fetched") for n in (101, 103, 104)
    ]
    searches = [path for path in services.paths if "/search?" in path]
    assert searches == [
        f"{REST}/search?query=%28bone+AND+age%29+AND+OPEN_ACCESS%3Ay&format=json&resultType=core&pageSize=3&cursorMark={at}"
        for at in ("%2A", "AoE3")
    ]


def test_a_search_ends_where_there_is_no_more(services: Services, folder: Path, fetched: Fetch) -> None:
    for n in range(101, 104):
        services.in_pmc(f"PMC{n}")
        services.in_europepmc(f"PMC{n}")

    assert len(fetched(query="bone", limit=50).papers) == 3
    assert len([path for path in services.paths if "/search?" in path]) == 1
    assert fetched(query="nothing at all").papers == []


def test_a_search_with_any_licence_is_wider(services: Services, folder: Path, fetched: Fetch) -> None:
    fetched(query="bone", any_licence=True)

    assert "query=%28bone%29+AND+IN_EPMC%3Ay&" in services.paths[0]


def test_a_search_that_fails_is_an_error(services: Services, fetched: Fetch) -> None:
    services.does(f"{REST}/search", answers(500))
    with pytest.raises(SourceError, match="answers 500"):
        fetched(query="bone")
    services.does(f"{REST}/search", answers(404))
    with pytest.raises(SourceError, match=r"^Europe PMC's search answers 404: check europepmc_url$"):
        fetched(query="bone")


class Stops:
    """Interrupts after so many papers."""

    def __init__(self, n_papers: int) -> None:
        self.left = n_papers

    def started(self, n_papers: int) -> None:
        assert n_papers == 4

    def advanced(self, paper: PaperFetch) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_a_search_that_was_stopped_goes_on_where_it_was(services: Services, folder: Path, fetched: Fetch) -> None:
    for n in range(101, 105):
        services.in_pmc(f"PMC{n}")
        services.in_europepmc(f"PMC{n}")
    with pytest.raises(KeyboardInterrupt):
        fetched(query="bone", progress=Stops(2))
    assert files(folder) == [f"PMC{n}.xml{end}" for n in (101, 102) for end in ("", ".fetched.json")]
    services.requests.clear()

    report = fetched(query="bone")

    assert [paper.outcome for paper in report.papers] == ["unchanged", "unchanged", "fetched", "fetched"]
    assert report.papers[0].reason == "asked less than a day ago"
    assert not [path for path in services.paths if "PMC101" in path or "PMC102" in path]

    age(folder / "PMC101.xml", hours=25)
    services.requests.clear()
    assert [paper.reason for paper in fetched(query="bone").papers] == ["", *["asked less than a day ago"] * 3]
    assert services.requests[-1].headers["if-none-match"] == '"1"'
    assert [paper.reason for paper in fetched(query="bone").papers] == ["asked less than a day ago"] * 4


# Addresses


def test_an_address_of_the_user_s_own(services: Services, folder: Path, fetched: Fetch) -> None:
    services.does(
        "/mine/some%20paper.md", sends(markdown("PMC101", licence="CC BY 4.0").encode(), "text/plain", etag='"m"')
    )
    services.does("/mine/other", sends(jats("", doi="10.1234/A.b"), XML))
    services.does("/mine/x.md", sends(b"# Mine\n\nLicense: CC0\n\n## Results\n\nWords.\n", "text/markdown"))
    urls = [f"{services.url}/mine/{name}" for name in ("some%20paper.md", "other", "x.md")]

    papers = fetched(*urls).papers
    again = fetched(*urls[:1]).papers

    assert [paper.outcome for paper in papers] == ["fetched"] * 3
    assert (papers[0].paper_id, papers[0].source) == ("PMC101", "127.0.0.1")
    assert [Path(paper.path).name for paper in papers] == ["PMC101.md", "10.1234_A.b.xml", "x.md"]
    assert kept(folder / "10.1234_A.b.xml").licence == CC_BY
    assert (again[0].outcome, again[0].path) == ("unchanged", papers[0].path)
    assert services.requests[-1].headers["if-none-match"] == '"m"'


def test_an_address_without_a_licence_is_refused(services: Services, folder: Path, fetched: Fetch) -> None:
    services.does("/mine.md", sends(b"# Mine\n\n## Results\n\nWords.\n", "text/markdown"))
    services.does("/gone.md", answers(410))

    refused, gone, missing = fetched(*(f"{services.url}/{name}.md" for name in ("mine", "gone", "none"))).papers

    assert (refused.outcome, refused.reason.partition(":")[0]) == ("refused", "no licence is stated for it")
    assert gone.reason == "127.0.0.1: it was withdrawn there (410 Gone)"
    assert missing.reason == "127.0.0.1: has nothing there"
    assert files(folder) == []


def test_a_host_has_to_be_named(services: Services, folder: Path, fetched: Fetch) -> None:
    url = f"https://localhost:{services.port}/mine.md"
    services.does("/mine.md", sends(markdown("PMC101", licence="CC BY").encode(), "text/markdown"))

    assert f"if you trust it, name it with --allow-host localhost:{services.port}" in only(fetched(url)).reason
    assert services.requests == []
    assert only(fetched(url, allow_hosts=[f"localhost:{services.port}"])).source == "localhost"


# The command


@pytest.fixture
def command(
    services: Services, workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Run]:
    """Runs `loccit fetch`, its sources the local ones."""
    for name in ("pmc_url", "europepmc_url", "tomesphere_url"):
        monkeypatch.setenv(f"LOCCIT_{name.upper()}", getattr(services.places, name) + "/")
    monkeypatch.setattr("indexer.fetch.client.Limits", lambda: LIMITS)

    def run(*arguments: str) -> Run:
        capsys.readouterr()
        code = main(["fetch", *arguments])
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err)

    return run


def test_the_command_says_what_became_of_each(
    services: Services, command: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCCIT_CONTACT", "me@example.org")
    services.in_pmc("PMC101", is_retracted=True)
    services.in_pmc("PMC102", license_code="TDM")

    run = command("PMC101", "PMC102", "PMC103", "--no-index")

    assert run.code == 1
    assert run.out.splitlines() == [
        f"fetched  PMC101: PMC, CC BY, {len(jats('PMC101'))} bytes, data/papers/PMC101.xml; it was retracted",
        "refused  PMC102: PMC, TDM; its licence (TDM) is not a Creative Commons one: if you may keep a copy, fetch it "
        "with --any-licence",
        "failed   PMC103: PMC: does not have it; Europe PMC: does not have it; tomesphere: does not have it",
        "papers   1 fetched, 1 refused, 1 failed, in data/papers",
    ]
    assert run.err == "loccit: 2 of 3 papers were not fetched; the others are in data/papers\n"
    assert files(Path("data/papers")) == ["PMC101.xml", "PMC101.xml.fetched.json"]
    agents = {request.headers["user-agent"] for request in services.requests}
    assert agents == {f"loccit/{version()} (mailto:me@example.org)"}


def test_the_command_in_json(services: Services, command: Callable[..., Run]) -> None:
    services.in_pmc("PMC101")

    run = command("PMC101", "--to", "here", "--no-index", "--json")

    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out) == {
        "to": "here",
        "papers": [
            {
                "asked": "PMC101",
                "outcome": "fetched",
                "paper_id": "PMC101",
                "path": "here/PMC101.xml",
                "source": "PMC",
                "licence": "CC BY",
                "n_bytes": len(jats("PMC101")),
                "notices": [],
                "reason": "",
            }
        ],
        "index": None,
    }


def test_exit_codes(services: Services, command: Callable[..., Run]) -> None:
    services.in_pmc("PMC101")

    assert command("PMC101", "--no-index").code == 0
    assert command("PMC102", "--no-index").err == "loccit: 1 of 1 papers were not fetched\n"
    nothing = command("--query", "nothing", "--no-index")
    assert (nothing.code, nothing.out) == (4, "")
    assert nothing.err == "loccit: Europe PMC finds no paper with a full text for 'nothing': try other words\n"
    assert command().code == 2
    assert command("bones").code == 2
    assert command("PMC101", "--allow-host", "a b").code == 2
    assert command("file:///etc/passwd").err.startswith("loccit: 'file:///etc/passwd' is refused: only https")
    assert command("http://169.254.169.254/").err.startswith("loccit: 'http://169.254.169.254/' is refused: only https")


def test_what_was_fetched_is_indexed(
    services: Services, command: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    services.in_pmc("PMC101")
    calls: list[tuple[Path, list[Path], list[Path]]] = []

    def index_paths(settings: Settings, paths: list[Path], files: list[Path]) -> BuildReport:
        calls.append((settings.index, paths, files))
        failed = [Failure("bad.xml", "no article")] if len(calls) == 4 else []
        return BuildReport(added=["PMC101"], generation=7, failed=failed)

    monkeypatch.setattr("service.cli.indexing.index_paths", index_paths)

    run = command("PMC101", "--to", "here", "--index", "there")
    as_json = command("PMC101", "--to", "here", "--json")
    by_default = command("PMC101")
    spoilt = command("PMC101", "--to", "here")
    failed = command("PMC102", "--to", "here")

    assert calls == [
        (Path("there"), [Path("here")], [Path("here/PMC101.xml")]),
        (Path(".loccit"), [Path("here")], [Path("here/PMC101.xml")]),
        (Path(".loccit"), [Path("data")], [Path("data/papers/PMC101.xml")]),
        (Path(".loccit"), [Path("here")], [Path("here/PMC101.xml")]),
    ]
    assert "1 added" in run.out
    assert "there, generation 7" in run.out
    assert json.loads(as_json.out)["index"]["added"] == ["PMC101"]
    assert [each.code for each in (run, as_json, by_default, spoilt, failed)] == [0, 0, 0, 1, 1]
    assert spoilt.err == "loccit: 1 files in here could not be indexed; the others are in the index\n"


@pytest.mark.model
def test_the_full_text_takes_the_place_of_its_stub(
    services: Services, command: Callable[..., Run], embedder: Embedder
) -> None:
    """The paper that the project begins with: a record without a body, until that is fetched."""
    said = "Pentosidine rose with the age of the bone, and its toughness fell by a third in diabetic rats."
    body = (
        "<sec><title>1. Introduction</title><p>Bone is remodelled all the time.</p></sec>"
        f"<sec><title>3. Diabetes</title><sec><title>3.2. AGEs and Bone Quality</title><p>{said}</p></sec></sec>"
    )
    article = jats("PMC12898183", doi="10.3390/ijms27031453", pmid="", body=body)
    services.in_pmc("PMC12898183", sends(article, XML), doi="10.3390/ijms27031453", pmid=None)
    data = Path("data")
    shutil.copytree(ROOT / "data", data)
    (data / "other.md").write_text("# Kettles\n\n## Results\n\nLimescale grows in a kettle.\n")
    assert main(["index"]) == 0

    fetched = json.loads(command("PMC12898183", "--json").out)

    assert (fetched["papers"][0]["outcome"], fetched["papers"][0]["source"]) == ("fetched", "PMC")
    built = fetched["index"]
    assert (built["updated"], built["added"], built["removed"]) == (["PMC12898183"], [], [])
    assert built["n_passages"] == built["n_embedded"] + built["n_reused"] <= 4
    assert [(each["source"], each["why"]) for each in built["versions"]] == [("PMC12898183.md", "the same PMCID")]
    with closing(Library.open(Path(".loccit"), load=lambda _: embedder)) as library:
        answer = library.ask("what happens to the toughness of bone when pentosidine rises?")
        assert library.info().n_papers == 2
    first = answer.quotes[0].citation
    assert (first.section, first.source) == (("3. Diabetes", "3.2. AGEs and Bone Quality"), "papers/PMC12898183.xml")
    assert said.startswith(answer.quotes[0].text)
    again = json.loads(command("PMC12898183", "--json").out)
    assert (again["papers"][0]["outcome"], again["index"]["n_unchanged"]) == ("unchanged", 1)
    assert main(["index"]) == 0
    with closing(Library.open(Path(".loccit"), load=lambda _: embedder)) as library:
        assert library.info().generation == built["generation"]


def test_two_addresses_with_one_name_are_two_papers(services: Services, folder: Path, fetched: Fetch) -> None:
    for place in ("a", "b"):
        text = f"# Paper {place}\n\nLicense: CC BY 4.0\n\n## Results\n\nIt says {place} of many things.\n"
        services.does(f"/{place}/paper.md", sends(text.encode(), "text/markdown"))
    addresses = [f"{services.url}/{place}/paper.md" for place in ("a", "b")]
    options = {"allow_hosts": (f"127.0.0.1:{services.port}",)}

    first, second = fetched(*addresses, **options).papers

    assert (first.outcome, second.outcome, first.path != second.path) == ("fetched", "fetched", True)
    assert [Path(each.path).read_text().partition("\n")[0] for each in (first, second)] == ["# Paper a", "# Paper b"]
    again = fetched(*addresses, **options).papers
    assert [(each.outcome, each.path) for each in again] == [("unchanged", first.path), ("unchanged", second.path)]


def test_a_fetch_that_was_ended_between_its_two_files_is_gone_on_with(
    services: Services, folder: Path, fetched: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands there is the text from before, beside the new one's provenance: it passes for nobody's edit."""
    old, new = (jats("PMC101", body=f"<sec><title>Results</title><p>{text}</p></sec>") for text in ("Old.", "New."))
    services.in_pmc("PMC101", sends(old, XML, etag='"1"'), sends(new, XML, etag='"2"'))
    fetched("PMC101")

    def ended(path: Path, body: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("indexer.fetch.files.write_source", ended)
        with pytest.raises(KeyboardInterrupt):
            fetched("PMC101")
    path = folder / "PMC101.xml"
    assert (path.read_bytes(), held_at(path).state) == (old, "fetched")
    (again,) = fetched("PMC101").papers
    assert (again.outcome, path.read_bytes(), held_at(path).state) == ("fetched", new, "fetched")
    path.write_bytes(old + b" ")
    assert held_at(path).state == "edited"


def test_ctrl_c_leaves_no_part_of_a_file(services: Services, tmp_path: Path) -> None:
    services.in_pmc("PMC101")
    services.in_pmc("PMC102", drips())
    places = services.places
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCCIT_")} | {
        "PYTHONPATH": str(ROOT),
        "LOCCIT_PMC_URL": places.pmc_url,
        "LOCCIT_EUROPEPMC_URL": places.europepmc_url,
        "LOCCIT_TOMESPHERE_URL": places.tomesphere_url,
    }
    script = "import sys; from service.cli import main; sys.exit(main())"
    running = subprocess.Popen(
        [sys.executable, "-c", script, "fetch", "PMC101", "PMC102", "--to", "here", "--no-index"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 30
    while "/s3/PMC102.1/PMC102.1.xml" not in services.paths and time.monotonic() < until:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)

    assert (running.returncode, err) == (130, "loccit: stopped\n")
    names = sorted(each.name for each in (tmp_path / "here").iterdir() if not each.name.endswith(".lock"))
    assert names == ["PMC101.xml", "PMC101.xml.fetched.json"]
    assert (tmp_path / "here" / "PMC101.xml").read_bytes() == jats("PMC101")
