"""JATS articles to fuzz with: trees of their own, or parts of real ones with some elements changed.

Every word that an article's Markdown must have is unlike any other.
"""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache, partial

from fuzz_choices import Case, Choose, files, pick

_MAX_ELEMENTS = 150
_MAX_CHILDREN = 30

DECOR = [
    "", "*", "_", "**", "<", ">", "&", "&amp;", "[", "]", "](", "(", "|", "#", "# ", "- ", "1. ", "\\", "`", "```",
    "$", "$$", "{{", "}}", "{%", "{#a}", "<!--", "-->", "<b>", "</p>", "~~~", "===", "---", "> ", "^2^", "[1]", ": ",
    "\n\n", "\n", " ", "\t", "\r\n", "]]>", "2.1. A", "Table 1. ", "\xa0", "\u2028", "\x85", "\u0301", "𝛼", "\u200b",
    "\ufeff", "İ", "ﬁ",
]  # fmt: skip
_INLINE = "italic bold sup sub underline strike monospace sc named-content styled-content unknown break abbrev".split()
_ODD_NUMBERS = ["1", "2", "3", "0", "-1", "1e9", "1000000000", "99999999999999999999", "²", "x", ""]
_IDS = ["B1", "B2", "B 3", "B1 B2 B2", 'a"b', "(x)", "é", "", "#"]


