"""Reference lists -> entries, and inline markers -> the entries that they name.

A marker is only made where an entry bears it out: a number that no list has is a number, not a citation.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from indexer.markdown.metadata import clean_doi
from indexer.papers import Block, Marker, Reference, Section

_ENTRY = re.compile(r"[ \t]*(?:[-*+][ \t]+)?(?:\[(\d{1,4})\]|(\d{1,4})[.)](?=\s))[ \t]*|[ \t]*[-*+][ \t]+")
_NUMBERED_LINE = re.compile(r"^[ \t]*(?:\[\d{1,4}\]|\d{1,4}[.)])[ \t]+", re.MULTILINE)
_PMID_LABELLED = re.compile(r"\bPMID:?\s*(\d{1,8})\b", re.IGNORECASE)
_PMID_LAST = re.compile(r"(?:^|\s)(\d{7,8})\.?$")
"""PubMed ids of the last decades have seven or eight digits; no page, year or volume has."""

_NUMBERS = r"\d{1,4}(?:\s*[,;–—-]\s*\d{1,4})*"
_LINKED = re.compile(r"\[?\[\d{1,4}\]\(#[^()\s]*\)(?:[,;\s–—-]*\[\d{1,4}\]\(#[^()\s]*\))*\]?")
_LINKED_TARGET = re.compile(r"\]\(#[^()\s]*\)")
_BRACKETED = re.compile(rf"\[({_NUMBERS})\](?!\()")
_SUPERSCRIPT = re.compile(rf"(?<![\d×^])\^({_NUMBERS})\^|(?<![\d×])<sup>({_NUMBERS})</sup>")
_UNICODE_SUPERSCRIPT = re.compile(r"(?<=[a-zA-Z.,;:)\]”\"’])[¹²³⁴⁵⁶⁷⁸⁹⁰]+(?:[⁻,–][¹²³⁴⁵⁶⁷⁸⁹⁰]+)*")
_FROM_SUPERSCRIPT = str.maketrans("¹²³⁴⁵⁶⁷⁸⁹⁰⁻", "1234567890-")
_UNIT_BEFORE = re.compile(r"(?:^|[\s/(·×])(?:[munpkcdµμ]?m|in|ft|s|h|sec|min|kg|g|cm|mL|L|R|χ|r|I|η|e|i|x|n|p)\*?$")
_PARENTHESISED = re.compile(rf"\(({_NUMBERS})\)")
_CITED_KEYS = re.compile(
    r"\[[^\[\]]{0,400}@[^\[\]]{1,1000}\]|(?<![\w@\[])@(?:doi|pmid|pmcid|arxiv|tag|url):[^\s;,\[\]]+"
)
_KEY = re.compile(r"@((?:doi|pmid|pmcid|arxiv|isbn|url|tag|wikidata|raw|clinicaltrials):[^\s;,\[\]]+)")
_DEFINITION = re.compile(r"^[ \t]*\[@(tag:[^\]\s]+)\]:[ \t]*(\S+)", re.MULTILINE)
"""Manubot's `[@tag:x]: doi:10.1000/x`: what a tag stands for."""
_PART = re.compile(r"(\d+)(?:\s*[–—-]\s*(\d+))?")

_PROSE = frozenset({"paragraph", "list_item", "quote", "table", "table_caption", "figure_caption"})
_FEW = 3
"""A style of marker is the paper's own when it turns up this often."""
_MIN_LIST_FOR_PARENTHESES = 5
_MIN_SHARE_ASCENDING = 0.8
"""Cited works are numbered as they first appear: parenthesised numbers that do not mostly rise are something else."""


@dataclass(frozen=True, slots=True)
class _List:
    """One reference list: where it stands, and its entries by key."""

    start: int
    entries: dict[str, int]


def read_references(
    text: str, sections: Sequence[Section], blocks: Sequence[Block]
) -> tuple[list[Reference], list[Marker]]:
    """Every entry of every list, and every marker that names one, in order."""
    references: list[Reference] = []
    lists: dict[int, _List] = {}
    for block in blocks:
        if sections[block.section].role == "references" and block.kind in _PROSE:
            entries = lists.setdefault(block.section, _List(block.start, {})).entries
            for entry in _entries(text, block):
                if entry.key:
                    entries.setdefault(entry.key, len(references))
                references.append(entry)
    prose = [b for b in blocks if b.kind in _PROSE and sections[b.section].role != "references"]
    markers = list(_numbered(text, prose, list(lists.values())))
    markers += _keyed(text, prose, references)
    markers.sort(key=lambda marker: marker.start)
    return references, _without_overlap(markers)


def _entries(text: str, block: Block) -> Iterator[Reference]:
    """The entries of a block: one, or one a line where several lines are numbered."""
    starts = [match.start() for match in _NUMBERED_LINE.finditer(text, block.start, block.end)]
    if len(starts) < 2 or starts[0] != block.start:
        starts = [block.start]
    for start, end in zip(starts, [*starts[1:], block.end], strict=True):
        match = _ENTRY.match(text, start, end)
        key = (match[1] or match[2] or "") if match else ""
        start = match.end() if match else start
        entry = text[start:end].rstrip()
        if entry:
            yield Reference(key, entry, clean_doi(entry), _pmid(entry), start, start + len(entry))


