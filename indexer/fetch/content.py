"""Whether what was sent is the full text of the paper that was asked for. Knows nothing of networks and files."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from indexer.errors import SourceError
from indexer.fetch.records import Record
from indexer.jats import read_jats
from indexer.jats.tree import read_tree
from indexer.markdown import parse_markdown
from indexer.papers import CONTENT_KINDS
from indexer.sources import bugs_named

Suffix = Literal[".xml", ".md"]

_WEB_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html)\b", re.I | re.S)
_PMCID = re.compile(r"(PMC\d+)(?:\.\d+)?", re.I)


def read_text(body: bytes, suffix: Suffix, name: str) -> Record:
    """What the full text says of itself. `name` is the file's, for messages of bugs.

    Raises SourceError for what is no full text: a web page, a front matter or summary alone, broken XML, not UTF-8.
    """
    if not body.strip():
        raise SourceError("it is empty")
    if _WEB_PAGE.match(body[:5000]):
        raise SourceError("it is a web page, not a paper's text")
    with bugs_named(name):
        return _read_jats(body) if suffix == ".xml" else _read_markdown(body, name)


def suffix_of(body: bytes) -> Suffix:
    """XML or Markdown, by how it begins."""
    return ".xml" if re.match(rb"(?:\xef\xbb\xbf)?\s*<[?!a-z]", body, re.I) else ".md"


def _read_jats(body: bytes) -> Record:
    front = read_jats(body).front
    bodies = read_tree(body).iter("body")
    if not any(text.strip() for each in bodies for text in each.itertext()):
        raise SourceError("it has the paper's front matter alone, without a body")
    return Record(_pmcid(front.pmcid), front.pmid, front.doi, front.licence, front.notices)


def _read_markdown(body: bytes, name: str) -> Record:
    if b"\0" in body:
        raise SourceError("it is binary, not Markdown text")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"it is not UTF-8: byte 0x{body[error.start]:02x} at {error.start}") from error
    paper = parse_markdown(text, source=name, sha256=hashlib.sha256(body).hexdigest())
    if paper.body_omitted:
        raise SourceError("it is a summary view: it says that the full text stands elsewhere")
    read = (block for block in paper.blocks if block.kind in CONTENT_KINDS)
    if not any(paper.sections[block.section].role == "body" for block in read):
        raise SourceError("it has no body")
    return Record(_pmcid(paper.pmcid), paper.pmid, paper.doi, paper.licence, paper.notices)


def _pmcid(stated: str) -> str:
    """Without its version; empty where it is none."""
    match = _PMCID.fullmatch(stated.strip())
    return match[1].upper() if match else ""
