"""Blocks mended where Markdown cuts them other than their writer meant: tables, equations and comments that go on over
blank lines or end before their paragraph does, headings in HTML, the further paragraphs of a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from indexer.papers import BlockKind, Span
from indexer.syntax import HTML_TAG, trim

_MAX_MERGED_BLOCKS = 400
"""How far an opened table or equation may go on over blank lines before it counts as never closed."""

_TABLE_OPEN = re.compile(r"(?:<(?:html|body|div|center|figure|p|section)\b[^<>]*>\s*){0,4}<table\b", re.IGNORECASE)
_TABLE_CLOSE = re.compile(r"</table\s*>", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"\\begin\{(\w{1,20}\*?)\}")
_PROSE = "abstract center corollary definition lemma proof proposition quotation quote remark theorem"
_ENVIRONMENTS: dict[str, BlockKind] = {
    **dict.fromkeys("table tabular tabularx longtable sidewaystable wraptable threeparttable".split(), "table"),
    **dict.fromkeys("figure wrapfigure subfigure".split(), "figure_caption"),
    **dict.fromkeys("itemize enumerate description".split(), "list_item"),
    **dict.fromkeys("verbatim lstlisting algorithm algorithmic".split(), "code"),
    **dict.fromkeys(_PROSE.split(), "paragraph"),
}
"""Of LaTeX; any other is an equation."""
_LOOP = re.compile(r"\{%-?\s*for\b")
_LOOP_END = re.compile(r"\{%-?\s*endfor\b[^{}]*%\}")
_DOUBLE_DOLLAR = re.compile(r"\$\$")
_BRACKET_CLOSE = re.compile(r"\\\]")
_COMMENT_CLOSES = {"{##": re.compile(r"##\}"), "%%": re.compile(r"%%")}
_LINE_END = re.compile(r"\r\n|\r|\n")
_INK = re.compile(r"\S")
_ONLY_TAGS = re.compile(rf"(?:\s|{HTML_TAG.pattern})*\Z", re.IGNORECASE)
_HTML_HEADING = re.compile(
    r"(?:^|(?<=[\r\n]))[ \t]*<h(?P<level>[1-6])\b[^<>\r\n]*>[^\r\n]*?</h(?P=level)\s*>[ \t]*(?=[\r\n]|\Z)",
    re.IGNORECASE,
)
_NOTE = re.compile(r"\[\^[^\[\]\s]{1,60}\]:|:[ \t]+\S|[^\r\n]*(?:\r\n|\r|\n):[ \t]+\S")
"""A footnote, or a term with its definition: what stands indented under it goes on with it."""


@dataclass(frozen=True, slots=True)
class RawBlock:
    """A run of lines as Markdown sees it, before anything is known of the paper."""

    kind: BlockKind
    start: int
    end: int
    heading_level: int = 0
    """Of a heading with `#` or a line under it: 1 to 6."""
    lone_item: bool = False
    """The only item of an ordered list: perhaps a heading that was typed as `1. Introduction`."""


_Clear = dict[re.Pattern[str], int]
"""By what would close a block, the first block that has not been searched for it in vain."""


def mend(text: str, blocks: Sequence[RawBlock]) -> list[RawBlock]:
    """The blocks in order, each what its writer meant by it; every character of them stands in exactly one."""
    pieces = [piece for block in blocks for piece in _without_headings(text, block)]
    mended: list[RawBlock] = []
    n = 0
    in_note = False
    clear: _Clear = {}
    while n < len(pieces):
        block = pieces[n]
        n += 1
        kind, closing = _opened(text, block)
        found = _closed_at(text, pieces, n - 1, closing, clear) if kind is not None and closing is not None else None
        if kind is not None and found is not None:
            last, end = found
            mended.append(RawBlock(kind, block.start, end))
            n = last + 1
            if rest := _INK.search(text, end, pieces[last].end):
                n = last
                kind = "markup" if rest[0] == "<" else "paragraph"
                pieces[n] = RawBlock(kind, rest.start(), pieces[last].end)
            continue
        if block.kind == "code" and in_note and not text.startswith(("```", "~~~"), block.start):
            block = replace(block, kind="paragraph")
        else:
            in_note = block.kind == "paragraph" and bool(_NOTE.match(text, block.start, block.end))
        mended.append(block)
    return mended


def _opened(text: str, block: RawBlock) -> tuple[BlockKind | None, re.Pattern[str] | None]:
    """What kind of block begins here, and what closes it; nothing where it is only what it seems."""
    start, end = block.start, block.end
    if text.startswith("$$", start):
        return "equation", _DOUBLE_DOLLAR
    if text.startswith(("\\[", "\\\\["), start):
        return "equation", _BRACKET_CLOSE
    if text.startswith("\\begin{", start) and (match := _ENVIRONMENT.match(text, start, end)):
        return _ENVIRONMENTS.get(match[1].rstrip("*"), "equation"), re.compile(re.escape(f"\\end{{{match[1]}}}"))
    if text.startswith("<", start) and _TABLE_OPEN.match(text, start, end):
        return "table", _TABLE_CLOSE
    for opening, closing in _COMMENT_CLOSES.items():
        if text.startswith(opening, start):
            return "markup", closing
    if _LOOP.match(text, start, end):
        return "markup", _LOOP_END
    return None, None


def _closed_at(
    text: str, blocks: Sequence[RawBlock], n: int, closing: re.Pattern[str], clear: _Clear
) -> tuple[int, int] | None:
    """The block in which what block `n` opened is closed, and where it ends there: with the line, or with the block
    where only tags follow.
    """
    last = min(len(blocks), n + _MAX_MERGED_BLOCKS)
    for later in (n, *range(max(n + 1, clear.get(closing, 0)), last)):
        block = blocks[later]
        if later > n and block.heading_level:
            clear[closing] = later
            return None
        match = closing.search(text, block.start + (2 if later == n else 0), block.end)
        if match is not None:
            line_end = _LINE_END.search(text, match.end(), block.end)
            if line_end is None or _ONLY_TAGS.match(text, line_end.end(), block.end):
                return later, block.end
            return later, match.end() + len(text[match.end() : line_end.start()].rstrip())
    clear[closing] = max(last, clear.get(closing, 0))
    return None


def _without_headings(text: str, block: RawBlock) -> Iterator[RawBlock]:
    """A block of HTML in pieces, its `<h2>Results</h2>` headings; any other block as it is."""
    if block.kind != "markup" or not text.startswith("<", block.start):
        yield block
        return
    at = block.start
    for match in _HTML_HEADING.finditer(text, block.start, block.end):
        if before := trim(text, at, match.start()):
            yield replace(block, start=before.start, end=before.end)
        heading = trim(text, *match.span()) or Span(*match.span())
        yield RawBlock("heading", heading.start, heading.end, heading_level=int(match["level"]))
        at = match.end()
    if rest := trim(text, at, block.end):
        yield replace(block, start=rest.start, end=rest.end)
