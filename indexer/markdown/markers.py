"""Inline markers -> the entries of the reference lists that they name.

A marker is only made where an entry bears it out, and only in the style that is the paper's own: a wrong marker cites
a wrong work, a missing one costs a reader little.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from indexer.markdown.keys import keyed_markers, note_markers
from indexer.papers import Block, Marker, Reference, Section

_NUMBERS = r"\d{1,4}(?:\s*[,;–—-]\s*\d{1,4})*"
_LINKED = re.compile(r"\[?\[\d{1,4}\]\(#[^()\s]*\)(?:[,;\s–—-]*\[\d{1,4}\]\(#[^()\s]*\))*\]?")
_ANCHORED = re.compile(
    r"\[(?P<words>(?:[^\[\]\\\r\n]|\\.){0,200})\]\(#(?P<id>[^()\s]{1,200})\)"
    r"|<a\s[^<>]{0,200}?\bhref\s*=\s*[\"']?#(?P<href>[^\s\"'<>]{1,200})[\"']?[^<>]{0,200}>(?P<inside>[^<>\r\n]{0,200})</a>",
    re.IGNORECASE,
)
"""`[12](#B12)`, `[Quill et al., 1999](#bib12)`, `[\\[12\\]](#B12)`, `<a href="#B12">12</a>`; no words where one marker
names more entries than it shows."""
_BETWEEN_LINKS = re.compile(r"(?:[,;\s&]|and|</?sup>)*(?:(?P<dash>[‐–—−-]|\]\s?[‐–—−-]\s?\[)(?:\s|</?sup>)*)?")
_MAX_BETWEEN = 40
_NUMBER = re.compile(r"(?!(?:19|20)\d\d)[0-9]{1,4}")
"""Not a year."""
_AROUND = (("[", "]"), ("(", ")"), ("<sup>", "</sup>"), ("^", "^"))
_LINKED_TARGET = re.compile(r"\]\(#[^()\s]*\)")
_BRACKETED = re.compile(rf"\[{_NUMBERS}\](?!\()(?:\s?[–—-]\s?\[{_NUMBERS}\](?!\())*")
"""`[3]`, `[3, 5–7]`, and `[3]–[5]`, which names 4 too."""
_JOINED = re.compile(r"\]\s?([–—-])\s?\[")
_SUPERSCRIPT = re.compile(rf"(?<![\d×^\s(\[])(?:\^({_NUMBERS})\^|<sup>({_NUMBERS})</sup>)(?![^\W_])")
"""Not `^14^C` and `^3^H`: what stands before a letter is an isotope or an affiliation."""
_TEX_SUPERSCRIPT = re.compile(r"\$\s*\^\s*\{\s*(\d[\d\s,;–-]*)\}\s*\$")
"""`$^{1,2}$`, after a blank or none."""
_UNICODE_SUPERSCRIPT = re.compile(r"(?<=[a-zA-Z.,;:)\]”\"’])[¹²³⁴⁵⁶⁷⁸⁹⁰]+(?:[⁻,–][¹²³⁴⁵⁶⁷⁸⁹⁰]+)*(?![\w⁺⁻⁼⁽])")
_FROM_SUPERSCRIPT = str.maketrans("¹²³⁴⁵⁶⁷⁸⁹⁰⁻", "1234567890-")
_POWERS = ("2", "3", "4")
_RAISED_TO_A_POWER = re.compile(
    r"(?:^|[^\w*_>])(?:<i>|<em>|[*_]{1,3})?"
    r"(?:[^\W\d_]|[munpkcdµμ]m|in|ft|sec|min|kg|mg|mL|ml|chi|eta|log|Chi)(?:</i>|</em>|[*_]{1,3})?$"
    r"|(?:^|[^\w*_>])(?:<i>|<em>|[*_]{1,3})[^\W\d_]{1,3}(?:</i>|</em>|[*_]{1,3})$"
)
"""A unit, a variable: `150-cm`, `kg/m`, `*η*`, `*Md*`, `chi`, `R`."""
_PARENTHESISED = re.compile(rf"\(({_NUMBERS})\)")
_ITEM_BEFORE = re.compile(
    r"(?:^|[:;,]|\b(?:and|or|equations?|eqs?\.?|formulas?|figures?|figs?\.?|tables?|steps?))[\s*_]*$",
    re.IGNORECASE,
)
"""Before the number of a list's item or an equation, and before no cited one."""
_COUNT_BEFORE = re.compile(r"(?:^|[\s(=<>~≈±])(?!(?:19|20)\d\d\s)\d[\d.,]*%?\s*$")
"""`12 (30)`: a count with its share."""
_PART = re.compile(r"(\d+)(?:\s*[–—-]\s*(\d+))?")

