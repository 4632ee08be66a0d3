"""`<front>` -> what is known of the article, and the abstracts and notes that stand there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import yaml

from indexer.jats.blocks import Writer, footnote, heading, paragraph
from indexer.jats.inline import inline, line
from indexer.jats.tree import text_of
from indexer.markdown.metadata import says_retracted
from indexer.markdown.sections import clean_title
from indexer.papers import Notice

_DATES = ("epub", "pub", "epub-ppub", "ppub", "publication", "collection", "pmc-release")
"""The kinds of date, that of first publication in front."""
_ABSTRACTS = {
    "summary": "Author summary",
    "author-summary": "Author summary",
    "executive-summary": "Executive summary",
    "plain-language-summary": "Plain language summary",
    "synopsis": "Synopsis",
    "graphical": "Graphical abstract",
    "teaser": "Teaser",
    "toc": "Summary",
}
_NOTES = frozenset({"xref", "fn"})
_MAX_FIELD = 2_000
"""Characters of a journal's name, a licence: a field that is longer is none."""
_MAX_NAME = 80
_MAX_AUTHORS = 400
_MAX_RELATIONS = 20
"""So many stand in the front matter, which is read up to 50,000 characters."""

_NOTICES: dict[str, Notice] = {
    "retraction-forward": "retracted",
    "retracted-article": "retraction",
    "partial-retraction": "retraction",
    "correction-forward": "corrected",
    "corrected-article": "correction",
    "expression-of-concern": "concern",
    "concern": "concern",
    "object-of-concern": "concern",
}
_TYPES: dict[str, Notice] = {
    "retraction": "retraction",
    "partial-retraction": "retraction",
    "correction": "correction",
    "expression-of-concern": "concern",
}


@dataclass(frozen=True, slots=True)
class Relation:
    """A related article."""

    kind: str
    """JATS' word: `corrected-article`, `commentary`, `companion`."""
    identifier: str
    """A DOI, PMCID or URL, as given; empty where there is none."""
    notice: Notice | None


@dataclass(frozen=True, slots=True)
class Front:
    """What the front matter says of the article."""

    title: str
    """As it reads, without mark-up."""
    authors: tuple[str, ...]
    doi: str
    pmid: str
    pmcid: str
    journal: str
    date: str
    """`2014-05-07`, or as much of it as is known."""
    licence: str
    """Its address where there is one, else its words."""
    article_type: str
    """JATS' word: `research-article`, `retraction`."""
    keywords: tuple[str, ...]
    relations: tuple[Relation, ...]

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What its type and relations say of it, each once."""
        own = _TYPES.get(self.article_type)
        if says_retracted(self.title):
            own = "retracted"
        said = (own, *(relation.notice for relation in self.relations))
        return tuple(dict.fromkeys(notice for notice in said if notice))


def read_front(root: Element) -> Front:
    """Of an `<article>`."""
    meta = _meta(root)
    ids = {each.get("pub-id-type", ""): text_of(each) for each in reversed(meta.findall("article-id"))}
    pmcid = ids.get("pmcid") or ids.get("pmc") or ids.get("pmcaid", "")
    return Front(
        title=clean_title(title_line(root)),
        authors=tuple(_authors(meta)),
        doi=_clip(ids.get("doi", ""), _MAX_NAME * 3),
        pmid=_clip(ids.get("pmid", ""), _MAX_NAME),
        pmcid=_clip(f"PMC{pmcid}" if pmcid.isdecimal() else pmcid, _MAX_NAME),
        journal=_clip(text_of(root.find("front/journal-meta//journal-title"))),
        date=_clip(_date(meta), _MAX_NAME),
        licence=_clip(_licence(meta)),
        article_type=_clip(root.get("article-type", ""), _MAX_NAME),
        keywords=tuple(words for each in meta.findall("kwd-group/kwd") if (words := _clip(text_of(each)))),
        relations=tuple(_relations(meta)),
    )


def front_matter(front: Front) -> str:
    """YAML between two `---`, as `indexer.markdown` reads it."""
    values: dict[str, str | list[str]] = {
        "title": _clip(front.title),
        "author": [_clip(name, _MAX_NAME) for name in front.authors[:_MAX_AUTHORS]],
        "journal": front.journal,
        "date": front.date,
        "doi": front.doi,
        "pmid": front.pmid,
        "pmcid": front.pmcid,
        "license": front.licence,
        "type": front.article_type,
        "notices": list(front.notices),
        "related": [_clip(f"{each.kind}: {each.identifier}", _MAX_NAME) for each in front.relations[:_MAX_RELATIONS]],
    }
    known = {name: value for name, value in values.items() if value}
    return f"---\n{yaml.safe_dump(known, allow_unicode=True, sort_keys=False, width=1_000_000)}---" if known else ""


def front_blocks(root: Element, writer: Writer) -> Iterator[str]:
    """The title, the abstracts, and what the authors note of funding and data."""
    meta = _meta(root)
    if title := title_line(root):
        yield heading(title, 1)
    for abstract in meta:
        if abstract.tag in ("abstract", "trans-abstract"):
            if abstract.find("title") is None:
                language = abstract.get("lang", "") if abstract.tag == "trans-abstract" else ""
                name = _ABSTRACTS.get(abstract.get("abstract-type", ""), "Abstract")
                yield heading(f"{name} ({language})" if language else name, 2)
            yield from _under(abstract, writer)
    if keywords := [line(each) for each in meta.findall("kwd-group/kwd")]:
        yield heading("Keywords", 2)
        yield from paragraph(", ".join(keywords))
    statements = meta.findall("funding-group/funding-statement")
    notes = {
        "Author notes": [block for each in meta.findall("author-notes/fn") for block in footnote(each)],
        "Funding": [block for each in statements for block in paragraph(inline(each))],
        "Data availability": [block for each in _data_notes(meta) for block in paragraph(inline(each))],
    }
    for name, blocks in notes.items():
        if blocks:
            yield heading(name, 2)
            yield from blocks


def _data_notes(meta: Element) -> Iterator[Element]:
    for custom in meta.iter("custom-meta"):
        value = custom.find("meta-value")
        if value is not None and "availab" in text_of(custom.find("meta-name")).lower():
            yield value


def _under(abstract: Element, writer: Writer) -> Iterator[str]:
    """An abstract's blocks, below its heading."""
    title = abstract.find("title")
    if title is not None:
        yield from writer.section(abstract, 2)
    else:
        yield from writer.blocks(abstract, 3, frozenset({"label"}))


