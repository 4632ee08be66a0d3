"""Citations -> one entry a paper, its fields plain text on one line, with a key of its own and the places cited."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from indexer.plaintext import plain_text
from service.cite import Citation
from service.names import Name, read_name
from service.printable import marked, one_line, sentences_named

_SMALL_WORDS = frozenset("a an and at by can do does for from how in is of on or the to what when why with".split())
"""No key takes these of a title."""
_UNFOLDED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "ß": "ss", "þ": "th", "ð": "d"}
)
"""Letters that do not decompose into one of ASCII and a mark."""
_MAX_KEY_PART = 30

_NUMERIC_DATE = re.compile(r"\d{4}[-/.](\d{1,2})(?:[-/.](\d{1,2}))?(?!\d)")
_MONTH = re.compile(r"\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*", re.IGNORECASE)
_DAY = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)?\b")
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()


@dataclass(frozen=True, slots=True)
class Entry:
    """A paper as bibliographies list it. Every text is plain, printable and on one line; empty where unknown."""

    key: str
    """`pang2026diabetes`: ASCII letters and digits, and `-a`, `-b` where papers of one bibliography would share it."""
    title: str
    """With `RETRACTED: ` in front where the paper is."""
    names: tuple[Name, ...]
    journal: str
    date: tuple[int, ...]
    """Year, month, day, as far as they are known."""
    doi: str
    url: str
    pmid: str
    pmcid: str
    citations: tuple[Citation, ...]
    """All of the paper, as given."""


def read_entries(citations: Sequence[Citation]) -> list[Entry]:
    """The papers cited, in the order of first citation."""
    of_paper: dict[str, list[Citation]] = defaultdict(list)
    for citation in citations:
        of_paper[citation.paper_id].append(citation)
    found = [_read(each) for each in of_paper.values()]
    sharing: dict[str, list[str]] = defaultdict(list)
    for paper_id, entry in sorted(zip(of_paper, found, strict=True), key=lambda each: each[0]):
        sharing[entry.key].append(paper_id)
    return [
        replace(entry, key=f"{entry.key}-{_letters(sharing[entry.key].index(paper_id))}")
        if len(sharing[entry.key]) > 1
        else entry
        for paper_id, entry in zip(of_paper, found, strict=True)
    ]


def plain(text: str) -> str:
    """A paper's text as words: printable, on one line, without Markdown and HTML."""
    return one_line(plain_text(text, 0, len(text)))


def place(citation: Citation) -> str:
    """`§3.2. AGEs and Bone Quality, ¶4, sentence 2 (PMC12898183.md:18223-18790)`."""
    parts = [f"§{plain(citation.section[-1])}"] if citation.section else []
    if citation.paragraph:
        parts.append(f"¶{citation.paragraph}")
    if citation.sentences:
        parts.append(sentences_named(citation.sentences))
    span = one_line(citation.span)
    return f"{', '.join(parts)} ({span})" if parts else span


def places(entry: Entry) -> str:
    """All that is cited of the paper."""
    return "; ".join(dict.fromkeys(map(place, entry.citations)))


def _read(citations: Sequence[Citation]) -> Entry:
    first = citations[0]
    title = plain(first.title) or one_line(first.paper_id)
    names = tuple(name for author in first.authors if (name := _read_name(author)).family)
    date = _read_date(first.date, first.year)
    return Entry(
        key=_key(title, names, date, first.paper_id),
        title=title if title.lower().lstrip("[(").startswith("retracted") else marked(title, first.notices),
        names=names,
        journal=plain(first.journal),
        date=date,
        doi=one_line(first.doi),
        url=one_line(first.url),
        pmid=one_line(first.pmid),
        pmcid=one_line(first.pmcid),
        citations=tuple(citations),
    )


def _read_name(author: str) -> Name:
    name = read_name(author)
    return replace(name, family=one_line(name.family), given=one_line(name.given))


def _read_date(date: str, year: int | None) -> tuple[int, ...]:
    """Of `2026-01-31`, `2014/3`, `30 March 2007`, `2007 Mar`: as much as is a date."""
    if year is None:
        return ()
    if numeric := _NUMERIC_DATE.search(date):
        month, day = int(numeric[1]), int(numeric[2] or 0)
    elif named := _MONTH.search(date):
        month = MONTHS.index(named[1].lower()) + 1
        found = _DAY.search(date)
        day = int(found[1]) if found else 0
    else:
        return (year,)
    try:
        datetime.date(year, month, day or 1)
    except ValueError:
        return (year,)
    return (year, month, day) if day else (year, month)


def _key(title: str, names: Sequence[Name], date: Sequence[int], paper_id: str) -> str:
    words = [_folded(word) for word in title.split()]
    word = next((word for word in words if word and word not in _SMALL_WORDS), "")
    surname = _folded(names[0].family) if names else ""
    year = str(date[0]) if date else ""
    return f"{surname}{year}{word}" if surname or word else _folded(paper_id) or "paper"


def _folded(text: str) -> str:
    """The ASCII letters and digits of a text, small, accents taken off."""
    bare = unicodedata.normalize("NFKD", text.lower().translate(_UNFOLDED))
    return "".join(re.findall(r"[a-z0-9]", bare))[:_MAX_KEY_PART]


def _letters(n: int) -> str:
    """a, b, ..., z, aa, ab, ...: of 0, 1, ..."""
    letters = ""
    n += 1
    while n:
        n, letter = divmod(n - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters
