"""Headings -> section tree. Levels lie: a number prefix says more than the `#`s, and bold lines say least."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace

from indexer.papers import Role, Section
from indexer.syntax import HTML_TAG, unescape, without_emphasis

BOLD_LEVEL = 7
"""Below every ATX level."""

_MAX_BOLD_CHARACTERS = 120
_NUMBER = re.compile(r"(\d{1,2}(?:\.\d{1,2}){1,5})[.)]?\s+(?=\S)|(\d{1,2})(?:[.)]\s*(?=[^\W\d])|\s+(?=[A-Z*_]))")
"""`3.2. Title`, `3.2 Title`, `3. Title`, `3 Title`; not `2017`, `10 mM`, `5-HT`, `3D`."""
_ATTRIBUTES = re.compile(r"\s*\{[#.:][^{}]*\}\s*$")
_LINE_END = re.compile(r"\r\n|\r|\n")
_BOLD_LINE = re.compile(r"(\*\*|__)(?=[^\s*_])((?:(?!\1)[^\r\n])+)\1[:.]?")

_UNSPACED = re.compile(r"(#{2,6})([^\W\d_][^\r\n#]{2,120})#*")
_SPACED_OUT = re.compile(r"(?<!\S)(?:\S ){3,}\S(?!\S)")
"""`A B S T R A C T`, as it is printed over some abstracts."""

_DOTTED_LINE = re.compile(r"\d{1,2}(?:\.\d{1,2})+\.?[ \t]+[A-Z][^.!?;:\r\n|]{2,100}")
_TYPED_ITEM = re.compile(r"\d{1,2}[.)][ \t]+([^\r\n]{3,60})")
_SECTION_WORDS = frozenset(
    """abstract|introduction|background|related work|methods|method|materials and methods|methods and materials|
    patients and methods|experimental|results|results and discussion|discussion|conclusion|conclusions|
    references|acknowledgements|acknowledgments|limitations|experiments|evaluation""".replace("\n", "")
    .replace("    ", "")
    .split("|")
)

_OPENING_WORDS = frozenset({"abstract", "summary", "introduction", "background"})

_WORDS = re.compile(r"[a-z']+")
_REFERENCES = re.compile(
    r"(?:list of )?(?:references?|bibliography|literature|cited literature|works cited)(?: list)?"
    r"(?: and notes| cited.*| and recommended reading)?"
)
_BACK_MATTER = re.compile(
    "|".join(
        (
            "acknowledge?ments?(?: and .*| of funding)?",
            "funding(?: (?:sources?|statements?|information|support|details|disclosures?|acknowledge?ments?|and .*))?",
            "financial (?:support|disclosure).*|sources? of funding|grant support|role of the funding source",
            "(?:authors?|author's|authors') (?:contributions?.*|details|information|notes?|disclosures?.*)",
            "contributorship.*",
            "(?:declarations? of |potential |statement of )?(?:conflicts?|competing)(?: of| financial)* interests?.*",
            "declarations?(?: of interests?)?|disclosures?|disclosure statement|disclaimer",
            "(?:data|code|materials?)(?: and (?:data|code|materials?))? (?:availability|accessibility).*",
            "availability of (?:data|supporting|materials).*",
            "supplement(?:ary|al) (?:materials?|information|data|files?)|supporting information|additional files?",
            "electronic supplementary material|associated content|web resources",
            "(?:editor's )?decision letter|author(?:s|'s|s')? response.*",
            "(?:reviewer|referee)(?:s|'s|s')? (?:comments|reports?).*",
            "pre publication history|publisher's note|consent (?:for publication|to publish)",
            "how to cite.*|additional information",
            "ethics (?:statement|approval).*|ethical (?:approval|statement).*|compliance with ethical standards",
            "institutional review board statement|informed consent statement",
            "(?:provenance and |open )?peer review(?: (?:file|history|information|reports?|statement))?|open access",
            "copyright(?: (?:and .*|holders?|information|notice|statement))?|how to cite.*",
            "transparency document|reporting summary",
        )
    )
)
"""Sections that say nothing of the matter itself. What a researcher could want as evidence is not among them:
abbreviations, trial registration and accession numbers are body."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title as found."""

    title: str
    number: str
    level: int
    """1 to 6 of an ATX heading; BOLD_LEVEL."""


