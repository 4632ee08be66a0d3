"""Body and back matter -> blocks of Markdown, in the order in which they stand."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from xml.etree.ElementTree import Element

from indexer.jats.inline import BREAK, formula, inline, line, piece, plain, settle
from indexer.jats.references import entries
from indexer.jats.tables import Room, pipe_table
from indexer.jats.tree import text_of
from indexer.markdown.sections import bold_heading, typed_heading

_HEAD = frozenset({"label", "title"})
_CAPTIONED = frozenset({"label", "caption", "object-id"})
_ROWS = frozenset({"thead", "tbody", "tfoot", "tr", "colgroup", "col"})
_MAX_LEVEL = 6
_OPENS_BLOCK = re.compile(r"(#{1,6}(?=\s|$)|>|[-+*](?=\s|$)|\||={3,}|-{3,}|~{3,}|:(?=\s)|\$\$)|(\d{1,9})([.)])(?=\s|$)")
"""What Markdown takes for the beginning of a heading, a quotation, a list, a table or a formula."""
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_DEFINES = re.compile(r"\[(?=[^\[\]]+\]:)")
_HEADINGS = {
    "ack": "Acknowledgements",
    "app": "Appendix",
    "bio": "Biography",
    "notes": "Notes",
    "glossary": "Glossary",
    "ref-list": "References",
}
"""Of parts of the back matter that have no title."""
_FOOTNOTES = {
    "con": "Author contributions",
    "coi-statement": "Competing interests",
    "conflict": "Competing interests",
    "financial-disclosure": "Funding",
    "supported-by": "Funding",
    "abbr": "Abbreviations",
}
"""By their type, what footnotes without a title are about."""


class Writer:
    """Writes the blocks of one article."""

    def __init__(self, called: Mapping[str, str], room: Room | None = None) -> None:
        self._called = called
        self.room = room or Room()
        self._blocks: dict[str, Callable[[Element, int], Iterator[str]]] = {
            "sec": self.section,
            "app": self.section,
            "ack": self.section,
            "bio": self.section,
            "notes": self.section,
            "glossary": self.section,
            "app-group": self.section,
            "p": self.blocks,
            "ref-list": self._references,
            "fn-group": self._footnotes,
            "list": self._list,
            "def-list": self._definitions,
            "fig": self._figure,
            "fig-group": self._figure,
            "table-wrap": self._table,
            "table-wrap-group": self._figure,
            "supplementary-material": self._figure,
            "media": self._figure,
            "disp-formula": self._formula,
            "disp-formula-group": self._figure,
            "boxed-text": self._box,
            "disp-quote": self._box,
            "verse-group": self._box,
            "statement": self._statement,
            "code": self._code,
            "preformat": self._code,
            "array": self._array,
            "table": self._array,
            "permissions": self._permissions,
        }

    def blocks(self, element: Element, level: int, skip: frozenset[str] = frozenset()) -> Iterator[str]:
        """The element's content; text between blocks is a paragraph. Its sections have headings of `level`."""
        run = [plain(element.text)]
        for child in element:
            write = self._blocks.get(child.tag) if child.tag not in skip else None
            if write is not None:
                yield from paragraph("".join(run))
                run = []
                yield from write(child, level)
            elif child.tag not in skip:
                run.append(piece(child))
            run.append(plain(child.tail))
        yield from paragraph("".join(run))

    def section(self, element: Element, level: int) -> Iterator[str]:
        """A section under its title; without one, part of that around it."""
        title = _title(element)
        wraps_sections = all(child.tag in ("sec", "app") for child in element)
        name = title or ("" if wraps_sections else _HEADINGS.get(element.tag, ""))
        if name:
            yield heading(name, level)
            level += 1
        yield from self.blocks(element, level, _HEAD)

    def back(self, element: Element, level: int) -> Iterator[str]:
        """The back matter: what stands loose in it has a heading too."""
        yield from _titles(element)
        loose = Element("notes")
        for child in element:
            if child.tag in self._blocks and child.tag not in ("p", "list", "def-list"):
                yield from self._blocks[child.tag](child, level)
            elif child.tag not in _HEAD:
                loose.append(child)
        if text_of(loose):
            yield from self.section(loose, level)

    def _references(self, element: Element, level: int) -> Iterator[str]:
        """A list of references, with a heading always: under another they would not be one."""
        yield heading(_title(element) or _HEADINGS["ref-list"], level)
        nested = [child for child in element if child.tag == "ref-list"]
        listed = list(entries(element, self._called))
        if listed:
            yield "\n".join(listed)
        yield from self.blocks(element, level + 1, _HEAD | {"ref", "ref-list"})
        for child in nested:
            yield from self._references(child, level + 1)

    def _footnotes(self, element: Element, level: int) -> Iterator[str]:
        """Footnotes under the title of their group, else under what their type says they are about."""
        own = _title(element)
        if own:
            yield heading(own, level)
        of_type = groupby(
            element.findall("fn"), lambda fn: own or _FOOTNOTES.get(fn.get("fn-type", "").lower(), "Notes")
        )
        for name, notes in of_type:
            if not own:
                yield heading(name, level)
            for note in notes:
                yield from footnote(note)
        yield from self.blocks(element, level, _HEAD | {"fn"})

    def _list(self, element: Element, level: int) -> Iterator[str]:
        yield from _titles(element)
        ordered = element.get("list-type", "") == "order"
        items: list[str] = []
        for n, item in enumerate(element.findall("list-item"), 1):
            name = " ".join(map(text_of, item.findall("label")))
            mark = "-"
            if number := re.fullmatch(r"(\d{1,9})([.)]?)", name or (str(n) if ordered else "")):
                mark, name = f"{number[1]}{number[2] or '.'}", ""
            elif not re.search(r"\w", name):
                name = ""
            written = list(self.blocks(item, level, frozenset({"label"})))
            items.append(_item(mark, _led(settle(plain(name)), written)))
        if items:
            yield "\n".join(items)
        yield from self.blocks(element, level, _HEAD | {"list-item"})

    def _definitions(self, element: Element, level: int) -> Iterator[str]:
        """`- AGE: advanced glycation end product`"""
        yield from _titles(element)
        heads = [line(each) for name in ("term-head", "def-head") if (each := element.find(name)) is not None]
        if heads:
            yield " — ".join(heads)
        items: list[str] = []
        for item in element.findall("def-item"):
            terms = [line(each) for each in item if each.tag in ("label", "term")]
            written = [block for each in item.findall("def") for block in self.blocks(each, level)]
            written += self.blocks(item, level, frozenset({"label", "term", "def"}))
            items.append(_item("-", _led(f"{' '.join(filter(None, terms))}:", written)))
        if items:
            yield "\n".join(items)
        yield from self.blocks(element, level, _HEAD | {"term-head", "def-head", "def-item"})

    def _figure(self, element: Element, level: int) -> Iterator[str]:
        """A caption under its label, then what stands in and under it."""
        yield from _caption(element)
        yield from self.blocks(element, level, _CAPTIONED)

    def _table(self, element: Element, level: int) -> Iterator[str]:
        """Its caption, directly above it; under it its footnotes."""
        yield from _caption(element)
        inside = [element, *element.findall("alternatives")]
        tables = [child for each in inside for child in each if child.tag in ("table", "array")]
        for table in tables:
            yield from self._array(table, level)
        for child in element:
            if child.tag == "table-wrap-foot":
                yield from self._foot(child, level)
        rest = _CAPTIONED | {"table", "array", "table-wrap-foot"} | ({"alternatives"} if tables else frozenset())
        yield from self.blocks(element, level, rest)

    def _foot(self, element: Element, level: int) -> Iterator[str]:
        """Footnotes of a table, each a paragraph."""
        yield from paragraph(plain(element.text))
        for child in element:
            if child.tag == "fn":
                yield from footnote(child)
            elif child.tag == "fn-group":
                yield from _titles(child)
                yield from self._foot(child, level)
            elif child.tag not in _HEAD or element.tag != "fn-group":
                yield from self.blocks(child, level)
            yield from paragraph(plain(child.tail))

    def _formula(self, element: Element, level: int) -> Iterator[str]:
        text = formula(element, display=True)
        if text.startswith("$$"):
            yield settle(text)
        else:
            yield from paragraph(text)

    def _box(self, element: Element, level: int) -> Iterator[str]:
        """A box or a quotation: its paragraphs quoted, its titles in bold, its figures and tables as they are."""
        heads = [each for path in ("label", "title", "caption/title") for each in element.findall(path)]
        if title := " ".join(filter(None, map(line, heads))):
            yield f"> <b>{title}</b>"
        captions = (block for each in element.findall("caption") for block in self.blocks(each, level, _HEAD))
        for block in [*captions, *self.blocks(element, level, _HEAD | {"caption"})]:
            if block.startswith("#"):
                yield f"> <b>{block.lstrip('#').strip()}</b>"
            elif block.startswith(("|", "$$", "**", ">")):
                yield block
            else:
                yield textwrap.indent(block, "> ", lambda _: True)

    def _statement(self, element: Element, level: int) -> Iterator[str]:
        """A theorem and the like: its label leads."""
        name = _title(element)
        yield from _led(f"**{name}**" if name and "*" not in name else name, list(self.blocks(element, level, _HEAD)))

    def _code(self, element: Element, level: int) -> Iterator[str]:
        text = "".join(element.itertext()).strip("\r\n")
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
        if text.strip():
            yield f"{fence}\n{text}\n{fence}"

    def _array(self, element: Element, level: int) -> Iterator[str]:
        if table := pipe_table(element, self.room):
            yield table
        yield from self.blocks(element, level, _ROWS)

    def _permissions(self, element: Element, level: int) -> Iterator[str]:
        """The source and licence of a figure that has its own."""
        yield from paragraph(BREAK.join(piece(child) for child in element if child.tag != "copyright-year"))


