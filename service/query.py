"""A search request, checked: what the front ends hand over and what every limit is."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field, replace

from indexer.errors import UsageError
from indexer.papers import Role
from indexer.store import Selection
from service.syntax import Parsed, parse

DEFAULT_K = 10
MAX_K = 200
MAX_QUERY_CHARACTERS = 4_000
"""Some 800 words: a long question. A longer text is a document, not a query."""
MAX_REPLY_TOKENS = 1_000_000
MAX_NAME_CHARACTERS = 500
"""Of a section's words, a paper's id, a phrase or a cursor."""
MAX_PAPER_IDS = 1_000
"""To filter by; each is a variable of one SQL statement, and SQLite may be built to take some 30,000 of them."""
MAX_PHRASES = 20
"""To require, and as many to exclude; each is a look-up of its own in the full-text index."""
_SHOWN = 60
"""Characters of a filter that an error repeats."""
_YEARS = range(1000, 10_000)
_OFFSETS = range(2**31)
"""What a cursor may name; further on there is no passage, and SQLite's integers end."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which passages may answer; empty fields do not filter."""

    paper_ids: tuple[str, ...] = ()
    section: str = ""
    """Words of a section title anywhere on the path ("methods"), or a section number ("3.2", its subsections too)."""
    year_from: int = 0
    year_to: int = 0
    include: tuple[Role, ...] = ()
    """`back_matter` and `references` are searched only when named here, and by their words alone."""
    phrases: tuple[str, ...] = ()
    """Words that a passage's own text holds side by side, in this order and form; each of these phrases."""
    exclude: tuple[str, ...] = ()
    """Words, or phrases, of which a passage's own text holds none."""

    def selection(self) -> Selection:
        """The same, as the store understands it. Raises UsageError for years and names that cannot be."""
        if len(self.paper_ids) > MAX_PAPER_IDS:
            raise UsageError(f"{len(self.paper_ids):,} papers to filter by, and {MAX_PAPER_IDS:,} are the most")
        for name, phrases in (("phrases", self.phrases), ("exclude", self.exclude)):
            if len(phrases) > MAX_PHRASES:
                raise UsageError(f"{name} has {len(phrases):,} entries, and {MAX_PHRASES} are the most: leave some out")
            for each in phrases:
                _check_name(name, each)
        for name, value in (("section", self.section), *(("paper_ids", each) for each in self.paper_ids)):
            _check_name(name, value)
        for name, year in (("year_from", self.year_from), ("year_to", self.year_to)):
            if year and year not in _YEARS:
                raise UsageError(f"{name} is {year}: give a year of four digits, or leave it out")
        if self.year_from and self.year_to and self.year_from > self.year_to:
            raise UsageError(f"year_from {self.year_from} is after year_to {self.year_to}: swap them")
        roles = tuple(sorted({"body", *self.include}))
        return Selection(
            tuple(map(id_of, self.paper_ids)),
            self.section.strip(),
            self.year_from,
            self.year_to,
            roles,
            self.phrases,
            self.exclude,
        )


def id_of(given: str) -> str:
    """A paper's or passage's id as the index has it: one from a DOI has `_` for its slashes."""
    return given.replace("/", "_")


