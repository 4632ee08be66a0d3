"""What names a paper: PMCID, PMID, DOI, arXiv id, or an address. Nothing is looked up here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from indexer.errors import UsageError
from indexer.markdown.metadata import clean_doi

IdKind = Literal["pmcid", "pmid", "doi", "arxiv", "url"]

_PMCID = re.compile(r"(?:PMCID\s*:?\s*)?PMC\s?0*([1-9]\d{0,8})(?:\.\d{1,3})?", re.IGNORECASE | re.ASCII)
_PMID = re.compile(r"(?:PMID\s*:?\s*)?0*([1-9]\d{0,7})", re.IGNORECASE | re.ASCII)
_DOI = re.compile(r"(?:doi\s*:?\s*)?(10\.\d{4,9}/\S+)", re.IGNORECASE | re.ASCII)
_ARXIV = re.compile(
    r"(?:arxiv\s*:\s*)?(\d{4}\.\d{4,5}|[a-z-]{2,20}(?:\.[a-z]{2})?/\d{7})(?:v\d{1,3})?", re.IGNORECASE | re.ASCII
)
_ARXIV_DOI = re.compile(r"10\.48550/arxiv\.(.+)", re.IGNORECASE)
_PAGES: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(host), re.compile(path, re.IGNORECASE | re.ASCII))
    for host, path in (
        (r"pmc\.ncbi\.nlm\.nih\.gov", r"/articles/(?P<id>PMC\d+)(?:\.\d+)?(?:/.*)?"),
        (r"www\.ncbi\.nlm\.nih\.gov", r"/pmc/articles/(?P<id>PMC\d+)(?:\.\d+)?(?:/.*)?"),
        (r"pubmed\.ncbi\.nlm\.nih\.gov", r"/(?P<id>\d+)/?"),
        (r"www\.ncbi\.nlm\.nih\.gov", r"/pubmed/(?P<id>\d+)/?"),
        (r"(?:www\.)?europepmc\.org", r"/(?:articles?|abstract)/(?:pmc/|med/)?(?P<id>PMC\d+|\d+)(?:/.*)?"),
        (r"(?:dx\.|www\.)?doi\.org", r"/(?P<id>10\..+)"),
        (r"(?:www\.|export\.)?arxiv\.org", r"/(?:abs|pdf|html)/(?P<id>.+?)(?:\.pdf)?"),
        (r"(?:www\.)?tomesphere\.com", r"/paper/(?P<id>PMC\d+|\d{4}\.\d{4,5})(?:/.*)?"),
        (r"pmc-oa-opendata\.s3\.amazonaws\.com", r"/(?P<id>PMC\d+)\.\d+/(?P=id)\.\d+\.xml"),
        (r"www\.ebi\.ac\.uk", r"/europepmc/webservices/rest/(?P<id>PMC\d+)/fullTextXML"),
    )
)
"""Pages and files about one paper, by host and path: the paper is fetched, not the page."""
_HELP = (
    "name a paper by its PMCID (PMC12898183), PMID (38000001), DOI (10.3390/ijms27031453), arXiv id (2305.04091) or an "
    "https address"
)


@dataclass(frozen=True, slots=True)
class Identifier:
    """What names one paper."""

    kind: IdKind
    value: str
    """In its usual form: `PMC12898183`, `38000001`, `10.3390/ijms27031453`, `2305.04091`, `https://…`."""
    asked: str
    """As the user wrote it."""


def identify(asked: str) -> Identifier:
    """What the user's words name. Raises UsageError for what names no paper."""
    words = asked.strip()
    if "://" in words or words.lower().startswith(("file:", "data:", "ftp:")):
        return _of_address(words, asked)
    found = _of_words(words)
    if found is None:
        raise UsageError(f"{asked!r} names no paper: {_HELP}")
    return Identifier(*found, asked)


def _of_words(words: str) -> tuple[IdKind, str] | None:
    if match := _PMCID.fullmatch(words):
        return "pmcid", f"PMC{match[1]}"
    if match := _PMID.fullmatch(words):
        return "pmid", match[1]
    if match := _DOI.fullmatch(words):
        doi = clean_doi(match[1])
        if arxiv := _ARXIV_DOI.fullmatch(doi):
            return _of_words(f"arxiv:{arxiv[1]}")
        return ("doi", doi) if doi else None
    if match := _ARXIV.fullmatch(words):
        return "arxiv", match[1]
    return None


def _of_address(words: str, asked: str) -> Identifier:
    try:
        parts = urlsplit(words)
        host = parts.hostname or ""
    except ValueError as error:
        raise UsageError(f"{asked!r} is no address ({error}): {_HELP}") from error
    if parts.scheme in ("http", "https"):
        for on_host, on_path in _PAGES:
            match = on_path.fullmatch(unquote(parts.path)) if on_host.fullmatch(host) else None
            if match and (found := _of_words(match["id"])):
                return Identifier(*found, asked)
    if parts.scheme != "https" or not host:
        raise UsageError(f"{asked!r} is refused: only https addresses are fetched; or {_HELP}")
    return Identifier("url", words, asked)
