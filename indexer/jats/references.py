"""Reference lists -> one line an entry, with the anchor that citations link to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from indexer.jats.inline import anchor, inline, line, piece, plain, settle
from indexer.jats.tree import text_of

_CITATIONS = ("mixed-citation", "element-citation", "citation", "nlm-citation")
_NUMBER = re.compile(r"\W*(\d{1,4})\W*")
_TWICE = re.compile(r"\b(doi|PMID|PMCID)\s*:?\s*\(?\s*(?=(?:doi|PMID|PMCID):)", re.IGNORECASE)
_LEADING = ("person-group", "name", "string-name", "collab", "year", "article-title", "chapter-title", "source")


def entries(ref_list: Element, called: Mapping[str, str]) -> Iterator[str]:
    """The list's own entries: `12. <a id="B12"></a>Quill A. …`; with a bullet where it is not numbered.

    `called` has the numbers that the text calls entries by, by their ids: a list without labels is numbered by place
    where these are the places.
    """
    refs = ref_list.findall("ref")
    places = {place: called[ref.get("id", "")] for place, ref in enumerate(refs, 1) if ref.get("id", "") in called}
    by_place = bool(places) and all(str(place) == number for place, number in places.items())
    for place, ref in enumerate(refs, 1):
        label = text_of(ref.find("label")) or next(filter(None, (text_of(each.find("label")) for each in ref)), "")
        number = _NUMBER.fullmatch(label or (str(place) if by_place else ""))
        mark = f'<a id="{anchor(ref.get("id", ""))}"></a>' if ref.get("id") else ""
        words = " ".join(filter(None, ("" if number else settle(plain(label)), *map(_citation, _parts(ref)))))
        if words:
            yield f"{number[1]}. {mark}{words}" if number else f"- {mark}{words}"


def numbers_called(root: Element) -> dict[str, str]:
    """By the id of an entry, the number that the text first calls it by."""
    called: dict[str, str] = {}
    for xref in root.iter("xref"):
        if xref.get("ref-type") == "bibr" and (number := _NUMBER.fullmatch(text_of(xref))):
            called.setdefault(xref.get("rid", ""), number[1])
    return called


def _parts(ref: Element) -> Iterator[Element]:
    """What a `<ref>` holds beside its label; of alternatives, the first."""
    for child in ref:
        if child.tag == "citation-alternatives":
            yield from list(child)[:1]
        elif child.tag != "label":
            yield child


def _citation(element: Element) -> str:
    if element.tag not in _CITATIONS:
        return line(element)
    spoken = (element.text or "").strip() or any((child.tail or "").strip() for child in element)
    text = inline(element, frozenset({"label"})) if spoken else _composed(element)
    return _TWICE.sub("", settle(text))


def _composed(element: Element) -> str:
    """A citation of which only the parts are given: authors, year, title, source, and the rest in their order."""
    parts = [child for child in element if child.tag != "label"]
    numbers = {name: value for name in ("volume", "issue", "fpage", "lpage") if (value := _only(parts, name))}
    shown = [child for child in parts if child.tag not in numbers]
    shown.sort(key=lambda child: _LEADING.index(child.tag) if child.tag in _LEADING else len(_LEADING))
    pieces = [_stopped(f"\x01{piece(child)}\x02" if child.tag == "source" else piece(child)) for child in shown]
    issue = f"({numbers['issue']})" if "issue" in numbers else ""
    pages = "–".join(filter(None, (numbers.get("fpage"), numbers.get("lpage"))))
    where = f"{numbers.get('volume', '')}{issue}{':' if pages else ''}{pages}"
    n_leading = sum(child.tag in _LEADING for child in shown)
    return " ".join(filter(None, [*pieces[:n_leading], _stopped(where), *pieces[n_leading:]]))


def _only(parts: list[Element], name: str) -> str:
    """The text of the part of that name, where there is just one."""
    found = [child for child in parts if child.tag == name]
    return inline(found[0]).strip() if len(found) == 1 else ""


def _stopped(text: str) -> str:
    text = text.strip()
    if not text or text.startswith(("doi:", "PMID:", "PMCID:")) or text.rstrip("\x02")[-1:] in ".?!":
        return text
    return f"{text}."
