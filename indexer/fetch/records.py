"""What is known of a paper before its text is there, and what a source says when it is asked for it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from indexer.fetch.client import Reply
from indexer.papers import Notice


@dataclass(frozen=True, slots=True)
class Record:
    """A paper's ids, and what was said of it. Empty where not known."""

    pmcid: str = ""
    pmid: str = ""
    doi: str = ""
    licence: str = ""
    notices: tuple[Notice, ...] = ()

    def disagreement(self, other: Record) -> str:
        """The first id that both have and that differs, in words; empty where none does."""
        for name in ("pmcid", "doi", "pmid"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine and theirs and mine.casefold() != theirs.casefold():
                return f"its {name.upper()} is {theirs}, not {mine}"
        return ""

    def filled(self, other: Record) -> Record:
        """With the other's values where this has none, and the notices of both."""
        texts = {field.name: getattr(self, field.name) or getattr(other, field.name) for field in fields(self)}
        return replace(self, **{**texts, "notices": tuple(dict.fromkeys(self.notices + other.notices))})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source says when it is asked for a paper's text."""

    reply: Reply | None
    """None: its text was not asked for, as the licence is none that lets it be kept."""
    record: Record = Record()
    """What it says of the paper beside its text."""