def _pmid(entry: str) -> str:
    match = _PMID_LABELLED.search(entry) or _PMID_LAST.search(entry)
    return match[1] if match else ""


def _numbered(text: str, prose: Sequence[Block], lists: Sequence[_List]) -> Iterator[Marker]:
    """Markers by number, in the style or styles that are the paper's own."""
    lists = [each for each in lists if each.entries]
    if not lists:
        return
    main = max(lists, key=lambda each: len(each.entries))
    starts = [each.start for each in lists]

    def named(at: int, numbers: str) -> tuple[int, ...]:
        following = bisect_right(starts, at)
        for each in [*lists[following : following + 1], main]:
            found = _resolve(numbers, each.entries)
            if found:
                return found
        return ()

    linked = [m for b in prose for m in _LINKED.finditer(text, b.start, b.end)]
    bracketed = [m for b in prose for m in _BRACKETED.finditer(text, b.start, b.end)]
    for match in linked:
        if found := named(match.start(), _linked_numbers(match[0])):
            yield Marker(match.start(), match.end(), found)
    brackets = [Marker(m.start(), m.end(), found) for m in bracketed if (found := named(m.start(), m[1]))]
    yield from brackets
    if len(linked) >= _FEW or len(brackets) >= _FEW:
        return
    raised = [
        Marker(start, end, found)
        for block in prose
        for start, end, numbers in _superscripts(text, block)
        if (found := named(start, numbers))
    ]
    yield from raised
    if len(raised) < _FEW and len(main.entries) >= _MIN_LIST_FOR_PARENTHESES:
        yield from _parenthesised(text, prose, main)


def _linked_numbers(marker: str) -> str:
    """`[[1](#B1)–[3](#B3)]` as `1–3`."""
    adjacent = re.sub(r"\]\s*\[", "],[", _LINKED_TARGET.sub("]", marker))
    return re.sub(r"[\[\]\s]", "", adjacent)


def _superscripts(text: str, block: Block) -> Iterator[tuple[int, int, str]]:
    if block.kind == "table":
        return  # there they are footnotes
    for match in _SUPERSCRIPT.finditer(text, block.start, block.end):
        numbers = match[1] or match[2]
        power = numbers in ("2", "3") and _UNIT_BEFORE.search(text, max(block.start, match.start() - 8), match.start())
        if match.start() > block.start and not text[match.start() - 1].isspace() and not power:
            yield match.start(), match.end(), numbers
    for match in _UNICODE_SUPERSCRIPT.finditer(text, block.start, block.end):
        numbers = match[0].translate(_FROM_SUPERSCRIPT)
        if not (
            numbers in ("2", "3") and _UNIT_BEFORE.search(text, max(block.start, match.start() - 8), match.start())
        ):
            yield match.start(), match.end(), numbers


def _parenthesised(text: str, prose: Sequence[Block], main: _List) -> list[Marker]:
    """`(12)`, `(1–3)`: only in a paper where they first appear in rising order, as cited works do."""
    found = [
        (match, named)
        for block in prose
        if block.kind in ("paragraph", "list_item")
        for match in _PARENTHESISED.finditer(text, block.start, block.end)
        if (named := _resolve(match[1], main.entries))
    ]
    first = list(dict.fromkeys(named[0] for _, named in found))
    rising = sum(a < b for a, b in pairwise(first))
    if len(first) < _MIN_LIST_FOR_PARENTHESES or rising < _MIN_SHARE_ASCENDING * (len(first) - 1):
        return []
    return [Marker(match.start(), match.end(), named) for match, named in found]


def _resolve(numbers: str, entries: dict[str, int]) -> tuple[int, ...]:
    """The entries that `12, 13-15` names; none at all when one end of a part is in no list."""
    found: list[int] = []
    for match in _PART.finditer(numbers):
        first, last = int(match[1]), int(match[2] or match[1])
        if str(first) not in entries or str(last) not in entries or last < first:
            return ()
        found.extend(
            entries[key] for n in range(first, min(last, first + len(entries)) + 1) if (key := str(n)) in entries
        )
    return tuple(dict.fromkeys(found))


def _keyed(text: str, prose: Sequence[Block], references: list[Reference]) -> list[Marker]:
    """Markers by citation key, `[@doi:10.1371/x; @pmid:2]`; their entries are made from the keys."""
    known = {entry.key: n for n, entry in enumerate(references)}
    tags = dict(_DEFINITION.findall(text))
    markers: list[Marker] = []
    for block in prose:
        for match in _CITED_KEYS.finditer(text, block.start, block.end):
            named: list[int] = []
            for key in (each.rstrip(".") for each in _KEY.findall(match[0])):
                if key not in known:
                    known[key] = len(references)
                    kind, _, value = tags.get(key, key).partition(":")
                    doi, pmid = (value if kind == "doi" else ""), (value if kind == "pmid" else "")
                    references.append(Reference(key, "", doi, pmid, 0, 0))
                named.append(known[key])
            if named:
                markers.append(Marker(match.start(), match.end(), tuple(dict.fromkeys(named))))
    return markers


def _without_overlap(markers: Sequence[Marker]) -> list[Marker]:
    kept: list[Marker] = []
    for marker in markers:
        if not kept or marker.start >= kept[-1].end:
            kept.append(marker)
    return kept
