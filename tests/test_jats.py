"""JATS -> Markdown: goldens for what it means, an independent reading of the XML for what it must not lose."""

from __future__ import annotations

import gc
import html
import re
import time
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.chunking import chunk
from indexer.config import BuildConfig
from indexer.errors import SourceError
from indexer.jats import read_jats
from indexer.jats.maths import tex
from indexer.markdown import parse_markdown
from indexer.papers import CONTENT_KINDS, Paper
from tests.golden import jats_cases, markdown_of
from tests.invariants import letters, name, plain, runs, title_paths


def article(body: str, front: str = "", back: str = "") -> bytes:
    meta = f"<front><article-meta>{front}</article-meta></front>"
    return f"<article>{meta}<body>{body}</body><back>{back}</back></article>".encode()


def written(body: str) -> str:
    return read_jats(article(body)).markdown.strip()


def read(data: bytes) -> Paper:
    return parse_markdown(read_jats(data).markdown, source="paper.md", sha256="0" * 64)


@pytest.mark.parametrize("path", jats_cases(), ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    assert markdown_of(path) == path.with_suffix(".md").read_text(encoding="utf-8"), "run `make golden` and review"


def test_what_is_known_of_the_article() -> None:
    front = read_jats((Path(__file__).parent / "golden/jats.xml").read_bytes()).front
    assert front.title == "Loss of Gata6 loosens limpets: A field study"
    assert front.authors == ("Ada Marsh", "The Limpet Group")
    assert (front.doi, front.pmid, front.pmcid) == ("10.5555/limpets.2021.7", "31233491", "PMC9000001")
    assert (front.date, front.licence) == ("2021-04-02", "https://creativecommons.org/licenses/by/4.0/")
    assert front.article_type == "research-article"
    assert front.keywords == ("limpet", "Patella vulgata")
    assert front.notices == ("retracted", "corrected")
    assert [(each.kind, each.identifier) for each in front.relations] == [
        ("retraction-forward", "10.5555/limpets.2022.1"),
        ("correction-forward", "10.5555/limpets.2021.9"),
    ]


@pytest.mark.parametrize(
    ("kind", "front", "notices"),
    [
        ("research-article", "", ()),
        ("retraction", '<related-article related-article-type="retracted-article"/>', ("retraction",)),
        ("correction", "", ("correction",)),
        ("expression-of-concern", "", ("concern",)),
        ("research-article", "<title-group><article-title>RETRACTED: x</article-title></title-group>", ("retracted",)),
        ("research-article", '<related-article related-article-type="companion"/>', ()),
    ],
)
def test_notices_say_which_paper_was_retracted_and_which_says_so(
    kind: str, front: str, notices: tuple[str, ...]
) -> None:
    data = article("<p>x</p>", front).replace(b"<article>", f'<article article-type="{kind}">'.encode())
    assert read_jats(data).front.notices == notices


def test_what_is_left_out_is_counted() -> None:
    title = "<title-group><article-title>T<fn><p>note</p></fn></article-title></title-group>"
    authors = "<contrib-group><contrib><name><surname>Marsh</surname></name></contrib></contrib-group>"
    front = f"{title}{authors}<aff>Fen wick</aff>"
    data = article("<p>x</p>", front).replace(
        b"</article>", b'<sub-article article-type="translation"><body><p>sept</p></body></sub-article></article>'
    )
    assert read_jats(data).left_out == {"contrib-group": 5, "aff": 7, "fn": 4, "translation": 4}


@pytest.mark.parametrize(
    ("jats", "markdown"),
    [
        ("the <italic>Gata6 </italic>gene", "the *Gata6* gene"),
        ("Loss of<italic> <bold> x </bold></italic>was seen", "Loss of <i>**x**</i> was seen"),
        ("un<italic>x</italic>y", "un<i>x</i>y"),
        ("<italic>a</italic><italic>b</italic>", "*ab*"),
        ("<bold><italic>a</italic></bold> b", "<b>*a*</b> b"),
        ("10<sup>−</sup><sup>4</sup>", "10<sup>−4</sup>"),
        ("5 * 6", "5 * 6"),
        ("P* and Q**", "P\\* and Q\\*\\*"),
        ("circ_01, circ_02", "circ_01, circ_02"),
        ("_a_ and b", "\\_a\\_ and b"),
        ("&lt;p and q&gt; &amp;lt; x &lt; 5", "&lt;p and q> &amp;lt; x < 5"),
        ("[0.1,0.5](n=3)", "[0.1,0.5]\\(n=3)"),
        ('[1]<xref ref-type="fig" rid="F1">(4)</xref> a&lt;<sc>b></sc>', "[1]\\(4) a&lt;b>"),
        ("{{a}} {%b%} {##c##} {<sc>{d</sc>", "{\\{a}} {\\%b%} {\\##c##} {\\{d"),
        ("<tex-math>\\frac{{a}}{b}</tex-math>", "$\\frac{ {a}}{b}$"),
        ("<tex-math>f[x](y)</tex-math>", "$f[x] (y)$"),
        ("# no heading", "\\# no heading"),
        ("- no item", "\\- no item"),
        ("12. no item", "12\\. no item"),
        ("2.1. Study design", "2\\.1. Study design"),
        ("[note]: https://example.org", "\\[note]: https://example.org"),
        ("<bold>Bold line.</bold>", "<b>Bold line.</b>"),
        ("<monospace>x</monospace>", "<code>x</code>"),
        ("a<fn><p>a note</p></fn> b", "a (a note) b"),
        ('<ext-link href="https://example.org/x">example.org/x</ext-link>', "example.org/x"),
        ('<xref ref-type="bibr" rid="B1">[1]</xref>', "[[1](#B1)]"),
        ('<xref ref-type="bibr" rid="B1 B2 B3">1–3</xref>', "[1–3](#B1)[](#B2)[](#B3)"),
        ('bone<xref ref-type="bibr" rid="B1"><sup>1</sup></xref>', "bone<sup>[1](#B1)</sup>"),
        ('<xref ref-type="bibr" rid="B 1"/>', "[](#B)[](#1)"),
        ('<xref ref-type="fig" rid="F1">Figure 1</xref>', "Figure 1"),
        ('see <inline-graphic href="x.gif"/> there', "see ![](x.gif) there"),
        ("<named-content>named</named-content> <unknown>read</unknown>", "named read"),
    ],
)
def test_running_text(jats: str, markdown: str) -> None:
    assert written(f"<p>{jats}</p>") == markdown


@pytest.mark.parametrize(
    "jats",
    ["<bold>Bold line</bold>", "2.1. Study design", "1. Introduction", "Setext", "- item", "[a]: /b", "$$x", "> q"],
)
def test_a_paragraph_is_a_paragraph_whatever_it_begins_with(jats: str) -> None:
    paper = read(article(f"<sec><title>One</title><p>{jats}</p><p>---</p><p>Text.</p></sec>"))
    assert [section.title for section in paper.sections] == ["", "One"]
    assert [block.kind for block in paper.blocks if block.kind != "heading"] == ["paragraph"] * 3


@pytest.mark.parametrize(
    ("mathml", "expected"),
    [
        ("<mi>x</mi><mo>≤</mo><mi>sin</mi><mo>\u2061</mo><mi>α</mi>", r"x≤\mathrm{sin}α"),
        ("<mfrac><mi>a</mi><mrow><mi>b</mi><mo>+</mo><mn>1</mn></mrow></mfrac>", r"\frac{a}{b+1}"),
        ("<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>", "x_{i}^{2}"),
        ("<msup><mrow><mi>a</mi><mi>b</mi></mrow><mn>2</mn></msup>", "{ab}^{2}"),
        ("<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>0</mn></mrow><mi>n</mi></munderover>", "∑_{i=0}^{n}"),
        ("<mover><mi>x</mi><mo>¯</mo></mover><mroot><mi>y</mi><mn>3</mn></mroot>", r"\overline{x}\sqrt[3]{y}"),
        ("<mmultiscripts><mi>C</mi><mprescripts/><mn>6</mn><mn>14</mn></mmultiscripts>", "{}_{6}^{14}C"),
        ("<mfenced open='['><mi>a</mi><mi>b</mi></mfenced>", "[a,b)"),
        ("<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr><mtr><mtd><mn>3</mn></mtd></mtr></mtable>",
         r"\begin{matrix}1 & 2 \\ 3\end{matrix}"),
        ("<mtext>if 5% of é_a</mtext>", r"\text{if 5\% of é\_a}"),
        ("<semantics><mi>x</mi><annotation>y</annotation></semantics>", "x"),
    ],
)  # fmt: skip
def test_mathml_as_tex(mathml: str, expected: str) -> None:
    assert tex(ET.fromstring(f"<math>{mathml}</math>")) == expected


def test_a_formula_is_its_tex_and_only_one_of_its_alternatives() -> None:
    both = "<alternatives><graphic/><tex-math>$x&lt;y$</tex-math><math><mi>z</mi></math></alternatives>"
    assert written(f"<p>so <inline-formula>{both}</inline-formula>.</p>") == "so $x< y$."
    assert written(f"<disp-formula>{both}<label>(2)</label></disp-formula>") == "$$x< y$$ (2)"
    assert written("<disp-formula>E = mc<sup>2</sup></disp-formula>") == "E = mc<sup>2</sup>"
    assert written('<disp-formula><graphic href="e.gif"/></disp-formula>') == "![formula](e.gif)"


def test_every_row_of_a_table_reads_on_its_own() -> None:
    rows = '<tr><td rowspan="2">North</td><td colspan="2">none</td></tr><tr><td>1</td><td>2|3</td></tr>'
    assert written(f"<table><tbody>{rows}</tbody></table>").splitlines() == [
        "| North | none |  |",
        "| --- | --- | --- |",
        "| North | 1 | 2&#124;3 |",
    ]
    head = (
        '<thead><tr><th rowspan="2">Shore</th><th colspan="2">Grip</th></tr><tr><th>mean</th><th>SD</th></tr></thead>'
    )
    assert written(f"<table>{head}{rows}</table>").splitlines()[0] == "| Shore | Grip / mean | Grip / SD |"
    odd = "<table><tbody><p>one</p><tr><p>two</p><td>three</td></tr></tbody></table>"
    assert written(odd).splitlines() == ["| one |  |", "| --- | --- |", "| two | three |"]
    both = f"<table-wrap><table>{rows}</table><table><tr><td>second</td></tr></table></table-wrap>"
    assert "| second |" in written(both)


def test_captions_are_captions_and_a_table_knows_its_own() -> None:
    body = (
        "<sec><title>One</title>"
        "<fig><label>Figure 1</label><caption><title>Grip.</title><p>(A) Cold.</p></caption></fig>"
        "<table-wrap><label>Table 1</label><caption><p>Means.</p></caption>"
        "<table><tr><td>a</td></tr></table></table-wrap></sec>"
    )
    paper = read(article(body))
    kinds = [(block.kind, paper.text[block.start : block.end]) for block in paper.blocks[1:]]
    assert kinds[0] == ("figure_caption", "**Figure 1** Grip. (A) Cold.")
    assert kinds[1] == ("table_caption", "**Table 1** Means.")
    (table,) = (block for block in paper.blocks if block.kind == "table")
    assert table.caption is not None
    assert paper.text[table.caption.start : table.caption.end] == "**Table 1** Means."


REFS = "".join(
    f'<ref id="B{n}"><mixed-citation>{name} A. On limpets. {1990 + n}.</mixed-citation></ref>'
    for n, name in enumerate(["Quill", "Tern", "Brack", "Vik", "Ibsen"], 1)
)


def cited(paragraph: str) -> list[tuple[str, list[str]]]:
    data = article(f"<sec><title>One</title><p>{paragraph}</p></sec>", back=f"<ref-list>{REFS}</ref-list>")
    paper = read(data)
    assert len(paper.references) == 5
    return [
        (paper.text[m.start : m.end], [paper.references[n].text.split()[0] for n in m.references])
        for m in paper.markers
    ]


def xref(n: int, words: str) -> str:
    return f'<xref ref-type="bibr" rid="B{n}">{words}</xref>'


def test_citations_name_their_entries() -> None:
    assert cited(f"as shown [{xref(1, '1')},{xref(3, '3')}].") == [("[[1](#B1),[3](#B3)]", ["Quill", "Brack"])]
    assert cited(f"as shown [{xref(2, '2')}]–[{xref(4, '4')}].")[0][1] == ["Tern", "Brack", "Vik"]
    assert cited(f"as shown<sup>{xref(2, '2')}–{xref(4, '4')}</sup>.") == [
        ("<sup>[2](#B2)–[4](#B4)</sup>", ["Tern", "Brack", "Vik"])
    ]
    assert cited(f"as shown ({xref(1, 'Quill, 1991')}; {xref(2, 'Tern, 1992')}).") == [
        ("([Quill, 1991](#B1); [Tern, 1992](#B2))", ["Quill", "Tern"])
    ]
    assert cited(f"{xref(1, 'Quill (1991)')} found")[0][1] == ["Quill"]
    assert cited(f"in {xref(1, '1991')}–{xref(4, '1994')}")[0][1] == ["Quill", "Vik"]  # years are no range
    assert cited('as shown <xref ref-type="bibr" rid="B1 B5">1,5</xref>')[0][1] == ["Quill", "Ibsen"]


def test_words_of_an_author_year_citation_stay_in_what_is_embedded() -> None:
    body = f"<sec><title>One</title><p>{xref(1, 'Quill (1991)')} found grip [{xref(2, '2')}] in limpets.</p></sec>"
    paper = read(article(body, back=f"<ref-list>{REFS}</ref-list>"))
    passages = chunk(paper, BuildConfig(), lambda texts: [len(text.split()) + 2 for text in texts], 256)
    assert passages[0].embedded_text == "Quill (1991) found grip in limpets."


def test_entries_without_labels_have_the_numbers_that_the_text_calls_them_by() -> None:
    numbered = read(article(f"<sec><title>One</title><p>{xref(2, '2')}</p></sec>", back=f"<ref-list>{REFS}</ref-list>"))
    assert [entry.key for entry in numbered.references] == ["1", "2", "3", "4", "5"]
    named = read(article(f"<sec><title>One</title><p>{xref(2, 'T')}</p></sec>", back=f"<ref-list>{REFS}</ref-list>"))
    assert [entry.key for entry in named.references] == ["B1", "B2", "B3", "B4", "B5"]


def test_the_tree_is_that_of_the_titles() -> None:
    body = (
        "<sec><title>One</title><p>a</p><sec><title>Two <italic>x</italic></title><p>b</p></sec></sec>"
        '<sec><label>3</label><title><ext-link href="https://example.org">Three</ext-link></title><p>c</p></sec>'
    )
    back = "<notes><sec><title>Four</title><p>d</p></sec></notes><ack><p>e</p></ack><p>loose</p>"
    paper = read(article(body, back=back))
    assert [paper.section_path(n) for n in range(1, len(paper.sections))] == [
        ("One",),
        ("One", "Two x"),
        ("3 Three",),
        ("Four",),
        ("Acknowledgements",),
        ("Notes",),
    ]


def test_answers_to_replies_are_read_and_the_title_of_the_back_matter() -> None:
    nested = "<sub-article><body><p>a reply</p></body><response><body><p>an answer</p></body></response></sub-article>"
    back = "<title>Backmatter</title><ack><p>thanks</p></ack>"
    data = article("<p>x</p>", back=back).replace(b"</article>", f"{nested}</article>".encode())
    assert read_jats(data).markdown.split("\n\n") == [
        "x", "Backmatter", "## Acknowledgements", "thanks", "## Reply", "a reply", "## Reply", "an answer\n",
    ]  # fmt: skip


DOCTYPE = '<!DOCTYPE article PUBLIC "-//x" "http://169.254.169.254/x.dtd">'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><article><body>&b;</body></article>', r"entity 'a'"),
        (b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><article><body>&a;</body></article>', r"entity 'a'"),
        (b'<!DOCTYPE a [<!ENTITY % a SYSTEM "http://127.0.0.1/x"> %a;]><article><body/></article>', r"entity 'a'"),
        (DOCTYPE.encode() + b"<article><body><p>&foo;</p></body></article>", r"line 1, column \d+: .*&foo;"),
        (b"<sec>" * 100_000, "deeper than 120"),
        (b"", "line 1, column 1: not well-formed"),
        (article("<p>x</p>")[:-20], "not well-formed"),
        (b"<article><body><p>\xff</p></body></article>", "invalid token"),
        (b'<?xml version="1.0" encoding="foo"?><article/>', "unknown encoding"),
        (b'<?xml version="1.0" encoding="shift_jis"?><article/>', "encoding"),
        (b"<rss><channel/></rss>", "an RSS feed"),
        (b"<!DOCTYPE html><html><br></html>", "a web page"),
        (b'<html xmlns="http://www.w3.org/1999/xhtml"/>', "a web page"),
        (b'<full-text-retrieval-response xmlns="http://x"/>', "Elsevier"),
        (b"<article><info/></article>", "not a JATS article but <article>"),
        (b"<r>" + article("") * 2 + b"</r>", "2 articles"),
    ],
)
def test_what_is_no_article_or_unsafe_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as refused:
        read_jats(data)
    assert re.search(r": (?:fetch|write)", str(refused.value))


