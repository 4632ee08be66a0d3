"""Papers' text as HTML: what Markdown it reads, marks that hold what was quoted, and nothing that runs."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.papers import CONTENT_KINDS, Span
from indexer.plaintext import plain_text
from indexer.sentences import split_sentences
from indexer.sources import SourceFile, parse_source, read_bytes
from service.answer import Highlight
from service.replies import TextBlock, TextMarker
from service.web.markup import block_html, inline_html, text_html

REL = 'rel="noopener noreferrer nofollow"'
ATTRIBUTES = {
    "a": {
        "href": r"(?i:https?://|mailto:|#ref-[1-9]\d*$)[^\s<>\"]*",
        "rel": "noopener noreferrer nofollow",
        "class": "marker",
    },
    "mark": {"id": "cited"},
    "ol": {"start": r"\d{1,9}"},
    "td": {"colspan": r"\d{1,3}", "rowspan": r"\d{1,3}"},
    "th": {"colspan": r"\d{1,3}", "rowspan": r"\d{1,3}", "scope": "row|col|rowgroup|colgroup"},
}
INLINE = set("b strong i em sub sup code".split())
TAGS = INLINE | set("p br pre blockquote ul ol li table caption thead tbody tfoot tr th td a mark".split())


class Read(HTMLParser):
    """HTML read back: its text, what of it is marked, and a complaint where it is not whole or not allowed."""

    def __init__(self, html: str, tags: set[str] = TAGS) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags = tags
        self.text = self.marked = ""
        self.ids = 0
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.tags
        assert tag not in ("a", "mark") or tag not in self.open
        for name, value in attrs:
            assert re.fullmatch(ATTRIBUTES[tag][name], value or ""), (tag, name, value)
            self.ids += name == "id"
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "mark" in self.open:
            self.marked += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def squeezed(text: str) -> str:
    return "".join(text.split())


def without_marks(html: str) -> str:
    return re.sub(r"</?mark(?: id=\"cited\")?>", "", html)


def marked(text: str, quote: str) -> str:
    """What is marked of a text where `quote` is highlighted, its white space as single spaces."""
    start = text.index(quote)
    html = text_html(text, [Highlight(start, start + len(quote))])
    assert without_marks(html) == text_html(text)
    return " ".join(Read(html).marked.split())


def a_block(text: str, *markers: TextMarker, kind: str = "paragraph", start: int = 0) -> TextBlock:
    return TextBlock(kind, 0, 1, start, start + len(text), text, markers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("One *two* **three**", "<p>One <em>two</em> <strong>three</strong></p>"),
        ("# A *head*\nText", "<p><strong>A <em>head</em></strong></p><p>Text</p>"),
        ("**(a)**In, see **B:**C", "<p><strong>(a)</strong>In, see <strong>B:</strong>C</p>"),
        ("it.**One** p)**q and **r", "<p>it.<strong>One</strong> p)**q and **r</p>"),
        ("Title\n=====", "<p><strong>Title</strong></p>"),
        ("A line\n---", "<p>A line</p>"),
        ("a\n\n***\n\nb", "<p>a</p><p>b</p>"),
        ("H~2~O, 10^6^, x<sub>i</sub>", "<p>H<sub>2</sub>O, 10<sup>6</sup>, x<sub>i</sub></p>"),
        ("^32^P, a^*^^#^, ~5–~10", "<p><sup>32</sup>P, a<sup>*</sup><sup>#</sup>, ~5–~10</p>"),
        ("a[^1][^2]\n\n[^1]: A note.", "<p>a[^1][^2]</p><p>[^1]: A note.</p>"),
        ("`a<b` &lt; \\*c\\*", "<p><code>a&lt;b</code> &lt; *c*</p>"),
        ("```r\nx <- 1\n```", "<pre><code>x &lt;- 1\n</code></pre>"),
        ("> said\n> so", "<blockquote><p>said\nso</p></blockquote>"),
        ("- a\n- b\n  - c", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>"),
        ("304. Clementi M.", '<ol start="304"><li>Clementi M.</li></ol>'),
        ("a  \nb\\\nc", "<p>a<br>\nb<br>\nc</p>"),
        ("[x](https://e.org/?a=1&b)", f'<p><a href="https://e.org/?a=1&amp;b" {REL}>x</a></p>'),
        ("<me@e.org> <https://e.org>", None),
        ("[x](a/b.md) [y](#z) [z](ftp://e.org)", "<p>x y z</p>"),
        ("<a href=\"//e.org\">x</a> <a href='HTTP://e.org'>y</a>", f'<p>x <a href="HTTP://e.org" {REL}>y</a></p>'),
        ("![A *plan*.](plan.png){#fig:plan width=5in .white}", "<p>A <em>plan</em>.</p>"),
        ('<img src="x.png" alt="a plan">', "<p>a plan</p>"),
        ("Words.\n{#tbl:one}", "<p>Words.\n</p>"),
        ("$a_1 * b_2 * c$ is", "<p><code>$a_1 * b_2 * c$</code> is</p>"),
        ("paid $15 per hour, *not* $16", "<p>paid $15 per hour, <em>not</em> $16</p>"),
        ("(US$3) to see the *doctor* (US$ 4)", "<p>(US$3) to see the <em>doctor</em> (US$ 4)</p>"),
        ("\\(x_1\\) \\[y^2\\] \\[12\\]", "<p><code>\\(x_1\\)</code> <code>\\[y^2\\]</code> [12]</p>"),
        ("$$a_1\n\n*b*$$ (1)", "<p><code>$$a_1\n\n*b*$$</code> (1)</p>"),
        ("\\begin{align}\na_1\n\n*b*\\end{align}", "<p><code>\\begin{align}\na_1\n\n*b*\\end{align}</code></p>"),
        ("a<!-- b -->c {{ d }}{% if *x* %}e {#fig:f}", "<p>a&lt;!-- b --&gt;c {{ d }}{% if <em>x</em> %}e </p>"),
        ("a\n\n<!-- b\n\nc -->\n\nd", "<p>a</p><p>&lt;!-- b\n\nc --&gt;</p><p>d</p>"),
        ("<object>a</object><textarea>b</textarea>", "<p>ab</p>"),
        ('![](c.png "A title.")', "<p> A title.</p>"),
        ('![a](c.png "A *title*.")', "<p>a A *title*.</p>"),
        ("p<0.05 and <LOD, <Primary endpoints>", "<p>p&lt;0.05 and &lt;LOD, &lt;Primary endpoints&gt;</p>"),
        ("# Open <b>x\n\ny", "<p><strong>Open <b>x</b></strong></p><p>y</p>"),
    ],
)
def test_markdown_of_papers(text: str, html: str | None) -> None:
    if html is None:
        html = f'<p><a href="mailto:me@e.org" {REL}>me@e.org</a> <a href="https://e.org" {REL}>https://e.org</a></p>'
    assert text_html(text) == html
    Read(html)


def test_pipe_tables_keep_every_cell() -> None:
    text = "Table 1\n| A | *B* |\n|:--|--:|\n| c \\| d | e | f |\n|  | g\n\nAfter"
    assert text_html(text) == (
        '<p>Table 1</p><table><thead><tr><th scope="col">A</th><th scope="col"><em>B</em></th></tr></thead>'
        "<tbody><tr><td>c | d</td><td>e</td><td>f</td></tr><tr><td></td><td>g</td></tr></tbody></table><p>After</p>"
    )


def test_a_part_of_a_table_is_a_table() -> None:
    assert text_html("| a | b |\n| c |") == (
        "<table><tbody><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></tbody></table>"
    )


def test_html_tables_over_blank_lines() -> None:
    text = (
        '<table class="x" onclick="y()">\n<tr><th colspan="2" scope=col rowspan=9999>*</th></tr>\n\n'
        "    <tr><td>*p <sup>2</sup></td>\n\n<td>a<p>b</td></tr>\n</table>\n\nAfter"
    )
    assert text_html(text) == (
        '<table><tbody><tr><th scope="col" colspan="2">*</th></tr>'
        "<tr><td>*p <sup>2</sup></td><td>a<p>b</p></td></tr></tbody></table><p>After</p>"
    )


def test_what_a_broken_table_holds_is_shown_and_what_is_around_stays_whole() -> None:
    text = "before\n\n<table>stray<tr><td>a <b>b <table>c</td></table>\n\nafter"
    html = text_html(text, [Highlight(text.index("stray"), text.index("c</td>") + 1)])
    assert html == (
        "<p>before</p><mark>stray</mark><table><tbody><tr><td><mark>a </mark><b><mark>b </mark></b>"
        "<mark>c</mark><table></table></td></tr></tbody></table><p>after</p>"
    )


def test_code_by_indentation() -> None:
    block = a_block("if a:\n        b\n    c", kind="code")
    assert block_html(block, (6, 21)) == '<pre><code>if a:\n<mark id="cited">    b\nc</mark></code></pre>'


def test_titles_are_inline() -> None:
    assert inline_html("*E. coli* in\n<p>H~2~O</p> [x](https://e.org) <br># a") == (
        "<bdi><em>E. coli</em> in H<sub>2</sub>O x # a</bdi>"
    )
    assert inline_html("") == inline_html(" <br>") == ""


@pytest.mark.parametrize(
    ("text", "quote", "visible"),
    [
        ("a **bold word** b", "bold", "bold"),
        ("a **bold word** b", "a **bo", "a bo"),
        ("a [link *x*](https://e.org) b", "x*](https://e.org) b", "x b"),
        ("x &lt; y. z", "&lt; y.", "< y."),
        ("x &lt; y. z", "x &lt;", "x <"),
        ("H~2~O and 10^6^ <sub>i</sub>", "2~O and 10^6^ <sub>i", "2O and 106 i"),
        ("_First._ Second", "_First._", "First."),
        ("*a* b", "a* b", "a b"),
        ("# Head\n\n- one.\n- two\n\n> three", "Head\n\n- one.\n- two\n\n> thr", "Headone.two thr"),
        ("1. one\n2. two", "2. two", "two"),
        ("| a | b |\n|---|---|\n| *c* | d |", "b |\n|---|---|\n| *c*", "bc"),
        ("<table><tr><td>a <i>b</i></td><td>c</td></tr></table>", "b</i></td><td>c", "bc"),
        ("`code here` b", "here` b", "here b"),
        ("`` a ` b `` c", "` b", "` b"),
        ("```\none\ntwo\n```", "two", "two"),
        ("$a_1$ b", "1$ b", "1$ b"),
        ("![A plan of *it*.](x.png) b", "plan of *it*.](x.png) b", "plan of it. b"),
        ("a  \nb\\\nc", "a  \nb\\\nc", "a b c"),
        ("a\r\nb *c*\r\nd", "b *c*\r\nd", "b c d"),
        ("a \\* b", "\\* b", "* b"),
        ("<!-- x --> y {{ z }} w", "<!-- x --> y {{ z }} w", "<!-- x --> y {{ z }} w"),
        ('a ![](c.png "A title.") b', 'c.png "A title.")', "A title."),
        ("- a\n\n\t> - b **c**\n", "b **c", "b c"),
    ],
)
def test_what_is_marked_is_what_is_quoted(text: str, quote: str, visible: str) -> None:
    assert squeezed(marked(text, quote)) == squeezed(visible)


def test_a_mark_is_split_where_elements_begin_and_end() -> None:
    assert text_html("a **b** c", [Highlight(0, 6)]) == "<p><mark>a </mark><strong><mark>b</mark></strong> c</p>"
    html = text_html("| a | b |\n|---|---|\n| c | d |", [Highlight(2, 24)])
    assert '<th scope="col"><mark>a</mark></th><th scope="col"><mark>b</mark></th>' in html


def test_the_first_mark_of_a_block_is_the_place_to_scroll_to() -> None:
    block = a_block("a **b** c", start=100)
    assert block_html(block, (102, 107)) == '<p>a <strong><mark id="cited">b</mark></strong> c</p>'
    assert block_html(block, (98, 104)) == '<p><mark id="cited">a </mark><strong>b</strong> c</p>'
    assert block_html(block, (101, 900)).count("id=") == 1 < block_html(block, (101, 900)).count("<mark")
    assert block_html(block, (0, 100)) == block_html(block, (109, 200)) == block_html(block)
    assert without_marks(block_html(block, (0, 500))) == block_html(block)
    own = block_html(a_block('<mark id="cited">x</mark> <p id="cited">y</p>'), (17, 18))
    assert own == '<p><mark id="cited">x</mark> </p><p>y</p>'


def test_markers_link_to_the_first_entry_they_name() -> None:
    text = "As said [3, 4] and <sup>1</sup> and [[2](#B2)–[3](#B3)]."
    markers = [TextMarker(8, 14, (2, 3)), TextMarker(19, 31, (0,)), TextMarker(36, len(text) - 1, (1, 2))]
    block = a_block(text, *markers)
    assert block_html(block, (3, 12)) == (
        '<p>As <mark id="cited">said </mark><a class="marker" href="#ref-3"><mark>[3, </mark>4]</a> and '
        '<sup><a class="marker" href="#ref-1">1</a></sup> and '
        '<a class="marker" href="#ref-2">[2–3]</a>.</p>'
    )
    assert block_html(block, link_references=False) == "<p>As said [3, 4] and <sup>1</sup> and [2–3].</p>"


def test_a_marker_in_a_link_is_no_link_in_it() -> None:
    text = "[see [3]](https://e.org)"
    assert block_html(a_block(text, TextMarker(5, 8, (2,)))) == f'<p><a href="https://e.org" {REL}>see [3]</a></p>'


def test_controls_and_directions() -> None:
    assert text_html("a\x00b\x1bc\x85d \ud800 \ufdd0\uffff &#xfdda; &#x202e;") == "<p>a\ufffdb\ufffdc d � �� � </p>"
    assert text_html("\u202eevil\u202c \u2067x\u2069, \u200fשלום\u200d") == "<p>evil x, \u200fשלום\u200d</p>"
    assert inline_html("\u202eevil") == "<bdi>evil</bdi>"


ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src=`x`onerror=alert(1)//",
    '<b onmouseover="alert(1)">x</b>',
    "<body onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='JaVaScRiPt:alert(1)'>x</a>",
    "<a href='java&#x09;script:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href='\x01javascript:alert(1)'>x</a>",
    "<a href=' data:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<a href='vbscript:x'>x</a>",
    '<a href="https://e.org" onclick="alert(1)" target="_blank" style="position:fixed">x</a>',
    '<a href="https://e.org/&quot; onclick=&quot;alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](https://e.org \"'onmouseover='alert(1)\")",
    '[x](<https://e.org/" onclick=alert(1)>)',
    '![x](x"onerror="alert(1))',
    "[![x](javascript:a)](javascript:b)",
    "[a](https://e.org/[b](javascript:c))",
    "<javascript:alert(1)>",
    '<https://e.org/"onclick=alert(1)>',
    "<svg><script>alert(1)</script></svg>",
    "<svg onload=alert(1)>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=x><embed src=x>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{display:none}</style>",
    "<style>@import '//evil.example'",
    "<form action=//evil.example><input name=q><button>x</button></form>",
    "<template><script>alert(1)</script></template>",
    "<textarea></textarea><script>alert(1)</script>",
    "<title></title><xmp><script>alert(1)</script></xmp>",
    "<plaintext>",
    "</main></body></html>",
    "</p></td></table></div>",
    "<!-- never closed",
    "<!--><script>alert(1)</script>-->",
    "<!-- --!><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php echo '<script>' ?>",
    "<b title='never closed",
    '<p id="cited" class="marker">x</p>',
    '<mark id="cited">x</mark>',
    "<td colspan='99999999999'>x",
    "<table><td colspan=2 onclick=x rowspan='3\" x'>x</table>",
    "`<script>alert(1)</script>`",
    "```\n</code></pre><script>alert(1)</script>\n```",
    "$<script>alert(1)</script>$",
    "\ufdda\ufdd1\ufddd<script>\ufddb",
    "&#xfdda;&#xfddb;&lt;script&gt;alert(1)",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "| <script> | onerror= |\n|---|---|\n| <img src=x onerror=alert(1)> | </table> |",
    "<table><tr><td><a href='https://e.org'><table><a href='https://e.org'>x",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    "around", ["%s", "a *b %s c* d", "- %s\n\n> %s", "<table><tr><td>%s</td></tr></table>", "# %s"]
)
def test_attacks_are_text(attack: str, around: str) -> None:
    text = around.replace("%s", attack)
    html = text_html(text, [Highlight(0, len(text) // 2)])
    Read(html)
    Read(block_html(a_block(text), (1, len(text))))
    Read(inline_html(text), INLINE | {"bdi"})
    assert without_marks(html) == text_html(text)


@pytest.mark.parametrize(
    "deep", ["> ", "- ", "1. ", "<ul><li>", "<b>", "<table><tr><td>", "**", "[", "![", "<p>", "$", "` "]
)
def test_deep_and_long_is_no_trouble(deep: str) -> None:
    began = time.process_time()
    html = text_html(deep * 10_000 + "deep", [Highlight(0, 100_000)])
    assert time.process_time() - began < 10  # what is quadratic takes minutes
    assert Read(html).text.rstrip("\n").endswith("deep")


def test_blocks_too_deep_are_paragraphs() -> None:
    text = "\n".join("  " * n + f"- item {n}" for n in range(60)) + "\n\nAfter"
    assert re.findall(r"\d+", Read(text_html(text)).text) == [str(n) for n in range(60)]
    assert text_html(text).endswith("<p>After</p>")


SYNTAX = r"""*x* ** _ ` ``` $ $$ \ \( \) \[ \begin{a} \end{a} [ ] ( ) ![ ](https://e.org) | |---| # - 1. > ~ ^2^ ~2~
&lt; &#x41; {#a} {{a}} {% <table> <tr> <td> </td> </table> <sub> </sub> <b> </b> <p> </p> <li> <ul> <br> <!-- --> word 1
""".split()
PIECES = st.sampled_from(
    [*ATTACKS, *SYNTAX, " ", "\n", "\r\n", "\n\n", "  \n", "    ", "\t", "| a | b |\n|---|---|\n| c | d |"]
)
TEXTS = st.lists(PIECES | st.text(max_size=6), max_size=12).map("".join)


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.data())
def test_html_is_whole_whatever_the_text_and_marks_are_all_of_it(text: str, data: st.DataObject) -> None:
    plain = text_html(text)
    visible = Read(plain).text
    Read(inline_html(text), INLINE | {"bdi"})
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2)))
    found: Counter[str] = Counter()
    for start, end in ((0, cuts[0]), (cuts[0], cuts[1]), (cuts[1], len(text))):
        html = text_html(text, [Highlight(start, end)])
        assert without_marks(html) == plain
        found += Counter(squeezed(Read(html).marked))
    assert found == Counter(squeezed(visible))


@settings(deadline=None, max_examples=100)
@given(TEXTS, st.integers(-20, 60), st.integers(-20, 60), st.integers(-20, 60), st.integers(0, 20))
def test_markers_and_marks_of_any_place(text: str, start: int, end: int, at: int, length: int) -> None:
    block = a_block(text, TextMarker(at, at + length, (7,)))
    html = block_html(block, (start, end))
    assert Read(html).ids == ("<mark" in html)
    assert without_marks(html) == block_html(block)
    assert Read(html).text == Read(block_html(block, link_references=False)).text


def paper_blocks(path: Path) -> Iterator[TextBlock]:
    paper = parse_source(SourceFile(path, path.name), read_bytes(path))
    for block in paper.blocks:
        if block.kind in CONTENT_KINDS:
            text = paper.text[block.start : block.end]
            yield TextBlock(block.kind, block.section, block.paragraph, block.start, block.end, text, ())


def letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


def words(block: TextBlock, span: Span) -> str:
    """A sentence as a search reads it, without what only a page leaves out: items' numbers, images."""
    text = re.sub(r"\]\([^()\s]*\)", lambda code: " " * len(code[0]), block.text)
    found = plain_text(text, span.start, span.end, table=block.kind == "table")
    return re.sub(r"^\d+[.)]", "", found) if block.kind == "list_item" and span.start == 0 else found


@pytest.mark.shared
@pytest.mark.parametrize("folder", ["papers/markdown", "papers/manubot", "eval/qasper10"])
def test_every_sentence_of_papers_is_marked_as_it_reads(shared: Path, folder: str) -> None:
    paths = sorted(each for each in (shared / folder).rglob("*.md") if each.stat().st_size < 60_000)
    n_sentences = n_unlike = 0
    for path in paths[:: max(len(paths) // 8, 1)]:
        for block in paper_blocks(path):
            html = block_html(block)
            marks = ""
            for span in split_sentences(block.text):
                of_span = block_html(block, (block.start + span.start, block.start + span.end))
                assert without_marks(of_span) == html
                one = Read(of_span).marked
                marks += one
                n_sentences += 1
                n_unlike += letters(one) != letters(words(block, span))
            assert squeezed(marks) == squeezed(Read(html).text)
    assert n_sentences > 100
    assert n_unlike <= n_sentences / 1000
