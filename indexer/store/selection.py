"""Which passages take part in a search, and the SQL that says so. Knows the tables' columns, and opens nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.errors import UsageError
from indexer.papers import Role
from indexer.terms import terms

_SECTION_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)*)\.?\s*")
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
        column = "instr(passages.section_numbers, ?)"
        return f"({column} OR {column})", [f" {number[1]} ", f" {number[1]}."]
    words = list(dict.fromkeys(terms(section)))
    if not words:
        raise UsageError(
            f"the section filter {section[:40]!r} says nothing to look for: give words of a title, or a section number"
        )
    if len(words) > _MAX_SECTION_WORDS:
        raise UsageError(f"the section filter has {len(words):,} words, and {_MAX_SECTION_WORDS} are the most")
    return (
        " AND ".join(["instr(' ' || passages.heading_terms || ' ', ?)"] * len(words)),
        [f" {word} " for word in words],
    )


def marks(values: Sequence[object]) -> str:
    """Placeholders for an SQL list."""
    return ", ".join("?" * len(values))
