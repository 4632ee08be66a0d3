"""Tables: those drawn with characters found among the lines, and every table with its caption and header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from markdown_it.rules_block import StateBlock, table

from indexer.markdown.captions import follows_table, is_label
from indexer.papers import Block, Span
from indexer.rows import BORDER, COLUMN_RULE, header_row, inner_caption

_GRID_LINE = re.compile(r"[+|].*[+|]")
_LONG_RULE = re.compile(r"-{10,}|={10,}")
_MAX_LINES_APART = 200
"""How far a table with blank lines in it may go on before it counts as never closed."""
_MAX_HEADER_LINES = 8


def drawn_table(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """markdown-it's rule for tables drawn with characters: pandoc's three kinds and reStructuredText's two.

    Only a grid ends the paragraph above it.
    """
    if state.level:
        return False
    lines = _Lines(state, last)
    end = _grid_end(lines, first, last) or (0 if silent else _ruled_end(lines, first, last))
    if not end:
        return False
    if not silent:
        state.push("drawn_table", "", 0).map = [first, end]
        state.line = end
    return True


def piped_table(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """markdown-it's rule for tables with pipes, as far as where they end.

    Its own makes tokens for each cell, and those that short rows lack: many times the text.
    """
    if not table(state, first, last, True):
        return False
    if silent:
        return True
    others = state.md.block.ruler.getRules("blockquote")
    around, state.parentType = state.parentType, "table"
    end = first + 2
    while end < last and state.sCount[end] >= state.blkIndent and not state.is_code_block(end):
        if state.isEmpty(end) or any(rule(state, end, last, True) for rule in others):
            break
        end += 1
    state.parentType = around
    state.push("piped_table", "", 0).map = [first, end]
    state.line = end
    return True


class _Lines:
    """The lines of a text without the blanks around them; an empty one after the last."""

    def __init__(self, state: StateBlock, last: int) -> None:
        self._state = state
        self._last = last

    def __getitem__(self, n: int) -> str:
        if n >= self._last:
            return ""
        state = self._state
        return state.src[state.bMarks[n] + state.tShift[n] : state.eMarks[n]].rstrip()

    def starts_with(self, n: int, marks: str) -> bool:
        """Whether a line's first character is one of `marks`, told without a copy of the line."""
        if n >= self._last:
            return False
        at = self._state.bMarks[n] + self._state.tShift[n]
        return at < self._state.eMarks[n] and self._state.src[at] in marks


def _grid_end(lines: _Lines, first: int, last: int) -> int:
    """The line after the last border of the grid that starts at `first`; 0 where there is none."""
    if not lines.starts_with(first, "+") or not BORDER.fullmatch(lines[first]):
        return 0
    end = 0
    for n in range(first + 1, last):
        if not _GRID_LINE.fullmatch(line := lines[n]):
            break
        if BORDER.fullmatch(line):
            end = n + 1
    return end if end > first + 2 else 0


def _ruled_end(lines: _Lines, first: int, last: int) -> int:
    """The line after a table whose columns are set off by blanks and rules; 0 where there is none."""
    if lines.starts_with(first, "-="):
        opening = lines[first]
        if COLUMN_RULE.fullmatch(opening):
            return _closed_at(lines, first, last, opening)
        if _LONG_RULE.fullmatch(opening):
            for n in range(first + 1, min(first + _MAX_HEADER_LINES, last)):
                if not lines[n]:
                    return 0
                if COLUMN_RULE.fullmatch(lines[n]):
                    return _closed_at(lines, n, last, opening)
        return 0
    if not lines.starts_with(first + 1, "-=") or lines.starts_with(first, "#>|"):
        return 0
    if not COLUMN_RULE.fullmatch(lines[first + 1]):
        return 0
    end = first + 2
    while lines[end]:
        end += 1
    return end if end > first + 2 else 0


def _closed_at(lines: _Lines, first: int, last: int, rule: str) -> int:
    """The line after the last repetition of `rule` before a blank line, else after the first one behind it; 0 where
    there is none before the next heading.
    """
    rule = rule.replace("=", "-")
    end = 0
    blank = False
    for n in range(first + 1, min(first + _MAX_LINES_APART, last)):
        line = lines[n]
        if not line:
            blank = True
        if line.startswith("#") or (blank and (end or n == first + 1)):
            break
        if line.replace("=", "-") == rule and n > first + 1:
            end = n + 1
    return end


def link_tables(text: str, blocks: Sequence[Block]) -> list[Block]:
    """The blocks, each table with its caption and header row."""
    linked: list[Block] = []
    for n, block in enumerate(blocks):
        if block.kind == "table":
            place = Span(block.start, block.end)
            caption = inner_caption(text, place) or _caption_beside(text, blocks, n)
            block = replace(block, caption=caption, header=header_row(text, place))
        linked.append(block)
    return linked


def _caption_beside(text: str, blocks: Sequence[Block], n: int) -> Span | None:
    """The caption above the table, a heading such as `Table 1.` over it included; else the one below, unless that is
    another table's.
    """
    if n + 1 < len(blocks) and _is_below(text, blocks, n + 1):
        return Span(blocks[n + 1].start, blocks[n + 1].end)
    if n and blocks[n - 1].kind == "table_caption" and not _is_below(text, blocks, n - 1):
        first = blocks[n - 1]
        if n > 1 and blocks[n - 2].kind == "table_caption" and is_label(text[blocks[n - 2].start : blocks[n - 2].end]):
            first = blocks[n - 2]
        return Span(first.start, blocks[n - 1].end)
    after = blocks[n + 1] if n + 1 < len(blocks) else None
    after_next = blocks[n + 2] if n + 2 < len(blocks) else None
    if after is None or after.kind != "table_caption" or (after_next is not None and after_next.kind == "table"):
        return None
    return Span(after.start, after.end)


def _is_below(text: str, blocks: Sequence[Block], n: int) -> bool:
    """Whether a block is a caption in pandoc's manner, which is that of the table above it."""
    if not n or blocks[n].kind != "table_caption" or blocks[n - 1].kind != "table":
        return False
    return follows_table(text[blocks[n].start : blocks[n].end])
