"""The pages, without a browser: what they say, where they lead, and that papers' text is text there."""

from __future__ import annotations

import re
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import anyio
import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from indexer import errors
from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.papers import Reference
from service.api import create_app
from service.cite import Citation
from service.formats import export, quotation
from service.library import Library
from service.llm import ChatModel
from service.query import Filters, Query
from service.replies import PaperText, SectionView, TextBlock, Waiting
from service.web.outline import shown
from service.web.pages import Asked
from tests.corpus import LIMPETS
from tests.fakes import citation
from tests.llm_server import says, serving

pytestmark = pytest.mark.model

QUESTION = "why do limpets lose their grip in warm water?"
VOID = {"meta", "link", "input", "br", "hr", "img"}
EVIL = """\
# <script>alert("title")</script> & "quotes" <img src=x onerror=alert(1)>

**Authors:** <b onclick=alert(2)>Mallory</b>, Eve" onmouseover="alert(3)

DOI: 10.5555/evil" onfocus="alert(4) · [Journal](javascript:alert(5)) · 2020

License: <iframe src=https://evil.example></iframe>

## <svg onload=alert(6)> Results

The kraken <script>alert(7)</script> sleeps below [a link](javascript:alert(8)) the sea
<img src="https://evil.example/x.png" onerror="alert(9)"> and ![an image](https://evil.example/y.png) wakes rarely.

<table onclick="alert(10)"><tr><td style="position:fixed" onmouseover=alert(11)>kraken weight</td><td>12

| kraken | depth
|---|
| one | <script src=https://evil.example/z.js></script> | three |

</article></main></body> <style>body { display: none }</style> <form action=https://evil.example><input name=q>

Text after the broken table says that krakens eat whales.

## References

1. Eve. <a href="javascript:alert(12)">Krakens</a>. doi:10.5555/"><script>alert(13)</script>
"""


