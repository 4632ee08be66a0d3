"""A question -> the ways in which it is read: as it is written, and with short forms and other names put in.

What a short form stands for, the papers' own definitions say, by the most papers; what else a gene or chemical is
called, their records' entity lists. Nothing is guessed: a name that no paper gives is read as it is written. Knows
nothing of scores.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby

from indexer.store import Definition, Snapshot
from indexer.terms import ACRONYM, greek_spellings, placed_terms, variants

_MAX_TERMS = 8
"""Of a name in a question."""
_MAX_NAMES = 3
"""Put in for one name of a question."""
_AGREED = 0.5
"""Share of the papers with a short form that take it for the same thing, before a question's short form means that."""
_MOSTLY = 10
"""How many times as many passages must have the acronym, before a word in small letters stands for it too."""
_NUMBER = re.compile(r"\d{1,3}")

Slot = tuple[str, ...]
"""What one word or name of a question may stand in a text as: each terms with a space between."""
Reading = tuple[Slot, ...]
"""A question in order, slot by slot."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """A short form or name in a question, and what it was taken to mean."""

    term: str
    """As the question has it."""
    expansion: str
    source: str
    """A paper that says so."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it is searched for."""

    embedded: tuple[str, ...]
    """The texts whose mean vector stands for it."""
    weights: Mapping[str, float]
    """By what may stand for a slot: its inverse document frequency (Robertson & Zaragoza 2009), a phrase's that of its
    rarest term."""
    readings: tuple[Reading, ...]
    """As it is written, and where names were put in, so as well. Each counts the same."""
    expansions: tuple[Expansion, ...] = ()
    abbreviated: tuple[Definition, ...] = ()
    """Definitions by which the second reading has a short form for a long one. In a paper that has that short form for
    another thing, it says nothing."""


@dataclass(frozen=True, slots=True)
class _Name:
    """What stands in a question from one term to another, by other names."""

    start: int
    end: int
    names: Slot
    shown: tuple[tuple[str, str], ...]
    """Names and the papers that give them."""
    embedded: str = ""
    """The name that says most to a model, when the question has another."""
    abbreviates: Definition | None = None

    def joined(self, other: _Name) -> _Name:
        """This name's other names, and those that another source has for it."""
        return _Name(
            self.start,
            self.end,
            tuple(dict.fromkeys((*self.names, *other.names))),
            (*self.shown, *other.shown),
            self.embedded or other.embedded,
            self.abbreviates or other.abbreviates,
        )


def read_question(
    snapshot: Snapshot,
    text: str,
    paper_ids: Sequence[str] = (),
    *,
    abbreviations: bool = True,
    aliases: bool = True,
) -> Question:
    """The question in its readings. With `paper_ids`, names mean what they mean in these papers."""
    placed = placed_terms(text)
    asked = [term for term, _, _ in placed]
    frequency = snapshot.document_frequency(list(dict.fromkeys(each for term in asked for each in variants(term))))
    typed = [text[start:end].casefold() for _, start, end in placed]
    known = [_likelier(term, frequency, word) for term, word in zip(asked, typed, strict=True)]
    # A word in small letters is no short form by itself: "go" is not gene ontology. It may be part of a longer name.
    runs = {
        (start, end): " ".join(known[start:end]) if end - start > 1 else asked[start]
        for start in range(len(known))
        for end in range(start + 1, min(start + _MAX_TERMS, len(known)) + 1)
    }
    defined = snapshot.definitions(*_forms(runs), paper_ids) if abbreviations else []
    meanings = _meanings(snapshot, defined, paper_ids)
    whole = f" {' '.join(known)} "
    found: dict[tuple[int, int], _Name] = {}
    for name in (*_abbreviations(runs, defined, meanings), *(_aliases(snapshot, runs, paper_ids) if aliases else ())):
        if not any(f" {each} " in whole for each in name.names):  # else the question says both itself
            place = (name.start, name.end)
            found[place] = found[place].joined(name) if place in found else name
    chosen = _without_overlap(found.values())
    slots = list(_slots(asked, known, frequency, frozenset(each.short_terms for each in defined)))
    written = tuple(slot for _, slot in slots)
    readings = (written, tuple(_resolved(slots, chosen, asked))) if chosen else (written,)
    places = [(placed[name.start][1], placed[name.end - 1][2]) for name in chosen]
    return Question(
        embedded=_embedded(text, frequency, known, list(zip(chosen, places, strict=True))),
        weights=_weights(snapshot, readings, frequency),
        readings=readings,
        expansions=tuple(
            dict.fromkeys(
                Expansion(text[start:end], shown, source)
                for name, (start, end) in zip(chosen, places, strict=True)
                for shown, source in name.shown
            )
        ),
        abbreviated=tuple(name.abbreviates for name in chosen if name.abbreviates is not None),
    )


