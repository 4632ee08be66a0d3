"""Text and elements -> HTML that is safe and whole, with marks and markers around the text where they belong.

Knows nothing of Markdown. What it is given is untrusted: the result passes a sanitiser. Marks come in after it, into
text alone: none crosses an element, none is moved by a broken table, and none is a paper's own.
"""

from __future__ import annotations

import html
import re
from itertools import groupby

import nh3

PLAIN = "\0"
"""The style of a character without anything around it."""
_MARKED = 1

_INLINE = frozenset("b strong i em sub sup code".split())
_BLOCKS = frozenset("p pre blockquote ul ol li table caption thead tbody tfoot tr th td".split())
_VOID = frozenset(["br"])
TAGS = _INLINE | _BLOCKS | _VOID | {"a"}
"""What is written; another element's text is, without its tags."""
_CLOSES = {
    "p": {"p"},
    "li": {"li"},
    "td": {"td", "th"},
    "th": {"td", "th"},
    "tr": {"td", "th", "tr"},
    "thead": {"caption"},
    "tbody": {"td", "th", "tr", "thead", "tbody", "caption"},
    "tfoot": {"td", "th", "tr", "thead", "tbody", "caption"},
}
"""The elements that end where another begins."""
_MAX_OPEN = 100
"""Elements in elements; deeper ones are left out."""

_SANITISER = nh3.Cleaner(
    tags=set(TAGS),
    attributes={
        "a": {"href"},
        "ol": {"start"},
        "td": {"colspan", "rowspan"},
        "th": {"colspan", "rowspan", "scope"},
    },
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
)
_INLINE_SANITISER = nh3.Cleaner(tags=set(_INLINE), attributes={})

# Noncharacters, which Unicode keeps for a program's own use, stand for the tags of marks until the text is sanitised;
# a paper's own are replaced.
_DIGITS = str.maketrans("0123456789", "".join(map(chr, range(0xFDD0, 0xFDDA))))
_TO_DIGITS = {foreign: digit for digit, foreign in _DIGITS.items()}
_MARK, _END_MARK, _MARKER, _END_NUMBER, _END_MARKER = map(chr, range(0xFDDA, 0xFDDF))
_EMPTY = re.compile("<p></p>|<thead></thead>|<tbody></tbody>")
_MARKER_OPEN = re.compile(f"{_MARKER}([\ufdd0-\ufdd9]+){_END_NUMBER}")
_BROKEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000))
    + "]"
)
_SPACES = re.compile("[\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
"""What turns text round, and letters that nobody sees."""


def characters(text: str) -> str:
    """The text, one character for each of its own: controls, lone surrogates and noncharacters replaced."""
    return _BROKEN.sub("\ufffd", _SPACES.sub(" ", text))


def style(*, marked: bool = False, reference: int | None = None) -> int:
    """The number of the style of text that is marked, and that cites that entry of the reference list (from 0)."""
    return _MARKED * marked + (0 if reference is None else 2 * (reference + 1))


class Writer:
    """Writes HTML piece by piece; elements are closed in the order in which they were opened."""

    def __init__(self) -> None:
        self._html: list[str] = []
        self._characters: list[str] = []
        self._styles: list[str] = []
        self._open: list[str] = []
        self._floor = 0

    def text(self, text: str, styles: str) -> None:
        """Add text; `styles` has one character for each, of the code that `style` gives."""
        self._characters.append(text)
        self._styles.append(styles)

    def open(self, name: str, attributes: str = "") -> None:
        """Begin an element, and end those that end where it begins. An unknown one is left out."""
        if name not in TAGS or len(self._open) >= _MAX_OPEN or (name == "a" and "a" in self._open):
            return
        ended = _CLOSES.get(name, set())
        while len(self._open) > self._floor and self._open[-1] in ended:
            self.close(self._open[-1])
        self._flush()
        self._html.append(f"<{name}{attributes}>")
        if name not in _VOID:
            self._open.append(name)

    def close(self, name: str) -> None:
        """End the element of that name that was begun last in this scope, and those in it. Without one, do nothing."""
        if name in self._open[self._floor :]:
            while self._close_last() != name:
                pass

    def begin(self) -> int:
        """Begin a scope: what is open now cannot be closed in it. Returns what `end` wants."""
        outer, self._floor = self._floor, len(self._open)
        return outer

    def end(self, outer: int) -> None:
        """End a scope, and all that is open in it."""
        while len(self._open) > self._floor:
            self._close_last()
        self._floor = outer

    def html(self, anchor: str = "") -> str:
        """All of it, safe. The first mark has the id `anchor`."""
        self._flush()
        whole = _EMPTY.sub("", _SANITISER.clean("".join(self._html)))
        first = f'<mark id="{anchor}">' if anchor else "<mark>"
        whole = whole.replace(_MARK, first, 1).replace(_MARK, "<mark>").replace(_END_MARK, "</mark>")
        return _MARKER_OPEN.sub(_marker, whole).replace(_END_MARKER, "</a>")

    def inline(self) -> str:
        """The same without blocks, links and marks, kept from turning the direction of what is around it."""
        self._flush()
        whole = " ".join(_INLINE_SANITISER.clean("".join(self._html)).split())
        return f"<bdi>{whole}</bdi>" if whole else ""

    def _close_last(self) -> str:
        self._flush()
        name = self._open.pop()
        self._html.append(f"</{name}>")
        return name

    def _flush(self) -> None:
        """Write the text that was added since the last tag."""
        if not self._characters:
            return
        text, styles = "".join(self._characters), "".join(self._styles)
        self._characters.clear()
        self._styles.clear()
        if not text.strip() or not styles.strip(PLAIN):
            self._html.append(_escaped(text))
            return
        at = 0
        for reference, run in groupby(map(ord, styles), key=lambda code: code // 2):
            cites = bool(reference) and "a" not in self._open
            if cites:
                self._html.append(f"{_MARKER}{str(reference).translate(_DIGITS)}{_END_NUMBER}")
            for code, part in groupby(run):
                end = at + sum(1 for _ in part)
                piece = _escaped(text[at:end])
                self._html.append(f"{_MARK}{piece}{_END_MARK}" if piece and code & _MARKED else piece)
                at = end
            if cites:
                self._html.append(_END_MARKER)


def _escaped(text: str) -> str:
    """The text as HTML. Controls of the writing direction are left out: what they turn is not what is quoted."""
    if not text.isascii():
        text = _DIRECTIONS.sub("", characters(text))
    return html.escape(text, quote=False)


def _marker(opening: re.Match[str]) -> str:
    return f'<a class="marker" href="#ref-{opening[1].translate(_TO_DIGITS)}">'
