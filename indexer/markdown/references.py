"""Reference lists -> entries with the keys that markers name them by."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from indexer.markdown.markers import ReferenceList, bracketed_numbers, mostly_rise, read_markers
from indexer.markdown.metadata import clean_doi
from indexer.markdown.sections import role_of
from indexer.papers import CONTENT_KINDS, Block, Marker, Reference, Section

_ENTRY = re.compile(r"[ \t]*(?:[-*+][ \t]+)?(?:\[\^?(\d{1,4})\]:?|(\d{1,4})[.)](?=\s))[ \t]*|[ \t]*[-*+][ \t]+")
_ANCHOR = re.compile(
    r"<(?P<tag>a|span)\s[^<>]{0,200}?\b(?:id|name)\s*=\s*[\"']?(?P<id>[^\s\"'<>]{1,200})[\"']?[^<>]{0,200}?"
    r"(?:/>|>\s*</(?P=tag)>)\s*",
    re.IGNORECASE,
)
"""`<a id="B12"></a>`: what links in the text name an entry by."""
_KEY_BEHIND_ANCHOR = re.compile(r"(?:\[(\d{1,4})\]|(\d{1,4})[.)](?=\s))[ \t]*")
_HTML_ITEM = re.compile(r"<li\b(?:[^<>]{0,200}?\bid\s*=\s*[\"']?(?P<id>[^\s\"'<>]{1,200}))?[^<>]*>\s*", re.IGNORECASE)
_HTML_ITEM_END = re.compile(r"(?:\s*</?(?:li|ol|ul|div)\b[^<>]*>)+\s*\Z", re.IGNORECASE)
_NOTE = re.compile(
    r"(?:^|(?<=[\r\n]))[ \t]*(?:[-*+][ \t]+)?\[\^(?P<label>[^\[\]\s]{1,60})\]:[ \t]*(?P<note>[^\s][^\r\n]*)"
)
"""A footnote's label and first line: `[^1]: Tern O. Bone Rep. 2001.`"""
_NUMBERED_LINE = re.compile(r"(?:^|(?<=\r))[ \t]*(\[\^?)?(\d{1,4})(?:\]:?|[.)])[ \t]+", re.MULTILINE)
_PMID_LABELLED = re.compile(r"\bPMID:?\s*(\d{1,8})\b", re.IGNORECASE)
_PMID_LAST = re.compile(r"(?:^|\s)(\d{7,8})\.?$")
"""PubMed ids of the last decades have seven or eight digits; no page, year or volume has."""
_DATED = re.compile(r"\b(?:1[5-9]|20)\d\d[a-z]?\b|\b10\.\d{4,9}/|https?://|\bin press\b", re.IGNORECASE)
_NAMED = re.compile(
    r"[*_]{0,2}[^\W\d_][\w’'.-]*(?:[ ](?!and\b)[^\W\d_][\w’'-]+)?,?\s+[A-Z][A-Z.,\s-]{0,6}(?=[\s,(&]|$)"
)
"""A surname and initials, as an entry begins and no sentence does."""

_PROSE = frozenset({"paragraph", "list_item", "quote", "table", "table_caption", "figure_caption"})
_MIN_SHARE_CITED = 0.8
"""Entries without numbers are only numbered by place where the text names this share of the places."""


def read_references(
    text: str, sections: Sequence[Section], blocks: Sequence[Block]
) -> tuple[list[Reference], list[Marker]]:
    """Every entry of every list, and every marker that names one, in order."""
    found: dict[int, _Found] = {}
    for block in blocks:
        if sections[block.section].role == "references" and block.kind in CONTENT_KINDS:
            found.setdefault(block.section, _Found()).blocks.append(block)
    prose = [b for b in blocks if b.kind in _PROSE and sections[b.section].role != "references"]
    numbers = bracketed_numbers(text, [b for b in prose if b.kind != "table"])
    references: list[Reference] = []
    lists: list[ReferenceList] = []
    after = 0
    for section, each in found.items():
        start = each.blocks[0].start
        for block in _entry_blocks(text, each.blocks):
            each.take(text, block)
        each.number_lazy_ones()
        since = max(after, sections[sections[section].parent].start)
        between = slice(bisect_left(numbers, (since, 0)), bisect_left(numbers, (start, 0)))
        by_place = each.number_by_place([n for _, n in numbers[between]])
        entries: dict[str, int] = {}
        for n, entry in enumerate(each.entries, start=len(references)):
            if entry.key:
                entries.setdefault(entry.key, n)
        anchors = {name: n for n, names in enumerate(each.anchors, start=len(references)) for name in names}
        lists.append(ReferenceList(start, since if by_place else 0, entries, by_place, anchors))
        references.extend(each.entries)
        after = each.blocks[-1].end
    notes = _notes(text, references)
    return references, read_markers(text, sections, prose, lists, references, notes)


