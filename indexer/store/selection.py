"""Which passages take part in a search, and the SQL that says so. Knows the tables' columns, and opens nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from indexer.errors import UsageError
from indexer.papers import Role, Span
from indexer.plaintext import plain_text
from indexer.store.sql import marks
from indexer.terms import fold, numbered_parts, spellings, terms, variants

_SECTION_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)*)\.?\s*")
_WORD = re.compile(r"[^\W_]+")
_MAX_SECTION_WORDS = 100
"""To look for in titles. A condition each: SQLite takes a thousand, and no title has so many words."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which passages take part in a search. The default is every paper's body."""

    paper_ids: tuple[str, ...] = ()
    section: str = ""
    """Words of section titles, each anywhere on the path ("methods"), or a section number ("3.2", and all below it)."""
    year_from: int = 0
    year_to: int = 0
    roles: tuple[Role, ...] = ("body",)
    phrases: tuple[str, ...] = ()
    """Each is held by the passage's own text: these words side by side, as `fold` sees them, endings and all."""
    exclude: tuple[str, ...] = ()
    """None of these is."""


def conditions(selection: Selection) -> tuple[str, list[str | int]]:
    """An SQL condition on rows of passages and papers, and its values. Raises UsageError for an unusable section."""
    where = [f"passages.role IN ({marks(selection.roles)})"]
    values: list[str | int] = [*selection.roles]
    if selection.paper_ids:
        where.append(f"papers.paper_id IN ({marks(selection.paper_ids)})")
        values.extend(selection.paper_ids)
    if selection.year_from:
        where.append("papers.year >= ?")
        values.append(selection.year_from)
    if selection.year_to:
        where.append("papers.year <= ?")
        values.append(selection.year_to)
    if selection.section:
        condition, wanted = _in_section(selection.section)
        where.append(condition)
        values.extend(wanted)
    return " AND ".join(where), values


def _in_section(section: str) -> tuple[str, list[str]]:
    """An SQL condition on a passage's section path, and its values. Raises UsageError."""
    if number := _SECTION_NUMBER.fullmatch(section):
        column = "instr(passages.section_numbers, ?) > 0"
        return f"({column} OR {column})", [f" {number[1]} ", f" {number[1]}."]
    words = list(dict.fromkeys(terms(section)))
    if not words:
        raise UsageError(
            f"the section filter {section[:40]!r} says nothing to look for: give words of a title, or a section number"
        )
    if len(words) > _MAX_SECTION_WORDS:
        raise UsageError(f"the section filter has {len(words):,} words, and {_MAX_SECTION_WORDS} are the most")
    column = "instr(' ' || passages.heading_terms || ' ', ?) > 0"
    return (
        " AND ".join([f"({column} OR {column})"] * len(words)),
        [f" {each} " for word in words for each in variants(word)],  # a title's case is not the searcher's
    )


def spelt_words(phrases: Sequence[str]) -> list[Sequence[str]]:
    """For each word of the phrases the terms that it may stand as: a passage that holds all the phrases in its own text
    has one of each.

    Empty where that rules out nothing: a phrase of stop words only has no terms.
    """
    words = dict.fromkeys(word for phrase in phrases for word in _WORD.findall(fold(phrase)))
    return [found for word in words if (found := spellings(word))]


def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """What finds the phrase in folded text: its words and no other between; `IL-6` is `IL6`.

    Raises UsageError for a phrase without words.
    """
    words = [part for word in _WORD.findall(fold(phrase)) for part in numbered_parts(word)]
    if not words:
        raise UsageError(f"the phrase {phrase[:40]!r} says nothing to look for: give words, or leave it out")
    gaps = [r"[\W_]*" if len(numbered_parts(one + other)) > 1 else r"[\W_]+" for one, other in pairwise(words)]
    # It looks back behind the first word: in front of it, that would slow the search.
    first = rf"{words[0]}(?<![^\W_]{words[0]})"
    return re.compile(first + "".join(map("".join, zip(gaps, words[1:], strict=True))) + r"(?![^\W_])")


def folded_words(kind: str, text: str, embedded_text: str, start: int = 0, markers: str = "[]") -> str:
    """A passage's own words, folded: without Markdown and citation markers, as `embedded_text` has them.

    A table's embedded text may begin with its caption and header row, which are another passage's: its words are those
    of its text. It begins at `start`; `markers` is as the passage's row has them.
    """
    if kind == "table":
        drop = tuple(Span(first - start, last - start) for first, last, _ in json.loads(markers))
        words = plain_text(text, 0, len(text), drop, table=True)
    else:
        words = embedded_text
    return fold(words)
