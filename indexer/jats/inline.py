"""Running text: mixed content -> one line of Markdown. Whatever it does not know, it reads through: no word is lost."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from xml.etree.ElementTree import Element

from indexer.jats.maths import tex as mathml_to_tex
from indexer.jats.tree import text_of

BREAK = "\x07"
"""Between what stands on lines of its own inside one line of Markdown: paragraphs of a cell or a caption."""
_ITALIC, _ITALIC_END, _BOLD, _BOLD_END, _STAR, _LINE, _LINKS_TO, _TEX = "\x01\x02\x03\x04\x05\x06\x0e\x0f"
"""Marks that are settled when the line is whole. No XML holds these characters."""

_MATHS = frozenset({"inline-formula", "disp-formula", "math", "tex-math", "alternatives", "chem-struct"})
_LINES = frozenset(
    """p list list-item title label caption def-list def-item term def disp-quote boxed-text fig fig-group table-wrap
    table thead tbody tfoot tr td th sec fn fn-group attrib alt-text long-desc break array statement
    supplementary-material media table-wrap-foot verse-group verse-line speech preformat code mixed-citation
    element-citation citation nlm-citation note question answer""".split()
)
"""What begins on a line of its own."""
_SKIPPED = frozenset({"sec-meta", "processing-meta", "institution-id"})
"""Metadata of parts: no words of the paper."""
_TAGS = {"sup": "sup", "sub": "sub", "underline": "u", "strike": "s"}

_SPACE = re.compile(r"[ \t\r\n\f\v]+")
_EMPTY = re.compile(r"\x01 *\x02|\x03 *\x04|\x02\x01|\x04\x03|<(sup|sub|u|s)></\1>")
_OPEN_SPACE = re.compile(r"([\x01\x03]+)(\s+)")
_SPACE_CLOSE = re.compile(r"(?<!\s)(\s+)([\x02\x04]+)")
_EMPHASIS = re.compile(r"\x01([^\x01-\x04]*)\x02|\x03([^\x01-\x04]*)\x04")
_INSIDE_A_WORD = re.compile(r"(?<=\w)\x06(?=\w)")
_ADJACENT = re.compile(r"</(su[bp])><\1>")
_SUPERSCRIPT_LINK = re.compile(r"<sup>([^\[\]<]*)</sup>")
_UNSAFE = re.compile(r"[^\w.:-]")
_ENTITY = re.compile(r"&(#?\w{0,31};?)")
_LESS = re.compile(r"<(?=[A-Za-z/!?]|\Z)")
"""What could begin a tag, with what may follow in the next element."""
_TEMPLATE = re.compile(r"\{(?=[{%]|##)")
"""What `indexer.markdown` takes for template code, of which it reads nothing."""
_BACKSLASH = re.compile(r"\\(?=[!-/:-@\[-`{-~])")
_MAX_EMPHASIS = 200
"""What `indexer.syntax` takes for emphasis is no longer."""


def line(element: Element, *, skip: frozenset[str] = frozenset()) -> str:
    """The element's content as one line, children named in `skip` left out."""
    return settle(inline(element, skip))


def cell(element: Element) -> str:
    """The element's content as a line that no `|` cuts: written by name in a formula, as a reference in text."""
    parts = re.split(rf"({_TEX}[^{_TEX}]*{_TEX})", inline(element))
    maths = [part.replace(r"\|", r"\Vert ").replace("|", r"\vert ") for part in parts[1::2]]
    parts[1::2] = maths
    return settle("".join(part if n % 2 else part.replace("|", "&#124;") for n, part in enumerate(parts)), "<br>")


def inline(element: Element, skip: frozenset[str] = frozenset()) -> str:
    """The element's content with marks to be settled."""
    pieces = [_escape(element.text)]
    for child in element:
        if child.tag not in skip and child.tag not in _SKIPPED:
            pieces.append(_child(child))
        pieces.append(_escape(child.tail))
    return "".join(pieces)


def piece(child: Element) -> str:
    """A child of running text, with marks to be settled."""
    return "" if child.tag in _SKIPPED else _child(child)


def plain(text: str | None) -> str:
    """A run of text, with marks to be settled."""
    return _escape(text)


def anchor(identifier: str) -> str:
    """An id as it stands in `<a id="">` and in the links to it."""
    return _UNSAFE.sub("_", identifier)


