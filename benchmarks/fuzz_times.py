"""Seconds per MB of hostile input, at two sizes: what is linear takes four times as long for four times the input."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

MB = 1_000_000
_TIMEOUT_S = 600
_CONTRIBUTORS = ("<article><front><article-meta><contrib-group>", "</contrib-group></article-meta></front></article>")
_SPANNING = '<tr><td colspan="99999999" rowspan="99999999">x</td></tr>'
_CITED = "# T\n\n## A\n\n{body}\n\n## References\n\n{entries}\n"


def _repeated(unit: str, opening: str = "", closing: str = "") -> Callable[[int], str]:
    return lambda n: opening + unit * (n // len(unit)) + closing


def _growing(mark: str, n: int) -> str:
    """Runs of 1, 2, 3, ... marks."""
    return " ".join(mark * k for k in range(1, int((2 * n) ** 0.5)))


def _table(n_columns: int, rows: str) -> str:
    return f"{'|a' * n_columns}|\n{'|-' * n_columns}|\n{rows}"


def _cited(n: int) -> str:
    """Markers and as many entries, half of the text each."""
    n_entries = min(n // 60, 9_999)
    body = " ".join(f"Word [{k % n_entries + 1}]." for k in range(n // 2 // 14))
    return _CITED.format(body=body, entries="\n".join(f"{k}. Smith J. On {k}. 2001" for k in range(1, n_entries + 1)))


def _article(body: str, back: str = "") -> str:
    return f"<article><body>{body}</body><back>{back}</back></article>"


def _in_article(unit: str, opening: str = "<p>", closing: str = "</p>") -> Callable[[int], str]:
    return lambda n: _article(opening + unit * (n // len(unit)) + closing)


def _deep(tag: str, depth: int = 110) -> Callable[[int], str]:
    unit = f"<{tag}>" * depth + "x" + f"</{tag}>" * depth
    return _in_article(unit, "", "")


def _references(n: int) -> str:
    entry = '<ref id="B{k}"><mixed-citation>Smith J. On {k}. 2001</mixed-citation></ref>'
    entries = "".join(entry.format(k=k) for k in range(n // 2 // 70))
    xrefs = "".join(f'<xref ref-type="bibr" rid="B{k % (n // 140)}">{k}</xref>, ' for k in range(n // 2 // 50))
    return _article(f"<p>{xrefs}</p>", f"<ref-list>{entries}</ref-list>")


MARKDOWN: dict[str, tuple[int, Callable[[int], str]]] = {
    "one line of 50 MB": (50 * MB, _repeated("word and ")),
    "10^6 brackets": (1 * MB, _repeated("[")),
    "brackets in brackets": (1 * MB, lambda n: "[" * (n // 2) + "]" * (n // 2)),
    "links that never close": (1 * MB, _repeated("[a](")),
    "> as deep as the line": (1 * MB, _repeated(">", closing="x")),
    "> deeper with each line": (1 * MB, lambda n: "\n".join(">" * (k % 300) + "x" for k in range(n // 150))),
    "lists in lists, one line": (1 * MB, _repeated("- ", closing="x")),
    "lists in lists, by lines": (1 * MB, lambda n: "\n".join(" " * (2 * (k % 200)) + "- x" for k in range(n // 200))),
    "- a, blank, b": (1 * MB, _repeated("- a\n\nb\n\n")),
    "comments that never close": (1 * MB, _repeated("<!-- ")),
    "comments by lines": (1 * MB, _repeated("a\n\n<!-- \n\n")),
    "|": (1 * MB, _repeated("|")),
    "a table as wide as its rule": (
        1 * MB,
        lambda n: "|a" * (n // 5) + "|\n" + "|-" * (n // 5) + "|\n" + "|b" * (n // 10),
    ),
    "rows of a table": (1 * MB, _repeated("| a | b |\n", "| a | b |\n|---|---|\n")),
    "short rows of a wide table": (1 * MB, lambda n: _table(500, "|b|\n" * (n // 4))),
    "`": (1 * MB, _repeated("`")),
    "` in growing runs": (1 * MB, lambda n: _growing("`", n)),
    "fences that never close": (1 * MB, _repeated("```\n\n~~~\n\n")),
    "$": (1 * MB, _repeated("$")),
    "$$ by lines": (1 * MB, _repeated("$$x\n\n")),
    "\\begin{x} that never ends": (1 * MB, _repeated("\\begin{x}\n\n")),
    "<table> that never closes": (1 * MB, _repeated("<table>\n\n<tr>")),
    "<a ": (1 * MB, _repeated("<a ")),
    "<a id=": (1 * MB, _repeated('<a id="b', "# T\n\n## References\n\n")),
    "{{": (1 * MB, _repeated("{{")),
    "*": (1 * MB, _repeated("*")),
    "*a ": (1 * MB, _repeated("*a ")),
    "_a": (1 * MB, _repeated("_a")),
    "headings": (1 * MB, _repeated("# A\n\n")),
    "headings ever deeper": (
        1 * MB,
        lambda n: "\n".join(f"{'.'.join(['1'] * (k % 6 + 1))} A\n" for k in range(n // 10)),
    ),
    "bold lines": (1 * MB, _repeated("**Bold line**\n\n")),
    "a\\n---": (1 * MB, _repeated("a\n---\n")),
    "markers and entries": (1 * MB, _cited),
    "markers in ranges": (
        1 * MB,
        _repeated("[1]–", "# T\n\n## A\n\n", "\n\n## References\n\n1. Smith J. 2001\n2. B. 2002"),
    ),
    "link definitions": (1 * MB, _repeated("[1]: http://x.org\n")),
    "footnotes": (1 * MB, _repeated("[^1]: note\n")),
    "&amp;": (1 * MB, _repeated("&amp;")),
    "front matter": (1 * MB, _repeated("a: [", "---\n", "\n---\n")),
    "U+2028": (1 * MB, _repeated("\u2028")),
    "blank lines": (1 * MB, _repeated("\n")),
}
JATS: dict[str, tuple[int, Callable[[int], str]]] = {
    "one paragraph of 50 MB": (50 * MB, _in_article("word and ")),
    "sections 110 deep": (1 * MB, _deep("sec")),
    "italics 110 deep": (1 * MB, _deep("italic")),
    "lists 110 deep": (1 * MB, _in_article("<list><list-item>" * 55 + "x" + "</list-item></list>" * 55, "", "")),
    "boxes 110 deep": (1 * MB, _deep("boxed-text")),
    "MathML 110 deep": (1 * MB, _in_article("<math>" + "<mrow>" * 109 + "<mi>x</mi>" + "</mrow>" * 109 + "</math>")),
    "MathML fractions 100 deep": (
        1 * MB, _in_article("<math>" + "<mfrac><mi>a</mi>" * 100 + "<mi>x</mi>" + "</mfrac>" * 100 + "</math>")
    ),
    "unknown elements 110 deep": (1 * MB, _deep("unknown")),
    "10^5 siblings": (2 * MB, _in_article("<p>a word</p>", "", "")),
    "10^6 xrefs": (50 * MB, _in_article('<xref ref-type="bibr" rid="B1">1</xref>, ')),
    "10^5 references": (14 * MB, _references),
    "one xref with 10^5 ids": (1 * MB, _in_article("B1 ", '<p><xref ref-type="bibr" rid="', '">1</xref></p>')),
    "cells over 10^8 columns and rows": (1 * MB, _in_article(_SPANNING, "<table>", "</table>")),
    "tables of such cells": (1 * MB, _in_article(f"<table>{_SPANNING}{'<tr/>' * 99}</table>", "", "")),
    "a table of 10^5 columns": (1 * MB, _in_article("<td>x</td>", "<table><tr>", "</tr><tr><td>y</td></tr></table>")),
    "rows of a table": (1 * MB, _in_article("<tr><td>x</td><td>y</td></tr>", "<table>", "</table>")),
    "paragraphs in a cell": (1 * MB, _in_article("<p>x</p>", "<table><tr><td>", "</td></tr></table>")),
    "footnotes in one paragraph": (1 * MB, _in_article("<fn><p>a</p></fn>")),
    "stars": (1 * MB, _in_article("*")),
    "brackets": (1 * MB, _in_article("[")),
    "](": (1 * MB, _in_article("](")),
    "&amp;": (1 * MB, _in_article("&amp;")),
    "backslashes": (1 * MB, _in_article("\\")),
    "blanks": (1 * MB, _in_article("\u00a0")),
    "empty italics": (1 * MB, _in_article("<italic> <bold> </bold></italic>")),
    "TeX": (1 * MB, _in_article("<tex-math>\\begin{document}$x$</tex-math>")),
    "backticks in code": (1 * MB, lambda n: _article(f"<code>{_growing('`', n)}</code>")),
    "comments": (1 * MB, _in_article("<!-- a -->x")),
    "attributes": (1 * MB, lambda n: _article("<p " + " ".join(f"a{k}='x'" for k in range(n // 11)) + ">x</p>")),
    "an attribute": (10 * MB, _in_article("x", '<p id="', '">x</p>')),
    "contributors": (1 * MB, _repeated("<contrib><name><surname>N</surname></name></contrib>", *_CONTRIBUTORS)),
}  # fmt: skip


def main(names: list[str]) -> int:
    """Print a table for each parser; the exit code is 1 where a time grows faster than the input."""
    n_slow = 0
    for parser, cases in (("Markdown", MARKDOWN), ("JATS", JATS)):
        sys.stdout.write(f"\n| {parser} | MB | s | s/MB | time for 4 times the input | memory, MB |\n")
        sys.stdout.write("| --- | ---: | ---: | ---: | ---: | ---: |\n")
        for name, (size, make) in cases.items():
            if names and not any(each in name for each in names):
                continue
            fewer, _ = _measured(parser, make, size // 4)
            seconds, memory = _measured(parser, make, size)
            ratio = seconds / fewer if fewer else 0.0
            slow = ratio > 8 and seconds > 1
            n_slow += slow
            shown = f"{size / MB:g} | {seconds:.2f} | {seconds / size * MB:.2f} | {ratio:.1f}{' (!)' if slow else ''}"
            sys.stdout.write(f"| {name.replace('|', '&#124;')} | {shown} | {memory:.0f} |\n")
            sys.stdout.flush()
    return 1 if n_slow else 0


def _measured(parser: str, make: Callable[[int], str], n: int) -> tuple[float, float]:
    """Processor seconds and MB of memory that an input of some n bytes takes, in a process of its own."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(parser, make, n, theirs))
    process.start()
    theirs.close()
    try:
        if ours.poll(_TIMEOUT_S):
            seconds, memory = ours.recv()
            return float(seconds), float(memory)
    except EOFError:  # out of memory
        return float("inf"), float("inf")
    finally:
        process.kill()
        process.join()
    return float("inf"), 0.0


def _run(parser: str, make: Callable[[int], str], n: int, results: Connection) -> None:
    from indexer.jats import read_jats
    from indexer.markdown import parse_markdown

    text = make(n)
    data = text.encode()
    began = time.thread_time()
    if parser == "JATS":
        text = read_jats(data).markdown
    parse_markdown(text, source="paper.md", sha256="")
    seconds = time.thread_time() - began
    results.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000))
