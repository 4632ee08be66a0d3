"""A table's header and rows, in every form that tables have: Markdown, drawn with characters, HTML, LaTeX.

Knows nothing of sections or passages.
"""

from __future__ import annotations

import re
from itertools import pairwise

from indexer.papers import Span
from indexer.syntax import trim

COLUMN_RULE = re.compile(r"[-=:]{2,}(?:[ \t]+[-=:]{2,})+[ \t]*")
"""`-----  ----`: under the header of a table whose columns are set off by blanks."""
BORDER = re.compile(r"\+(?:[-=:]+\+)+[ \t]*")
"""`+----+---+`, between the rows of a grid."""

_LINE = re.compile(r"[^\r\n]+")
_BLANK_LINE = re.compile(r"(?:\r\n|\r|\n)[ \t]*(?:\r\n|\r|\n)")
_INK = re.compile(r"\w")
_HTML_ROW = re.compile(r"<tr\b", re.IGNORECASE)
_LATEX_ROW = re.compile(r"\\\\(?:\s*\\hline)*\s*")
_LATEX_HEADER = re.compile(
    r"\\begin\{(?:tabular[xy*]?|longtable)\}(?:\{[^{}\r\n]*\}|\[[^\[\]\r\n]*\])*(?:\s*\\hline)*\s*"
)
_LATEX_CAPTION = re.compile(r"\\caption\*?\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_HTML_PARTS = {
    name: (re.compile(rf"<{name}\b[^<>]*>", re.IGNORECASE), re.compile(rf"</{name}\s*>", re.IGNORECASE))
    for name in ("caption", "thead", "tr")
}


def header_row(text: str, table: Span) -> Span | None:
    """The table's header row: what stands above the rule, or the first row of an HTML or LaTeX table."""
    if text[table.start] == "<":
        row = _html_part(text, table, "thead") or _html_part(text, table, "tr")
        return Span(row[0], row[3]) if row else None
    if text.startswith("\\begin{", table.start):
        return _latex_header(text, table)
    if is_drawn(text, table):
        return _drawn_header(text, table)
    line = _LINE.match(text, table.start, table.end)
    return trim(text, line.start(), line.end()) if line else None


def inner_caption(text: str, table: Span) -> Span | None:
    """What stands in the `<caption>` of an HTML table, or the `\\caption{...}` of one in LaTeX."""
    if text.startswith("\\begin{", table.start):
        latex = _LATEX_CAPTION.search(text, table.start, table.end)
        return trim(text, *latex.span(1)) if latex else None
    part = _html_part(text, table, "caption")
    return trim(text, part[1], part[2]) if part else None


def is_rule(line: str) -> bool:
    """Whether a line of a table parts rows or a header off: `+----+`, `=====  ====`. A row of single signs does not."""
    return ("--" in line or "==" in line) and not line.strip(" \t|:+=-")


def is_drawn(text: str, table: Span) -> bool:
    """Whether a table is drawn with characters: a grid, or columns set off by blanks."""
    lines = _LINE.finditer(text, table.start, table.end)
    first, second = next(lines, None), next(lines, None)
    if first is None or second is None:
        return False
    return is_rule(first[0]) or bool(COLUMN_RULE.fullmatch(second[0].lstrip(" \t")))


def row_spans(text: str, table: Span) -> list[Span]:
    """The table's rows in order; together they hold every non-blank character of it.

    A row of HTML is what stands from one `<tr` to the next, one of a grid what stands above a border. The rule under
    the header joins it.
    """
    if starts := [match.start() for match in _HTML_ROW.finditer(text, table.start, table.end)]:
        cuts = [table.start, *starts[1:]]
    elif text.startswith("\\begin{", table.start):
        cuts = [table.start, *(match.end() for match in _LATEX_ROW.finditer(text, table.start, table.end))]
    elif is_drawn(text, table):
        cuts = _drawn_rows(text, table)
    else:
        cuts = [match.start() for match in _LINE.finditer(text, table.start, table.end)]
        if len(cuts) > 1 and not _INK.search(text, cuts[1], cuts[2] if len(cuts) > 2 else table.end):
            del cuts[1]
    return [row for start, end in pairwise([*cuts, table.end]) if (row := trim(text, start, end))]


def _drawn_rows(text: str, table: Span) -> list[int]:
    """Where the rows of a drawn table start: in a grid under a border, else on each line, or each group of lines."""
    grid = text[table.start] == "+"
    grouped = not grid and bool(_BLANK_LINE.search(text, table.start, table.end))
    cuts = [table.start]
    has_words = after_rule = False
    last = table.start
    for line in _LINE.finditer(text, table.start, table.end):
        if not line[0].strip():
            continue
        parts = is_rule(line[0])
        may_start = after_rule or (grouped and bool(_BLANK_LINE.search(text, last, line.start())))
        if has_words and not parts and (may_start or not (grid or grouped)):
            cuts.append(line.start())
            has_words = False
        has_words = has_words or not parts
        after_rule, last = parts, line.end()
    return cuts


def _drawn_header(text: str, table: Span) -> Span | None:
    """What stands above the first rule under words, or above the one of `=` that parts the header off."""
    lines = [line for line in _LINE.finditer(text, table.start, table.end) if line[0].strip()]
    rules = [n for n, line in enumerate(lines) if n and is_rule(line[0])]
    stop = next((n for n in rules if "=" in lines[n][0]), rules[0]) if rules else 0
    first = int(is_rule(lines[0][0]))
    if stop <= first or stop == len(lines) - 1:
        return None
    return trim(text, lines[first].start(), lines[stop - 1].end())


def _latex_header(text: str, table: Span) -> Span | None:
    begin = _LATEX_HEADER.search(text, table.start, table.end)
    end = text.find("\\\\", begin.end(), table.end) if begin else -1
    return trim(text, begin.end(), end) if begin and end >= 0 else None


def _html_part(text: str, table: Span, name: str) -> tuple[int, int, int, int] | None:
    """Where the first element of this name starts, where its inside starts and ends, and where it ends."""
    opens, closes = _HTML_PARTS[name]
    opening = opens.search(text, table.start, table.end)
    closing = closes.search(text, opening.end(), table.end) if opening else None
    return (opening.start(), opening.end(), closing.start(), closing.end()) if opening and closing else None