@dataclass
class Node:
    """An element, or the whole page."""

    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    def all(self, tag: str = "", **attributes: str) -> list[Node]:
        """Elements in it of that tag and with these attributes; `class_` matches one of several classes."""
        found = []
        for child in self.children:
            if isinstance(child, Node):
                fits = all(
                    value in child.attributes.get("class", "").split()
                    if name == "class_"
                    else child.attributes.get(name.replace("_", "-")) == value
                    for name, value in attributes.items()
                )
                found += ([child] if fits and tag in ("", child.tag) else []) + child.all(tag, **attributes)
        return found

    def one(self, tag: str = "", **attributes: str) -> Node:
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        """On one line."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            else:
                yield from child._texts()


class Parser(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open = [Node("", {})]
        self.feed(text)
        self.close()
        assert len(self.open) == 1, "every element is closed"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), names
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(reply: Any, status: int = 200) -> Node:
    """The page in a reply, which is one of ours."""
    assert (reply.status_code, reply.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert reply.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cross-origin-opener-policy"] == "same-origin"
    assert reply.headers["cache-control"] == "private, no-cache"
    page = Parser(reply.text).open[0]
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("title").text.endswith(" — loccit")
    ids = Counter(each.attributes["id"] for each in page.all() if "id" in each.attributes)
    assert set(ids.values()) <= {1}
    inner = {each.attributes["href"][1:] for each in page.all("a") if each.attributes["href"].startswith("#")}
    assert inner <= ids.keys()
    return page


def marked(page: Node) -> str:
    """What is marked, without blanks."""
    return "".join("".join(each.text for each in page.all("mark")).split())


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library), raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Path:
    """An index with a paper that would run scripts. Read only."""
    folder = tmp_path_factory.mktemp("evil")
    (folder / "evil.md").write_text(EVIL, encoding="utf-8")
    assert not build([folder / "evil.md"], folder / "index", embedder, BuildConfig()).failed
    return folder / "index"


# Search


def test_the_first_page_says_what_there_is(client: TestClient, library: Library) -> None:
    page = parsed(client.get("/"))
    total = library.papers().total
    assert f"The library holds {total} papers." in page.one("main").text
    box = page.one("input", id="q")
    assert "autofocus" in box.attributes
    assert page.one("form").attributes["method"] == "get"
    newest = library.papers(sort="year", limit=3).papers
    assert [each.one("a").attributes["href"] for each in page.one("ul", class_="newest").all("li")] == [
        f"/papers/{each.paper_id}" for each in newest
    ]


def test_a_visit_does_not_sort_a_large_library(
    client: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = library.papers().total
    monkeypatch.setattr("service.web.pages._MAX_SORTED", total - 1)
    page = parsed(client.get("/"))
    assert f"The library holds {total} papers." in page.one("main").text
    assert not page.all("ul", class_="newest")


def test_an_answer_is_that_of_the_library(client: TestClient, library: Library) -> None:
    page = parsed(client.get("/", params={"q": QUESTION}))
    answer = library.ask(QUESTION)
    assert page.one("title").text == f"{QUESTION} — {len(answer.quotes)} quotes, {len(answer.hits)} passages — loccit"
    assert page.one("input", id="q").attributes["value"] == QUESTION
    assert page.one("h1").text == "The papers say"
    assert page.one(role="status").text == f"{len(answer.quotes)} quotes, {len(answer.hits)} passages"
    assert f"Confidence that these papers answer: {100 * answer.confidence:.0f} %" in page.one("main").text
    figures = page.all("figure")
    assert len(figures) == len(answer.quotes) > 0
    for figure, quoted in zip(figures, answer.quotes, strict=True):
        assert figure.one("blockquote").text == " ".join(quoted.text.split())
        place = figure.one("a", class_="place")
        assert (place.text, place.attributes["href"]) == (quoted.citation.label, quoted.citation.links.reader)
    assert places(page) == [each.citation.links.reader for each in answer.hits]
    for article, hit in zip(page.all("article"), answer.hits, strict=True):
        assert marked(article) == "".join("".join(hit.text[each.start : each.end].split()) for each in hit.highlights)
        path = article.all("p", class_="path")
        assert [each.text for each in path] == ([" › ".join(hit.citation.section)] if hit.citation.section else [])


def test_whose_finding_it_is_stands_below_it(client: TestClient) -> None:
    page = parsed(client.get("/", params={"q": QUESTION}))
    basis = {each.one("p", class_="basis").text: each for each in page.all("figure")}
    reported = next(each for said, each in basis.items() if said.startswith("reported of others"))
    assert [each.text.split(".")[0] for each in reported.one("ul").all("li")] == ["[1] Quill A, Tern B", "[2] Brack C"]
    assert reported.all("a", rel="external")[0].attributes["href"] == "https://doi.org/10.5555/quill.1999"


def test_not_found_is_said_plainly(client: TestClient) -> None:
    page = parsed(client.get("/", params={"q": "how are interest rates set by central banks?"}))
    assert page.one("h1").text == "These papers do not seem to say"
    assert not page.all("figure")
    assert page.one(role="status").text.startswith("0 quotes, ")
    assert page.all("article")


def test_expansions_are_shown(corpus: Path, tmp_path: Path, embedder: Embedder) -> None:
    text = "# Ice\n\n## Text\n\nAdvanced glacial till (AGT) is firm. AGT hardly moves when it thaws.\n"
    (tmp_path / "ice.md").write_text(text, encoding="utf-8")
    build([tmp_path / "ice.md"], tmp_path / "index", embedder, BuildConfig())
    library = Library.open(tmp_path / "index", load=lambda name: embedder)
    with TestClient(create_app(library)) as client:
        shown_ = parsed(client.get("/", params={"q": "does AGT move?"})).one("ul", class_="expansions")
    library.close()
    assert shown_.text == "“AGT” also read as “Advanced glacial till” (by ice)"
    assert shown_.one("a").attributes["href"] == "/papers/ice"


def test_filters_filter_and_stay_in_the_form(client: TestClient, library: Library) -> None:
    given = {"q": "growth", "paper": "10.5555/lichen.2019.3", "section": "", "year_from": "2019", "year_to": ""}
    page = parsed(client.get("/", params=given))
    assert places(page)
    assert all(each.startswith("/papers/10.5555_lichen.2019.3?") for each in places(page))
    form = page.one("form", role="search")
    assert {each.attributes["name"]: each.attributes["value"] for each in form.all("input")} == given
    assert "open" in form.one("details").attributes
    assert not parsed(client.get("/", params={"q": "growth", "year_from": 2026})).all("article")


def test_more_passages_follow_without_repeats(tmp_path: Path, embedder: Embedder) -> None:
    text = "# Tides\n\n" + "".join(f"## Pool {n}\n\nThe water of pool {n} is warm.\n\n" for n in range(20))
    (tmp_path / "tides.md").write_text(text, encoding="utf-8")
    build([tmp_path / "tides.md"], tmp_path / "index", embedder, BuildConfig())
    library = Library.open(tmp_path / "index", load=lambda name: embedder)
    asked = {"q": "water", "section": "pool"}
    with TestClient(create_app(library)) as client:
        page = parsed(client.get("/", params=asked))
        seen = places(page)
        while following := page.all("a", rel="next"):
            page = parsed(client.get(following[0].attributes["href"]))
            seen += places(page)
    expected = library.search(Query("water", 20, Filters(section="pool"))).hits
    library.close()
    assert seen == [each.citation.links.reader for each in expected]
    assert len(set(seen)) == 20
    assert page.one(role="status").text == "Passages 19 to 20"
    back = next(each for each in page.all("a") if each.text == "Back to the answer")
    assert parse_qs(urlsplit(back.attributes["href"]).query) == {name: [value] for name, value in asked.items()}


def places(page: Node) -> list[str]:
    """Where the passages are to be read."""
    return [each.one("a", class_="place").attributes["href"] for each in page.all("article")]


def test_a_model_writes_only_when_asked(built: Path, embedder: Embedder) -> None:
    with serving() as endpoint:
        llm = ChatModel(endpoint.url, "tiny", SecretStr(""), timeout_s=5)
        library = Library.open(built, load=lambda name: embedder, llm=llm)
        number = next(hit.rank for hit in library.ask(QUESTION, generate="never").hits if "Grip fell" in hit.text)
        endpoint.does(says(f'Grip fell by half as it warmed [{number}: "Grip fell by half when the water warmed"]. '))
        with TestClient(create_app(library)) as client:
            page = parsed(client.get("/", params={"q": QUESTION, "section": "3.2"}))
            form = page.one("form", class_="write")
            assert form.one("button").text == "Let tiny write an answer from these passages"
            fields = {each.attributes["name"]: each.attributes["value"] for each in form.all("input")}
            assert fields == {"q": QUESTION, "section": "3.2"}
            asked = {"q": QUESTION, "generate": "auto"}
            elsewhere = parsed(client.get("/", params=asked, headers={"sec-fetch-site": "cross-site"}))
            assert not elsewhere.all("p", class_="written")
            client.head("/", params=asked)
            assert not endpoint.requests
            page = parsed(client.get("/", params=asked, headers={"sec-fetch-site": "same-origin"}))
            assert len(endpoint.requests) == 1
        library.close()
    written = page.one("p", class_="written")
    assert written.text == "Grip fell by half as it warmed. [1]"
    assert written.one("a").attributes["href"] == "#quote-1"
    assert page.one("h1").text == "An answer from the papers"
    assert "Written by tiny. Each quote was found in its source" in page.one("main").text
    assert not page.all("form", class_="write")


@pytest.mark.parametrize("leaves", [True, False])
def test_a_reader_who_leaves_stops_the_model(library: Library, monkeypatch: pytest.MonkeyPatch, leaves: bool) -> None:
    app = create_app(library)
    writers: list[int] = []

    def ask_stream(*_: object, **__: object) -> Iterator[Waiting]:
        try:
            while True:
                writers.append(app.state.writers.borrowed_tokens)
                yield Waiting()
        finally:
            writers.append(-1)

    monkeypatch.setattr(Library, "ask_stream", ask_stream)
    query = urlencode({"q": QUESTION, "generate": "auto"}).encode()
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query, "headers": []}

    async def receive() -> dict[str, str]:
        if len(writers) < 3 or not leaves:
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        pass

    async def read() -> None:
        with anyio.move_on_after(5 if leaves else 0.2):
            await app(scope, receive, send)

    began = time.monotonic()
    anyio.run(read)
    assert time.monotonic() - began < 4
    assert (writers[0], set(writers[1:-1]), writers[-1]) == (0, {1}, -1)  # the search takes a turn of its own


# A paper


def test_every_quote_is_marked_in_its_paper(client: TestClient, library: Library) -> None:
    for quoted in library.ask(QUESTION).quotes:
        cited = quoted.citation
        page = parsed(client.get(cited.links.reader))
        assert marked(page) == "".join(quoted.text.split())
        assert page.one(id="cited").tag == "mark"
        place = page.one("section", class_="cited-place")
        assert cited.label in place.text
        assert [each.one("pre").children for each in place.all("details")] == [
            [export([cited], "bibtex")],
            [export([cited], "ris")],
            [quotation(cited)],
        ]


def test_a_paper_is_readable_as_it_stands(client: TestClient, library: Library) -> None:
    page = parsed(client.get("/papers/PMC9000001"))
    assert page.one("h1").text == "Why limpets hold on: grip and temperature in a tidal pool"
    assert page.one("p", class_="authors").text == "Ada Marsh, Bo Lindqvist, Chidi Okafor"
    record = page.one("ul", class_="record")
    assert [each.text for each in record.all("li")] == [
        "Journal of Shore Life",
        "2021-04-12",
        "doi:10.5555/limpets.2021.7",
        "PMC9000001",
        "Licence: CC BY 4.0",
        "limpets.md",
    ]
    assert [each.text for each in page.one("nav", class_="outline").all("a")] == [
        "1. Introduction",
        "2. Methods",
        "3. Results",
        "3.1. Body Size",
        "3.2. Grip and Temperature",
        "4. Acknowledgements",
        "References",
    ]
    text = page.one("article")
    assert [(each.tag, each.text) for each in text.all() if re.fullmatch("h[1-6]", each.tag)][2:5] == [
        ("h2", "3. Results"),
        ("h3", "3.1. Body Size"),
        ("h3", "3.2. Grip and Temperature"),
    ]
    for sentence in ("We pulled two hundred limpets from granite with a spring balance", "No animal of any size held"):
        assert sentence in text.text
        assert sentence in " ".join(LIMPETS.split())
    first = text.one(id="ref-1")
    assert "The adhesion of limpets, measured at last." in first.text
    assert "https://doi.org/10.5555/quill.1999" in [each.attributes["href"] for each in first.all("a", rel="external")]
    assert [each.attributes["href"] for each in text.all("a") if each.text in ("[1]", "[1,2]")] == ["#ref-1"] * 2
    left_out = library.paper("PMC9000001").paper.left_out
    assert f"heading {left_out['heading']:,}" in text.one("footer").text
    assert not page.all("section", class_="cited-place")


def test_a_passage_of_several_blocks_is_one_mark(client: TestClient, library: Library) -> None:
    hit = next(each for each in library.ask(QUESTION).hits if "\n\n" in each.text)
    page = parsed(client.get(hit.citation.links.reader))
    assert marked(page) == "".join(hit.text.split())
    assert len(page.all("mark")) > 1  # ids are each there once


def test_a_place_that_no_passage_holds_is_said_and_the_paper_shown(client: TestClient) -> None:
    page = parsed(client.get("/papers/PMC9000001?start=10&end=99999"))
    assert "no passage of PMC9000001 holds characters 10 to 99999" in page.one(role="alert").text
    assert "search again" in page.one(role="alert").text
    assert "Grip fell by half" in page.one("article").text
    assert not page.all("mark")
    blank = LIMPETS.index("\n\nGrip fell")
    page = parsed(client.get(f"/papers/PMC9000001?start={blank}&end={blank + 2}"))
    assert f"no passage of PMC9000001 holds characters {blank} to {blank + 2}" in page.one(role="alert").text
    page = parsed(client.get("/papers/PMC9000001?start=10"))
    assert "one of them is missing" in page.one(role="alert").text


@pytest.mark.parametrize("written", [lambda sha: sha[:12], lambda sha: sha.upper()[:8], lambda sha: sha, lambda _: ""])
def test_a_place_in_the_same_file_is_marked(
    client: TestClient, library: Library, written: Callable[[str], str]
) -> None:
    quoted = library.ask(QUESTION).quotes[0]
    page = parsed(client.get(address_of(quoted.citation, written(quoted.citation.source_sha256))))
    assert marked(page) == "".join(quoted.text.split())
    assert not page.all(role="alert")


@pytest.mark.parametrize("written", ["0" * 12, "{sha:.7}", "{sha}0", "not a digest"])
def test_a_place_in_another_file_is_not(client: TestClient, library: Library, written: str) -> None:
    cited = library.ask(QUESTION).quotes[0].citation
    page = parsed(client.get(address_of(cited, written.format(sha=cited.source_sha256))))
    assert "Grip fell by half" in page.one("article").text
    assert not page.all("mark")
    assert not page.all("section", class_="cited-place")
    said = page.one(role="alert")
    assert "the paper has changed since that place was cited, or was not indexed anew yet" in said.text
    assert "search again, or run loccit verify" in said.text


def test_a_link_outlives_its_paper_but_marks_no_other_words(tmp_path: Path, embedder: Embedder) -> None:
    file = tmp_path / "tides.md"
    pages: list[Node] = []
    address = ""
    for text in (
        "# Tides\n\nThe pool is warm. The sea is cold.\n",
        "# Tides\n\nSo: the pool is warm. The sea is cold.\n",
    ):
        file.write_text(text, encoding="utf-8")
        build([file], tmp_path / "index", embedder, BuildConfig())
        library = Library.open(tmp_path / "index", load=lambda name: embedder)
        cited = library.ask("is the pool warm?").hits[0].citation
        address = address or address_of(cited, cited.source_sha256[:12])
        with TestClient(create_app(library)) as client:
            pages.append(parsed(client.get(address)))
        library.close()
    assert [marked(page) for page in pages] == ["Thepooliswarm.Theseaiscold.", ""]
    assert "the paper has changed" in pages[1].one(role="alert").text


def address_of(cited: Citation, of: str) -> str:
    """The address of the page that shows the place cited, in the file that begins so."""
    return f"/papers/{cited.paper_id}?{urlencode({'start': cited.start, 'end': cited.end, 'of': of})}"


def test_a_doi_with_its_slash_is_found(client: TestClient) -> None:
    title = "Lichens on churchyard stone: a century of slow growth"
    for path in ("10.5555/lichen.2019.3", "10.5555%2Flichen.2019.3", "10.5555_lichen.2019.3"):
        assert parsed(client.get(f"/papers/{path}")).one("h1").text == title


def test_a_paper_without_its_body_says_where_it_is(tmp_path: Path, embedder: Embedder) -> None:
    seed = Path(__file__).parents[1] / "data" / "PMC12898183.md"
    build([seed], tmp_path, embedder, BuildConfig())
    library = Library.open(tmp_path, load=lambda name: embedder)
    with TestClient(create_app(library)) as client:
        page = parsed(client.get("/papers/PMC12898183"))
        listed = parsed(client.get("/papers"))
    library.close()
    note = page.one("p", class_="note")
    assert note.text.startswith("The full text is not in its file: get it from https://tomesphere.com/")
    assert note.one("a").attributes["href"] == "https://tomesphere.com/paper/PMC12898183/full.md"
    assert listed.one("span", class_="omitted").text == "Its full text is not in its file"
    assert "entities 1,035" in listed.one("tbody").text


def test_entries_known_by_key_alone_come_last() -> None:
    section = SectionView("Text", "", 1, 0, "body")
    block = TextBlock("paragraph", 0, 1, 10, 20, "Some text.", ())
    entries = (Reference("doi:10.1/x", "", "10.1/x", "", 0, 0), Reference("2", "text", "", "", 15, 19))
    paper = shown(PaperText(None, (section,), (block,), entries))  # type: ignore[arg-type]
    assert [each.anchor for each in paper.loose] == ["ref-1"]
    assert [each.anchor for each in paper.sections[0].blocks[0].references] == ["ref-2"]
    assert not paper.is_marked


def test_sections_stand_in_their_tree_and_empty_ones_are_left_out() -> None:
    levels = [("A", 1), ("A.1", 2), ("A.1.1", 3), ("B", 1), ("C", 1), ("C.1", 3), ("D", 1)]
    sections = tuple(SectionView(title, "", level, n * 10, "body") for n, (title, level) in enumerate(levels))
    blocks = tuple(TextBlock("paragraph", n, 1, n * 10 + 1, n * 10 + 3, "ab", ()) for n in (2, 4, 5))
    paper = shown(PaperText(None, sections, blocks, ()), (41, 43))  # type: ignore[arg-type]
    assert [each.title.striptags() for each in paper.sections] == ["A", "A.1", "A.1.1", "C", "C.1"]
    assert [each.title.striptags() for each in paper.outline] == ["A", "C"]
    assert [each.title.striptags() for each in paper.outline[0].children[0].children] == ["A.1.1"]
    assert paper.is_marked


def test_a_heading_that_is_cited_stands_below_those_above_it() -> None:
    sections = tuple(SectionView(title, "", level, level * 10, "body") for level, title in ((1, "A"), (2, "A.1")))
    heading = TextBlock("heading", 1, 0, 20, 25, "# A.1", ())
    paper = shown(PaperText(None, sections, (heading,), ()), (20, 25))  # type: ignore[arg-type]
    assert [each.title.striptags() for each in paper.sections] == ["A", "A.1"]
    assert [each.anchor for each in paper.outline[0].children] == ["section-2"]


@pytest.mark.parametrize("seed", range(20))
def test_entries_stand_in_the_block_that_holds_them(seed: int) -> None:
    random = Random(seed)
    cuts = sorted(random.sample(range(200), 21))
    blocks = tuple(
        TextBlock("reference", -1, n, start, end - random.randint(0, 1), "text", ())
        for n, (start, end) in enumerate(pairwise(cuts), start=1)
        if end - start > 1
    )
    places = [sorted(random.choices(range(200), k=2)) for _ in range(30)]
    entries = tuple(Reference(str(n), "", "", "", *place) for n, place in enumerate(places))
    paper = shown(PaperText(None, (), blocks, entries))  # type: ignore[arg-type]
    held = [{each.key for each in entries if block.start <= each.start < each.end <= block.end} for block in blocks]
    assert [{each.reference.key for each in block.references} for block in paper.preamble] == held
    assert {each.reference.key for each in paper.loose} == {each.key for each in entries}.difference(*held)


def test_a_long_paper_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.web.outline.block_html", lambda *_: "")
    monkeypatch.setattr("service.web.outline.inline_html", lambda _: "")
    numbers = range(20_000)
    entries = tuple(Reference(str(n), "", "", "", n * 10 + 1, n * 10 + 3) for n in numbers)
    blocks = tuple(TextBlock("reference", -1, n, n * 10 + 1, n * 10 + 9, "", ()) for n in numbers)
    sections = tuple(SectionView("", "", n + 1, n * 10, "body") for n in numbers)
    began = time.process_time()
    paper = shown(PaperText(None, sections, blocks, entries))  # type: ignore[arg-type]
    assert time.process_time() - began < 10  # what is quadratic takes minutes
    assert {len(each.references) for each in paper.preamble} == {1}
    assert not paper.sections


# The library


def test_papers_are_listed_in_the_order_asked_for(client: TestClient, library: Library) -> None:
    for sort in ("paper_id", "title", "year", "journal"):
        page = parsed(client.get("/papers", params={"sort": sort}))
        expected = [f"/papers/{each.paper_id}" for each in library.papers(sort=sort).papers]
        assert [row.all("a")[0].attributes["href"] for row in page.one("tbody").all("tr")] == expected
        (sorted_,) = [each for each in page.all("th") if "aria-sort" in each.attributes]
        assert sorted_.one("a").attributes["href"] == f"/papers?sort={sort}"
        assert sorted_.attributes["aria-sort"] == ("descending" if sort == "year" else "ascending")
    assert page.one(role="status").text == f"{len(expected)} papers"


def test_papers_come_a_page_at_a_time(client: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.web.pages._PAPERS_A_PAGE", 2)
    seen, address = [], "/papers?sort=title"
    while address:
        page = parsed(client.get(address))
        seen += [row.all("a")[0].attributes["href"] for row in page.one("tbody").all("tr")]
        address = next((each.attributes["href"] for each in page.all("a", rel="next")), "")
    assert seen == [f"/papers/{each.paper_id}" for each in library.papers(sort="title").papers]


# Errors


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/?q=x&year_from=12", 422, "year_from is 12: give a year of four digits, or leave it out"),
        ("/?q=x&year_from=soon", 422, "year_from: Input should be a valid integer"),
        ("/?q=x&cursor=nonsense", 422, "the cursor cannot be read"),
        ("/?q=" + 4001 * "x", 422, "the query has 4,001 characters"),
        ("/?q=x paper:a&paper=b", 422, "leave one of them out"),
        ("/papers?sort=size", 422, "sort: Input should be"),
        ("/papers?sort=title&cursor=nobody", 422, "the cursor names no paper"),
        ("/papers/PMC1", 404, "PMC1"),
        ("/papers/PMC9000001?start=a&end=2", 422, "start: Input should be a valid integer"),
        ("/static/nothing.css", 404, "there is no file nothing.css"),
    ],
)
def test_what_is_wrong_is_a_page(client: TestClient, address: str, status: int, said: str) -> None:
    page = parsed(client.get(address), status)
    assert said in page.one(role="alert").text
    given = parse_qs(urlsplit(address).query)
    assert page.one("input", id="q").attributes["value"] == given.get("q", [""])[0]


@pytest.mark.parametrize("route", ["/?q=x", "/papers", "/papers/PMC9000001"])
def test_known_failures_keep_their_status(client: TestClient, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise errors.IndexMissingError("there is no index: run `loccit index PATH...`")

    for name in ("ask_stream", "papers", "text"):
        monkeypatch.setattr(Library, name, fail)
    page = parsed(client.get(route), 503)
    assert (page.one("h1").text, page.one(role="alert").text) == (
        "Index missing",
        "there is no index: run loccit index PATH...",
    )
    assert page.one(role="alert").one("code").text == "loccit index PATH..."


def test_a_bug_is_a_page_and_is_logged(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Library, "ask_stream", fail)
    page = parsed(client.get("/?q=x"), 500)
    assert "ZeroDivisionError: please report this as a bug" in page.one(role="alert").text
    assert "secret" not in page.text
    assert "secret" in caplog.text


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_a_wrong_address_or_method_is_a_page_to_a_browser(client: TestClient) -> None:
    page = parsed(client.get("/<b>nowhere", headers={"accept": BROWSER}), 404)
    said = page.one(role="alert").text
    assert (page.one("h1").text, said.partition(":")[0]) == ("Not Found", "there is nothing at /<b>nowhere")
    assert page.one("form", role="search").attributes["action"] == "/"
    for address in ("/", "/papers/PMC9000001"):
        reply = client.post(address, headers={"accept": BROWSER})
        assert f"{address} does not take POST" in parsed(reply, 405).one(role="alert").text
        assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ("", False),
        ("*/*", False),
        ("application/json, text/html", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=nonsense", False),
        ("text/html;q=0", False),
        ("text/html, application/json;q=0.9", True),
        ("TEXT/*; q=0.5, application/*;q=0.4", True),
        ("text/html", True),
    ],
)
def test_who_gets_a_page(client: TestClient, accept: str, is_page: bool) -> None:
    kind = client.get("/nowhere", headers={"accept": accept}).headers["content-type"]
    assert kind == ("text/html; charset=utf-8" if is_page else "application/problem+json")


def test_other_routes_keep_their_problems(client: TestClient) -> None:
    for method, address, status in (
        ("GET", "/v1/papers/PMC1", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/search", 405),
        ("POST", "/healthz", 405),
        ("POST", "/readyz", 405),
        ("POST", "/openapi.json", 405),
        ("GET", "/mcp/nothing", 404),
    ):
        reply = client.request(method, address, headers={"accept": BROWSER})
        assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json"), address
    assert parsed(client.get("/v1x", headers={"accept": BROWSER}), 404)
    assert not {"/", "/papers", "/static/{name}"} & client.get("/openapi.json").json()["paths"].keys()


# Addresses, files, and what papers may not do


@pytest.mark.parametrize(
    "address", ["/", f"/?q={QUESTION}", "/papers", "/papers/PMC9000001?start=1&end=2", "/?q=x&cursor=x"]
)
def test_every_link_begins_with_the_path_of_the_service(library: Library, address: str) -> None:
    with TestClient(create_app(library, "https://papers.example.org/loccit")) as client:
        page = Parser(client.get(address).text).open[0]
    addresses = [
        node.attributes[name]
        for node in page.all()
        for name in ("href", "src", "action")
        if not node.attributes.get(name, "#").startswith(("#", "https://doi.org/", "https://pmc.ncbi.nlm.nih.gov/"))
    ]
    assert len(addresses) > 5
    assert all(each.startswith("/loccit/") for each in addresses)
    for each in page.all("a", class_="place"):
        assert each.attributes["data-url"] == f"https://papers.example.org{each.attributes['href']}"


def test_static_files_are_kept_by_their_version(client: TestClient) -> None:
    page = parsed(client.get("/"))
    files = [each.attributes["href"] for each in page.all("link")] + [page.one("script").attributes["src"]]
    kinds = {"svg": "image/svg+xml", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
    for file in files:
        reply = client.get(file)
        assert (reply.status_code, reply.headers["x-content-type-options"]) == (200, "nosniff")
        assert reply.headers["content-type"] == kinds[urlsplit(file).path.rpartition(".")[2]]
        assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert client.get(f"{urlsplit(file).path}?v=old").headers["cache-control"] == "no-cache"
    assert len(files) == 3


def test_the_package_has_its_files() -> None:
    root = Path(__file__).parents[1]
    globs = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["service.web"]
    web = root / "service" / "web"
    packed = {each for glob in globs for each in web.glob(glob)}
    assert packed == {each for each in web.rglob("*.*") if each.is_file() and each.suffix not in (".py", ".pyc")}


@pytest.mark.parametrize("address", ["/", f"/?q={QUESTION}", "/papers", "/papers/PMC9000001", "/papers/PMC1"])
def test_head_is_get_without_a_body(client: TestClient, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client.headers["x-request-id"] = "one-of-two"
    get = client.get(address)
    for name in ("ask_stream", "search", "papers", "text"):  # a page that is there is not made for its headers
        monkeypatch.delattr(Library, name)
    head = client.head(address)
    assert (head.status_code, head.content) == (get.status_code, b"")
    length = {"content-length"} if head.is_success else set()
    assert dict(head.headers) == {name: value for name, value in get.headers.items() if name not in length}
    assert client.post(address).status_code == 405


OURS = frozenset(
    """
    html head meta title link script body a header nav main div form label input button details summary p code kbd
    section h1 h2 h3 h4 h5 h6 span ol ul li figure figcaption blockquote article mark pre footer em strong b i sub sup
    bdi br table caption thead tbody tfoot tr th td
    """.split()
)


@pytest.mark.parametrize(
    "address", ["/", "/?q=kraken weight", "/papers", "/papers/{id}", "/papers/{id}?start={start}&end={end}"]
)
def test_what_papers_say_runs_nothing(evil: Path, embedder: Embedder, address: str) -> None:
    library = Library.open(evil, load=lambda name: embedder)
    (paper,) = library.papers().papers
    passage = library.passage(library.paper(paper.paper_id).passage_ids[0]).passage.citation
    with TestClient(create_app(library)) as client:
        place = {"id": quote(paper.paper_id, safe=""), "start": passage.start, "end": passage.end}
        page = parsed(client.get(address.format(**place)))
    library.close()
    for node in page.all():
        assert node.tag in OURS, node.tag
        assert not [name for name in node.attributes if name.startswith("on") or name in ("style", "srcdoc")], node
        for name in ("href", "src", "action"):
            assert re.match(r"[/#]|https://(?:doi\.org|pubmed)", node.attributes.get(name, "#")), node
    (script,) = page.all("script")
    assert script.attributes["src"].startswith("/static/script.js?v=")
    assert not script.text


def test_addresses_of_papers_lead_to_the_web_or_nowhere(
    client: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = library.text("PMC9000001")
    evil_url = "javascript:alert(1)//https://x"
    monkeypatch.setattr(
        Library, "text", lambda *_: replace(text, paper=replace(text.paper, url=evil_url, body_omitted=evil_url))
    )
    page = parsed(client.get("/papers/PMC9000001"))
    assert not [each for each in page.all("a") if "javascript" in each.attributes["href"]]
    assert "get it from its publisher" in page.one("p", class_="note").text


def test_a_quote_in_markdown() -> None:
    cited = citation(
        exact="Grip *fell*\nby half.\n- an item",
        label="Marsh 2021, §3.2, ¶1",
        sentences=(2, 3),
        source="limpets.md",
        start=5,
        end=32,
    )
    assert quotation(cited) == (
        "> Grip \\*fell\\*\n> by half.\\\n> \\- an item\n>\n"
        "> — Marsh 2021, §3.2, ¶1, sentences 2, 3 (`limpets.md:5-32`)\n"
    )


def test_an_id_may_have_a_comma() -> None:
    assert Asked(paper="Smith_2020,_notes").filters().paper_ids == ("Smith_2020,_notes",)
    assert Asked(paper=" PMC1, PMC2;\n10.1/x ,").filters().paper_ids == ("PMC1", "PMC2", "10.1/x")


def test_what_shows_nothing_is_not_said_to_be_marked() -> None:
    number = TextBlock("list_item", -1, 1, 0, 12, "48. An entry", ())
    of_number, of_words = (
        shown(PaperText(None, (), (number,), ()), span)  # type: ignore[arg-type]
        for span in ((0, 3), (4, 12))
    )
    assert (of_number.is_marked, of_words.is_marked) == (False, True)
