"""Source text -> typed runs of lines, with offsets. Knows nothing of sections, metadata or references."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, lheading
from markdown_it.token import Token

from indexer.markdown.tables import drawn_table
from indexer.papers import BlockKind
from indexer.syntax import trim

_LINE_END = re.compile(r"\r\n|\r|\n")
"""What markdown-it takes for a line's end; `str.splitlines` knows more, and would shift every line after them."""

_MAX_MERGED_BLOCKS = 400
"""How far an opened table or equation may go on over blank lines before it counts as never closed."""


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


def read_blocks(text: str) -> list[RawBlock]:
    """The blocks of the text in order; every non-blank character lies in exactly one."""
    starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
    offsets = [*starts, len(text)]
    spans = _fill(list(_spans(_tokens(text))), len(starts))
    blocks = []
    for block, first, last in spans:
        trimmed = trim(text, offsets[first], offsets[min(last, len(starts))])
        if trimmed is not None:
            blocks.append(replace(block, start=trimmed.start, end=trimmed.end))
    return _merge_open(text, blocks)


def _tokens(text: str) -> list[Token]:
    parser = MarkdownIt("commonmark").enable("table").disable("reference")
    parser.core.ruler.enableOnly(["normalize", "block"])
    underlines = bool(_DOUBLE_UNDERLINE.search(text))

    def underlined(state: StateBlock, first: int, last: int, silent: bool) -> bool:
        """markdown-it's rule for underlined headings, taken back where the line is none but by accident."""
        n_tokens = len(state.tokens)
        if not lheading(state, first, last, silent):
            return False
        if _is_underlined(state, first, underlines):
            return True
        del state.tokens[n_tokens:]
        state.line = first
        return False

    parser.block.ruler.at("lheading", underlined)
    parser.block.ruler.before("table", "drawn_table", drawn_table, {"alt": ["paragraph"]})
    return parser.parse(text)


_DOUBLE_UNDERLINE = re.compile(r"(?:^|[\r\n])[^\s#>|=-][^\r\n]*(?:\r\n|\r|\n)={3,}[ \t]*(?=[\r\n]|\Z)")
_MAX_TITLE_CHARACTERS = 400
_MAX_UNDERLINED_CHARACTERS = 120


def _is_underlined(state: StateBlock, first: int, underlines: bool) -> bool:
    """Whether the lines from `first` on, which markdown-it takes for an underlined heading, are one.

    `===` stands under headings only. `---` is a rule more often: it counts under one short line without a closing
    stop, in a file that underlines its titles (`underlines`), or where it is as long as the line.
    """
    title = state.getLines(first, state.line - 1, state.blkIndent, False).strip()
    underline = state.getLines(state.line - 1, state.line, state.blkIndent, False).strip()
    if len(underline) < 3:
        return False
    if underline.startswith("="):
        return len(title) <= _MAX_TITLE_CHARACTERS
    short = "\n" not in title and len(title) <= _MAX_UNDERLINED_CHARACTERS and not title.endswith((".", ",", ";", ":"))
    return short and (underlines or len(underline) == len(title))


_KINDS: dict[str, BlockKind] = {
    "paragraph_open": "paragraph",
    "heading_open": "heading",
    "fence": "code",
    "code_block": "code",
    "html_block": "markup",
    "hr": "markup",
    "table_open": "table",
    "drawn_table": "table",
    "blockquote_open": "quote",
    "bullet_list_open": "list_item",
    "ordered_list_open": "list_item",
}

_Lines = tuple[RawBlock, int, int]
"""A block without offsets, its first line, and the line after its last."""


def _spans(tokens: Sequence[Token]) -> Iterator[_Lines]:
    for n, token in enumerate(tokens):
        kind = _KINDS.get(token.type)
        if token.level or kind is None or token.map is None:
            continue
        first, last = token.map
        if kind == "list_item":
            items = _item_lines(tokens, n, first)
            ordered = token.type == "ordered_list_open"
            for start, end in pairwise([*items, last]):
                yield RawBlock(kind, 0, 0, lone_item=ordered and len(items) == 1), start, end
        else:
            level = int(token.tag[1]) if kind == "heading" else 0
            yield RawBlock(kind, 0, 0, heading_level=level), first, last


def _item_lines(tokens: Sequence[Token], at: int, first: int) -> list[int]:
    """The lines on which the items of the list opened at `at` begin, nested ones too."""
    lines = {first}
    for n in range(at + 1, len(tokens)):
        token = tokens[n]
        if token.level == 0:
            break
        if token.type == "list_item_open" and token.map is not None:
            lines.add(token.map[0])
    return sorted(lines)


def _fill(spans: list[_Lines], n_lines: int) -> list[_Lines]:
    """The spans, with paragraphs for lines that none of them has."""
    filled: list[_Lines] = []
    at = 0
    for block, first, last in spans:
        if first > at:
            filled.append((RawBlock("paragraph", 0, 0), at, first))
        if last > max(at, first):
            filled.append((block, max(at, first), last))
        at = max(at, last)
    if at < n_lines:
        filled.append((RawBlock("paragraph", 0, 0), at, n_lines))
    return filled


_TABLE_OPEN = re.compile(r"<table\b", re.IGNORECASE)
_TABLE_CLOSE = re.compile(r"</table\s*>", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"\\begin\{(\w{1,20}\*?)\}")


def _merge_open(text: str, blocks: list[RawBlock]) -> list[RawBlock]:
    """Tables and equations that a blank line cut in two, whole again."""
    merged: list[RawBlock] = []
    n = 0
    while n < len(blocks):
        block = blocks[n]
        kind, closing = _opened(text[block.start : block.end])
        if kind is not None:
            last = n if closing is None else _closed_at(text, blocks, n, closing)
            if last is not None:
                block = RawBlock(kind, block.start, blocks[last].end)
                n = last
        merged.append(block)
        n += 1
    return merged


def _opened(block: str) -> tuple[BlockKind | None, re.Pattern[str] | None]:
    """What kind of many-line block begins here, and what would close it; no pattern where it is closed already."""
    if block.startswith("$$"):
        return "equation", None if block.count("$$") % 2 == 0 else re.compile(r"\$\$")
    if block.startswith("\\["):
        return "equation", None if "\\]" in block else re.compile(r"\\\]")
    if block.startswith("\\begin{") and (match := _ENVIRONMENT.match(block)):
        end = re.compile(re.escape(f"\\end{{{match[1]}}}"))
        return "equation", None if end.search(block) else end
    if block[:1] == "<" and _TABLE_OPEN.match(block):
        return "table", None if _TABLE_CLOSE.search(block) else _TABLE_CLOSE
    return None, None


def _closed_at(text: str, blocks: Sequence[RawBlock], n: int, closing: re.Pattern[str]) -> int | None:
    for later in range(n + 1, min(len(blocks), n + _MAX_MERGED_BLOCKS)):
        if blocks[later].heading_level:
            return None
        if closing.search(text, blocks[later].start, blocks[later].end):
            return later
    return None
