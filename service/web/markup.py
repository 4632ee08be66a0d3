"""Papers' text -> safe HTML: blocks of a paper, quotes with what is marked in them, titles.

A mark is carried beside the text, one style for each character, through everything that parsing does with the text, so
that marks change nothing about how it reads.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from markdown_it.token import Token

from service.answer import Highlight
from service.replies import TextBlock
from service.web.dialect import is_rule, read, read_inline
from service.web.writer import PLAIN, Writer, characters, style

_ANCHOR = "cited"
_CARRIAGE_RETURN = re.compile(r"\r(?=\n)")
_CODE_INDENT = re.compile(r"(?<=\n)(?: {4}|\t)")
_FENCE = ("```", "~~~")
_BREAK = re.compile(r" *\\?\n[ \t]*")
_PIPE = re.compile(r"(?<!\\)\|")
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_STRUCTURE = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|t[hd]|col(?:group)?|p|div|ul|ol|li|h[1-6])(?=[\s/>])[^<>]*>",
    re.IGNORECASE,
)
"""The tags between which an HTML table's text stands: no emphasis begins in one cell and ends in the next."""
_HREF = re.compile(r"\shref\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]+))", re.IGNORECASE)
_ALT = re.compile(r"\salt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_SPAN = re.compile(r"\s(colspan|rowspan)\s*=\s*[\"']?([1-9]\d{0,2})(?!\d)", re.IGNORECASE)
_SCOPE = re.compile(r"\s(scope)\s*=\s*[\"']?(row|col|rowgroup|colgroup)\b", re.IGNORECASE)
_WEB = re.compile(r"(?:https?://|mailto:)[!#-;=?-~]+", re.IGNORECASE)
_READS_AS = {f"h{n}": "strong" for n in range(1, 7)} | dict.fromkeys(
    "div section article header footer figure figcaption center dl dt dd address".split(), "p"
)
"""Elements that are written as others."""


def block_html(block: TextBlock, marked: tuple[int, int] | None = None, *, link_references: bool = True) -> str:
    """Safe HTML of a block of a paper.

    `marked` are offsets into the source: what of it lies in the block is marked, the first mark with the id "cited".
    Citation markers link to `#ref-<n>` of their first entry, n from 1, where `link_references`.
    """
    marks = [(marked[0] - block.start, marked[1] - block.start)] if marked else []
    markers = [
        (each.start - block.start, each.end - block.start, each.references[0])
        for each in block.markers
        if link_references and each.references
    ]
    text, styles = _styled(block.text, marks, markers)
    rendering = _Rendering(text, styles)
    if block.kind == "code" and not text.startswith(_FENCE):
        rendering.indented_code()
    else:
        rendering.blocks()
    return rendering.writer.html(_ANCHOR)


def text_html(text: str, highlights: Sequence[Highlight] = ()) -> str:
    """Safe HTML of a passage's or quote's text, its highlights marked."""
    rendering = _Rendering(*_styled(text, [(each.start, each.end) for each in highlights], []))
    rendering.blocks()
    return rendering.writer.html()


def inline_html(text: str) -> str:
    """Safe HTML of a title or caption, to stand inside a line: no blocks, no links. Empty for a text without words."""
    text, styles = _styled(text, [], [])
    rendering = _Rendering(text, styles)
    rendering.inline(read_inline(text), text, styles)
    return rendering.writer.inline()


def _styled(text: str, marks: Iterable[tuple[int, int]], markers: Iterable[tuple[int, int, int]]) -> tuple[str, str]:
    """The text with the line ends that Markdown knows, and a style for each of its characters."""
    codes = [style()] * len(text)
    for start, end, reference in markers:
        at = slice(max(start, 0), max(end, 0))
        codes[at] = [style(reference=reference)] * len(codes[at])
    for start, end in marks:
        at = slice(max(start, 0), max(end, 0))
        codes[at] = [code | style(marked=True) for code in codes[at]]
    text, styles = _without(_CARRIAGE_RETURN, text, "".join(map(chr, codes)))
    return characters(text.replace("\r", "\n")), styles


def _without(pattern: re.Pattern[str], text: str, styles: str) -> tuple[str, str]:
    """Both without what matches in the text."""
    kept: list[slice] = []
    at = 0
    for match in pattern.finditer(text):
        kept.append(slice(at, match.start()))
        at = match.end()
    if not kept:
        return text, styles
    kept.append(slice(at, None))
    return "".join(text[each] for each in kept), "".join(styles[each] for each in kept)


class _Rendering:
    """One text on its way to HTML."""

    def __init__(self, text: str, styles: str) -> None:
        self.writer = Writer()
        self._text = text
        self._styles = styles
        self._lines: list[tuple[str, str]] = []
        """Each line, and its characters' styles."""

    def blocks(self) -> None:
        """Write all of the text, block by block."""
        at = 0
        for line in self._text.split("\n"):
            self._lines.append((line, self._styles[at : at + len(line) + 1]))
            at += len(line) + 1
        for token in read(self._text):
            self._block(token)

    def indented_code(self) -> None:
        """Write all of the text as code that was set apart by its indentation."""
        self._code(*_without(_CODE_INDENT, self._text, self._styles))

    def inline(self, tokens: Iterable[Token], content: str, styles: str) -> None:
        """Write a line's tokens, which were read from `content`; what is open at its end is closed."""
        outer = self.writer.begin()
        at = 0
        for token in tokens:
            at = self._inline(token, content, styles, at)
        self.writer.end(outer)

    def _block(self, token: Token) -> None:
        match token.type:
            case "inline":
                self.inline(token.children or [], token.content, self._styles_of(token))
            case "fence":
                self._code(token.content, self._styles_of(token, 1))
            case "pipe_table":
                self._pipe_table(token.content, self._styles_of(token))
            case "html_table":
                self._html_table(token.content, self._styles_of(token))
            case "heading_open" | "heading_close":
                names = ["p"] if token.markup == "-" else ["p", "strong"]
                for name in names if token.nesting > 0 else reversed(names):
                    self._element(token, name)
            case _ if token.tag != "hr" and not token.hidden:
                self._element(token, token.tag)

    def _element(self, token: Token, name: str) -> None:
        if token.nesting > 0:
            start = token.attrGet("start")
            self.writer.open(name, f' start="{start}"' if isinstance(start, int) else "")
        else:
            self.writer.close(name)

    def _styles_of(self, token: Token, skipped: int = 0) -> str:
        """A style for each character of a token's content, whose lines are the text's own without what is before."""
        first, last = token.map or (0, 0)
        styles: list[str] = []
        lines = self._lines[first + skipped : last]
        for (line, of_line), content in zip(lines, token.content.split("\n"), strict=False):
            words = content.lstrip()
            at = max(line.rfind(words), 0)
            styles += PLAIN * (len(content) - len(words)), of_line[at : at + len(words)], of_line[len(line) :]
        return "".join(styles).ljust(len(token.content), PLAIN)[: len(token.content)]

    def _inline(self, token: Token, content: str, styles: str, at: int) -> int:
        """Write one token, whose source stands at `at` in the content. Returns where the next one's does."""
        writer = self.writer
        match token.type:
            case "text":
                end = at + len(token.content)
                writer.text(content[at:end], styles[at:end])
                return end
            case "text_special":  # an escaped character, an entity
                writer.text(token.content, styles[at] * len(token.content))
                return at + len(token.markup)
            case "softbreak" | "hardbreak":
                space = _BREAK.match(content, at)
                if token.type == "hardbreak":
                    writer.open("br")
                writer.text("\n", styles[at])
                return space.end() if space else at
            case "em_open" | "strong_open":
                writer.open(token.tag)
                return at + len(token.markup)
            case "em_close" | "strong_close":
                writer.close(token.tag)
                return at + len(token.markup)
            case "link_open":
                self._open_link(str(token.attrGet("href")))
                return at + 1
            case "link_close":
                writer.close("a")
        after: int = token.meta["end"]
        self._special(token, styles[at:after], content[at:after])
        return after

    def _special(self, token: Token, styles: str, source: str) -> None:
        """Write a token that is more, or less, than its source; `styles` are that source's."""
        writer = self.writer
        match token.type:
            case "code_inline":
                padding = (len(source) - len(token.content)) // 2
                writer.open("code")
                writer.text(token.content, styles[padding : padding + len(token.content)])
                writer.close("code")
            case "math":
                writer.open("code")
                writer.text(source, styles)
                writer.close("code")
            case "script":
                name = "sup" if source[0] == "^" else "sub"
                writer.open(name)
                self.inline(read_inline(source[1:-1]), source[1:-1], styles[1:-1])
                writer.close(name)
            case "image":  # its texts stand for it
                self.inline(token.children or [], token.content, styles[2:])
                if title := str(token.attrGet("title") or ""):
                    at = max(source.rfind(title), 0)
                    writer.text(" ", PLAIN)
                    writer.text(title, styles[at : at + len(title)].ljust(len(title), PLAIN))
            case "autolink":
                target = source[1:-1]
                self._open_link(target if ":" in target else f"mailto:{target}")
                writer.text(target, styles[1:-1])
                writer.close("a")
            case "tag":
                self._tag(source, styles)

    def _open_link(self, target: str) -> None:
        """Begin a link to the web or to an address; what leads elsewhere is text."""
        if _WEB.fullmatch(target):
            self.writer.open("a", f' href="{html.escape(target)}"')

    def _tag(self, source: str, styles: str) -> None:
        """Write a paper's own tag, made anew from its name and the few attributes that are kept."""
        match = _TAG.match(source)
        assert match is not None
        name = match[2].lower()
        name = _READS_AS.get(name, name)
        if match[1]:
            self.writer.close(name)
        elif name == "a":
            self._open_link(_attribute(_HREF, source))
        elif name == "img":
            alternative = characters(_attribute(_ALT, source))
            self.writer.text(alternative, styles[0] * len(alternative))
        elif name in ("td", "th"):
            kept = [*_SPAN.findall(source), *(_SCOPE.findall(source) if name == "th" else [])]
            attributes = {attribute.lower(): value.lower() for attribute, value in reversed(kept)}
            self.writer.open(name, "".join(f' {each}="{value}"' for each, value in attributes.items()))
        else:
            self.writer.open(name)

    def _code(self, code: str, styles: str) -> None:
        self.writer.open("pre")
        self.writer.open("code")
        self.writer.text(code, styles)
        self.writer.close("pre")

    def _pipe_table(self, content: str, styles: str) -> None:
        """A table of pipes. The line above a rule is its header."""
        rows: list[tuple[str, str]] = []
        at = 0
        for row in content.split("\n"):
            rows.append((row, styles[at : at + len(row)]))
            at += len(row) + 1
        n_header = int(len(rows) > 1 and is_rule(rows[1][0].strip()))
        self.writer.open("table")
        for part, cell, some in (("thead", "th", rows[:n_header]), ("tbody", "td", rows[n_header:])):
            self.writer.open(part)
            for row, of_row in some:
                if not is_rule(row.strip()):
                    self._row(row, of_row, cell)
            self.writer.close(part)
        self.writer.close("table")

    def _row(self, row: str, styles: str, name: str) -> None:
        cells: list[tuple[str, str]] = []
        at = 0
        for pipe in _PIPE.finditer(row):
            cells.append((row[at : pipe.start()], styles[at : pipe.start()]))
            at = pipe.end()
        cells.append((row[at:], styles[at:]))
        first = 0 if cells[0][0].strip() else 1
        last = len(cells) if cells[-1][0].strip() or len(cells) == 1 else -1
        self.writer.open("tr")
        for cell, of_cell in cells[first:last]:
            self.writer.open(name, ' scope="col"' if name == "th" else "")
            indent = len(cell) - len(cell.lstrip())
            cell = cell.strip()
            self.inline(read_inline(cell), cell, of_cell[indent:])
            self.writer.close(name)
        self.writer.close("tr")

    def _html_table(self, content: str, styles: str) -> None:
        """An HTML table, and what stands beside it: the text between its tags is read bit by bit."""
        outer = self.writer.begin()
        at = 0
        for tag in _STRUCTURE.finditer(content):
            self._between(content[at : tag.start()], styles[at : tag.start()])
            self._tag(tag[0], styles[tag.start() : tag.end()])
            at = tag.end()
        self._between(content[at:], styles[at:])
        self.writer.end(outer)

    def _between(self, content: str, styles: str) -> None:
        if content.strip():
            self.inline(read_inline(content), content, styles)


def _attribute(pattern: re.Pattern[str], tag: str) -> str:
    """An attribute's value, empty where it has none."""
    match = pattern.search(tag)
    return html.unescape(next((each for each in match.groups() if each), "")) if match else ""