def settle(text: str, separator: str = " ") -> str:
    """The line, its white space folded and its marks written as Markdown."""
    text = _SPACE.sub(" ", text)
    bare = None
    while bare != text:
        bare, text = text, _SPACE_CLOSE.sub(r"\2\1", _OPEN_SPACE.sub(r"\2\1", _EMPTY.sub("", text)))
        text = _SPACE.sub(" ", text)
    text = _TEMPLATE.sub(r"{\\", _ADJACENT.sub("", text))
    text = text.replace("](", r"]\(").replace(_LINKS_TO, "](")
    text = _literal(text)
    while (marked := _EMPHASIS.sub(_emphasised, text)) != text:
        text = marked
    for stray in (_ITALIC, _ITALIC_END, _BOLD, _BOLD_END):
        text = text.replace(stray, "")
    parts = [stripped for part in text.split(BREAK) if (stripped := part.strip())]
    return separator.join(parts).replace(_TEX, "$")


def _literal(text: str) -> str:
    """Stars and low lines of the text itself, escaped where there is another mark that one could pair with."""
    n_marks = sum(map(text.count, (_STAR, _ITALIC, _BOLD)))
    text = text.replace(_STAR, r"\*" if n_marks > 1 else "*")
    text = _INSIDE_A_WORD.sub("_", text)
    return text.replace(_LINE, r"\_" if text.count(_LINE) > 1 else "_")


def _emphasised(match: re.Match[str]) -> str:
    """A pair of marks: stars where Markdown reads them as such, else a tag."""
    italic, bold = match.groups()
    words: str = italic if italic is not None else bold
    before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    first, last = words.lstrip("*")[:1], words.rstrip("*")[-1:]
    stars, tag = ("*", "i") if italic is not None else ("**", "b")
    fits = (
        len(words) <= _MAX_EMPHASIS
        and not (before.isalnum() and after.isalnum())
        and (first.isalnum() or not before.isalnum())
        and (last.isalnum() or not after.isalnum())
        and before not in ("*", "\\", "\x02", "\x04")
        and after not in ("*", "\x01", "\x03")
        and stars not in words
        and "\\*" not in words
        and not words.startswith("*")
        and not words.endswith("*")
    )
    return f"{stars}{words}{stars}" if fits else f"<{tag}>{words}</{tag}>"


def _escape(text: str | None) -> str:
    """Text that Markdown would read otherwise, written so that it reads as itself."""
    if not text:
        return ""
    text = _BACKSLASH.sub(r"\\\\", text)
    text = _ENTITY.sub(_ampersand, text)
    text = _LESS.sub("&lt;", text)
    return text.replace("`", r"\`").replace("*", _STAR).replace("_", _LINE)


def _ampersand(match: re.Match[str]) -> str:
    """As it is where it begins no reference, with what may follow in the next element."""
    begins = html.unescape(match[0]) != match[0] or (match.end() == len(match.string) and match[0] != "&")
    return f"&amp;{match[1]}" if begins else match[0]


def _child(child: Element) -> str:
    tag = child.tag
    if tag in _MATHS:
        return formula(child)
    if render := _RENDERERS.get(tag):
        return render(child)
    inner = inline(child)
    if tag in _TAGS:
        return f"<{_TAGS[tag]}>{inner}</{_TAGS[tag]}>" if inner.strip() else inner
    return f"{BREAK}{inner}{BREAK}" if tag in _LINES else inner


def _reference(child: Element) -> str:
    """A cross-reference: to entries of the reference list a link for each of them, else its words."""
    inner = inline(child)
    rids = [anchor(rid) for rid in child.get("rid", "").split()]
    if child.get("ref-type") != "bibr" or not rids:
        return inner
    words, others = inner.strip(), "".join(f"[{_LINKS_TO}#{rid})" for rid in rids[1:])
    before, after = "", ""
    if match := _SUPERSCRIPT_LINK.fullmatch(words):
        before, words, after = "<sup>", match[1], "</sup>"
    if words[:1] + words[-1:] in ("[]", "()"):
        before, words, after = f"{before}{words[0]}", words[1:-1], f"{words[-1]}{after}"
    if re.search(r"[\[\]\x07]", words):
        return f"{inner}[{_LINKS_TO}#{rids[0]}){others}"
    return f"{before}[{words}{_LINKS_TO}#{rids[0]}){others}{after}" + (" " if inner[-1:].isspace() else "")


