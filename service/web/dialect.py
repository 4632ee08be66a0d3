"""The Markdown of papers -> markdown-it's tokens: CommonMark, and what authors and converters write besides.

Pipe tables with and without a header, HTML tables, pandoc's scripts and attributes, maths.
Tokens say where they stand (`map`: lines, `meta["end"]`: where an inline one ends). Knows nothing of the HTML to write.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline, backtick, emphasis, image, link
from markdown_it.token import Token

from indexer.syntax import HTML_TAG

_MAX_NESTING = 30
"""Of blocks in blocks; what lies deeper is a paragraph."""
_CLOSING = re.compile(
    r"-->|\$\$|\\\)|\\\]|\\end\{\w{1,20}\*?\}|%\}|##\}"
    r"|</(?:table|script|style|template|iframe|object|noscript|textarea|xmp)\s*>|\n[ \t]*(?=\n)",
    re.IGNORECASE,
)
"""What closes something that may be long, and blank lines: looked for once in a text, however much is opened."""
_BLANK_LINE = "\n"
_OPENING = re.compile(
    r"(?P<comment><!--)|(?P<dollars>\$\$)|(?P<display>\\\[)|(?P<inline>\\\()|\\begin\{(?P<environment>\w{1,20}\*?)\}"
    r"|(?P<statement>\{%)|(?P<note>\{##)"
    r"|<(?P<element>table|script|style|template|iframe|object|noscript|textarea|xmp)\b",
    re.IGNORECASE,
)
_CLOSED_BY = {
    "comment": "-->",
    "dollars": "$$",
    "display": "\\]",
    "inline": "\\)",
    "statement": "%}",
    "note": "##}",
}
_MATHS = ("dollars", "display", "inline", "environment")
_LATEX = re.compile(r"[\\^_={}]")
_DOLLARS = re.compile(r"\$([^$]+)\$(?!\d)")
_BOLD_END = re.compile(r"(?<=[.,:;!?)\]])\*\*(?=[^\W_])")
_PROSE = re.compile(r"(?:\b[^\W\d_]{2,},?\s+){3}")
"""Between dollars of money: `US$3) to see the doctor ... 20 pounds (US$`."""
_MAX_SPACED_FORMULA = 100
_SPACED_FORMULA = re.compile(r"\s?[=<>]|[^\\^_]*[\\^_]")
_SCRIPT = re.compile(r"\^(?:(?<!\[\^)[^\s^]{1,20}|[^\s^\[\]]{1,20})\^|(?<=[\w)\]*>])(?<!~)~[^\s~]{1,20}~(?!~)")
"""`10^6^`, `H~2~O`; not the footnotes of `[^1][^2]`, and not `~5–~10`."""
_AUTOLINK = re.compile(r"<(?:https?://[^\s<>\"]+|(?:mailto:)?[\w.+-]{1,100}@[\w-]{1,60}(?:\.[\w-]{1,60}){1,9})>")
_ATTRIBUTES = re.compile(r"(?<![\w\\}{])\{[#.][\w:-]{1,60}(?:\s+(?:[#.][\w:-]{1,60}|[\w-]{1,30}=[^\s{}]{1,60}))*\s*\}")
"""Pandoc's `{#fig:one .wide width=80%}`; not the braces of LaTeX. Comments and template code inside a block are shown:
whatever the index has of a paper can be quoted, and a reader is to see it."""
_RULE = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
"""The line under a table's header."""

_State = StateBlock | StateInline


def read(text: str) -> list[Token]:
    """The tokens of a text."""
    return _PARSER.parse(text)


def read_inline(text: str) -> list[Token]:
    """The tokens of a text that is one line, or reads as one."""
    return _PARSER.parseInline(text)[0].children or []


def is_rule(line: str) -> bool:
    """Whether a line is the one under a table's header: `|---|:-:|`."""
    return "-" in line and _RULE.fullmatch(line) is not None


def _closed(state: _State, opening: re.Match[str]) -> int:
    """Where what is opened there ends; -1 where it never does."""
    kind = opening.lastgroup or ""
    if kind == "element":
        closing = f"</{opening[kind].lower()}>"
    else:
        closing = _CLOSED_BY.get(kind) or f"\\end{{{opening[kind].lower()}}}"
    return _next(state, closing, opening.end())


def _next(state: _State, closing: str, at: int) -> int:
    """Where the next such closing at or after `at` ends, or -1."""
    texts: dict[str, dict[str, list[int]]] = state.env.setdefault("closings", {})
    found = texts.get(state.src)
    if found is None:
        found = texts[state.src] = {}
        for match in _CLOSING.finditer(state.src):
            name = _BLANK_LINE if match[0][0] == "\n" else re.sub(r"\s", "", match[0].lower())
            found.setdefault(name, []).append(match.end())
    ends = found.get(closing, [])
    n = bisect_left(ends, at + len(closing))
    return ends[n] if n < len(ends) else -1


