"""What the embedder reads is the words."""

import time

import pytest

from indexer.papers import Span
from indexer.plaintext import plain_text
from indexer.syntax import HTML_TAG


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("**Bold** and *italic* `code`", "Bold and italic code"),
        ("snake_case stays, _this_ goes", "snake_case stays, this goes"),
        ("[a link](https://x.org/y) and ![a figure](f.png)", "a link and a figure"),
        ("p &lt; 0.05 &amp; more", "p < 0.05 & more"),
        ("10^9^ cells, H~2~O", "10 9 cells, H2O"),
        ("HLA-B*27 and CYP2C19*2, 2*3*4", "HLA-B*27 and CYP2C19*2, 2*3*4"),
        ("*E. coli*, **very *much* so**, *over\nlines*", "E. coli, very much so, over lines"),
        ("when x <y and z is large> was small", "when x <y and z is large> was small"),
        ("{.cls text kept} and a figure{#fig:one .wide width=80%}", "{.cls text kept} and a figure"),
        ("line one\r\nline  two\u2028three", "line one line two three"),
        ("> quoted\n> text", "quoted text"),
        ("- item", "item"),
        ("<b>x</b> < y and y > z", "x < y and y > z"),
        ("## Introduction {#intro .x}", "Introduction"),
    ],
)
def test_markdown_goes(source: str, words: str) -> None:
    assert plain_text(source, 0, len(source)) == words


def test_markers_are_dropped_without_a_hole() -> None:
    source = "It rises [12], then falls ([3], [4])."
    drop = (Span(9, 13), Span(27, 30), Span(32, 35))
    assert [source[span.start : span.end] for span in drop] == ["[12]", "[3]", "[4]"]
    assert plain_text(source, 0, len(source), drop) == "It rises, then falls."


def test_table_cells_are_joined() -> None:
    source = "| Gene | Fold |\n|:---|---:|\n| MYC | 2.1 |"
    assert plain_text(source, 0, len(source), table=True) == "Gene, Fold; MYC, 2.1"


def test_a_tag_that_never_closes_takes_no_time() -> None:
    began = time.thread_time()
    for opening in ("<a href=", "<a", "<a open"):
        assert HTML_TAG.match(opening + " " * 200_000 + "x") is None
    assert time.thread_time() - began < 1  # what is quadratic takes minutes