def _link(child: Element) -> str:
    inner, href = inline(child), child.get("href", "").strip()
    if not href.startswith(("http://", "https://")) or re.search(r"[\[\]<>\x07]", inner):
        return inner or _escape(href)
    href = re.sub(r"[\s()<>*_\\`\[\]]", lambda match: f"%{ord(match[0]):02X}" if ord(match[0]) < 128 else "", href)
    shown = text_of(child)
    says_it = "." in shown and href.rstrip("/").endswith(shown.rstrip("/"))
    return inner if says_it else f"[{inner or href}{_LINKS_TO}{href})"


def _name(child: Element) -> str:
    """A person: the parts set apart where the source leaves that to the reader."""
    if any((part.tail or "").strip() for part in child) or (child.text or "").strip():
        return inline(child)
    return " ".join(filter(None, (inline(part).strip() for part in child)))


def _people(child: Element) -> str:
    if any((part.tail or "").strip() for part in child) or (child.text or "").strip():
        return inline(child)
    return ", ".join(filter(None, (piece(part).strip() for part in child)))


def _others(child: Element) -> str:
    return inline(child) or "et al."


def _identifier(child: Element) -> str:
    """A published id, labelled: references are found by it."""
    value = inline(child).strip()
    match child.get("pub-id-type"):
        case "doi":
            return f" doi:{''.join(value.split())} "
        case "pmid":
            return f" PMID: {value} "
        case "pmcid" | "pmc":
            return f" PMCID: {value} "
        case _:
            return f" {value} "


def _note(child: Element) -> str:
    inner = inline(child).strip(f" {BREAK}")
    return f" ({inner}) " if inner else ""


def _picture(child: Element) -> str:
    """What is only there as a picture leaves its name, so that the gap shows, and what is said of it."""
    inner, href = inline(child), child.get("href", "").strip()
    if child.tag != "inline-graphic" or not href:
        return f"{BREAK}{inner}{BREAK}"
    return f"![{inner.replace(BREAK, ' ').strip()}{_LINKS_TO}{_UNSAFE.sub('_', href)})"


def _emphasis(opening: str, closing: str) -> Callable[[Element], str]:
    def render(child: Element) -> str:
        return BREAK.join(f"{opening}{part}{closing}" if part.strip() else part for part in inline(child).split(BREAK))

    return render


def _monospace(child: Element) -> str:
    return f"<code>{inline(child)}</code>"


_RENDERERS: dict[str, Callable[[Element], str]] = {
    "italic": _emphasis(_ITALIC, _ITALIC_END),
    "bold": _emphasis(_BOLD, _BOLD_END),
    "monospace": _monospace,
    "xref": _reference,
    "ext-link": _link,
    "uri": _link,
    "name": _name,
    "string-name": _name,
    "person-group": _people,
    "etal": _others,
    "pub-id": _identifier,
    "fn": _note,
    "graphic": _picture,
    "inline-graphic": _picture,
}


def formula(element: Element, *, display: bool = False) -> str:
    """TeX between dollars, as it is given or from MathML, else the words and pictures that stand for it; its label.

    With marks to be settled.
    """
    return " ".join(filter(None, (_formula(element, display), *map(inline, element.findall("label")))))


def _formula(element: Element, display: bool) -> str:
    if tex := _tex(element):
        return f"$${tex}$$" if display else f"{_TEX}{tex}{_TEX}"
    if element.tag == "alternatives":
        return next((shown for child in element if (shown := piece(child)).strip(f" {BREAK}")), "")
    inner = inline(element, frozenset({"label"}))
    if not inner.strip(f" {BREAK}") and (picture := element.find(".//graphic")) is not None:
        return f"![formula{_LINKS_TO}{_UNSAFE.sub('_', picture.get('href', ''))})"
    return inner


def _tex(element: Element) -> str:
    """Of an element that is one formula and nothing else."""
    if element.tag == "tex-math":
        text = "".join(element.itertext())
        _, opened, inside = text.partition(r"\begin{document}")
        tex = (inside.partition(r"\end{document}")[0] if opened else text).strip().strip("$")
    elif element.tag == "math":
        tex = mathml_to_tex(element)
    else:
        given = [child for child in element if child.tag != "label"]
        if any((child.tail or "").strip() for child in element) or (element.text or "").strip():
            return ""
        if element.tag == "alternatives":
            maths = sorted((child for child in given if child.tag in _MATHS), key=lambda child: child.tag != "tex-math")
            return next(filter(None, map(_tex, maths)), "")
        return _tex(given[0]) if len(given) == 1 and given[0].tag in _MATHS else ""
    tex = _LESS.sub("< ", _SPACE.sub(" ", tex)).replace("$$", "$ $").replace("](", "] (").strip()
    return _TEMPLATE.sub("{ ", tex)