def test_a_dtd_is_never_fetched_and_its_characters_are_known() -> None:
    data = f"{DOCTYPE}<article><body><p>a&nbsp;b &alpha;</p></body></article>".encode()
    assert read_jats(data).markdown == "a\xa0b α\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "windows-1252", "iso-8859-1"])
def test_encodings(encoding: str) -> None:
    data = f'<?xml version="1.0" encoding="{encoding}"?><article><body><p>naïve</p></body></article>'.encode(encoding)
    assert read_jats(data).markdown == "naïve\n"


def test_the_article_in_a_record_is_read() -> None:
    wrapped = b'<record xmlns="http://www.openarchives.org/OAI/2.0/">' + article("<p>x</p>") + b"</record>"
    assert read_jats(wrapped).markdown == "x\n"


def test_metadata_too_long_for_the_front_matter_is_cut_and_still_read() -> None:
    names = "".join(f"<contrib><name><surname>{'N' * 500}{n}</surname></name></contrib>" for n in range(3000))
    front = (
        f"<title-group><article-title>{'T' * 9000}</article-title></title-group><contrib-group>{names}</contrib-group>"
    )
    paper = read(article("<p>x</p>", front))
    assert len(paper.authors) == 400
    assert paper.title.startswith("TTT")


@pytest.mark.parametrize(
    "unit",
    [
        "[", "](", "*", "a_", "\xa0", "<italic>a</italic> ", "<italic/>", "<tex-math>\\begin{document}</tex-math>",
        '<xref ref-type="bibr" rid="B1">1</xref>,', "<math><mi>α</mi></math>", "<list><list-item/></list>",
        "<table><tr><td colspan='99999999' rowspan='99999999'>x</td></tr></table>", "<fn><p>a</p></fn>",
    ],
)  # fmt: skip
def test_time_is_linear(unit: str) -> None:
    def seconds(n: int) -> float:
        data = article(f"<p>{unit * n}</p>")
        gc.disable()  # what a collection takes depends on what other tests have left
        started = time.process_time()
        read_jats(data)
        taken = time.process_time() - started
        gc.enable()
        return taken

    n = 40_000 // len(unit)
    few = min(seconds(n) for _ in range(3))
    assert seconds(8 * n) < 8 * 4 * few + 0.05