@dataclass(frozen=True, slots=True)
class Query:
    """A checked search request."""

    text: str
    """As it was typed; its syntax is that of `service.syntax`."""
    k: int = DEFAULT_K
    filters: Filters = field(default_factory=Filters)
    max_tokens: int = 0
    """Budget of the reply's passages in cl100k_base tokens; 0 for none."""
    cursor: str = ""
    """The `next_cursor` of an earlier reply to the same query."""
    question: str = field(init=False)
    """What is looked for: the text without its syntax."""
    selection: Selection = field(init=False)
    """Where: what the filters and the text's syntax ask for together."""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise UsageError("the query is empty: ask a question or name what to look for")
        if len(self.text) > MAX_QUERY_CHARACTERS:
            raise UsageError(
                f"the query has {len(self.text):,} characters, and {MAX_QUERY_CHARACTERS:,} are the most: shorten it"
            )
        _check_text("query", self.text)
        _check_name("cursor", self.cursor)
        if not 1 <= self.k <= MAX_K:
            raise UsageError(f"k is {self.k}: ask for 1 to {MAX_K} passages")
        if not 0 <= self.max_tokens <= MAX_REPLY_TOKENS:
            raise UsageError(f"max_tokens is {self.max_tokens}: give 0 for no budget, or up to {MAX_REPLY_TOKENS:,}")
        parsed = parse(self.text)
        object.__setattr__(self, "question", parsed.question)
        object.__setattr__(self, "selection", _merged(self.filters, parsed).selection())

    def next_cursor(self, offset: int, generation: int, reranker: str = "") -> str:
        """A cursor that goes on from `offset` in this query's ranking at that generation, by that re-ranker."""
        raw = json.dumps([offset, generation, self._digest(reranker)], separators=(",", ":"))
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")

    def offset(self, generation: int, reranker: str = "") -> int:
        """Where this query's page begins. Raises UsageError for a cursor of another query, generation or re-ranker."""
        if not self.cursor:
            return 0
        try:
            padded = self.cursor + "=" * (-len(self.cursor) % 4)
            offset, of_generation, digest = json.loads(base64.urlsafe_b64decode(padded.encode()))
            # Of what is no int, `in` would look through the range number by number, for minutes.
            known = digest == self._digest(reranker) and type(offset) is int and offset in _OFFSETS
        except (binascii.Error, UnicodeError, ValueError, TypeError) as error:
            raise UsageError("the cursor cannot be read: pass next_cursor as it came, or leave it out") from error
        if not known:
            raise UsageError(
                "the cursor belongs to another query or re-ranker: repeat the search that it came from, or leave it out"
            )
        if of_generation != generation:
            raise UsageError("the index has changed since that cursor was made: start again without it")
        return int(offset)

    def _digest(self, reranker: str) -> str:
        same = replace(self, cursor="", k=1, max_tokens=0)
        return hashlib.sha256(f"{same!r}{reranker}".encode()).hexdigest()[:12]


def _merged(filters: Filters, parsed: Parsed) -> Filters:
    """Both together. Raises UsageError where they do not say the same of papers, section or years."""
    for key, given, typed in (
        ("paper", ", ".join(sorted(set(filters.paper_ids))), ", ".join(sorted(set(parsed.paper_ids)))),
        ("section", filters.section.strip().casefold(), parsed.section.casefold()),
        ("year", _years(filters), _years(parsed)),
    ):
        if given and typed and given != typed:
            raise UsageError(
                f"`{key}:` in the query asks for {typed[:_SHOWN]!r}, and the filters beside it for {given[:_SHOWN]!r}: "
                "leave one of them out"
            )
    return replace(
        filters,
        paper_ids=filters.paper_ids or parsed.paper_ids,
        section=filters.section.strip() or parsed.section,
        year_from=filters.year_from or parsed.year_from,
        year_to=filters.year_to or parsed.year_to,
        phrases=tuple(dict.fromkeys((*filters.phrases, *parsed.phrases))),
        exclude=tuple(dict.fromkeys((*filters.exclude, *parsed.exclude))),
    )


def _years(said: Filters | Parsed) -> str:
    """The span as it is typed; empty for any year."""
    return f"{said.year_from or ''}..{said.year_to or ''}" if said.year_from or said.year_to else ""


def _check_name(field_name: str, value: str) -> None:
    if len(value) > MAX_NAME_CHARACTERS:
        raise UsageError(f"{field_name} has {len(value):,} characters, and {MAX_NAME_CHARACTERS} are the most")
    _check_text(field_name, value)


def _check_text(field_name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{field_name} is not text: character {error.start} is half of a surrogate pair") from error
