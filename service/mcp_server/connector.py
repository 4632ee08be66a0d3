"""`search` and `fetch` as OpenAI's connectors and deep research call them: few fields, ids that lead on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from indexer.errors import NotFoundError, UsageError
from service.cite import Citation, reader_url
from service.library import MAX_CONTEXT, Library
from service.mcp_server.budget import fit
from service.mcp_server.pages import Page, join, open_page, paper_url, place
from service.query import Query
from service.replies import PassageReply

FETCH_TOKENS = 4_000
"""Of one fetched document; a paper of ten thousand is read in three or four."""
_N_RESULTS = 10


@dataclass(frozen=True, slots=True)
class Result:
    """A passage found."""

    id: str
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Results:
    """What a search found."""

    results: tuple[Result, ...]
    missing_shards: tuple[str, ...] = ()
    """Servers with a part of the index that did not take part: what they hold is not in this."""


@dataclass(frozen=True, slots=True)
class Document:
    """Something fetched."""

    id: str
    title: str
    text: str
    url: str
    metadata: dict[str, str]


def search(library: Library, base_url: str, query: str) -> Results:
    """The passages that fit the query best. Raises as `Library.search` does."""
    reply = library.search(Query(query, _N_RESULTS))
    return Results(
        tuple(Result(hit.passage_id, _title(hit.citation), reader_url(base_url, hit.citation)) for hit in reply.hits),
        reply.missing_shards,
    )


def fetch(library: Library, base_url: str, document_id: str) -> Document:
    """A passage with what stands around it, or a paper from some place on. Raises NotFoundError, UsageError."""
    try:
        reply = library.passage(document_id, context=MAX_CONTEXT)
    except NotFoundError:
        try:
            page = open_page(library, document_id, base_url)
        except NotFoundError as error:
            raise NotFoundError(
                f"no passage or paper {document_id!r} in this index: call search for passages, list_papers for papers",
                error.missing,
            ) from error
        return _of_page(library, base_url, document_id, page)
    return _of_passage(base_url, reply)


def nearest(reply: PassageReply, n: int) -> PassageReply:
    """The passage with its `n` nearest neighbours; of two that are as near, the one after it."""
    after = min(len(reply.after), max((n + 1) // 2, n - len(reply.before)))
    before = n - after
    return PassageReply(reply.passage, reply.before[len(reply.before) - before :], reply.after[:after])


def _of_passage(base_url: str, reply: PassageReply) -> Document:
    # The last that may be asked for is not shown: it says that the paper goes on.
    near = replace(reply, after=reply.after[: MAX_CONTEXT - 1])

    def of(n: int) -> Document:
        shown = nearest(near, n)
        citation = shown.passage.citation
        last = [shown.passage, *shown.after][-1].citation
        next_id = place(last.paper_id, last.end) if len(shown.after) < len(reply.after) else ""
        return Document(
            shown.passage.passage_id,
            _title(citation),
            join((*shown.before, shown.passage, *shown.after)),
            reader_url(base_url, citation),
            _metadata(citation, citation.start, citation.end, next_id),
        )

    n_around = len(near.before) + len(near.after)
    return fit(of, n_around, FETCH_TOKENS, least=0, otherwise="call get_context with this id and max_tokens enough")


def _of_page(library: Library, base_url: str, document_id: str, page: Page) -> Document:
    paper, parts = page.paper, page.parts
    if not parts and not page.head:
        raise UsageError(f"nothing of {paper.paper_id} follows there: fetch {paper.paper_id!r} to read it anew")
    url = paper_url(paper.paper_id, base_url)
    if not parts:
        return Document(document_id, paper.title, page.head, url, {"paper_id": paper.paper_id, "next": ""})
    begins = library.cite(paper.paper_id, parts[0].start, parts[0].start + 1)

    def of(n: int) -> Document:
        said = _metadata(begins, parts[0].start, parts[n - 1].end, page.next_id(n))
        return Document(document_id, paper.title or paper.paper_id, page.text(n), url, said)

    return fit(of, len(parts), FETCH_TOKENS)


def _metadata(citation: Citation, start: int, end: int, next_id: str) -> dict[str, str]:
    """What a citation needs, and the id to fetch next to read on; empty at the paper's end."""
    return {
        "label": citation.label,
        "paper_id": citation.paper_id,
        "doi": citation.doi,
        "section": " > ".join(citation.section),
        "source": citation.source,
        "start": str(start),
        "end": str(end),
        "source_sha256": citation.source_sha256,
        "next": next_id,
    }


def _title(citation: Citation) -> str:
    """Which paper, and where in it: `Pang et al. 2026, §3.2 AGEs and Bone Quality, ¶4 — Diabetes and bone`."""
    return f"{citation.label} — {citation.title}"
