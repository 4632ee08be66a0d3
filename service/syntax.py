"""A query's text -> the question in it, and what its syntax says of the passages that may answer.

    "bone mass"   -mice   -"in vitro"   section:methods   year:2018..2020   paper:PMC12898183

Whatever does not read as one of these is part of the question. Knows nothing of indexes; words are kept as they stand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from indexer.errors import UsageError

_QUOTE = '["“”„]'
_BARE = r'[^\s"“”„]'
_QUOTED = rf'{_QUOTE}(?P<%s>[^"“”„]*){_QUOTE}(?!\w)'
_SYNTAX = re.compile(
    rf"""
      (?<!\S) (?P<key>(?ai:section|year|paper)) : (?: {_QUOTED % "quoted_value"} | (?P<value>{_BARE}*) )
    | (?<!\S) - (?: {_QUOTED % "excluded_phrase"} | (?P<excluded>[^\W\d_](?:{_BARE}*\w)?) )
    | (?<!\w) {_QUOTED % "phrase"}
    """,
    re.VERBOSE,
)
"""A dash excludes in front of a letter or a quote only: `-80 °C` is a number, `TNF-α` a word, ` - ` a dash.
A quote opens where no word ends, and closes where none begins: those of `5" to 6"` measure a pipe."""
_NEGATED_FILTER = re.compile(r"(section|year|paper):", re.ASCII | re.IGNORECASE)
_WORD = re.compile(r"[^\W_]")
_WORDS = re.compile(r"\w+")
_YEAR = re.compile(r"[1-9]\d{3}", re.ASCII)
_FORMS = {
    "section": 'section:methods, section:"materials and methods" or section:3.2',
    "year": "year:2020, year:2018.., year:..2020 or year:2018..2020",
    "paper": 'paper:PMC12898183 or paper:"an id"',
}
_SHOWN = 60
"""Characters of a query that an error repeats."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A query's text, taken apart. What it does not say is empty."""

    question: str
    """What to look for: phrases without their quotes; no exclusions, no filters."""
    phrases: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    paper_ids: tuple[str, ...] = ()
    section: str = ""
    year_from: int = 0
    year_to: int = 0


def parse(text: str) -> Parsed:
    """The text, taken apart. Raises UsageError for a filter that cannot be, with its place, and if nothing remains."""
    parsed = Parsed("")
    question: list[str] = []
    at = 0
    for found in _SYNTAX.finditer(text):
        question.append(text[at : found.start()])
        at = found.end()
        phrase, excluded = found["phrase"], found["excluded"] or found["excluded_phrase"]
        place = f"`{found[0][:_SHOWN]}` (character {found.start() + 1} of the query)"
        if key := found["key"]:
            parsed = _filtered(parsed, key.lower(), (found["value"] or found["quoted_value"] or "").strip(), place)
        elif excluded and _WORD.search(excluded):
            if found["excluded"] and (negated := _NEGATED_FILTER.match(text, found.start("excluded"))):
                raise UsageError(
                    f"{place} cannot be excluded: name what to search, as {_FORMS[negated[1].lower()]}, or leave it out"
                )
            parsed = replace(parsed, exclude=(*parsed.exclude, excluded))
        elif phrase and _WORD.search(phrase):
            parsed = replace(parsed, phrases=(*parsed.phrases, phrase))
            question.append(phrase)
        else:
            question.append(found[0])  # quotes with no word between them
    parsed = replace(parsed, question=" ".join("".join([*question, text[at:]]).split()))
    if parsed != Parsed(parsed.question) and not _WORD.search(parsed.question):
        raise UsageError("the query only says where to look and what to exclude: add a question or words to look for")
    return parsed


def overridden(text: str, later: str) -> str:
    """The text without the filters that a later text names anew, and the exclusions that it asks for."""
    named = {found["key"].lower() for found in _SYNTAX.finditer(later) if found["key"]}
    asked = f" {' '.join(_WORDS.findall(parse(later).question.casefold()))} "

    def kept(found: re.Match[str]) -> str:
        excluded = " ".join(_WORDS.findall((found["excluded"] or found["excluded_phrase"] or "").casefold()))
        again = (found["key"] or "").lower() in named or (excluded and f" {excluded} " in asked)
        return "" if again else found[0]

    return _SYNTAX.sub(kept, text)


def _filtered(parsed: Parsed, key: str, value: str, place: str) -> Parsed:
    """The same with a filter more. Raises UsageError."""
    if not value:
        raise UsageError(
            f"{place} has no value: write {_FORMS[key]}, or put a blank before the colon if it is part of the question"
        )
    if key == "paper":
        return replace(parsed, paper_ids=(*parsed.paper_ids, value))
    if key == "section":
        if parsed.section and parsed.section.casefold() != value.casefold():
            raise UsageError(f"{place} comes after section {parsed.section!r}: name one section")
        return replace(parsed, section=parsed.section or value)
    years = _years(value, place)
    if (parsed.year_from, parsed.year_to) not in ((0, 0), years):
        raise UsageError(f"{place} comes after other years: write one span, such as year:2018..2020")
    return replace(parsed, year_from=years[0], year_to=years[1])


def _years(value: str, place: str) -> tuple[int, int]:
    """The first and the last year, 0 for an open end. Raises UsageError."""
    first, dots, last = value.partition("..")
    if not dots:
        last = first
    if not (first or last) or not all(_YEAR.fullmatch(year) for year in (first, last) if year):
        raise UsageError(f"{place} names no year: write {_FORMS['year']}")
    if first and last and first > last:
        raise UsageError(f"{place} ends before it begins: write year:{last}..{first}")
    return int(first or 0), int(last or 0)
