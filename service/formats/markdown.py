"""Replies as Markdown pages: what was found, where it stands, what it leans on, and the papers.

What papers say is escaped, so that it reads in print as it stands in its file and is no mark-up of the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from indexer.errors import partly
from service.answer import Basis
from service.cite import Citation, doi_url
from service.formats.entries import Entry, plain, read_entries
from service.names import Name
from service.printable import clean, one_line, sentences_named
from service.replies import Answer, Hit, SearchReply

_INLINE = re.compile(r"[\\`*_\[\]~^$]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|(?<!\w)@(?=\w)")
"""What may be mark-up in CommonMark, GitHub's and Pandoc's Markdown,"""
_START = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$)))|^(?=[>#+=:|-])")
"""... and what may be at the start of a line."""
_BLOCK = re.compile(r"[ \t]*(?:[|>#*+-]|\d+[.)])")
"""A line that begins so is a table's row, a list's item or another block in the paper: it stays a line here."""
_IN_AN_ADDRESS = "!#$%&'*+,-./:;=?@_~"
_MAX_AUTHORS = 6


def answer_page(answer: Answer) -> str:
    """The quotes that answer, numbered; then their places, and the papers. Where none answers, the nearest passages."""
    parts = [f"**{escaped(said(answer))}**", *_missing(answer)]
    if answer.note:
        parts.append(escaped(one_line(answer.note)))
    if answer.kind == "generated":
        parts.append(escaped(one_line(answer.text)))
    if answer.quotes:
        parts += [f"> [{each.n}] {escaped(one_line(each.text))}{OTHERS[each.basis]}" for each in answer.quotes]
        parts.append("\n".join(line for each in answer.quotes for line in _item(each.n, each.citation)))
        cited = [each.citation for each in answer.quotes]
    else:
        parts += map(_hit, answer.hits)
        cited = [each.citation for each in answer.hits]
    return _page(parts, cited)


def search_page(reply: SearchReply) -> str:
    """The hits, numbered, each with its place; then the papers."""
    parts = [*map(_hit, reply.hits)] or ["**No passage fits.**"]
    return _page([*_missing(reply), *parts], [each.citation for each in reply.hits])


def _missing(reply: Answer | SearchReply) -> list[str]:
    return [escaped(not_all(reply))] if reply.missing_shards else []


def not_all(reply: Answer | SearchReply) -> str:
    """That servers are missing from a reply, and which."""
    return f"Not all of the index: {one_line(partly(reply.missing_shards))}."


def quotation(citation: Citation) -> str:
    """The text cited as a block quote, and below it where it stands."""
    quoted = "\n".join(f"> {line}".rstrip() for line in _lines(citation.exact))
    return f"{quoted}\n>\n> — {_place(citation)}\n"


def bibliography(entries: Sequence[Entry]) -> str:
    """The papers as a list."""
    return "".join(f"- {_reference(entry)}\n" for entry in entries)


def _page(parts: list[str], cited: Sequence[Citation]) -> str:
    papers = ["**Papers**", bibliography(read_entries(cited)).rstrip("\n")] if cited else []
    return "\n\n".join((*parts, *papers)) + "\n"


OTHERS: dict[Basis, str] = {"own": "", "reported": " *(reported of others)*"}
"""What follows a quote."""


def said(answer: Answer) -> str:
    """What the quotes or passages are, in a sentence that stands above them."""
    if answer.kind == "generated":
        return f"Written by {one_line(answer.model)}. Each quote was found in its source; the wording is the model's."
    if answer.status == "answered":
        return "The papers say:"
    if answer.status == "partial":
        return f"The papers touch on this. The nearest {'sentences' if answer.quotes else 'passages'}:"
    return "These papers do not seem to say." + (" The nearest passages:" if answer.hits else "")


def _hit(hit: Hit) -> str:
    first, *others = _item(hit.rank, hit.citation)
    indent = " " * (len(str(hit.rank)) + 2)
    quoted = (f"{indent}> {line}".rstrip() for line in _lines(hit.text))
    return "\n".join((first, "", *quoted, *(["", *others] if others else [])))


def _item(n: int, citation: Citation) -> Iterator[str]:
    """The lines of a list item: a place, and the references that are named there."""
    yield f"{n}. {_place(citation)}"
    indent = " " * (len(str(n)) + 2)
    for each in dict.fromkeys((each.number, each.text, each.doi) for each in citation.references):
        yield f"{indent}- {_cited(*each)}"


def _place(citation: Citation) -> str:
    named = f", {sentences_named(citation.sentences)}" if citation.sentences else ""
    span = _code(one_line(citation.span))
    return f"{link(citation.label, citation.links.doi)}{named} ({span})"


def _cited(number: str, text: str, doi: str) -> str:
    parts = (f"[{escaped(one_line(number))}]", escaped(plain(text)), link(doi, doi_url(one_line(doi))))
    return " ".join(filter(None, parts))


def _reference(entry: Entry) -> str:
    """`Ada Marsh, Bo Lindqvist (2021). Why limpets hold on. *Journal of Shore Life*. link`."""
    names = ", ".join(map(_name, entry.names[:_MAX_AUTHORS]))
    more = " et al." if len(entry.names) > _MAX_AUTHORS else ""
    year = f" ({entry.date[0]})" if entry.date else ""
    by = f"{names}{more}{year}".strip()
    title = entry.title if entry.title.endswith((".", "?", "!")) else f"{entry.title}."
    parts = (
        escaped(f"{by}.") if by else "",
        escaped(title),
        f"*{escaped(entry.journal)}*." if entry.journal else "",
        _bare_link(doi_url(entry.doi) or entry.url),
    )
    return " ".join(filter(None, parts))


def _name(name: Name) -> str:
    return " ".join(filter(None, (name.given, name.family, name.suffix)))


def _lines(text: str) -> Iterator[str]:
    """The text's lines, escaped, for a block of its own: those that begin a block in the paper end with a break."""
    lines = [line.strip() for line in clean(text).split("\n")]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        ends = "\\" if line and following and _BLOCK.match(following) else ""
        yield escaped(line) + ends


def escaped(text: str) -> str:
    """One line of text, so that Markdown shows it as it stands."""
    return _START.sub(r"\1\\", _INLINE.sub(r"\\\g<0>", text))


def _code(text: str) -> str:
    """The text between as many backticks as it needs."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def link(text: str, url: str) -> str:
    """A link, if the address is one of the web; else the text."""
    shown = escaped(one_line(text))
    return f"[{shown}]({_address(url).replace('&', '&amp;')})" if _is_of_the_web(url) else shown


def _bare_link(url: str) -> str:
    return f"<{_address(url)}>" if _is_of_the_web(url) else escaped(url)


def _address(url: str) -> str:
    return quote(one_line(url), safe=_IN_AN_ADDRESS)


def _is_of_the_web(url: str) -> bool:
    return url.startswith(("https://", "http://"))