@pytest.mark.parametrize(
    "unit", ["<sec><title>a</title>", "<italic>a ", "<list><list-item>", "<boxed-text><p>", "<math><mrow>", "<unknown>"]
)
def test_as_deep_as_is_allowed(unit: str) -> None:
    names = re.findall(r"<([a-z-]+)>", unit.replace("<title>a</title>", ""))
    times = 110 // len(names)
    closing = "".join(f"</{name}>" for name in reversed(names))
    assert "deepest" in written(f"{unit * times}deepest{closing * times}")


_WORDS = st.text("aé1 *_<[`|#-\\&α\xa0", min_size=1, max_size=8).map(lambda text: html.escape(text, quote=False))
_TAGS = st.sampled_from(
    "p sec title italic bold sup list list-item def-list def-item term def fig caption label table-wrap fn fn-group "
    "disp-formula inline-formula boxed-text disp-quote code xref ext-link named-content table-wrap-foot media".split()
)
_TREES = st.recursive(
    _WORDS,
    lambda inner: st.one_of(
        st.builds(lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", _TAGS, st.lists(inner, max_size=3)),
        st.builds(lambda a, b: f"<table><tr><td>{a}</td></tr><tr><th>{b}</th></tr></table>", inner, inner),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_TREES, max_size=5))
def test_any_tree_is_read_and_its_letters_are_there(parts: list[str]) -> None:
    body = "".join(parts)
    paper = read(article(body))
    want = Counter(character for character in letters("".join(ET.fromstring(f"<b>{body}</b>").itertext())))
    have = Counter(letters(plain(paper.text)))
    assert not want - have


# Over the shared papers, beside an independent reading of their XML.

_NO_TARGETS = {"10.7554_eLife.00666"}
"""A test of what JATS can do: one citation stands in a section of prose that is called References."""


@pytest.fixture(scope="module")
def papers(shared: Path) -> list[tuple[str, ET.Element, Paper]]:
    files = sorted((shared / "papers/jats").glob("*.xml"))
    assert len(files) == 60
    return [(path.stem, ET.parse(path).getroot(), read(path.read_bytes())) for path in files]


@pytest.mark.shared
def test_nothing_of_any_shared_article_is_lost(papers: list[tuple[str, ET.Element, Paper]]) -> None:
    counts: Counter[str] = Counter()
    lost: list[tuple[str, str, str]] = []
    for stem, root, paper in papers:
        passages = chunk(paper, BuildConfig(), lambda texts: [len(text.split()) + 2 for text in texts], 256)
        found = letters(plain("\n".join(passage.text for passage in passages)))
        parts = [root.find("body"), root.find("back"), root.find("floats-group"), *root.iter("abstract")]
        parts += [reply.find("body") for reply in root.iter("sub-article")]
        for element in (each for part in parts if part is not None for each in part.iter()):
            if name(element) in ("p", "td", "th", "list-item", "caption"):
                counts[name(element)] += 1
                lost += [(stem, name(element), run) for run in map(letters, runs(element)) if run not in found]
    assert counts == {"p": 0, "td": 0, "th": 0, "list-item": 0, "caption": 0} | counts
    assert counts["p"] > 7000
    assert not lost


@pytest.mark.shared
def test_every_citation_of_every_shared_article_names_its_entry(papers: list[tuple[str, ET.Element, Paper]]) -> None:
    n_cited = n_ranges = 0
    for stem, root, paper in papers:
        refs = {ref.get("id", ""): ref for ref in root.iter("ref")}
        order = list(refs)
        cited = Counter(
            rid
            for part in map(root.find, ("body", "floats-group"))
            for xref in (part.iter("xref") if part is not None else ())
            if xref.get("ref-type") == "bibr"
            for rid in xref.get("rid", "").split()
        )
        named: Counter[str] = Counter()
        texts = [letters(plain(entry.text)) for entry in paper.references]
        for marker in paper.markers:
            inside = re.findall(r"\[([^\[\]]*)\]\(#([^()\s]+)\)", paper.text[marker.start : marker.end])
            for _, rid in inside:
                whole = [letters("".join(each.itertext())) for each in refs[rid].iter() if name(each) in _TITLES]
                key = max(whole, key=len, default=letters("".join(refs[rid].itertext())).lstrip("0123456789")[:30])
                named[rid] += any(key in texts[n] for n in marker.references)
            for (first, start), (last, end) in pairwise(inside):
                if first.isdecimal() and re.search(
                    rf"#{re.escape(start)}\)\]?[–-]\[+{re.escape(last)}\]\(#{re.escape(end)}",
                    paper.text[marker.start : marker.end],
                ):
                    n_ranges += 1
                    assert len(marker.references) > order.index(end) - order.index(start), (stem, first, last)
        n_cited += sum(cited.values())
        if stem not in _NO_TARGETS:
            assert not cited - named, stem
    assert n_cited > 6000
    assert n_ranges > 100


_TITLES = ("article-title", "source", "surname")


@pytest.mark.shared
def test_section_paths_of_every_shared_article_are_its_titles(papers: list[tuple[str, ET.Element, Paper]]) -> None:
    n_paths = 0
    for stem, root, paper in papers:
        want = [path for part in map(root.find, ("body", "back")) if part is not None for path in title_paths(part)]
        have = Counter(tuple(map(letters, paper.section_path(n))) for n in range(1, len(paper.sections)))
        n_paths += len(want)
        assert not Counter(want) - have, stem
        assert all(block.kind in CONTENT_KINDS or block.paragraph == 0 for block in paper.blocks)
    assert n_paths > 1600
