"""A question in a conversation -> the text to search for: itself, or read with the last question.

The words of both questions decide, by the rules below; what the papers answered does not. Where a word may stand for
something in its own question it does, so that a question that stands alone is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from indexer.errors import UsageError
from indexer.terms import terms
from service.query import MAX_QUERY_CHARACTERS, Query
from service.syntax import overridden, parse

_OPENING = re.compile(r"\W*((?:[Aa]nd|[Oo]r|[Bb]ut)(?![\w/-])|(?i:what|how) about\b)")
"""`AND` and `OR` in capitals are gates and odds ratios."""
_BARE = re.compile(r"\W*((?:[Ww]h(?:y|en|ere|o|at|ich)|[Hh]ow)(?: (?:come|else|exactly|far|long|many|much|often))?)\W*")
"""A question word alone. What has nothing but stop words (`how so?`) asks as little by itself."""

_STATE = (
    "advisable|appropriate|assumed|bad|believed|best|better|clear|common|difficult|easy|essential|estimated|expected|"
    "feasible|good|hard|helpful|important|impossible|known|likely|necessary|normal|possible|recommended|required|safe|"
    "thought|true|unknown|unlikely|useful|worth"
)
_EXPLETIVE = re.compile(
    rf"""
      \bit\s+(?:(?:is|was|be|been|so|not|more|most|less|very|ever|still)\s+)*
        (?:{_STATE}|costs?|matters?|means?|takes?|took)\b(?=.*\s(?:for|how|if|that|to|until|what|when|where|whether|which|why)\b)
    | \bit\s+(?:(?:is|was)\s+)?that\b
    | \bit\s+comes?\s+to\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""An `it` that stands for what comes after it: `is it possible to`, `how long does it take for`, `why is it that`."""
_POINTING = re.compile(
    r"""
      \b(?P<possessive> [Ii]ts(?:elf)? | [Tt]heir | [Tt]hemselves )\b
    | \b(?: [Ii]t | [Tt]hey | [Tt]hem | [Tt]heirs )\b
    | \b[Tt]h(?:is|ese)\b (?!\s+(?:century|days|decade|month|week|year)\b)
    | \b[Tt]hose\b (?!
        \s+(?:at|found|from|given|in|not|of|on|over|seen|that|under|which|who|whom|whose|with|without|\w+ed|\w+ing)\b)
    | (?: ^ | \b(?:about|are|by|can|could|did|do|does|for|from|has|in|is|like|of|on|than|to|was|will|with|would)\s )
      (?P<that> [Tt]hat\b) (?!\s+(?:for|found|from|in|observed|of|reported|seen)\b)
    | \bthat(?=\W*$)
    """,
    re.VERBOSE,
)
"""Pronouns and such nouns: `it`, `its`, `these effects`, `is that`. Not those of `those who`, `than that of`, `IT`."""
_CLAUSE = re.compile(
    r"""
      [,;:.?!()–—]
    | \b(?:after|although|and|because|before|but|how|if|once|or|since|so|that|though|until|when|where|whether|which
      |while|who|whom|whose|why)\b
    | \bto(?=\s+\w)
    """,
    re.VERBOSE,
)
"""Where a clause may begin."""
_NAMES_NOTHING = frozenset(terms("evidence happen long many mean much often reason say think know known"))
"""Terms that no pronoun stands for."""

ALONE = "!"
"""A question that begins so is read alone."""
_MAX_QUESTIONS = 20
"""Of a conversation, that one question may go on from in a row."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A question as it is asked in a conversation."""

    text: str
    """What is searched for, with its syntax."""
    how: str
    """The words by which it goes on from the last question; empty when it stands alone."""
    said: str
    """As it was typed."""
    topic: str
    """The last question that stood alone, as it was searched for: this one, or the one that it goes on from."""

    @property
    def note(self) -> str:
        """What whoever asked should know of how it was read; empty when it stands alone."""
        if not self.how:
            return ""
        return f"read with your last question: “{self.text}” ({ALONE} before a question asks it alone)"


def alone(question: str) -> Resolved:
    """The question by itself."""
    return Resolved(question, "", question, question)


def follow_up(question: str, last: Resolved | None) -> Resolved:
    """The question alone, or after the last one, if its words go on from that.

    "how do AGEs affect bone quality?", then "and in men?" -> "how do AGEs affect bone quality? and in men?". A third
    question is read with the one that stood alone and the last one, whatever lies between. Phrases, exclusions and
    filters come along, but for those that the question says anew. Raises UsageError for syntax that cannot be.
    """
    if last is None or not (how := going_on(parse(question).question)):
        return alone(question)
    before = (last.topic, last.said) if last.how else (last.topic,)
    for kept in (before, before[:1]):
        if len(text := _joined((*kept, question))) <= MAX_QUERY_CHARACTERS:
            return Resolved(text, how, question, last.topic)
    return alone(question)


def last_of(questions: Sequence[str]) -> Resolved:
    """The last of a conversation's questions, read with those before it; one that cannot be asked does not count.

    Raises UsageError for the last one's syntax.
    """
    last: Resolved | None = None
    for each in questions[-_MAX_QUESTIONS:-1]:
        with suppress(UsageError):
            asked = _read(each, last)
            Query(asked.text)
            last = asked
    return _read(questions[-1], last)


def _read(question: str, last: Resolved | None) -> Resolved:
    if len(question) > MAX_QUERY_CHARACTERS:  # whoever searches for it says so
        return alone(question)
    question = question.strip()
    return alone(question[1:].strip()) if question.startswith(ALONE) else follow_up(question, last)


def going_on(question: str) -> str:
    """The words by which a question, without its syntax, goes on from one before it; empty where none does."""
    if found := _OPENING.match(question) or _BARE.fullmatch(question):
        return found[1]
    if not terms(question):
        return question if re.search(r"[^\W\d_]", question) else ""
    stripped = _EXPLETIVE.sub(lambda found: " " * len(found[0]), question)
    for found in _POINTING.finditer(stripped):
        if not _has_antecedent(stripped[: found.start()], possessive=bool(found["possessive"])):
            return found["that"] or found[0]
    return ""


def _has_antecedent(before: str, *, possessive: bool) -> bool:
    """Whether something in front of a pronoun may be what it stands for.

    That stands in an earlier clause, as both do not share one (Chomsky 1981, principle B). Of a possessive it may stand
    anywhere but right before it, where the verb is: "what causes its spread?".
    """
    if possessive:
        names = " ".join(before.split()[:-1])
    else:
        names = before[: max((found.start() for found in _CLAUSE.finditer(before)), default=0)]
    return any(not term.isdecimal() and term not in _NAMES_NOTHING for term in terms(names))


def _joined(questions: Iterable[str]) -> str:
    """The questions in a row, each one's syntax giving way to what later ones say anew."""
    text = ""
    for each in questions:
        text = " ".join(f"{overridden(text, each)} {each}".split())
    return text