def _notes(text: str, references: list[Reference]) -> dict[str, int]:
    """The entries that are footnotes, by their labels; those outside a reference list are added to `references`."""
    starts = {entry.start: n for n, entry in enumerate(references)}
    notes: dict[str, int] = {}
    for match in _NOTE.finditer(text) if "[^" in text else ():
        start, entry = match.start("note"), match["note"].rstrip()
        if start not in starts and _DATED.search(entry) and (_NAMED.match(entry) or clean_doi(entry)):
            starts[start] = len(references)
            references.append(_reference(match["label"], entry, start))
        if start in starts:
            notes.setdefault(match["label"], starts[start])
    return notes


@dataclass(slots=True)
class _Found:
    """A reference list while it is read."""

    blocks: list[Block] = field(default_factory=list)
    entries: list[Reference] = field(default_factory=list)
    anchors: list[tuple[str, ...]] = field(default_factory=list)
    """Of each entry, the ids that stand on it."""
    _anchors_above: tuple[str, ...] = ()

    def take(self, text: str, block: Block) -> None:
        """The entries of a block; the year on a wrapped line, `2005. A title`, belongs to the entry before."""
        for entry, anchors in _entries(text, block):
            before = self.entries[-1] if self.entries else None
            if not entry.text:
                self._anchors_above += anchors
            elif before is not None and _is_wrapped_year(text, before, entry):
                whole = text[before.start : entry.end]
                self.entries[-1] = _reference(before.key, whole, before.start)
            else:
                anchors, self._anchors_above = self._anchors_above + anchors, ()
                self.anchors.append(anchors)
                self.entries.append(replace(entry, key=entry.key or anchors[0]) if anchors else entry)

    def number_lazy_ones(self) -> None:
        """Number a list typed as `1.` `1.` `1.` by place, as Markdown does."""
        if len(self.entries) > 1 and all(entry.key == "1" for entry in self.entries):
            self._number()

    def number_by_place(self, cited: Sequence[int]) -> bool:
        """Number a list without numbers by place, where that is certain: `cited`, the numbers in the text above it,
        first appear in rising order, end with the last entry and leave few out.
        """
        places = range(1, len(self.entries) + 1)
        if not cited or any(entry.key for entry in self.entries) or any(b.kind != "list_item" for b in self.blocks):
            return False
        named = set(cited)
        if max(named) != len(places) or len(named & set(places)) < _MIN_SHARE_CITED * len(places):
            return False
        if not mostly_rise(cited):
            return False
        self._number()
        return True

    def _number(self) -> None:
        self.entries = [replace(entry, key=str(n)) for n, entry in enumerate(self.entries, start=1)]


def _is_wrapped_year(text: str, before: Reference, entry: Reference) -> bool:
    between = text[before.end : entry.start]
    return (
        bool(re.fullmatch(r"(?:1[6-9]|20)\d\d", entry.key))
        and before.key.isdecimal()
        and int(before.key) + 1 < int(entry.key)
        and len(before.key) < 4
        and not re.search(r"(?:\r\n|\r|\n)[ \t]*(?:\r\n|\r|\n)", between)
    )


def _entry_blocks(text: str, blocks: Sequence[Block]) -> list[Block]:
    """The blocks of a reference list that are entries: not its tables and captions, nor a note under it."""
    candidates = [b for b in blocks if b.kind in ("paragraph", "list_item", "quote")]
    listed = [
        b
        for b in candidates
        if b.kind == "list_item"
        or _is_numbered(text, b)
        or _ANCHOR.match(text, b.start, b.end)
        or _is_html_list(text, b)
    ]
    if len(listed) * 2 >= len(candidates):
        return listed
    return [b for b in candidates if _DATED.search(text, b.start, b.end)]


def _is_html_list(text: str, block: Block) -> bool:
    return text.startswith("<", block.start) and bool(_HTML_ITEM.search(text, block.start, block.end))