_PAIR = re.compile(r"(\d+)\s*[,;–—-]\s*(\d+)")
_NUMBER_BEFORE = re.compile(r"(?:^|[\s(|=<>~≈±])(\d+(?:\.\d+)?)%?\s*$")
_ACCESSION_BEFORE = re.compile(r"(?:^|[\s(|])[A-Za-z]{1,6}[:_]?\d{4,}[\w.]*\s*$")
_INTERVAL_BEFORE = re.compile(r"\b(?:CI|IQR|range|interval|scale)\s*[:=]?\s*$", re.IGNORECASE)
_MAX_RANGE = 100
"""No marker cites more works in a row."""
_YEAR = re.compile(r"(?:19|20)\d\d")

_WORD = re.compile(r"[^\W\d_]{2,}")
_MIN_WORDS_OF_PROSE = 8

_MIN_SHARE_RISING = 0.8
"""Cited works are numbered as they first appear: numbers that do not mostly rise are something else, or the list is
in alphabetical order."""
_MIN_SHARE_NAMED = {"brackets": 0.1, "superscripts": 0.25, "parentheses": 0.3}
"""How much of the list a style must name to be the paper's own. Over the shared papers, styles that are name at least
0.66 of it, others at most 0.23."""
_MIN_NAMED = {"brackets": 1, "superscripts": 3, "parentheses": 5}
_SURE_SHARE_NAMED = 0.5
"""Brackets that name so much need not rise: the list may be in alphabetical order."""


@dataclass(frozen=True, slots=True)
class ReferenceList:
    """One reference list: where it stands, and its entries by key."""

    start: int
    since: int
    """Where the text begins that a list numbered by place is the list of."""
    entries: dict[str, int]
    by_place: bool
    anchors: dict[str, int]
    """Its entries by the ids that stand on them."""


def read_markers(
    text: str,
    sections: Sequence[Section],
    prose: Sequence[Block],
    lists: Sequence[ReferenceList],
    references: list[Reference],
    notes: Mapping[str, int],
) -> list[Marker]:
    """Every marker in `prose` that names an entry, in order; entries known by key alone are added to `references`.

    `notes`: the entries that are footnotes, by their labels.
    """
    citing = [b for b in prose if b.section or len(sections) == 1 or _reads_as_prose(text[b.start : b.end])]
    anchored = list(_anchored(text, citing, lists))
    markers = anchored + note_markers(text, prose, notes) + keyed_markers(text, prose, references)
    if len({n for marker in anchored for n in marker.references}) < _SURE_SHARE_NAMED * len(references):
        markers += _numbered(text, citing, [each for each in lists if each.entries])
    markers.sort(key=lambda marker: (marker.start, -marker.end))
    return _without_overlap(markers)


def bracketed_numbers(text: str, blocks: Iterable[Block]) -> list[tuple[int, int]]:
    """Where numbers stand in brackets, and each number, those inside a range too."""
    return [
        (start, number)
        for block in blocks
        for start, _, numbers in _bracketed(text, block)
        for part in _PART.finditer(numbers)
        for number in range(int(part[1]), min(int(part[2] or part[1]), int(part[1]) + _MAX_RANGE) + 1)
    ]


def mostly_rise(numbers: Sequence[int]) -> bool:
    """Whether numbers first appear in rising order, as those of cited works do."""
    first = list(dict.fromkeys(numbers))
    return sum(a < b for a, b in pairwise(first)) >= _MIN_SHARE_RISING * (len(first) - 1)


def _reads_as_prose(block: str) -> bool:
    """Whether a paragraph above the first heading is text, and not a line of authors or affiliations."""
    words = _WORD.findall(block)
    return len(words) >= _MIN_WORDS_OF_PROSE and sum(word.islower() for word in words) * 2 > len(words)