def phrases(readings: Iterable[Reading]) -> list[str]:
    """All that may stand for a slot in these readings, each once."""
    return list(dict.fromkeys(phrase for reading in readings for slot in reading for phrase in slot))


def inverse_document_frequency(n_passages: int, n_with_term: int) -> float:
    """How much a term says by being rare; above 0 (Robertson & Zaragoza 2009)."""
    return math.log(1 + (n_passages - n_with_term + 0.5) / (n_with_term + 0.5))


def _weights(snapshot: Snapshot, readings: Sequence[Reading], frequency: Mapping[str, int]) -> dict[str, float]:
    """The weight of each phrase of the readings. `frequency` is of the question's own terms."""
    wanted = phrases(readings)
    others = sorted({term for phrase in wanted for term in phrase.split()} - frequency.keys())
    known = {**frequency, **(snapshot.document_frequency(others) if others else {})}
    n = snapshot.n_passages()
    return {phrase: max(inverse_document_frequency(n, known[term]) for term in phrase.split()) for phrase in wanted}


def _likelier(term: str, frequency: Mapping[str, int], typed: str) -> str:
    """The term as a word or as an acronym: one in capitals as it is, a word as the acronym that papers have it for."""
    word, acronym = variants(term)
    if term == acronym:
        return acronym
    return acronym if typed.removesuffix("s") == word and frequency[acronym] > _MOSTLY * frequency[word] else word


def _slot(term: str, likelier: str, frequency: Mapping[str, int], defined: Set[str]) -> Slot:
    """What the term may stand in a text as: "AGEs" is never "age" where papers define it, "WNT" is also "Wnt"."""
    word, acronym = variants(term)
    if term == word:
        return (word, acronym) if likelier == acronym else (word,)
    if not frequency[acronym]:
        return (word,)
    return (acronym, word) if frequency[word] > frequency[acronym] and acronym not in defined else (acronym,)


def _slots(
    asked: Sequence[str], known: Sequence[str], frequency: Mapping[str, int], defined: Set[str]
) -> Iterator[tuple[range, Slot]]:
    """The question's slots, each with the places of its terms. `IL-6` is one: a 6 elsewhere says nothing of it."""
    at = 0
    while at < len(asked):
        slot = _slot(asked[at], known[at], frequency, defined)
        if known[at].startswith(ACRONYM) and at + 1 < len(asked) and _NUMBER.fullmatch(asked[at + 1]):
            yield range(at, at + 2), tuple(f"{each} {asked[at + 1]}" for each in slot)
            at += 2
        else:
            yield range(at, at + 1), slot
            at += 1


def _resolved(slots: Iterable[tuple[range, Slot]], names: Iterable[_Name], asked: Sequence[str]) -> Iterator[Slot]:
    """The slots with names put in where they stand."""
    owners = {at: name for name in names for at in range(name.start, name.end)}
    for places, slot in slots:
        if not any(at in owners for at in places):
            yield slot
            continue
        for at in places:
            if at not in owners:
                yield (asked[at],)
            elif at == owners[at].start:
                yield owners[at].names


def _forms(runs: Mapping[tuple[int, int], str]) -> tuple[list[str], list[str]]:
    """What may be a short form in the question, and what a long one."""
    distinct = list(dict.fromkeys(runs.values()))
    return [run for run in distinct if ACRONYM in run], [run for run in distinct if " " in run]


