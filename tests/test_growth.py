"""Reading takes time in proportion to the text, whatever it is: to passages, abbreviations and aliases."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Sequence

import pytest

from indexer.abbreviations import find_abbreviations
from indexer.aliases import find_aliases
from indexer.chunking import chunk, left_out
from indexer.config import BuildConfig
from indexer.markdown import parse_markdown

_WORD = re.compile(r"\w+|[^\w\s]")
_HEAD = "# T\n\n## One\n\n"
_RECORD = "# T\n\n## Linked entities\n\n- **Genes:** "
_REFERENCES = "\n\n## References\n\n"
_CHARACTERS = 40_000
_MAX_S_PER_MB = 100.0
"""Five times what the slowest of these takes on a slow machine: tens of thousands of blocks of a word each."""


def count(texts: Sequence[str]) -> list[int]:
    return [2 + len(_WORD.findall(text)) for text in texts]


def seconds(text: str) -> float:
    """What all that is made of a text takes, on this thread alone."""
    gc.disable()  # what a collection takes depends on what other tests have left
    began = time.thread_time()
    paper = parse_markdown(text, source="x.md", sha256="")
    left_out(paper, chunk(paper, BuildConfig(), count, 256))
    find_abbreviations(paper)
    find_aliases(paper)
    took = time.thread_time() - began
    gc.enable()
    return took


def check_growth(make: Callable[[int], str], n: int = _CHARACTERS) -> None:
    """Four times the text takes four times as long, not sixteen; below a tenth of a second nothing can be told."""
    longer = make(n)
    limit = min(8 * max(seconds(make(n // 4)), 0.1), _MAX_S_PER_MB * max(len(longer), 5_000) / 1e6 + 0.1)
    assert seconds(longer) < limit or seconds(longer) < limit  # once more, on a machine that others use too


_UNITS = {
    "opened quotes": "> ",
    "items in items": "- ",
    "brackets": "[",
    "closing brackets": "]",
    "links of notes": "[[x ",
    "parentheses": "(",
    "closing parentheses": ")",
    "stars": "****",
    "emphasis": "*a ",
    "underlines": "_a ",
    "ticks": "`` ` ",
    "dollars": "$$$$ ",
    "tags": "<a ",
    "comments": "<!-- ",
    "comments in blocks": "<!-- a\n\n",
    "divisions": "<div>\n\n",
    "expressions": "{{ ",
    "statements": "{% for ",
    "loops": "{% for a %}\n{% endfor %}\n",
    "notebook comments": "%% a\n\n",
    "pipes": "|",
    "tables without rows": "| a | b |\n|---|---|\n\n",
    "a line": "Bone is hard. ",
    "a line without stops": "bone and sugar ",
    "a line without blanks": "b",
    "lines": "\n",
    "carriage returns": "a\r",
    "blanks": " ",
    "tabs": "\t",
    "lines of blanks": "   \n",
    "signs of headings": "#\n",
    "headings": "# a\n",
    "list items": "- a\n",
    "numbered items": "1. a\n",
    "underlined": "a\n---\n",
    "fences": "~~~a\n",
    "tables never closed": "<table>\n\n",
    "environments never closed": "\\begin{x}\n\n",
    "equations never closed": "\\[ a\n\n",
    "equations closed": "$$a$$\n",
    "rows of a grid": "+---+---+\n| a | b |\n",
    "borders": "+---+\n\n",
    "rules": "--- ---\na\n\n",
    "divs": "::: {.a}\n",
    "HTML headings": "<h2>a</h2>\n",
    "images": "![a](b)\n\n",
    "images never closed": "![a](",
    "anchors": "<a id='b'></a>",
    "apostrophes": "'",
    "quotation marks": '"',
    "initials": "A. ",
    "labels": "(A) ",
    "raised numbers": "Word.^1^ ",
    "notes": "a[^1] ",
    "definitions of notes": "[^1]: Q. 2001.\n\n",
    "keys": "[@doi:10.1/x; ",
    "addresses": "a.b@c.org ",
    "links": "https://x.org/a/b?c=d ",
    "short forms": "big cats (BC) ",
    "captions": "### Table 1.\n\na\n\n",
    "reference lists": "b [1]\n\n## References\n\n1. W 2001\n\n## A\n\n",
}


@pytest.mark.parametrize("unit", _UNITS.values(), ids=_UNITS)
def test_one_thing_again_and_again(unit: str) -> None:
    check_growth(lambda n: f"{_HEAD}{unit * (n // len(unit))}x\n")


_TEXTS: dict[str, Callable[[int], str]] = {
    "nested quotes": lambda n: _HEAD + "".join(">" * (k % 90) + " x\n" for k in range(n // 45)),
    "nested lists": lambda n: _HEAD + "".join("  " * k + "- x\n" for k in range(int(n**0.5))),
    "short rows": lambda n: _HEAD + "|a" * (n // 5) + "|\n" + "|-" * (n // 5) + "|\n" + "|\n" * (n // 10),
    "long rows": lambda n: _HEAD + "|a|b|\n|-|-|\n" + "|1|2|\n" * (n // 6),
    "rows in HTML": lambda n: _HEAD + "<table>" + "<tr><td>1</td></tr>\n" * (n // 20) + "</table>\n",
    "markers": lambda n: (
        _HEAD
        + "".join(f"Word [{k % (n // 60) + 1}]. " for k in range(n // 20))
        + _REFERENCES
        + "".join(f"{k}. Work 2001\n" for k in range(1, n // 60 + 1))
    ),
    "ranges": lambda n: (
        _HEAD + "Word [1-900]. " * (n // 28) + _REFERENCES + "".join(f"{k}. W 2001\n" for k in range(1, n // 28))
    ),
    "linked markers": lambda n: _HEAD + "[[1](#B1)], " * (n // 12) + f'{_REFERENCES}1. <a id="B1"></a>Work 2001\n',
    "items of HTML": lambda n: _HEAD + _REFERENCES + "<ol>" + "<li id=a>W 2001" * (n // 15),
    "front matter": lambda n: "---\n" + "a: b\n" * (n // 5) + "---\n",
    "brackets in front matter": lambda n: "---\nx: " + "[" * n + "\n---\n",
    "rows of a record": lambda n: (
        _RECORD
        + "".join(f"AB{k} (bone {k}) {{aka CD}}, " for k in range(n // 40))
        + "\n\n## B\n\n"
        + "".join(f"AB{k} is bone. " for k in range(n // 40))
    ),
    "rows of one thing": lambda n: _RECORD + "AB1 (bone) [NCBI Gene 1] {aka CD2}, " * (n // 36) + "\n\nAB1 is CD2.\n",
}


@pytest.mark.parametrize("make", _TEXTS.values(), ids=_TEXTS)
def test_many_things(make: Callable[[int], str]) -> None:
    check_growth(make)


@pytest.mark.parametrize("unit", ["[", "]", "(", '"', " ", "\n", "Bone is hard. ", "b", "<!-- "])
def test_long_texts(unit: str) -> None:
    """Half of one, to be quick: what shows here does not show at forty thousand characters."""
    check_growth(lambda n: f"{_HEAD}{unit * (n // len(unit))}x\n", n=500_000)