_Resolver = Callable[[int, str], tuple[int, ...]]
"""Place and numbers of a marker -> the entries that it names."""


def _anchored(text: str, prose: Sequence[Block], lists: Sequence[ReferenceList]) -> Iterator[Marker]:
    """Links to entries, neighbours as one marker, with the brackets or superscript around them.

    A dash between two numbers names what stands between them in the list too.
    """
    named = {name: n for each in reversed(lists) for name, n in each.anchors.items()}
    for block in prose if named else ():
        group: list[int] = []
        start = end = number = 0
        for link in _ANCHORED.finditer(text, block.start, block.end):
            if (entry := named.get(link["id"] or link["href"])) is None:
                continue
            near = group and link.start() - end <= _MAX_BETWEEN
            between = _BETWEEN_LINKS.fullmatch(text, end, link.start()) if near else None
            if between is None:
                if group:
                    yield _around(text, block, start, end, group)
                start, group, number = link.start(), [], 0
            words = (link["words"] or link["inside"] or "").strip("\\[]().,; ")
            last, number = number, int(words) if _NUMBER.fullmatch(words) else 0
            if between and between["dash"] and 0 < number - last == entry - group[-1] <= _MAX_RANGE:
                group += range(group[-1] + 1, entry)
            group.append(entry)
            end = link.end()
        if group:
            yield _around(text, block, start, end, group)


def _around(text: str, block: Block, start: int, end: int, entries: Sequence[int]) -> Marker:
    """The marker, with what encloses it and nothing else."""
    while True:
        for opening, closing in _AROUND:
            if text.startswith(closing, end) and text.endswith(opening, block.start, start) and end < block.end:
                start, end = start - len(opening), end + len(closing)
                break
        else:
            return Marker(start, end, tuple(dict.fromkeys(entries)))


def _numbered(text: str, prose: Sequence[Block], lists: Sequence[ReferenceList]) -> list[Marker]:
    """Markers by number, in the style that is the paper's own."""
    if not lists:
        return []
    named = _resolver(lists)
    running = [block for block in prose if block.kind != "table"]
    n_entries = sum(len(each.entries) for each in lists)
    linked = [
        Marker(m.start(), m.end(), found)
        for block in prose
        for m in _LINKED.finditer(text, block.start, block.end)
        if (found := named(m.start(), _linked_numbers(m[0])))
    ]
    styles = {
        "brackets": [*linked, *_made(_bracketed, text, running, named)],
        "superscripts": _made(_superscripts, text, running, named),
        "parentheses": _made(_parenthesised, text, running, named),
    }
    shares = {style: _share_named(style, markers, n_entries) for style, markers in styles.items()}
    own = max(shares, key=lambda style: shares[style])
    if not shares[own]:
        return linked
    if own == "brackets":
        return styles[own] + _made(_bracketed, text, [b for b in prose if b.kind == "table"], named)
    return styles[own] + linked


def _share_named(style: str, markers: Sequence[Marker], n_entries: int) -> float:
    """The share of entries that a style names; 0 where it cannot be the paper's own."""
    named = [n for marker in sorted(markers, key=lambda marker: marker.start) for n in marker.references[:1]]
    every = {n for marker in markers for n in marker.references}
    share = len(every) / n_entries
    if share < _MIN_SHARE_NAMED[style] or len(every) < min(_MIN_NAMED[style], n_entries):
        return 0.0
    sure = style == "brackets" and share >= _SURE_SHARE_NAMED
    return share if sure or mostly_rise(named) else 0.0


def _resolver(lists: Sequence[ReferenceList]) -> _Resolver:
    """Looks in the list that follows a marker, then in the paper's main list, where there is one."""
    starts = [each.start for each in lists]
    main = max(lists, key=lambda each: len(each.entries))
    has_main = not main.by_place and len(main.entries) * 2 >= sum(len(each.entries) for each in lists)

    def named(at: int, numbers: str) -> tuple[int, ...]:
        following = bisect_right(starts, at)
        for each in [*lists[following : following + 1], *([main] if has_main else [])]:
            if each.since <= at and (found := _resolve(numbers, each.entries)):
                return found
        return ()

    return named


_Found = Iterator[tuple[int, int, str]]
"""Start, end and numbers of what may be a marker."""


