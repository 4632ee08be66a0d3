"""Source text -> typed runs of lines, with offsets. Knows nothing of sections, metadata or references."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, fence, lheading
from markdown_it.token import Token

from indexer.markdown.mend import RawBlock, mend
from indexer.markdown.tables import drawn_table, piped_table
from indexer.markdown.unread import DIV_FENCE
from indexer.papers import BlockKind
from indexer.syntax import trim

_LINE_END = re.compile(r"\r\n|\r|\n")
"""What markdown-it takes for a line's end; `str.splitlines` knows more, and would shift every line after them."""


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
    return mend(text, blocks)


def _tokens(text: str) -> list[Token]:
    parser = MarkdownIt("commonmark").enable("table").disable("reference")
    parser.core.ruler.enableOnly(["normalize", "block"])
    parser.block.ruler.at("lheading", _underlined(bool(_DOUBLE_UNDERLINE.search(text))))
    parser.block.ruler.at("fence", _closed_fence(), {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.block.ruler.at("table", piped_table, {"alt": ["paragraph", "reference"]})
    parser.block.ruler.before("table", "drawn_table", drawn_table, {"alt": ["paragraph"]})
    parser.block.ruler.before("table", "div_fence", _div_fence, {"alt": ["paragraph"]})
    return parser.parse(text)


_Rule = Callable[[StateBlock, int, int, bool], bool]


def _underlined(underlines: bool) -> _Rule:
    """markdown-it's rule for underlined headings, taken back where the line is none but by accident."""

    def underlined(state: StateBlock, first: int, last: int, silent: bool) -> bool:
        n_tokens = len(state.tokens)
        if not lheading(state, first, last, silent):
            return False
        if _is_underlined(state, first, underlines):
            return True
        del state.tokens[n_tokens:]
        state.line = first
        return False

    return underlined


def _closed_fence() -> _Rule:
    """markdown-it's rule for fenced code, taken back where no line closes the fence: it would hold all that follows."""
    never_closed: dict[str, int] = {}
    """By its mark, the length of the shortest fence that no later line closes."""

    def closed_fence(state: StateBlock, first: int, last: int, silent: bool) -> bool:
        if state.level or silent:
            return fence(state, first, last, silent)
        opening = state.src[state.bMarks[first] + state.tShift[first] : state.eMarks[first]]
        mark = opening[:1]
        length = len(opening) - len(opening.lstrip(mark)) if mark else 0
        n_tokens = len(state.tokens)
        if length >= never_closed.get(mark, length + 1) or not fence(state, first, last, silent):
            return False
        closing = state.getLines(state.line - 1, state.line, 0, False).strip()
        if state.line < last or (state.line - 1 > first and len(closing) >= length and not closing.strip(mark)):
            return True
        never_closed[mark] = length
        del state.tokens[n_tokens:]
        state.line = first
        return False

    return closed_fence


def _div_fence(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """A line that opens or closes a division in pandoc's manner, `::: {.note}`, is no part of its text."""
    at = state.bMarks[first] + state.tShift[first]
    if (
        state.level
        or not state.src.startswith(":::", at)
        or not DIV_FENCE.fullmatch(state.src, at, state.eMarks[first])
    ):
        return False
    if not silent:
        state.push("html_block", "", 0).map = [first, first + 1]
        state.line = first + 1
    return True


_DOUBLE_UNDERLINE = re.compile(r"(?:^|[\r\n])[^\s#>|=-][^\r\n]*(?:\r\n|\r|\n)={3,}[ \t]*(?=[\r\n]|\Z)")
_MAX_TITLE_CHARACTERS = 400
_MAX_UNDERLINED_CHARACTERS = 120
_SENTENCE_END = re.compile(r"[a-z)][.!?;]\s+[A-Z]")


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
    if "\n" in title or len(title) > _MAX_UNDERLINED_CHARACTERS or title.endswith((".", ",", ";", ":")):
        return False
    return len(underline) == len(title) or (underlines and not _SENTENCE_END.search(title))


_KINDS: dict[str, BlockKind] = {
    "paragraph_open": "paragraph",
    "heading_open": "heading",
    "fence": "code",
    "code_block": "code",
    "html_block": "markup",
    "hr": "markup",
    "piped_table": "table",
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