def heading(text: str, level: int) -> str:
    """A heading, its links as words; below the sixth level, Markdown has none."""
    return f"{'#' * min(level, _MAX_LEVEL)} {_LINK.sub(_words, text)}"


def _words(link: re.Match[str]) -> str:
    return link[1]


def paragraph(text: str) -> Iterator[str]:
    """Running text with its marks settled as a paragraph, if there is any."""
    yield from _line_block(settle(text))


def footnote(note: Element) -> Iterator[str]:
    """A footnote as a paragraph, its label raised."""
    label = " ".join(map(text_of, note.findall("label")))
    words = inline(note, frozenset({"label"}))
    yield from paragraph(f"<sup>{plain(label)}</sup> {words}" if label else words)


def _line_block(text: str) -> Iterator[str]:
    """A line that Markdown, and loccit, read as a paragraph, whatever it begins with."""
    if not text:
        return
    if bold_heading(text):
        text = f"<b>{text[2:].rstrip(':.').removesuffix('**')}</b>{text[len(text.rstrip(':.')) :]}"
    elif typed_heading(text, lone_item=False):
        text = text.replace(".", "\\.", 1)
    if match := _OPENS_BLOCK.match(text):
        at = match.start(3) if match[3] else 0
        text = f"{text[:at]}\\{text[at:]}"
    yield _DEFINES.sub(r"\\[", text) if text.startswith("[") else text