def _whole(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """HTML tables; and comments, equations and the like over blank lines: their lines are one block."""
    opening = _OPENING.match(state.src, state.bMarks[first] + state.tShift[first])
    if opening is None or (close := _closed(state, opening)) < 0:
        return False
    is_table = (opening["element"] or "").lower() == "table"
    if not is_table and not -1 < _next(state, _BLANK_LINE, opening.end()) < close:
        return False
    last = bisect_right(state.bMarks, close - 1)
    if last > end or any(state.sCount[n] < state.blkIndent and not state.isEmpty(n) for n in range(first, last)):
        return False
    if not silent:
        _push(state, "html_table" if is_table else "", first, last)
    return True


def _flat(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """Lines that lie too deep to be read as anything else, as a paragraph."""
    if silent or state.level < _MAX_NESTING:
        return False
    last = first + 1
    while last < end and not state.isEmpty(last) and state.sCount[last] >= state.blkIndent:
        last += 1
    _push(state, "", first, last)
    return True


def _pipe_table(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """A table of pipes, its rows as long as they are; without its header too, as a part of one stands in a passage."""
    if not _has_cells(state, first, bare=first + 1 < end and is_rule(_line(state, first + 1))):
        return False
    if not silent:
        last = first + 1
        while last < end and _has_cells(state, last, bare=True):
            last += 1
        _push(state, "pipe_table", first, last)
    return True


def _has_cells(state: StateBlock, line: int, *, bare: bool) -> bool:
    """Whether a line is a table's row: it holds a pipe, and unless it may be bare, begins and ends with one."""
    text = _line(state, line).rstrip()
    return (
        state.sCount[line] >= state.blkIndent
        and "|" in text
        and (bare or (len(text) > 2 and text.startswith("|") and text.endswith("|")))
    )


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _push(state: StateBlock, kind: str, first: int, last: int) -> None:
    """Add a block of that kind for these lines, or a paragraph."""
    if not kind:
        state.push("paragraph_open", "p", 1)
    token = state.push(kind or "inline", "", 0)
    token.map = [first, last]
    token.content = state.getLines(first, last, state.blkIndent, False).strip("\n")
    token.children = []
    if not kind:
        state.push("paragraph_close", "p", -1)
    state.line = last


def _special(state: StateInline, silent: bool) -> bool:
    """Maths, scripts, tags and links in angle brackets, and attributes, which are left out."""
    find = _FINDERS.get(state.src[state.pos])
    found = find(state) if find is not None else None
    if found is None or not state.pos < found[1] <= state.posMax:
        return False
    if not silent:
        token = state.push(found[0], "", 0)
        token.content = state.src[state.pos : found[1]]
        token.meta["end"] = found[1]
    state.pos = found[1]
    return True


def _emphasis(state: StateInline, silent: bool) -> bool:
    """CommonMark's, but that bold may also end between a closing character and a word: `**(a)**Serial sections`."""
    at = state.pos
    if not emphasis.tokenize(state, silent):
        return False
    closed = _BOLD_END.match(state.src, at)
    if closed and closed.end() == state.pos < state.posMax:
        for delimiter in state.delimiters[-2:]:
            delimiter.close = True
    return True


_Found = tuple[str, int] | None
"""An inline token's type, and where it ends."""


def _maths(state: StateInline) -> _Found:
    src, at = state.src, state.pos
    if (opening := _OPENING.match(src, at)) and (end := _closed(state, opening)) > 0:
        body = src[opening.end() : end - 2]
        return ("math", end) if opening.lastgroup != "display" or _LATEX.search(body) else None
    if match := _DOLLARS.match(src, at):
        body = match[1]
        if "\\" not in body and _PROSE.search(body):
            return None
        close = not body[0].isspace() and not body[-1].isspace()
        if close or (len(body) <= _MAX_SPACED_FORMULA and _SPACED_FORMULA.match(body)):
            return "math", match.end()
    return None


def _script(state: StateInline) -> _Found:
    match = _SCRIPT.match(state.src, state.pos)
    return ("script", match.end()) if match else None


def _angle(state: StateInline) -> _Found:
    src, at = state.src, state.pos
    if match := _AUTOLINK.match(src, at):
        return "autolink", match.end()
    tag = HTML_TAG.match(src, at)
    return ("tag", tag.end()) if tag else None


def _braces(state: StateInline) -> _Found:
    src, at = state.src, state.pos
    match = _ATTRIBUTES.match(src, at)
    return ("dropped", match.end()) if match else None


_FINDERS: dict[str, Callable[[StateInline], _Found]] = {
    "$": _maths,
    "\\": _maths,
    "^": _script,
    "~": _script,
    "<": _angle,
    "{": _braces,
}


def _ending(rule: Callable[[StateInline, bool], bool]) -> Callable[[StateInline, bool], bool]:
    """The same rule, its last token with the place where it ends; for links only where there may be one."""

    def ended(state: StateInline, silent: bool) -> bool:
        if state.src[state.pos] in "![" and state.html_terminator_last("](") < state.pos:
            return False  # or else markdown-it looks for the partner of each bracket, at every depth
        n_tokens = len(state.tokens)
        if not rule(state, silent):
            return False
        if len(state.tokens) > n_tokens:
            state.tokens[-1].meta["end"] = state.pos
        return True

    return ended


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING + 3})
    parser.disable(["code", "reference", "html_block", "html_inline", "autolink", "text_join"])
    ends_paragraph: RuleOptionsType = {"alt": ["paragraph", "blockquote"]}
    parser.block.ruler.before("fence", "whole", _whole, ends_paragraph)
    parser.block.ruler.before("whole", "flat", _flat)
    parser.block.ruler.after("whole", "pipe_table", _pipe_table, ends_paragraph)
    parser.inline.ruler.before("escape", "special", _special)
    parser.inline.ruler.at("emphasis", _emphasis)
    for name, rule in (("link", link), ("image", image), ("backticks", backtick)):
        parser.inline.ruler.at(name, _ending(rule))
    parser.parse("*Rules are compiled at first use*, which is not safe in two threads at once.")
    return parser


_PARSER = _parser()
