"""Title, authors, ids, journal, date and licence, from YAML front matter and from header lines."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args
from urllib.parse import quote

import yaml
from yaml.nodes import Node, ScalarNode

from indexer.markdown.authors import UNKNOWN, split_authors, yaml_authors
from indexer.papers import Notice
from indexer.syntax import HTML_TAG, unescape

_FRONT_MATTER = re.compile(
    r"\ufeff?---[ \t]*(?:\r\n|\r|\n)(.*?)(?:\r\n|\r|\n)(?:---|\.\.\.)[ \t]*(?=\r|\n|\Z)", re.DOTALL
)
_MAX_FRONT_MATTER = 50_000

_PMCID = re.compile(r"\bPMC\d{3,9}\b")
_DOI = re.compile(r"\b10\.\d{4,9}/(?:[^\s\"<>|·]|<\d[^\s\"<>|·]*>)+")
"""The angle brackets are those of a SICI, `35:1<1::AID-JBM1>3.0.CO;2-#`: a number follows, never a tag's name."""
_URL = re.compile(r"https?://[^\s<>()\[\]\"]+")
_DATE = re.compile(r"\b((?:1[6-9]|20|21)\d\d)(?:-(\d\d)(?:-(\d\d))?)?\b")
_LABELLED = re.compile(
    r"\s*(?:\*\*|__)?(authors?|doi|pmid|pmcid|pmc|date|published|journal|licen[cs]e|source|sha|url|year)"
    r"(?:\*\*|__)?\s*:(?:\*\*|__)?\s*(.*)",
    re.IGNORECASE,
)
_RECORD = re.compile(r"\s*(?:PMC\d*)?\s*·.*")
"""`PMC4219006 · DOI: 10.1186/… · Journal · 2014`, the PMCID or its digits perhaps missing."""
_RECORD_PART = re.compile(
    r"PMC\d*|(?:DOI|PMID)\b.*\d.*|10\.\d{4,9}/\S+|(?:1[6-9]|20|21)\d\d(?:-\d\d){0,2}", re.IGNORECASE
)
"""One such part makes a line with `·` a record."""

_DATE_WORDS = (
    r"\d{1,4}|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
    r"|st|nd|rd|th|of|t|z|utc|spring|summer|autumn|fall|winter"
)
_IS_DATE = re.compile(rf"(?:(?:{_DATE_WORDS})[\s,./:+-]*){{1,10}}", re.IGNORECASE)
_IS_LICENCE = re.compile(
    r"\S{1,40}|.{0,200}\b(?:creative commons|cc[ -](?:by|0|zero)|public domain|open access|all rights reserved|mit|gpl"
    r"|apache|bsd)\b.{0,200}|.{0,200}https?://\S+",
    re.IGNORECASE,
)
_IS_LINK = re.compile(r"<?https?://[^\s<>()\[\]\"]+>?|\[[^\[\]]*\]\(https?://[^\s()]+\)", re.IGNORECASE)
_IS_SHA = re.compile(r"[0-9a-f]{6,64}(?:[\s,;]+[0-9a-f]{6,64})*", re.IGNORECASE)
_MAX_JOURNAL_CHARACTERS = 150
_WORD = re.compile(r"[^\W\d_][\w’'.-]*")

_NOTICE = re.compile(
    r"(?P<mark>[_*]{1,3})[^_*\r\n]{0,60}(?<![^\W_])full(?: body)?[ -]text (?:is |was |has been )?omitted\b"
    r"[^_*\r\n]{0,200}(?P=mark)(?P<rest>[^\r\n]{0,300})",
    re.IGNORECASE,
)
"""`_Full body text omitted from this summary view._ Fetch the complete paper as Markdown: https://…`"""
_PLAIN_NOTICE = re.compile(
    r"[^\r\n]{0,60}\bfull(?: body)?[ -]text (?:is |was |has been )?omitted\b[^\r\n]{0,300}https?://\S+", re.IGNORECASE
)
_ELSEWHERE = re.compile(
    r"\d+ (?:figures?|tables?|references?)\b.{0,80}\bin the complete paper: https?://\S+", re.IGNORECASE
)
_MAX_TITLE_CHARACTERS = 400
_RETRACTED = re.compile(
    r"[\[(*_\s]*(?:retracted|withdrawn)(?: (?:article|paper|chapter))?[\])]?[*_]*\s*(?:[:.—–-]|(?<=[\])]))",
    re.IGNORECASE,
)
"""`RETRACTED ARTICLE: …`, `[Retracted] …`: what publishers put in front of a title."""


@dataclass(slots=True)
class Metadata:
    """What the header says, as it is found."""

    title: str = ""
    authors: tuple[str, ...] = ()
    paper_id: str = ""
    pmcid: str = ""
    doi: str = ""
    pmid: str = ""
    journal: str = ""
    date: str = ""
    licence: str = ""
    url: str = ""
    body_omitted: str = ""
    notices: tuple[Notice, ...] = ()

    @property
    def year(self) -> int | None:
        """Of the date."""
        match = _DATE.search(self.date)
        return int(match[1]) if match else None

    def add(self, **values: str) -> None:
        """Fill what is still empty."""
        for name, value in values.items():
            if value and not getattr(self, name):
                setattr(self, name, value)


