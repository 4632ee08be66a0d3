"""Resources: papers and passages as Markdown, by URIs that say their ids."""

from __future__ import annotations

from urllib.parse import quote, unquote

import mcp_types

from indexer.errors import NotFoundError, UsageError
from service.cite import reader_url
from service.mcp_server.budget import MAX_TOKENS, largest, n_tokens
from service.mcp_server.pages import open_page
from service.mcp_server.tools import Site
from service.printable import one_line

MIME_TYPE = "text/markdown"
_PAPER, _PASSAGE = "paper://", "passage://"
_N_LISTED = 50

_NOTE_TOKENS = 300
"""What is kept free for saying how to go on."""

TEMPLATES = [
    mcp_types.ResourceTemplate(
        name="paper",
        title="A paper",
        uri_template=_PAPER + "{paper_id}",
        description=f"The text of a paper, under what is known of it. One of more than {MAX_TOKENS:,} tokens comes in "
        "parts, and each ends with the URI of the next.",
        mime_type=MIME_TYPE,
    ),
    mcp_types.ResourceTemplate(
        name="passage",
        title="A passage",
        uri_template=_PASSAGE + "{passage_id}",
        description="A passage, word for word, under the place where it stands.",
        mime_type=MIME_TYPE,
    ),
]


def list_papers(site: Site, cursor: str) -> mcp_types.ListResourcesResult:
    """Papers, a page at a time, in the order of their ids."""
    page = site.library.papers(cursor=cursor, limit=_N_LISTED)
    return mcp_types.ListResourcesResult(
        resources=[
            mcp_types.Resource(
                uri=_uri(_PAPER, paper.paper_id),
                name=paper.paper_id,
                title=one_line(paper.title) or paper.paper_id,
                description=", ".join(filter(None, (*paper.authors[:3], paper.journal, str(paper.year or "")))),
                mime_type=MIME_TYPE,
            )
            for paper in page.papers
        ],
        next_cursor=page.next_cursor,
    )


def read(site: Site, uri: str) -> str:
    """The text of that URI. Raises NotFoundError, UsageError."""
    if uri.startswith(_PAPER):
        return _paper(site, unquote(uri.removeprefix(_PAPER)))
    if uri.startswith(_PASSAGE):
        return _passage(site, unquote(uri.removeprefix(_PASSAGE)))
    raise NotFoundError(f"no resource {uri!r}: there are {_PAPER}{{paper_id}} and {_PASSAGE}{{passage_id}}")


def _paper(site: Site, page_id: str) -> str:
    page = open_page(site.library, page_id, site.base_url)
    if not page.parts and not page.head:
        paper_id = page.paper.paper_id
        raise UsageError(f"nothing of {paper_id} follows there: read {_uri(_PAPER, paper_id)} to read it anew")
    n = max(1, largest(lambda n: n_tokens(page.text(n)), len(page.parts), MAX_TOKENS - _NOTE_TOKENS))
    if not (next_id := page.next_id(n)):
        return page.text(n)
    return f"{page.text(n)}\n\n---\n\nThe paper goes on: read {_uri(_PAPER, next_id)}, or call fetch with {next_id}"


def _passage(site: Site, passage_id: str) -> str:
    view = site.library.passage(passage_id).passage
    citation = view.citation
    return (
        f"# {one_line(citation.title)}\n\n- Cite as: {one_line(citation.label)}\n- Passage id: {passage_id}\n"
        f"- Page: {reader_url(site.base_url, citation)}\n\n{view.text}"
    )


def _uri(scheme: str, id_: str) -> str:
    return scheme + quote(id_, safe="")