def atx_heading(source: str, level: int) -> Heading:
    """The heading on a line with `#`, or on the lines above `===` or `---`."""
    *lines, last = _LINE_END.split(source)
    if lines:
        return _heading(" ".join(lines), level)
    body = last.lstrip("#").strip()
    stripped = body.rstrip("#")
    if stripped != body and (not stripped or stripped[-1].isspace()):
        body = stripped.rstrip()
    return _heading(body, level)


def bold_heading(source: str) -> Heading | None:
    """The heading that a bold-only line is, if it is one."""
    if len(source) > _MAX_BOLD_CHARACTERS or not source.startswith(("**", "__")):
        return None
    match = _BOLD_LINE.fullmatch(source)
    return _heading(match[2], BOLD_LEVEL) if match and _WORDS.search(match[2].lower()) else None


def typed_heading(source: str, *, lone_item: bool) -> Heading | None:
    """The heading that a plain line is when that is certain: `2.1. Study design`, or `1. Introduction` on its own."""
    if lone_item:
        match = _TYPED_ITEM.fullmatch(source)
        return _heading(source, BOLD_LEVEL) if match and match[1].strip().lower() in _SECTION_WORDS else None
    return _heading(source, BOLD_LEVEL) if _DOTTED_LINE.fullmatch(source) else None


def unspaced_heading(source: str) -> Heading | None:
    """The heading that `##Methods` was meant to be."""
    match = _UNSPACED.fullmatch(source)
    return _heading(match[2], len(match[1])) if match else None


def is_opening(heading: Heading) -> bool:
    """Whether a heading is one that papers begin with, under their title: `Abstract`, `1. Introduction`."""
    return heading.title[len(heading.number) :].strip(" .)").lower() in _OPENING_WORDS


def clean_title(source: str) -> str:
    """A title as it reads: emphasis, tags, attributes, escapes and entities resolved, white space folded."""
    plain = unescape(without_emphasis(HTML_TAG.sub("", _ATTRIBUTES.sub("", source))))
    plain = _SPACED_OUT.sub(lambda match: match[0].replace(" ", ""), plain)
    return " ".join(html.unescape(plain).split()).rstrip(":").strip()


def _heading(source: str, level: int) -> Heading:
    title = clean_title(source)
    match = _NUMBER.match(title)
    return Heading(title, (match[1] or match[2]) if match else "", level)


class SectionTree:
    """Sections in the order of their headings."""

    def __init__(self) -> None:
        self.sections = [Section("", "", -1, 0, 0, "body")]
        self._open: list[tuple[int, Heading]] = []
        """The present section and those around it, outermost first."""

    def add(self, heading: Heading, start: int) -> int:
        """The new section's index.

        A numbered heading belongs to the nearest open section whose number is the longest beginning of its own;
        without one, or without a number, its level decides. `3. Results` stands beside an open `2. Methods` at whatever
        level it is written.
        """
        parent = self._numbered_parent(heading.number)
        heading = replace(heading, level=self._level_beside(heading))
        if parent is not None:
            del self._open[parent + 1 :]
        else:
            while self._open and self._open[-1][1].level >= heading.level:
                self._open.pop()
        above = self._open[-1][0] if self._open else 0
        outer = self.sections[above]
        role = role_of(heading.title, heading.number)
        if role == "body" and outer.role == "references":
            role = "references"  # until `settle_roles` has seen what stands in it
        self.sections.append(Section(heading.title, heading.number, above, outer.level + 1, start, role))
        self._open.append((len(self.sections) - 1, heading))
        return len(self.sections) - 1

    def _level_beside(self, heading: Heading) -> int:
        """The level of the open section that is numbered one less, unless one of the heading's own level is."""
        if not heading.number.isdecimal():
            return heading.level
        before = str(int(heading.number) - 1)
        levels = [each.level for _, each in self._open if each.number == before]
        return levels[0] if levels and heading.level not in levels else heading.level

    def _numbered_parent(self, number: str) -> int | None:
        parts = number.split(".")
        for length in range(len(parts) - 1, 0, -1):
            prefix = ".".join(parts[:length])
            for place in range(len(self._open) - 1, -1, -1):
                if self._open[place][1].number == prefix:
                    return place
        return None


def role_of(title: str, number: str = "") -> Role:
    """What a section of this title is to a searcher."""
    words = " ".join(_WORDS.findall(title.lower().replace("’", "'")[len(number) :]))
    if _REFERENCES.fullmatch(words):
        return "references"
    return "back_matter" if _BACK_MATTER.fullmatch(words) else "body"