_NOTHING = ("~", "null", "Null", "NULL")


def front_matter_end(text: str) -> int:
    """Where YAML front matter ends; 0 when there is none."""
    match = _FRONT_MATTER.match(text, 0, _MAX_FRONT_MATTER)
    return match.end() if match and isinstance(_load(match[1]), Mapping) else 0


def read_front_matter(text: str, metadata: Metadata) -> None:
    """Take over what the YAML front matter says."""
    match = _FRONT_MATTER.match(text, 0, _MAX_FRONT_MATTER)
    values = _load(match[1]) if match else None
    if not isinstance(values, Mapping):
        return
    known = {str(name).lower().replace("_", "-"): value for name, value in values.items()}

    def text_of(*names: str) -> str:
        found = (known[name] for name in names if known.get(name) is not None)
        value = next(found, "")
        return " ".join(value.split()) if isinstance(value, str) and value not in _NOTHING else ""

    metadata.authors = yaml_authors(known.get("authors", known.get("author")))
    metadata.add(
        title=text_of("title"),
        paper_id=text_of("paper-id"),
        doi=clean_doi(text_of("doi")),
        pmid=text_of("pmid"),
        pmcid=_pmcid(text_of("pmcid", "pmc")),
        journal=text_of("journal", "container-title"),
        date=text_of("date", "published", "year", "issued"),
        licence=text_of("license", "licence"),
        url=text_of("url", "link"),
    )
    metadata.notices = _yaml_notices(known)


class _Loader(yaml.BaseLoader):
    """Reads every scalar as a string, whatever its tag: no value can fail to convert. Refuses aliases, which nest
    into more text than memory holds.
    """

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """The next node; raises at an alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)

    def construct_scalar(self, node: ScalarNode) -> str:
        """The scalar; of escapes that name half a character (`"\\ud800"`), two are one, and one alone is U+FFFD."""
        return str(super().construct_scalar(node)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _load(source: str) -> object:
    try:
        return yaml.load(source, Loader=_Loader)
    except (yaml.YAMLError, RecursionError):
        return None


def _yaml_notices(known: Mapping[str, object]) -> tuple[Notice, ...]:
    """`notices: [retracted]`, `retracted: true`."""
    listed = known.get("notices")
    named = listed if isinstance(listed, list) else [listed]
    if str(known.get("retracted")).lower() in ("true", "yes"):
        named = ["retracted", *named]
    return tuple(notice for notice in get_args(Notice) if notice in named)


def says_retracted(title: str) -> bool:
    """Whether a title begins by saying so."""
    return bool(_RETRACTED.match(title))


def is_header(source: str) -> bool:
    """Whether every line of a block above the first section is metadata: a label with a value of its kind, a record."""
    return all(_is_header_line(line) for line in re.split(r"[\r\n]+", source) if line.strip())


def _is_header_line(line: str) -> bool:
    line = _untagged(line)
    if labelled := _LABELLED.fullmatch(line):
        return _fits(labelled[1].lower(), labelled[2].strip())
    if _RECORD.fullmatch(line):
        return any(_RECORD_PART.fullmatch(part.strip()) for part in line.split("·"))
    return bool(_URL.fullmatch(line.strip()))


def _untagged(line: str) -> str:
    """A line of HTML without its tags."""
    return HTML_TAG.sub("", line) if line.startswith("<") else line


def _fits(label: str, value: str) -> bool:
    """Whether a value is of its label's kind: `Date: we dated the samples by C14.` is a sentence."""
    if not value:
        return True
    match label:
        case "author" | "authors":
            return _are_names(value)
        case "doi":
            return bool(clean_doi(value)) and len(value) <= _MAX_TITLE_CHARACTERS
        case "pmid" | "pmcid" | "pmc":
            return bool(re.fullmatch(r"(?:PMC|PMID:?)?\s*\d{1,9}\.?", value, re.IGNORECASE))
        case "date" | "published" | "year":
            return bool(_IS_DATE.fullmatch(value)) and bool(_DATE.search(value))
        case "journal":
            sentence = re.search(r"[a-z]{4,}\.$", value) or (value.split()[0].islower() and not _are_names(value))
            return not sentence and len(value) <= _MAX_JOURNAL_CHARACTERS
        case "licence" | "license":
            return bool(_IS_LICENCE.fullmatch(value))
        case "sha":
            return bool(_IS_SHA.fullmatch(value))
        case _:
            return bool(_IS_LINK.fullmatch(value))