def _is_numbered(text: str, block: Block) -> bool:
    match = _ENTRY.match(text, block.start, block.end)
    return bool(match and (match[1] or match[2]))


def settle_roles(text: str, sections: Sequence[Section], blocks: Sequence[Block]) -> tuple[Section, ...]:
    """The sections, those under a reference list judged by what stands in them: entries, or an appendix."""
    inside: dict[int, list[Block]] = {}
    for block in blocks:
        if block.kind in CONTENT_KINDS:
            inside.setdefault(block.section, []).append(block)
    settled: list[Section] = []
    for n, section in enumerate(sections):
        if section.role == "references" and role_of(section.title, section.number) != "references":
            under = settled[section.parent].role == "references" and _lists_entries(text, inside.get(n, ()))
            section = replace(section, role="references" if under else "body")
        if section.role == "body" and _are_anchored(text, inside.get(n, ())):
            section = replace(section, role="references")
        settled.append(section)
    return tuple(settled)


def _are_anchored(text: str, blocks: Sequence[Block]) -> bool:
    """Whether blocks are the items of a list that links name, whatever its heading: `Literature`, `Sources`."""
    return len(blocks) > 1 and all(b.kind == "list_item" and _anchors_of_item(text, b) for b in blocks)


def _anchors_of_item(text: str, block: Block) -> bool:
    match = _ENTRY.match(text, block.start, block.end)
    return bool(match and _ANCHOR.match(text, match.end(), block.end))


def _lists_entries(text: str, blocks: Sequence[Block]) -> bool:
    """Whether what stands under a heading such as `Primary sources` are entries of a reference list."""
    return bool(blocks) and all(
        (b.kind == "list_item" or _is_numbered(text, b) or bool(_NAMED.match(text, b.start, b.end)))
        and bool(_DATED.search(text, b.start, b.end))
        for b in blocks
    )


def _entries(text: str, block: Block) -> Iterator[tuple[Reference, tuple[str, ...]]]:
    """The entries of a block, with the anchors on each: one entry, or one a line where several lines are numbered, each
    one more than the last. Anchors alone are an entry without text.
    """
    if _is_html_list(text, block):
        yield from _html_entries(text, block)
        return
    starts: list[int] = []
    form, last = None, 0
    for line in _NUMBERED_LINE.finditer(text, block.start, block.end):
        number = int(line[2])
        if not starts or (line[1] == form and number == last + 1):
            starts.append(line.start())
            form, last = line[1], number
    if len(starts) < 2 or starts[0] != block.start:
        starts = [block.start]
    for start, end in zip(starts, [*starts[1:], block.end], strict=True):
        start, above = _anchors(text, start, end)
        match = _ENTRY.match(text, start, end)
        key = (match[1] or match[2] or "") if match else ""
        start, own = _anchors(text, match.end() if match else start, end)
        if (above or own) and not key and (behind := _KEY_BEHIND_ANCHOR.match(text, start, end)):
            key, start = behind[1] or behind[2], behind.end()
        entry = text[start:end].rstrip()
        if entry or above or own:
            yield _reference(key, entry, start), above + own


def _html_entries(text: str, block: Block) -> Iterator[tuple[Reference, tuple[str, ...]]]:
    """The items of an HTML list, those of an ordered one numbered by place, with their ids."""
    items = list(_HTML_ITEM.finditer(text, block.start, block.end))
    ordered = text[block.start : items[0].start()].lower().find("<ol") >= 0
    ends = [item.start() for item in items[1:]] + [block.end]
    for n, (item, end) in enumerate(zip(items, ends, strict=True), start=1):
        entry = _HTML_ITEM_END.sub("", text[item.end() : end])
        if entry:
            yield _reference(str(n) if ordered else "", entry, item.end()), (item["id"],) if item["id"] else ()


def _anchors(text: str, start: int, end: int) -> tuple[int, tuple[str, ...]]:
    """Where the anchors at `start` end, and their ids."""
    ids: list[str] = []
    while match := _ANCHOR.match(text, start, end):
        ids.append(match["id"])
        start = match.end()
    return min(start, end), tuple(ids)


def _reference(key: str, entry: str, start: int) -> Reference:
    return Reference(key, entry, clean_doi(entry), _pmid(entry), start, start + len(entry))


def _pmid(entry: str) -> str:
    match = _PMID_LABELLED.search(entry) or _PMID_LAST.search(entry)
    return match[1] if match else ""