def _caption(element: Element) -> Iterator[str]:
    """`**Figure 2.** Loss of grip. Shown are …`, on one line."""
    name, words = (" ".join(filter(None, map(line, element.findall(tag)))) for tag in ("label", "caption"))
    yield from _line_block(" ".join(filter(None, (f"**{name}**" if name and "*" not in name else name, words))))


def _title(element: Element) -> str:
    """An element's label and title on one line."""
    return " ".join(filter(None, (line(each) for tag in ("label", "title") for each in element.findall(tag))))


def _titles(element: Element) -> Iterator[str]:
    for tag in ("label", "title"):
        for each in element.findall(tag):
            yield from _line_block(line(each))


def _led(name: str, blocks: list[str]) -> list[str]:
    """The blocks with a name in front: of the first, where that is a paragraph."""
    if not name:
        return blocks
    if not blocks or "\n" in blocks[0] or re.match(r"[-|#>$`]|\d+\.\s", blocks[0]):
        return [*_line_block(name), *blocks]
    return [f"{name} {blocks[0]}", *blocks[1:]]


def _item(mark: str, blocks: list[str]) -> str:
    """An item of a list: further blocks are set in under the first."""
    text = "\n\n".join(blocks)
    return f"{mark} {textwrap.indent(text, ' ' * (len(mark) + 1)).lstrip()}".rstrip()