def _are_names(value: str) -> bool:
    """Whether most words are capitalised, or of a script without capitals, as in no sentence."""
    words = _WORD.findall(value)
    return sum(not word[0].islower() for word in words) * 2 > len(words) or value.lower() in UNKNOWN


def read_header(source: str, metadata: Metadata) -> None:
    """Take over what a header block says."""
    for line in map(_untagged, re.split(r"[\r\n]+", source)):
        labelled = _LABELLED.fullmatch(line)
        if labelled:
            _read_labelled(labelled[1].lower(), labelled[2].strip(), metadata)
        elif _RECORD.fullmatch(line):
            _read_record(line, metadata)
        elif _URL.fullmatch(line.strip()):
            metadata.add(url=line.strip(), pmcid=_pmcid(line))


def _read_labelled(label: str, value: str, metadata: Metadata) -> None:
    if label in ("author", "authors"):
        metadata.authors = metadata.authors or split_authors(value)
    elif label == "doi":
        metadata.add(doi=clean_doi(value))
    elif label == "pmid":
        metadata.add(pmid="".join(re.findall(r"\d+", value)[:1]))
    elif label in ("pmcid", "pmc"):
        metadata.add(pmcid=_pmcid(value if value.upper().startswith("PMC") else f"PMC{value}"))
    elif label in ("date", "published", "year"):
        metadata.add(date=value)
    elif label == "journal":
        metadata.add(journal=value)
    elif label in ("license", "licence"):
        metadata.add(licence=value)
    elif label in ("source", "url") and (match := _URL.search(value)):
        metadata.add(url=match[0], pmcid=_pmcid(match[0]))


def _read_record(line: str, metadata: Metadata) -> None:
    """Parts between `·`: ids by their form, the date last, the journal what is left."""
    for part in (part.strip() for part in line.split("·")):
        if re.fullmatch(r"PMC\d*", part):
            metadata.add(pmcid=_pmcid(part))
        elif part.upper().startswith("DOI"):
            metadata.add(doi=clean_doi(part))
        elif part.upper().startswith("PMID"):
            metadata.add(pmid="".join(re.findall(r"\d+", part)[:1]))
        elif _DATE.fullmatch(part):
            metadata.add(date=part)
        elif part:
            metadata.add(journal=part)


def read_notice(source: str, section: str, metadata: Metadata) -> bool:
    """Whether a block only says that something was left out and stands elsewhere; take over where."""
    notice = _NOTICE.fullmatch(source)
    emphasised = notice is not None and (not notice["rest"].strip() or bool(_URL.search(notice["rest"])))
    under_full_text = section.lower() in ("full text", "full-text", "body") and _PLAIN_NOTICE.fullmatch(source)
    if emphasised or under_full_text:
        url = _URL.search(source)
        metadata.add(body_omitted=url[0].rstrip(".") if url else " ".join(source.split()))
        if url:
            metadata.add(pmcid=_pmcid(url[0]))
        return True
    return bool(_ELSEWHERE.fullmatch(source.strip()))


def is_footer(source: str) -> bool:
    """Whether a last line only names the record's source."""
    return bool(re.fullmatch(r"Source:\s*https?://\S+", source))


def plain_title(blocks: Sequence[str]) -> bool:
    """Whether the first of these blocks is the title of a text without headings: one line, header lines under it."""
    first = blocks[0]
    one_line = not re.search(r"[\r\n]", first) and len(first) <= _MAX_TITLE_CHARACTERS and not first.endswith(".")
    return one_line and len(blocks) > 1 and is_header(blocks[1])


def clean_doi(value: str) -> str:
    """The bare DOI in a text, or an empty string."""
    match = _DOI.search(html.unescape(unescape(value)))
    if match is None:
        return ""
    doi = match[0].split("](", 1)[0].rstrip(".,;:'*`")
    while doi.endswith((")", "]")) and doi.count("(") + doi.count("[") < doi.count(")") + doi.count("]"):
        doi = doi[:-1].rstrip(".,;:")
    return doi


def paper_id(metadata: Metadata, source: str) -> str:
    """The PMCID, else the DOI with `/` as `_`, else the file's stem; never empty, nor `..`, which no address keeps."""
    name = source.rsplit("/", 1)[-1]
    stem = name.rsplit(".", 1)[0] or name
    chosen = metadata.paper_id or metadata.pmcid or metadata.doi or stem
    plain = "".join("_" if each in "/ " or not each.isprintable() else each for each in chosen)
    return plain if plain.strip(".") else f"_{plain}"


def record_url(metadata: Metadata) -> str:
    """The record's own link, else one made from its DOI or PMCID."""
    if metadata.url:
        return metadata.url
    if metadata.doi:
        return f"https://doi.org/{quote(metadata.doi, safe='/()')}"
    return f"https://pmc.ncbi.nlm.nih.gov/articles/{metadata.pmcid}/" if metadata.pmcid else ""


def _pmcid(value: str) -> str:
    match = _PMCID.search(value)
    return match[0] if match else ""
