"""The HTTP front end: replies, and every error as a problem."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from indexer import errors
from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.errors import LoccitError, ModelError
from service.api import MAX_BODY_BYTES, bind, create_app, url
from service.formats import MEDIA_TYPES
from service.library import Library
from tests.conftest import Run
from tests.corpus import LIMPETS

pytestmark = pytest.mark.model

QUESTION = "why do limpets lose their grip in warm water?"


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library), raise_server_exceptions=False) as opened:
        yield opened


def error_classes(root: type[LoccitError] = LoccitError) -> list[type[LoccitError]]:
    return [root, *(each for child in root.__subclasses__() for each in error_classes(child))]


def problem(reply: Any, status: int) -> dict[str, Any]:
    """The problem in a reply, its form checked."""
    assert reply.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = reply.json()
    assert reply.status_code == body["status"] == status
    assert body.keys() - {"errors"} == {"type", "title", "status", "detail", "instance"}
    assert body["instance"] == reply.request.url.path
    assert body["detail"]
    return body


def test_search_cites_to_the_character(client: TestClient, corpus: Path) -> None:
    reply = client.post("/v1/search", json={"query": QUESTION, "k": 3}).json()
    hit = reply["hits"][0]
    citation = hit["citation"]
    assert (reply["query"], reply["generation"], reply["expansions"]) == (QUESTION, 1, [])
    assert [each["rank"] for each in reply["hits"]] == [1, 2, 3]
    assert citation["label"] == "Marsh et al. 2021, §3.2 Grip and Temperature, ¶2"
    assert citation["section"] == ["3. Results", "3.2. Grip and Temperature"]
    assert (citation["paper_id"], citation["source"], citation["year"]) == ("PMC9000001", "limpets.md", 2021)
    assert (citation["paragraph"], citation["sentences"]) == (2, [1])
    raw = (corpus / "limpets.md").read_bytes()
    assert raw.decode()[citation["start"] : citation["end"]] == hit["text"]
    assert hashlib.sha256(raw).hexdigest() == citation["source_sha256"]
    (mark,) = hit["highlights"]
    assert hit["text"][mark["start"] : mark["end"]].startswith("Grip fell by half when the water warmed")
    assert [(each["marker"], each["doi"]) for each in citation["references"]] == [
        ("[1,2]", "10.5555/quill.1999"),
        ("[1,2]", "10.5555/brack.2007"),
    ]


def test_ask_quotes_verbatim(client: TestClient) -> None:
    reply = client.post("/v1/ask", json={"question": QUESTION, "filters": {}, "generate": "never"}).json()
    first = reply["quotes"][0]
    place = first["citation"]
    assert (reply["question"], reply["status"], reply["kind"]) == (QUESTION, "answered", "extractive")
    assert first["text"] == LIMPETS[place["start"] : place["end"]]
    assert first["text"].startswith("Grip fell by half")
    assert first["text"].endswith("of their grip. No animal of any size held on\nabove twenty-eight degrees.")
    assert reply["text"].startswith(f"{first['text']} [1]")
    assert (place["paragraph"], place["sentences"]) == (2, [1, 2, 3])
    assert (first["basis"], [each["number"] for each in place["references"]]) == ("reported", ["1", "2"])


@pytest.mark.parametrize(
    ("accept", "given", "begins"),
    [
        ("application/x-bibtex", "application/x-bibtex", "@article{marsh2021limpets,\n"),
        ("application/x-research-info-systems", "application/x-research-info-systems", "TY  - JOUR\r\n"),
        ("application/vnd.citationstyles.csl+json", "application/vnd.citationstyles.csl+json", '[\n  {\n    "id":'),
        ("text/html, Text/Markdown;q=0.9", "text/markdown; charset=utf-8", ""),
        ("application/x-bibtex;q=0.5, text/markdown", "text/markdown; charset=utf-8", ""),
        ("application/x-bibtex, */*;q=0.1", "application/x-bibtex", "@article{"),
        ("application/x-bibtex;q=0.5, */*", "application/json", "{"),
        ("application/x-bibtex;q=0", "application/json", "{"),
        ("application/x-bibtex;q=high", "application/json", "{"),
        ("application/json, application/x-bibtex", "application/json", "{"),
        ("text/html", "application/json", "{"),
        ("", "application/json", "{"),
    ],
)
def test_the_client_says_what_it_accepts(client: TestClient, accept: str, given: str, begins: str) -> None:
    bodies: dict[str, dict[str, Any]] = {"/v1/ask": {"question": QUESTION}, "/v1/search": {"query": QUESTION}}
    for path, body in bodies.items():
        reply = client.post(path, json=body, headers={"accept": accept})
        assert (reply.status_code, reply.headers["content-type"]) == (200, given)
        assert reply.text.startswith(begins)
        assert "Journal of Shore Life" in reply.text


def test_a_problem_is_json_whatever_the_client_accepts(client: TestClient) -> None:
    problem(client.post("/v1/search", json={"query": ""}, headers={"accept": "application/x-bibtex"}), 422)


def test_search_results_for_anthropics_models(client: TestClient, library: Library) -> None:
    """What they cite is a text block: a sentence."""
    with TestClient(create_app(library, "https://papers.example.org")) as served:
        hits = served.post("/v1/search", json={"query": QUESTION, "k": 2}).json()["hits"]
        for accept in ("*/*", "text/markdown", "text/event-stream"):
            reply = served.post(
                "/v1/search?format=anthropic", json={"query": QUESTION, "k": 2}, headers={"accept": accept}
            )
            assert reply.headers["content-type"] == "application/json"
            blocks = reply.json()
            assert [block.keys() for block in blocks] == [
                {"type", "source", "title", "content", "citations"} for _ in hits
            ]
            for block, hit in zip(blocks, hits, strict=True):
                place = hit["citation"]
                assert (block["type"], block["citations"]) == ("search_result", {"enabled": True})
                assert block["source"] == f"https://papers.example.org{place['links']['reader']}"
                assert block["title"] == place["label"]
                assert {part["type"] for part in block["content"]} == {"text"}
                assert " ".join(part["text"] for part in block["content"]) == " ".join(hit["text"].split("\n\n"))
        assert [part["text"].split()[0] for part in blocks[0]["content"]] == ["The", "Grip", "Limpets", "No"]
        asked = served.post("/v1/ask?format=anthropic", json={"question": QUESTION}).json()
        quotes = served.post("/v1/ask", json={"question": QUESTION}).json()["quotes"]
        assert [block["source"].partition("org")[2] for block in asked] == [
            each["citation"]["links"]["reader"] for each in quotes
        ]


def test_search_results_that_do_not_answer_say_so(client: TestClient) -> None:
    ask = {"question": "who composed the Goldberg Variations?", "k": 2}
    said, *blocks = client.post("/v1/ask?format=anthropic", json=ask).json()
    assert said == {"type": "text", "text": "These papers do not seem to say. The nearest passages:"}
    assert [block["type"] for block in blocks] == ["search_result"] * 2
    nothing = {"query": QUESTION, "filters": {"section": "no such section"}}
    (said,) = client.post("/v1/search?format=anthropic", json=nothing).json()
    assert said == {"type": "text", "text": "No passage fits."}
    refused = problem(client.post("/v1/search?format=openai", json=nothing), 422)
    assert refused["detail"] == "query.format: Input should be 'anthropic'"


def test_verify_takes_what_was_given(client: TestClient, corpus: Path) -> None:
    answer = client.post("/v1/ask", json={"question": QUESTION}).json()
    first = answer["quotes"][0]
    for sent in (
        answer,
        first,
        first["citation"],
        [first, first["citation"]],
        client.post("/v1/search", json={"query": "rock"}).json(),
    ):
        reply = client.post("/v1/verify", json=sent).json()
        assert reply["status"] == "ok"
        assert {(each["status"], each["now"]) for each in reply["verdicts"]} == {("ok", None)}
    place = first["citation"]
    shifted = {"paper_id": place["paper_id"], "start": 5, "end": 50, "exact": place["exact"]}
    gone = {"paper_id": "PMC1", "start": 5, "end": 50, "exact": "../limpets.md", "source": str(corpus / "limpets.md")}
    reply = client.post("/v1/verify", json=[gone, shifted, place]).json()
    assert (reply["status"], [each["status"] for each in reply["verdicts"]]) == (
        "source_missing",
        ["source_missing", "moved", "ok"],
    )
    now = reply["verdicts"][1]["now"]
    assert (now["start"], now["end"], now["label"]) == (place["start"], place["end"], place["label"])
    assert reply["verdicts"][0]["reason"].startswith("no paper 'PMC1' in this index")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "paper_id is missing"),
        ([], "there is no citation in it"),
        (
            {"hits": [{"citation": {"paper_id": "x", "start": -1, "end": 2, "exact": "x"}}]},
            "hits[0].citation.start is -1",
        ),
        ({"paper_id": "x", "start": 0, "end": 2, "exact": "\ud800"}, "half of a surrogate pair"),
        ("PMC9000001", "body"),
    ],
)
def test_verify_names_what_is_wrong(client: TestClient, body: Any, said: str) -> None:
    raw = json.dumps(body).encode()
    assert said in problem(client.post("/v1/verify", content=raw, headers=JSON), 422)["detail"]


def test_ask_says_that_the_papers_do_not_say(client: TestClient) -> None:
    reply = client.post("/v1/ask", json={"question": "who composed the Goldberg Variations?"}).json()
    assert (reply["status"], reply["kind"], reply["text"], reply["quotes"]) == ("not_found", "none", "", [])


def test_pages_of_a_search_join_up(client: TestClient) -> None:
    body: dict[str, Any] = {"query": QUESTION, "k": 2}
    whole = client.post("/v1/search", json=body | {"k": 6}).json()["hits"]
    paged: list[dict[str, Any]] = []
    for _ in range(3):
        reply = client.post("/v1/search", json=body).json()
        paged += reply["hits"]
        body["cursor"] = reply["next_cursor"]
    assert [(hit["rank"], hit["passage_id"]) for hit in paged] == [(hit["rank"], hit["passage_id"]) for hit in whole]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"paper_ids": ["10.5555_lichen.2019.3"]}, {"10.5555_lichen.2019.3"}),
        ({"year_from": 2019, "year_to": 2020}, {"10.5555_lichen.2019.3"}),
        ({"section": "grip"}, {"PMC9000001"}),
        ({"section": "3"}, {"PMC9000001"}),
        ({"section": "no such section"}, set()),
        ({"phrases": ["slower", "by a third of a millimetre"]}, {"10.5555_lichen.2019.3"}),
        ({"phrases": ["lose its stiffness"]}, set()),
        ({"exclude": ["the", "limescale"]}, {"10.5555_lichen.2019.3"}),
        ({"exclude": ["the"], "section": "size"}, set()),
        ({"exclude": ["The warm water"], "section": "size"}, {"PMC9000001"}),
    ],
)
def test_filters(client: TestClient, filters: dict[str, Any], found: set[str]) -> None:
    hits = client.post("/v1/search", json={"query": QUESTION, "filters": filters}).json()["hits"]
    assert {hit["citation"]["paper_id"] for hit in hits} == found


def test_syntax_in_the_query_and_fields_beside_it_are_one(client: TestClient) -> None:
    """And the question alone is embedded: similarities are those of the plain words."""
    question = "how does grip change as the pool warmed?"
    text = 'how does grip change as "the pool warmed"? -shells SECTION:results paper:PMC9000001 year:2021..'
    filters = {
        "phrases": ["the pool warmed"],
        "exclude": ["shells"],
        "section": "results",
        "paper_ids": ["PMC9000001"],
        "year_from": 2021,
    }
    plain = client.post("/v1/search", json={"query": question}).json()["hits"]
    given = client.post("/v1/search", json={"query": question, "filters": filters}).json()
    typed = client.post("/v1/search", json={"query": text}).json()
    assert (typed["query"], typed["hits"]) == (text, given["hits"])
    (hit,) = typed["hits"]
    assert hit["citation"]["section"][-1] == "3.2. Grip and Temperature"
    (same,) = (each for each in plain if each["passage_id"] == hit["passage_id"])
    assert [hit["scores"][part] for part in ("dense", "sentence")] == [
        same["scores"][part] for part in ("dense", "sentence")
    ]


def test_a_question_with_syntax_is_answered_without_it(client: TestClient) -> None:
    nowhere = 'why do limpets "lose their grip" in warm water?'  # they never say it so
    assert client.post("/v1/ask", json={"question": nowhere}).json()["status"] == "not_found"
    text = f"{QUESTION} -calipers year:..2021"
    filters = {"exclude": ["calipers"], "year_to": 2021}
    typed = client.post("/v1/ask", json={"question": text}).json()
    given = client.post("/v1/ask", json={"question": QUESTION, "filters": filters}).json()
    assert (typed["question"], typed["status"]) == (text, "answered")
    assert typed["quotes"][0]["text"].startswith("Grip fell by half")
    assert typed | {"question": "", "took_ms": 0} == given | {"question": "", "took_ms": 0}
    assert not [hit for hit in typed["hits"] if "calipers" in hit["text"]]


def test_pages_of_a_search_with_syntax_join_up(client: TestClient) -> None:
    body: dict[str, Any] = {"query": 'growth and grip "of" -limescale', "k": 2}
    whole = client.post("/v1/search", json=body | {"k": 6}).json()["hits"]
    first = client.post("/v1/search", json=body).json()
    second = client.post("/v1/search", json=body | {"cursor": first["next_cursor"]}).json()
    assert [hit["passage_id"] for hit in first["hits"] + second["hits"]] == [hit["passage_id"] for hit in whole][:4]
    other = {"query": "growth and grip of -limescale", "cursor": first["next_cursor"]}
    assert "belongs to another query" in problem(client.post("/v1/search", json=other), 422)["detail"]


def test_back_matter_is_searched_when_asked_for(client: TestClient) -> None:
    query = {"query": "harbour office slipway ladder", "filters": {"paper_ids": ["PMC9000001"]}}
    without = client.post("/v1/search", json=query).json()["hits"]
    query["filters"]["include"] = ["back_matter"]  # type: ignore[index]
    found = client.post("/v1/search", json=query).json()["hits"]
    assert "4. Acknowledgements" not in [hit["citation"]["section"][-1] for hit in without]
    assert found[0]["citation"]["section"] == ["4. Acknowledgements"]


def test_a_budget_of_tokens(client: TestClient) -> None:
    reply = client.post("/v1/search", json={"query": QUESTION, "max_tokens": 1}).json()
    assert [hit["rank"] for hit in reply["hits"]] == [1]
    assert reply["next_cursor"]


def test_a_search_goes_on_where_an_answer_ends(client: TestClient) -> None:
    asked = {"question": QUESTION, "k": 2, "filters": {"exclude": ["ladder"]}}
    answer = client.post("/v1/ask", json=asked).json()
    searched = {"query": QUESTION, "filters": asked["filters"]}
    whole = client.post("/v1/search", json=searched).json()["hits"]
    rest = client.post("/v1/search", json=searched | {"cursor": answer["next_cursor"]}).json()["hits"]
    assert answer["hits"] + rest == whole
    assert client.post("/v1/ask", json=asked | {"k": len(whole)}).json()["next_cursor"] is None


def test_papers_by_title(client: TestClient) -> None:
    titles = [each["title"] for each in client.get("/v1/papers?sort=title").json()["papers"]]
    assert titles == sorted(titles, key=str.lower)
    assert "sort" in problem(client.get("/v1/papers?sort=size"), 422)["detail"]


def test_papers_in_pages(client: TestClient) -> None:
    first = client.get("/v1/papers?limit=3").json()
    second = client.get("/v1/papers", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [each["paper_id"] for each in first["papers"]] == ["10.5555_lichen.2019.3", "PMC9000001", "PMC9000004"]
    assert [each["paper_id"] for each in second["papers"]] == ["kettle_notes"]
    assert (first["total"], second["next_cursor"]) == (4, None)
    assert first["papers"][2]["body_omitted"] == "https://papers.example.org/PMC9000004/full.md"


@pytest.mark.parametrize(
    "path", ["10.5555_lichen.2019.3", "10.5555/lichen.2019.3", "10.5555%2Flichen.2019.3", "10%2E5555_lichen.2019.3"]
)
def test_a_paper_by_its_id_or_doi(client: TestClient, path: str) -> None:
    reply = client.get(f"/v1/papers/{path}").json()
    assert reply["paper"]["title"] == "Lichens on churchyard stone: a century of slow growth"
    assert [(each["title"], each["role"]) for each in reply["sections"]] == [
        ("Introduction", "body"),
        ("Growth rates", "body"),
        ("Funding", "back_matter"),
    ]


@pytest.mark.parametrize("quoted", [False, True])
def test_a_passage_and_its_neighbours(client: TestClient, quoted: bool) -> None:
    ids = client.get("/v1/papers/PMC9000001").json()["passage_ids"]
    name = quote(ids[2], safe="") if quoted else ids[2]
    reply = client.get(f"/v1/passages/{name}?context=2").json()
    assert [each["passage_id"] for each in reply["before"]] == ids[:2]
    assert reply["passage"]["passage_id"] == ids[2]
    assert [each["passage_id"] for each in reply["after"]] == ids[3:5]


def test_the_command_line_gives_the_same_json(client: TestClient, built: Path, loccit: Callable[..., Run]) -> None:
    passage_id = client.get("/v1/papers/PMC9000001").json()["passage_ids"][1]
    pairs = [
        (("search", QUESTION, "-k", "4"), client.post("/v1/search", json={"query": QUESTION, "k": 4})),
        (("ask", QUESTION), client.post("/v1/ask", json={"question": QUESTION})),
        (("show", "PMC9000001"), client.get("/v1/papers/PMC9000001")),
        (("show", passage_id, "--context", "1"), client.get(f"/v1/passages/{passage_id}?context=1")),
        (("papers",), client.get("/v1/papers")),
    ]
    for command, reply in pairs:
        printed = json.loads(loccit(*command, "--index", built, "--json").out)
        served = reply.json()
        assert printed.pop("took_ms", 0) >= 0
        assert served.pop("took_ms", 0) >= 0
        assert printed == served
        assert list(printed) == list(served)


ERRORS = {
    "LoccitError": (500, "error"),
    "UsageError": (422, "invalid-request"),
    "ConfigError": (500, "invalid-configuration"),
    "NotFoundError": (404, "not-found"),
    "SourceError": (422, "unusable-source"),
    "ModelError": (500, "model-unavailable"),
    "ClusterError": (500, "cluster-unavailable"),
    "GenerationError": (502, "generation-failed"),
    "AccessError": (403, "not-allowed"),
    "KeyNeededError": (401, "key-needed"),
    "MisdirectedError": (421, "misdirected"),
    "OverloadError": (503, "overloaded"),
    "RateError": (429, "too-many-requests"),
    "IndexStateError": (503, "index-unusable"),
    "IndexMissingError": (503, "index-missing"),
    "IndexMismatchError": (503, "index-mismatch"),
    "IndexDamagedError": (503, "index-damaged"),
    "IndexBusyError": (503, "index-busy"),
    "IndexNotWritableError": (500, "index-not-writable"),
    "IndexUnreachableError": (503, "index-unreachable"),
}


def test_the_table_of_errors_is_whole() -> None:
    assert {each.__name__ for each in error_classes()} == ERRORS.keys()


@pytest.mark.parametrize(("name", "status", "slug"), [(name, *expected) for name, expected in ERRORS.items()])
def test_each_error_has_its_status(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, name: str, status: int, slug: str
) -> None:
    def fail(*_: object) -> None:
        raise getattr(errors, name)("what failed, and the next step")

    monkeypatch.setattr(Library, "search", fail)
    body = problem(client.post("/v1/search", json={"query": "x"}), status)
    assert body["type"] == f"urn:loccit:problem:{slug}"
    assert body["title"] == slug.replace("-", " ").capitalize()
    assert body["detail"] == "what failed, and the next step"


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b'{"query": "x", "k": 0}', "body.k", "greater than or equal to 1"),
        (b'{"query": "x", "k": 10000}', "body.k", "less than or equal to 200"),
        (b'{"query": "x", "k": NaN}', "body.k", "valid integer"),
        (b'{"query": "x", "k": "5"}', "body.k", "valid integer"),
        (b'{"query": "x", "k": true}', "body.k", "valid integer"),
        (b'{"query": 5}', "body.query", "valid string"),
        (b'{"query": "\\ud800"}', "body.query", "unicode"),
        (b'{"query": "%s"}' % (b"x" * 100_000), "body.query", "at most 4000 characters"),
        (b"{}", "body.query", "required"),
        (b'{"query": "x", "kk": 5}', "body.kk", "not permitted"),
        (b'{"query": "x", "filters": {"paper": "y"}}', "body.filters.paper", "not permitted"),
        (b'{"query": "x", "filters": {"include": ["everything"]}}', "body.filters.include.0", "'references'"),
        (b'{"query": "x", "filters": {"phrases": "y"}}', "body.filters.phrases", "valid list"),
        (b'{"query": "x", "filters": {"exclude": [1]}}', "body.filters.exclude.0", "valid string"),
        (b'{"query": "x", "max_tokens": -1}', "body.max_tokens", "greater than or equal to 0"),
        (b'{"query": "x"', "body", "not JSON"),
        (b"\xff\xfe", "body", "not JSON"),
        (b"", "body", "required"),
        (b"[]", "body", "dictionary"),
    ],
)
def test_a_request_that_does_not_fit_names_the_field(client: TestClient, body: bytes, field: str, said: str) -> None:
    reply = problem(client.post("/v1/search", content=body, headers=JSON), 422)
    assert reply["type"] == "urn:loccit:problem:invalid-request"
    (found,) = reply["errors"]
    assert found["field"] == field
    assert said in found["message"]
    assert reply["detail"] == f"{field}: {found['message']}"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"query": "  \n"}, 422, "the query is empty"),
        ({"query": "x", "filters": {"year_from": 12}}, 422, "year_from is 12"),
        ({"query": "x", "filters": {"year_from": 2020, "year_to": 2010}}, 422, "swap them"),
        ({"query": "x", "filters": {"paper_ids": ["x"] * 1001}}, 422, "1,001 papers"),
        ({"query": "x", "cursor": "????"}, 422, "cursor"),
        ({"query": "x", "cursor": "W10"}, 422, "cursor"),
        ({"query": "x", "cursor": "W1tb" * 200}, 422, "cursor has 800 characters"),
        ({"query": "x", "cursor": "W1tb" * 100}, 422, "cursor cannot be read"),
        ({"query": "x", "filters": {"section": "%" * 100_000}}, 422, "section has 100,000 characters"),
        ({"query": "x", "filters": {"section": "\ud800"}}, 422, "section is not text"),
        ({"query": "x", "filters": {"paper_ids": ["\ud800"]}}, 422, "paper_ids is not text"),
        ({"query": "x", "filters": {"phrases": [str(n) for n in range(21)]}}, 422, "phrases has 21 entries"),
        ({"query": "x", "filters": {"exclude": ["\ud800"]}}, 422, "exclude is not text"),
        ({"query": "x", "filters": {"exclude": ["…"]}}, 422, "the phrase '…' says nothing to look for"),
        ({"query": "x year:20"}, 422, "`year:20` (character 3 of the query) names no year"),
        ({"query": "-x year:2020"}, 422, "only says where to look"),
        ({"query": "x year:2020", "filters": {"year_from": 2021}}, 422, "leave one of them out"),
        ({"query": "x paper:PMC1"}, 404, "no paper 'PMC1' in this index"),
        ({"query": "x", "filters": {"paper_ids": ["PMC1"]}}, 404, "no paper 'PMC1' in this index"),
    ],
)
def test_a_request_that_the_library_refuses(client: TestClient, body: dict[str, Any], status: int, said: str) -> None:
    raw = json.dumps(body).encode()  # half of a surrogate pair goes as an escape
    assert said in problem(client.post("/v1/search", content=raw, headers=JSON), status)["detail"]


def test_no_model_is_configured(client: TestClient) -> None:
    body = problem(client.post("/v1/ask", json={"question": QUESTION, "generate": "always"}), 422)
    assert "no model is configured" in body["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/search", 405),
        ("DELETE", "/v1/papers", 405),
        ("GET", "/v1/papers/PMC1", 404),
        ("GET", "/v1/papers/%00%ff", 404),
        ("GET", "/v1/passages/PMC1:0", 404),
        ("GET", "/v1/passages/PMC1:0?context=21", 422),
        ("GET", "/v1/papers?limit=0", 422),
        ("GET", "/v1/papers?limit=x", 422),
    ],
)
def test_other_errors_are_problems_too(client: TestClient, method: str, path: str, status: int) -> None:
    reply = client.request(method, path)
    problem(reply, status)
    assert ("allow" in reply.headers) == (status == 405)


def test_a_body_that_is_too_long(client: TestClient) -> None:
    body = problem(client.post("/v1/search", content=b" " * (MAX_BODY_BYTES + 1), headers=JSON), 413)
    assert body["detail"] == "the body may have 4,000,000 bytes at the most"


def test_a_body_that_is_nested_without_end(client: TestClient) -> None:
    problem(client.post("/v1/search", content=b"[" * 100_000, headers=JSON), 400)


def test_a_form_is_told_what_to_send(client: TestClient) -> None:
    body = problem(client.post("/v1/search", data={"query": "x"}), 422)
    assert "content-type: application/json" in body["detail"]


def test_a_bug_leaks_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/home/someone/secret")

    monkeypatch.setattr(Library, "search", fail)
    reply = client.post("/v1/search", json={"query": "x"})
    assert problem(reply, 500)["detail"].startswith("RuntimeError: please report")
    assert "secret" not in reply.text
    assert "Traceback" not in reply.text


def test_alive_and_ready(client: TestClient) -> None:
    assert (client.get("/healthz").status_code, client.get("/healthz").json()) == (200, {"status": "alive"})
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (
        200,
        {"status": "ready", "missing_shards": []},
    )
    for path in ("/healthz", "/readyz"):
        head = client.head(path)
        assert (head.status_code, head.content) == (200, b"")


def test_alive_but_not_ready(built: Path) -> None:
    def missing(name: str) -> Embedder:
        raise ModelError(f"{name} is not here")

    library = Library.open(built, load=missing)
    with TestClient(create_app(library)) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        body = problem(client.get("/readyz"), 503)
        assert (body["type"], body["detail"]) == (
            "urn:loccit:problem:model-unavailable",
            "all-MiniLM-L6-v2 is not here",
        )
        assert client.head("/readyz").status_code == 503
    library.close()


def test_a_new_generation_is_picked_up(corpus: Path, tmp_path: Path, embedder: Embedder) -> None:
    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "one.md").write_bytes((corpus / "limpets.md").read_bytes())
    build([papers], tmp_path / "index", embedder, BuildConfig())
    library = Library.open(tmp_path / "index", load=lambda name: embedder)
    query = {"query": "map lichens on slate", "k": 1}
    with TestClient(create_app(library)) as client:
        before = client.post("/v1/search", json=query).json()
        (papers / "two.md").write_bytes((corpus / "stone" / "lichens.md").read_bytes())
        build([papers], tmp_path / "index", embedder, BuildConfig())
        after = client.post("/v1/search", json=query).json()
    library.close()
    assert (before["generation"], before["hits"][0]["citation"]["paper_id"]) == (1, "PMC9000001")
    assert (after["generation"], after["hits"][0]["citation"]["paper_id"]) == (2, "10.5555_lichen.2019.3")


def test_a_slow_search_holds_up_nobody(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    began, finish = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        began.set()
        finish.wait(10)
        raise LoccitError("done waiting")

    monkeypatch.setattr(Library, "search", wait)
    slow = threading.Thread(target=client.post, args=("/v1/search",), kwargs={"json": {"query": "x"}})
    slow.start()
    assert began.wait(10)
    assert client.get("/healthz").status_code == 200
    assert not finish.is_set()
    finish.set()
    slow.join(10)
    assert not slow.is_alive()


def test_openapi_has_examples_and_problems(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    assert set(schema["paths"]) == {
        "/v1/search",
        "/v1/ask",
        "/v1/verify",
        "/v1/papers",
        "/v1/papers/{paper_id}",
        "/v1/papers/{paper_id}/source",
        "/v1/passages/{passage_id}",
        "/healthz",
        "/readyz",
        "/v1/models",
        "/v1/models/{model_id}",
        "/v1/chat/completions",
    }
    operation = schema["paths"]["/v1/search"]["post"]
    request = operation["requestBody"]["content"]["application/json"]["schema"]
    assert request["examples"][0] == {"query": "how do AGEs affect bone quality?", "k": 5}
    assert list(operation["responses"]["422"]["content"]) == ["application/problem+json"]
    for path in ("/v1/search", "/v1/ask"):
        events = ["text/event-stream"] if path == "/v1/ask" else []
        given = schema["paths"][path]["post"]["responses"]["200"]["content"]
        assert list(given) == ["application/json", *MEDIA_TYPES, *events]
        (form,) = schema["paths"][path]["post"]["parameters"]
        assert (form["name"], form["schema"]["anyOf"][0]["const"]) == ("format", "anthropic")
    assert {"SearchReply", "Hit", "Citation", "Answer"} <= schema["components"]["schemas"].keys()
    assert "HTTPValidationError" not in schema["components"]["schemas"]


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_where_clients_on_this_machine_find_it(host: str, address: str) -> None:
    with bind(host, 0) as listener:
        assert url(listener) == f"http://{address}:{listener.getsockname()[1]}"