def _made(find: Callable[[str, Block], _Found], text: str, blocks: Sequence[Block], named: _Resolver) -> list[Marker]:
    return [
        Marker(start, end, found)
        for block in blocks
        for start, end, numbers in find(text, block)
        if (found := named(start, numbers))
    ]


def _linked_numbers(marker: str) -> str:
    """`[[1](#B1)–[3](#B3)]` as `1–3`."""
    adjacent = re.sub(r"\]\s*\[", "],[", _LINKED_TARGET.sub("]", marker))
    return re.sub(r"[\[\]\s]", "", adjacent)


def _brackets(text: str, block: Block) -> Iterator[re.Match[str]]:
    for match in _BRACKETED.finditer(text, block.start, block.end):
        before = text[max(block.start, match.start() - 24) : match.start()]
        if not _is_interval(before, match[0][1:-1]) and not (block.kind == "table" and _is_count(before)):
            yield match


def _bracketed(text: str, block: Block) -> _Found:
    for match in _brackets(text, block):
        yield match.start(), match.end(), _JOINED.sub(r"\1", match[0])[1:-1]


def _is_interval(before: str, numbers: str) -> bool:
    """Whether brackets hold an interval about the number before them: `2 [1–3]`, `0.8 [1, 2]`, `range [1–5]`."""
    pair = _PAIR.fullmatch(numbers)
    if pair is None:
        return False
    if _INTERVAL_BEFORE.search(before):
        return True
    number = _NUMBER_BEFORE.search(before)
    return number is not None and ("." in number[1] or int(pair[1]) <= int(number[1]) <= int(pair[2]))


def _is_count(before: str) -> bool:
    """Whether what stands before brackets in a table's cell is a number or an accession: `GO:0008283 [4]`."""
    number = _NUMBER_BEFORE.search(before)
    return bool(_ACCESSION_BEFORE.search(before)) or (number is not None and not _YEAR.fullmatch(number[1]))


def _superscripts(text: str, block: Block) -> _Found:
    found = [(m.start(), m.end(), m[1] or m[2]) for m in _SUPERSCRIPT.finditer(text, block.start, block.end)]
    found += [
        (m.start(), m.end(), m[0].translate(_FROM_SUPERSCRIPT))
        for m in _UNICODE_SUPERSCRIPT.finditer(text, block.start, block.end)
    ]
    found += [
        (m.start(), m.end(), "".join(m[1].split()).strip(",;–-"))
        for m in _TEX_SUPERSCRIPT.finditer(text, block.start, block.end)
    ]
    for start, end, numbers in found:
        before = text[max(block.start, start - 12) : start].rstrip()
        if before and not (numbers in _POWERS and _RAISED_TO_A_POWER.search(before)):
            yield start, end, numbers


def _parenthesised(text: str, block: Block) -> _Found:
    """`(12)`, `(1–3)`; not the items of a list in the text, `(1) time to recovery; (2) duration`."""
    if block.kind not in ("paragraph", "list_item"):
        return
    items: set[int] = set()
    for match in _PARENTHESISED.finditer(text, block.start, block.end):
        before = text[max(block.start, match.start() - 24) : match.start()]
        number = int(match[1]) if match[1].isdecimal() else 0
        if _ITEM_BEFORE.search(before) or (number and {number - 1, number} & items):
            items.add(number)
            continue
        if not _COUNT_BEFORE.search(before) and not text[match.end() : match.end() + 1].isalpha():
            yield match.start(), match.end(), match[1]


def _resolve(numbers: str, entries: dict[str, int]) -> tuple[int, ...]:
    """The entries that `12, 13-15` names; none at all when one end of a part is in no list, or too far off."""
    found: list[int] = []
    for match in _PART.finditer(numbers):
        first, last = int(match[1]), int(match[2] or match[1])
        if str(first) not in entries or str(last) not in entries or not 0 <= last - first <= _MAX_RANGE:
            return ()
        found.extend(entries[key] for n in range(first, last + 1) if (key := str(n)) in entries)
    return tuple(dict.fromkeys(found))


def _without_overlap(markers: Sequence[Marker]) -> list[Marker]:
    kept: list[Marker] = []
    for marker in markers:
        if not kept or marker.start >= kept[-1].end:
            kept.append(marker)
    return kept