def _meanings(snapshot: Snapshot, defined: Sequence[Definition], paper_ids: Sequence[str]) -> dict[str, Definition]:
    """Of each short form that the question has, or has the long form of: what most papers take it for.

    None for one that papers do not agree on.
    """
    shorts = list(dict.fromkeys(each.short_terms for each in defined if ACRONYM in each.short_terms))
    every = sorted(snapshot.definitions(shorts, (), paper_ids), key=lambda each: each.short_terms)
    meanings: dict[str, Definition] = {}
    for short_terms, group in groupby(every, key=lambda each: each.short_terms):
        same = list(group)
        alike = sum(each.n_papers for each in same if each.first_word == same[0].first_word)
        if alike >= _AGREED * sum(each.n_papers for each in same):
            meanings[short_terms] = same[0]
    return meanings


def _abbreviations(
    runs: Mapping[tuple[int, int], str], defined: Sequence[Definition], meanings: Mapping[str, Definition]
) -> Iterator[_Name]:
    """The question's short forms by their long ones, and its long forms by the short one that most papers have."""
    meant: dict[str, Definition] = {}
    for each in defined:
        if _is_meant(each, meanings):
            meant.setdefault(each.long_terms, each)
    for (start, end), run in runs.items():
        if (meaning := meanings.get(run)) and meaning.long_terms:
            yield _Name(start, end, (meaning.long_terms,), ((meaning.long, meaning.paper_id),), meaning.long)
        if " " in run and (short := meant.get(run)):
            yield _Name(start, end, (short.short_terms,), ((short.short, short.paper_id),), "", short)


def _is_meant(definition: Definition, meanings: Mapping[str, Definition]) -> bool:
    """Whether most papers with that short form mean the same by it."""
    meaning = meanings.get(definition.short_terms)
    return meaning is not None and meaning.first_word == definition.first_word


def _aliases(snapshot: Snapshot, runs: Mapping[tuple[int, int], str], paper_ids: Sequence[str]) -> Iterator[_Name]:
    """The question's names by the other names of the same thing that stand in any paper."""
    found = snapshot.aliases(list(dict.fromkeys(runs.values())), paper_ids)
    for (start, end), run in runs.items():
        others = {each.name_terms: each for each in found if each.of_terms == run}
        names = [each for name_terms, each in others.items() if snapshot.occurs(name_terms)]
        # `CTNNB` occurs wherever `CTNNB1` does
        names = [each for each in names if not any(_is_part(each.name_terms, other.name_terms) for other in names)]
        if names := names[:_MAX_NAMES]:
            shown = tuple((each.name, each.paper_id) for each in names)
            better = next((each.name for each in names if each.is_better), "")
            yield _Name(start, end, tuple(each.name_terms for each in names), shown, better)


def _is_part(one: str, other: str) -> bool:
    return one != other and f" {one} " in f" {other} "


def _without_overlap(names: Iterable[_Name]) -> list[_Name]:
    """In order; of two that share a word, the longer one, else the first."""
    chosen: list[_Name] = []
    for name in sorted(names, key=lambda each: each.start - each.end):
        if all(name.end <= other.start or other.end <= name.start for other in chosen):
            chosen.append(name)
    return sorted(chosen, key=lambda each: each.start)


def _embedded(
    text: str, frequency: Mapping[str, int], known: Sequence[str], names: Sequence[tuple[_Name, tuple[int, int]]]
) -> tuple[str, ...]:
    """The question as it is written and with names put in, each in both spellings of its Greek letters.

    A model reads "AGEs" as "ages": an acronym that looks like a commoner word is embedded by its name alone.
    """
    named = text
    collides = False
    for name, (start, end) in reversed(names):
        if name.embedded:
            named = f"{named[:start]}{name.embedded}{named[end:]}"
            word, acronym = variants(known[name.start])
            collides |= name.end - name.start == 1 and 0 < frequency[acronym] < frequency[word]
    texts = (named,) if collides else dict.fromkeys((text, named))
    return tuple(dict.fromkeys(spelling for each in texts for spelling in greek_spellings(each)))