class JatsWriter:
    """Writes one article; `words` are those that its Markdown must have."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.words: list[str] = []
        self._n = 0
        self._left = _MAX_ELEMENTS

    def article(self) -> bytes:
        """An article with front, body and back, or some of these."""
        body = f"<body>{self._many(self._section_or_block, 6)}</body>"
        front = f"<front><article-meta>{self._front()}</article-meta></front>" if self.choose(3) else ""
        back = f"<back>{self._many(self._back_part, 4)}</back>" if self.choose(2) else ""
        floats = f"<floats-group>{self._many(self._float, 2)}</floats-group>" if not self.choose(6) else ""
        kind = pick(self.choose, ["research-article", "retraction", "", "x"])
        return f'<article article-type="{kind}">{front}{body}{back}{floats}</article>'.encode()

    def word(self) -> str:
        """A new word that must be found again, perhaps with odd characters about it."""
        word = self._bare_word()
        before, after = (pick(self.choose, DECOR) if not self.choose(3) else "" for _ in range(2))
        return html.escape(f"{before}{word}{after}", quote=False)

    def _bare_word(self) -> str:
        self._n += 1
        self.words.append(f"w{self._n}q")
        return self.words[-1]

    def _many(self, make: Callable[[], str], most: int) -> str:
        pieces = []
        for _ in range(self.choose(most + 1)):
            self._left -= 1
            if self._left < 0:
                break
            pieces.append(make())
        return "".join(pieces)

    def _in(self, tag: str, content: str, **attributes: str) -> str:
        written = "".join(f' {key.replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items())
        return f"<{tag}{written}>{content}</{tag}>"

    def _text(self) -> str:
        """Mixed content."""
        return self._many(self._run, 4) or self.word()

    def _run(self) -> str:
        kind = self.choose(16)
        if kind < 6:
            return self.word() + pick(self.choose, [" ", "", ", ", ". "])
        if kind < 10:
            return self._in(pick(self.choose, _INLINE), self._many(self._run, 3)) + pick(self.choose, ["", " "])
        if kind == 10:
            words = pick(self.choose, ["1", "[2]", "1–3", "(4)", "<sup>5</sup>", self.word()])
            return self._in("xref", words, ref_type=pick(self.choose, ["bibr", "fig"]), rid=pick(self.choose, _IDS))
        if kind == 11:
            href = pick(self.choose, ["https://x.org/a_(b)", "javascript:x", "file:///etc/passwd", "", "http://[x]"])
            return self._in("ext-link", self._many(self._run, 2), href=href)
        if kind == 12:
            return self._in("inline-formula", self._maths())
        if kind == 13:
            return self._in("fn", self._in("p", self._text()))
        if kind == 14:
            return self._in("inline-graphic", "", href=pick(self.choose, _IDS))
        return self._block() if not self.choose(4) else self.word()

    def _run_of_title(self) -> str:
        return self._in("italic", self.word()) if not self.choose(4) else self.word()

    def _maths(self) -> str:
        kind = self.choose(4)
        if kind == 0:
            return self._in("math", self._many(self._mathml, 3) or "<mi>x</mi>")
        if kind == 1:
            tex = pick(
                self.choose,
                ["x^2", "$x<y$", "\\begin{document}$$a$$\\end{document}", "", "\\frac{{a}}{b}", "a$$b", "{{x}}"],
            )
            return self._in("tex-math", html.escape(tex))
        if kind == 2:
            return "<alternatives><graphic/><tex-math>$x$</tex-math><math><mi>z</mi></math></alternatives>"
        return self._text()

    def _mathml(self) -> str:
        tag = pick(
            self.choose, "mi mo mn mtext mrow mfrac msup msub msubsup mover munder mfenced mtable msqrt mroot".split()
        )
        if tag in ("mi", "mo", "mn", "mtext"):
            self._n += 1
            self.words.append(f"w{self._n}q")
            return self._in(
                tag, self.words[-1] if self.choose(2) else f"{self.words[-1]}{html.escape(pick(self.choose, DECOR))}"
            )
        if tag == "mtable":
            return self._in(tag, self._in("mtr", self._in("mtd", self._many(self._mathml, 2))))
        return self._in(tag, self._many(self._mathml, 3))

    def _section_or_block(self) -> str:
        return self._section(1) if self.choose(2) else self._block()

    def _section(self, depth: int) -> str:
        parts = [self._many(self._block, 3)]
        if depth < 4:
            parts.append(self._many(partial(self._section, depth + 1), 2))
        title = self._in("title", self._many(self._run, 2)) if self.choose(5) else ""
        label = self._in("label", pick(self.choose, ["1", "2.1", "A."])) if not self.choose(4) else ""
        return self._in("sec", f"{label}{title}{''.join(parts)}")

    def _block(self) -> str:
        kinds = [
            self._paragraph, self._paragraph, self._paragraph, self._list, self._definitions, self._table, self._float,
            self._display, self._quoted, self._code,
        ]  # fmt: skip
        return pick(self.choose, kinds)()

    def _paragraph(self) -> str:
        return self._in("p", self._text())

    def _list(self) -> str:
        label = lambda: self._in("label", pick(self.choose, ["1", "(a)", "•", "12.", self.word()]))  # noqa: E731
        item = lambda: self._in("list-item", f"{label() if not self.choose(3) else ''}{self._many(self._block, 2)}")  # noqa: E731
        return self._in("list", self._many(item, 3), list_type=pick(self.choose, ["order", "bullet", "x"]))

    def _definitions(self) -> str:
        item = lambda: self._in("def-item", f"{self._in('term', self._text())}{self._in('def', self._paragraph())}")  # noqa: E731
        return self._in("def-list", self._many(item, 3))

    def _table(self) -> str:
        parts = [self._in("label", f"Table {self.choose(3)}"), self._in("caption", self._in("title", self._text()))]
        head = self._in("thead", self._many(self._row, 2)) if self.choose(2) else ""
        table = self._in("table", f"{head}{self._in('tbody', self._many(self._row, 4))}")
        foot = self._in("table-wrap-foot", self._in("fn", self._paragraph())) if not self.choose(3) else ""
        return self._in("table-wrap", f"{''.join(parts)}{table}{foot}") if self.choose(3) else table

    def _row(self) -> str:
        return self._in("tr", self._many(self._cell, 3))

    def _cell(self) -> str:
        spans = {name: pick(self.choose, _ODD_NUMBERS) for name in ("colspan", "rowspan") if not self.choose(3)}
        return self._in(pick(self.choose, ["td", "th"]), self._text() if self.choose(4) else self._block(), **spans)

    def _float(self) -> str:
        caption = self._in("caption", f"{self._in('title', self._text())}{self._many(self._paragraph, 2)}")
        tag = pick(self.choose, ["fig", "boxed-text", "supplementary-material", "media", "fig-group"])
        label = self._in("label", pick(self.choose, ["Figure 1", "Box", self.word()]))
        return self._in(tag, f"{label}{caption}{self._many(self._block, 2)}")

    def _display(self) -> str:
        label = self._in("label", "(1)") if self.choose(2) else ""
        return self._in("disp-formula", f"{self._maths()}{label}")

    def _quoted(self) -> str:
        return self._in(
            pick(self.choose, ["disp-quote", "boxed-text", "statement", "verse-group"]), self._many(self._block, 2)
        )

    def _code(self) -> str:
        words = self._bare_word() + pick(self.choose, ["", "\n", "```", "\n~~~\n", "\n# x\n\n- y"])
        return self._in(pick(self.choose, ["code", "preformat"]), words)

    def _back_part(self) -> str:
        kind = self.choose(4)
        if kind == 0:
            return self._in("ref-list", self._many(self._reference, 5))
        if kind == 1:
            return self._in("fn-group", self._in("fn", f"{self._in('label', '*')}{self._paragraph()}"))
        tag = pick(self.choose, ["ack", "notes", "glossary", "bio", "sec"])
        return self._in(tag, f"{self._in('title', self._text()) if self.choose(2) else ''}{self._many(self._block, 2)}")

    def _reference(self) -> str:
        label = self._in("label", pick(self.choose, ["1", "2.", "[3]", "a"])) if self.choose(2) else ""
        parts = f"{self._in('source', self._text())}{self._in('year', '2001')}{self._in('volume', '7')}"
        citation = self._in("element-citation", parts) if self.choose(2) else self._in("mixed-citation", self._text())
        return self._in("ref", f"{label}{citation}", id=pick(self.choose, _IDS))

    def _front(self) -> str:
        n_words = len(self.words)
        note = self._in("fn", self._paragraph()) if not self.choose(4) else ""
        del self.words[n_words:]  # a title's notes are left out
        title = self._in("title-group", self._in("article-title", f"{self._many(self._run_of_title, 3)}{note}"))
        ids = self._in(
            "article-id",
            pick(self.choose, ["10.1/x", "12", "PMC7", "x/../y", " "]),
            pub_id_type=pick(self.choose, ["doi", "pmid", "pmcid"]),
        )
        date = self._in(
            "pub-date",
            self._in("year", pick(self.choose, ["2001", "x", "²", "0"]))
            + self._in("month", pick(self.choose, _ODD_NUMBERS)),
        )
        n_words = len(self.words)
        names = self._many(lambda: self._in("contrib", self._in("name", self._in("surname", self.word()))), 2)
        del self.words[n_words:]  # authors stand in the front matter, as far as there is room
        abstract = self._in("abstract", self._many(self._section_or_block, 2))
        return f"{ids}{title}{self._in('contrib-group', names)}{date}{abstract}"


TAGS = """
p sec title italic bold sup list list-item label caption table-wrap table tr td th thead tbody fig fn fn-group ref
ref-list mixed-citation element-citation xref ext-link disp-formula inline-formula tex-math math mi mrow alternatives
boxed-text disp-quote code def-list def-item term def ack app notes named-content graphic break
""".split()


def spliced_tree(choose: Choose, seeds: Sequence[ET.Element]) -> bytes:
    """A part of a real article, some of its elements renamed, moved, written twice, cut out or given other text."""
    source = pick(choose, seeds)
    places = [
        each for each in source.iter() if each.tag in ("sec", "table-wrap", "ref-list", "fig", "p", "abstract", "list")
    ]
    parts = [deepcopy(pick(choose, places)) for _ in range(1 + choose(2))] if places else []
    body = ET.Element("body")
    for part in parts:
        part.tail = None
        del part[_MAX_CHILDREN:]
        body.append(part)
    for _ in range(choose(10)):
        _change(body, choose)
    article = ET.Element("article")
    article.extend([body])
    return ET.tostring(article, encoding="utf-8")


def _change(body: ET.Element, choose: Choose) -> None:
    every = [(above, each) for above in body.iter() for each in above]
    if not every:
        return
    above, chosen = pick(choose, every)
    match choose(6):
        case 0:
            above.remove(chosen)
        case 1:
            above.insert(choose(len(above) + 1), deepcopy(chosen))
        case 2:
            chosen.tag = pick(choose, TAGS)
        case 3:
            chosen.set(
                pick(choose, ["colspan", "rowspan", "rid", "ref-type", "href", "id", "fn-type"]),
                pick(choose, [*_ODD_NUMBERS, *_IDS]),
            )
        case 4:
            chosen.text = (chosen.text or "") + pick(choose, DECOR)
        case _:
            moved = deepcopy(chosen)
            pick(choose, every)[1].append(moved)


@cache
def seeds() -> list[bytes]:
    """Real articles."""
    return files(".xml", "papers/jats")


@cache
def _roots() -> list[ET.Element]:
    roots = [ET.fromstring(data) for data in seeds()]
    for element in (each for root in roots for each in root.iter()):
        element.tag = element.tag.rpartition("}")[2]
        for key in [key for key in element.attrib if "}" in key]:
            element.set(key.rpartition("}")[2], element.attrib.pop(key))
    return roots


def any_case(choose: Choose) -> Case:
    """An article of one kind or the other."""
    if choose(3) == 2:
        return Case(spliced_tree(choose, _roots()))
    writer = JatsWriter(choose)
    data = writer.article()
    return Case(data, tuple(word for word in writer.words if word.encode() in data))
