"""Markdown papers to fuzz with: of tokens, damaged, or real ones with some places changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from fuzz_choices import Case, Choose, files, pick

ODD = [
    "\u2028", "\u2029", "\x0c", "\x0b", "\x85", "\x1c", "\xa0", "\u200b", "\ufeff", "\0", "\u0301", "e\u0301", "𝛼",
    "🧬", "\U0010ffff", "\ufffd", "İ", "ß", "ﬁ", "١٢", "²", "κ", "中文。", "\u202e", "\r", "\t", "\x07", "\x1f",
]  # fmt: skip
TOKENS = [
    "# T", "## 1. A", "### 1.1 B", "#", "###### ", "**Bold**", "**References**", "****", "---", "***", "===", "> ",
    "- ", "  - ", "1. ", "12) ", "1. Introduction", "2.1. Study design", "| a | b |", "|---|---|", "|", "```", "~~~",
    "`", "$$", "$", "\\[", "\\]", "\\begin{align*}", "\\end{align*}", "<table>", "<tr><td>", "</td></tr>",
    "<caption>", "</caption>", "<thead>", "</table>", "<!--", "-->", "<div>", "</div>", "<br>", "<sup>", "</sup>",
    "<a id=\"B1\"></a>", "<a ", "<", ">", "&amp;", "&#x41;", "&", "[12]", "[1, 2–4]", "[3]–[5]", "[[1](#B1)]",
    "[1](#B1)", "[](#B1)", "[", "](", ")", "(", "(1)", "(1–3)", "^1,2^", "^", "¹²", "x^2^", "<sup>1</sup>",
    "[@doi:10.1/x; @pmid:3]", "[@tag:x]: doi:10.1000/x", "[1]: http://x.org", "[1]: Smith J. 2001", "[^1]: A note",
    "![x](y.png)", "Table 1. Words", "**Figure 2** Words", "### Table 3.", "### Notes", "Table: t",
    "**Authors:** A B, C D", "PMC12345 · DOI: 10.1000/x · J · 2001", "·", "Source: https://x.org", "title: x",
    "authors: [a, b]", "a: &a [x]", "b: *a", "draft: !!bool x", "DOI: 10.1000/x",
    "_Full body text omitted from this view._", "## References", "## Genes", "## Abstract", "- Smith J. 2001", "{{",
    "}}", "{%", "%}", "{##", "##}", "{#sec:a}", "\\", "\\*", "*", "**", "_", "__", "*E. coli*", "et al.", "i.e. so",
    "Fig. 2", "0.5 [1, 2]", "(A) One.", "word", "Words that say it. And more!", "    code", "\t", " ", "", "x" * 70,
    "word " * 90, "RETRACTED: ", "2005. A title", "10.1002/(SICI)1-4(1997)35:1<1::AID-JBM1>3.0.CO;2-#",
    "AGE (advanced end product)",
]  # fmt: skip
"""Of which Markdown papers are made, and what libFuzzer puts into others."""
_NEWLINES = ["\n", "\n\n", "\r\n", "\r", "\r\n\r\n", "\n \n", "\u2028", " "]
_MAX_SEED = 6_000


def character(choose: Choose) -> str:
    """Any character that UTF-8 can write."""
    if choose(3):
        return pick(choose, ODD)
    code = choose(0x110000 - 0x800)
    return chr(code if code < 0xD800 else code + 0x800)


def _some(choose: Choose, most: int, make: Callable[[Choose], str], between: str = "") -> str:
    return between.join(make(choose) for _ in range(choose(most + 1)))


def markdown(choose: Choose) -> str:
    """A paper of tokens in lines, tables and reference lists, some of them damaged."""
    newline = pick(choose, _NEWLINES)
    parts = [_part(choose, newline) for _ in range(choose(12))]
    text = newline.join(parts)
    for _ in range(max(0, choose(6) - 3)):
        text = damaged(text, choose)
    return text


def _part(choose: Choose, newline: str) -> str:
    kind = choose(10)
    if kind == 0:
        rows = [f"| {_some(choose, 4, _token, ' | ')} |" for _ in range(1 + choose(4))]
        return "\n".join([rows[0], "|---|---|", *rows[1:]])
    if kind == 1:
        mark = pick(choose, ["{n}. ", "[{n}] ", "- ", "{n}) ", '{n}. <a id="B{n}"></a>', "1. ", "[^{n}]: "])
        entries = [f"{mark.format(n=n)}{_some(choose, 3, _token, ' ')}" for n in range(1, 2 + choose(12))]
        return f"## References{newline}{newline}{pick(choose, _NEWLINES).join(entries)}"
    if kind == 2:
        return f"---\n{_some(choose, 4, _token, chr(10))}\n---"
    if kind == 3:
        inside = _some(choose, 4, _token, pick(choose, _NEWLINES))
        opening, closing = pick(
            choose, [("<table>", "</table>"), ("$$", "$$"), ("```", "```"), ("{{", "}}"), ("<!--", "-->")]
        )
        return f"{opening}{newline}{inside}{newline}{closing}"
    return f"{_some(choose, 2, _token)}{_some(choose, 5, _token, pick(choose, ['', ' ']))}"


def _token(choose: Choose) -> str:
    return pick(choose, TOKENS) if choose(8) else character(choose)


def damaged(text: str, choose: Choose) -> str:
    """The text with one place changed: a piece put in, cut out, or written twice."""
    at = choose(len(text) + 1)
    end = min(len(text), at + choose(40))
    match choose(4):
        case 0:
            return text[:at] + _token(choose) + text[at:]
        case 1:
            return text[:at] + text[end:]
        case 2:
            return text[:at] + text[at:end] * (2 + choose(8)) + text[end:]
        case _:
            return text[:at] + _token(choose) + text[end:]


def spliced_text(choose: Choose, seeds: Sequence[str]) -> str:
    """A window of a real paper, changed in some places."""
    text = pick(choose, seeds)
    start = choose(max(1, len(text) - _MAX_SEED))
    text = text[start : start + 200 + choose(_MAX_SEED)] if start else text[: 200 + choose(_MAX_SEED)]
    for _ in range(choose(8)):
        text = damaged(text, choose)
    return text


@cache
def seeds() -> list[bytes]:
    """Real papers."""
    return files(".md", "papers/markdown")


def any_case(choose: Choose) -> Case:
    """A paper of one kind or the other."""
    if choose(3) == 2:
        return Case(spliced_text(choose, [data.decode() for data in [pick(choose, seeds())]]).encode())
    return Case(markdown(choose).encode())