def _meta(root: Element) -> Element:
    found = root.find("front/article-meta")
    if found is None:
        found = root.find("front-stub")
    return found if found is not None else Element("article-meta")


def title_line(article: Element) -> str:
    """The title of an article or a reply to it as a line of Markdown, its subtitle after a colon; notes left out."""
    meta = _meta(article)
    parts = [meta.find("title-group/article-title"), *meta.findall("title-group/subtitle")]
    return ": ".join(words for each in parts if each is not None and (words := line(each, skip=_NOTES)))


def _authors(meta: Element) -> Iterator[str]:
    for group in [meta, *meta.findall("contrib-group")]:
        for contributor in group.findall("contrib"):
            if contributor.get("contrib-type", "author") == "author" and (name := _name(contributor)):
                yield name


def _name(contributor: Element) -> str:
    for path in ("name", "name-alternatives/name"):
        if (name := contributor.find(path)) is not None:
            return " ".join(filter(None, (text_of(name.find(part)) for part in ("given-names", "surname", "suffix"))))
    for tag in ("string-name", "collab", "anonymous"):
        if (found := contributor.find(tag)) is not None:
            own = Element("name")
            own.text = found.text
            own.extend(child for child in found if child.tag != "contrib-group")
            return text_of(own) or tag.capitalize()
    return ""


def _date(meta: Element) -> str:
    """The earliest kind of publication date, `2014-05-07`."""
    dates = {each.get("pub-type", each.get("date-type", "")): each for each in reversed(meta.findall("pub-date"))}
    chosen = next((dates[kind] for kind in _DATES if kind in dates), next(iter(dates.values()), None))
    if chosen is None:
        return ""
    year, month, day = (text_of(chosen.find(part)) for part in ("year", "month", "day"))
    parts = [year] + ([month.zfill(2)] if month.isdecimal() else [])
    return "-".join([*parts, day.zfill(2)] if len(parts) == 2 and day.isdecimal() else parts)


def _licence(meta: Element) -> str:
    for each in meta.iter("license"):
        reference = text_of(each.find("license_ref")) or each.get("href", "")
        linked = (link.get("href", "") for link in each.iter("ext-link"))
        address = reference or next((href for href in linked if "creativecommons.org" in href), "")
        if address or text_of(each):
            return address.strip() or text_of(each)
    return text_of(meta.find(".//copyright-statement"))


def _relations(meta: Element) -> Iterator[Relation]:
    for each in [*meta.findall("related-article"), *meta.findall("related-object")]:
        kind = each.get("related-article-type") or each.get("related-object-type", "") or "related"
        identifier = each.get("href", "") or each.get("document-id", "") or text_of(each)
        yield Relation(kind, _clip(identifier.removeprefix("info:doi/")), _NOTICES.get(kind))


def _clip(text: str, most: int = _MAX_FIELD) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
