"""Names of one thing, from the record's lists of entities: RANKL = TNFSF11, β-catenin = CTNNB1.

The lists are dirty: a gene filed under a pseudogene or a frog's gene, "loss" as a disease. A row counts when the
paper's own words hold one of its names, and each name has to pass a gate, which says why one does not. Knows nothing of
passages or indexes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from indexer.papers import CONTENT_KINDS, AliasGroup, Entity, Paper
from indexer.plaintext import plain_text
from indexer.terms import fold

_Kind = Literal["gene", "chemical", "disease"]
_KINDS: dict[str, _Kind] = {"gene": "gene", "protein": "gene", "chemical": "chemical", "disease": "disease"}
"""What has names that mean the same. Those of a species do not: `human` is seldom *Homo sapiens* to a searcher."""

_MIN_LENGTH = 3
_MAX_LENGTH = 60
_MIN_PLAIN_NAME = 4
"""Letters of a protein's full name in one word, as of `leptin`; what is shorter is mostly a word or a symbol."""

_HOMEOLOG = re.compile(r"\w+\.[LS]")
"""A gene of *Xenopus laevis*, from the long or the short one of its two sets of chromosomes."""
_PSEUDOGENE = re.compile(r"(.+?)P\d*")

REJECTED: dict[str, str] = {
    name: reason
    for reason, names in {
        "an English word": """
            ACT AIM ARM BAD BAG BID BIG CAN CAP CAT CELL CLOCK COIL COPE DIET DO END FACT FAST FAT FIRE FISH FLAME FOR
            GAP GAS GET GRASP HER HIS HOOK HOT ICE IMPACT JET KIT LARGE LIGHT LIME MAN MARCH MARK MASK MAX MET MICE NET
            NOT PAGE PALM PEN PER POLE RAN RAT REST SEA SET SHE SHOT SKI SON SPRING STAR STEP STOP TANK TASK TIE TRAP
            TRIO WAS WAVE WISH YES
            """,
        "a method or a measure": "ANOVA AUC BMD BMI DXA ELISA HPLC ICP ITT MRI MRS NMR PCR PET ROC SEM SPSS",
        "a substance of every bench": "ATP BSA DMSO DNA EDTA FBS GFP NAD PBS RNA SDS",
        "an office or a country": "CDC EMA FDA NIH USA WHO",
        "a disease": "AIDS ALS CAD CKD COPD DMD HIV SARS SLE SMA",
    }.items()
    for name in names.split()
}
"""Symbols that capitals stand for elsewhere too, so that finding one in a paper or a question says nothing of the gene;
under some of them a gene is filed for the disease that it causes."""

_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s*^~`‐‑–-]")
"""Letters, digits (so that `IL6` reads as `IL-6`), and every sign but hyphens and Markdown's: no name reaches over one.
"""
_GOES_ON = frozenset("receptor receptors ligand ligands pseudogene".split())
"""What makes another name of the one before it: `insulin receptor`. A Greek letter or number does too: `IL-1β`."""
_GREEK = frozenset(fold("".join(map(chr, range(ord("α"), ord("ω") + 1)))).split())


class Verdict(NamedTuple):
    """A name of a row, and the reason why it is no alias; empty for one that may be."""

    name: str
    reason: str


class _Word(NamedTuple):
    folded: str
    cased: str
    start: int
    end: int


@dataclass(slots=True)
class _Thing:
    """Rows that name one thing."""

    kind: _Kind
    identifier: str
    symbols: set[str]
    """The rows' own first names, as keys."""
    names: dict[str, str] = field(default_factory=dict)
    """By key, in the rows' order."""
    descriptions: set[str] = field(default_factory=set)
    """Keys of those names that are full names: their words may stand in any order."""


def find_aliases(paper: Paper) -> tuple[AliasGroup, ...]:
    """The things that the paper's body names and that have another name in its record, in the record's order."""
    things = _things(paper)
    if not things:
        return ()
    body = _Body(paper)
    n_things = Counter(key for thing in things for key in thing.names)
    groups = []
    for thing in things:
        used: dict[str, str] = {}
        for key, name in thing.names.items():
            if n_things[key] == 1 and (as_used := body.find(name, any_order=key in thing.descriptions)):
                used.setdefault(_key(as_used), as_used)
        others = {key: name for key, name in thing.names.items() if n_things[key] == 1 and key not in used}
        if used and len(used) + len(others) > 1:
            groups.append(AliasGroup((*used.values(), *others.values()), thing.identifier))
    return tuple(groups)


def gate(entity: Entity) -> tuple[Verdict, ...]:
    """Each name of a row, its description with them, and why it is no alias. What the paper says is not looked at."""
    names = dict.fromkeys(name for name in (entity.name, entity.description, *entity.aliases) if name)
    return tuple(Verdict(name, _reason(name, entity)) for name in names)


def _reason(name: str, entity: Entity) -> str:
    kind = _kind(entity)
    if kind is None:
        return f"{entity.kind or 'rows without a kind'}: no names that mean the same"
    if _HOMEOLOG.fullmatch(entity.name) or "homeolog" in entity.description:
        return "another species' gene"
    if _is_pseudogene(entity) and (name == entity.description or _names_pseudogene(name, entity)):
        return "the pseudogene's own name"
    if name.upper() in REJECTED:
        return REJECTED[name.upper()]
    has_capital, has_digit = any(map(str.isupper, name)), any(map(str.isdigit, name))
    if len(name) < _MIN_LENGTH and not (len(name) == _MIN_LENGTH - 1 and has_capital and has_digit):
        return "too short"
    if len(name) > _MAX_LENGTH:
        return "too long"
    if any(name.count(opened) != name.count(closed) for opened, closed in ("()", "[]", "{}")):
        return "a bracket without its partner"
    if not any(map(str.isalpha, name)):
        return "no letters"
    if not has_capital and not has_digit and len(_words(name)) == 1:
        is_full_name = kind == "gene" and name == entity.description
        if not is_full_name or len(name) < _MIN_PLAIN_NAME:
            return "a common word"
    return ""


def _kind(entity: Entity) -> _Kind | None:
    return next((kind for word, kind in _KINDS.items() if word in entity.kind.casefold()), None)


def _is_pseudogene(entity: Entity) -> bool:
    return "pseudogene" in entity.description


def _names_pseudogene(name: str, entity: Entity) -> bool:
    """Whether a pseudogene goes by the name, or the gene that it copies: by its letters, or by all of them but one.

    BTF3P11 copies BTF3 and is also filed as BTF3L1, HUMBTFB and (misspelt) BRF3L1; its OPG is another gene.
    """
    stem = match[1] if (match := _PSEUDOGENE.fullmatch(entity.name)) else entity.name
    letters = stem.rstrip("0123456789")
    letters = letters if len(letters) >= _MIN_LENGTH else stem
    own = [each for each in (entity.name, *entity.aliases) if letters in each]
    return any(len(name) == len(each) and sum(a != b for a, b in zip(name, each, strict=True)) <= 1 for each in own)


def _things(paper: Paper) -> list[_Thing]:
    """The rows that have a name through the gate, those for one thing together.

    Rows of one kind are for one thing when one's own name is among the other's names, or when they are genes with one
    identifier. That of a disease is often its broader term's, and an alias that two rows share is ambiguous.
    """
    things = _Things()
    for entity in paper.entities:
        names: dict[str, str] = {}
        for name, reason in gate(entity):
            if not reason:
                names.setdefault(_key(name), name)
        kind = _kind(entity)
        if kind is None or not names:
            continue
        identifier = "" if _is_pseudogene(entity) or entity.identifier == "-" else entity.identifier
        new = _Thing(kind, identifier, {_key(entity.name)} & names.keys(), names)
        new.descriptions |= {_key(entity.description)} & names.keys()
        things.add(new)
    return things.in_order()


class _Things:
    """Things in the order of their first rows, found by their names without a look at each."""

    def __init__(self) -> None:
        self._things: dict[int, _Thing] = {}
        """By the number of their first row."""
        self._first: list[int] = []
        """Of each row, the first row of the thing that it was last known to be."""
        self._rows: dict[tuple[str, str], list[int]] = {}
        """The rows that have a symbol, a name or an identifier."""

    def add(self, new: _Thing) -> None:
        """Take a row in: the things that have a name of it are one from now on."""
        row = len(self._first)
        self._first.append(row)
        identifiers = [("identifier", new.identifier)] if new.identifier else []
        asked = [("symbol", each) for each in new.names] + [("name", each) for each in new.symbols] + identifiers
        near: set[int] = set()
        for key in asked:
            if rows := self._rows.get(key):
                rows[:] = {self._first_row(each) for each in rows}
                near.update(rows)
        same = [first for first in sorted(near) if _same(self._things[first], new)]
        for key in [("symbol", each) for each in new.symbols] + [("name", each) for each in new.names] + identifiers:
            self._rows.setdefault(key, []).append(row)
        self._things[row] = new
        for other in [*same[1:], row] if same else []:
            self._join(self._things[same[0]], self._things.pop(other))
            self._first[other] = same[0]

    def in_order(self) -> list[_Thing]:
        """All of them."""
        return [self._things[first] for first in sorted(self._things)]

    def _first_row(self, row: int) -> int:
        while self._first[row] != row:
            self._first[row] = row = self._first[self._first[row]]
        return row

    def _join(self, one: _Thing, other: _Thing) -> None:
        one.symbols |= other.symbols
        one.names |= {key: name for key, name in other.names.items() if key not in one.names}
        one.descriptions |= other.descriptions
        one.identifier = one.identifier or other.identifier


def _same(one: _Thing, other: _Thing) -> bool:
    return one.kind == other.kind and bool(
        one.symbols & other.names.keys()
        or other.symbols & one.names.keys()
        or (one.kind == "gene" and one.identifier and one.identifier == other.identifier)
    )


def _words(text: str, offset: int = 0) -> list[_Word]:
    return list(_read(text, offset))


def _read(text: str, offset: int) -> Iterator[_Word]:
    for match in _WORD.finditer(text):
        word = match[0] if match[0].isascii() else "".join(c if c.isascii() else fold(c) for c in match[0])
        for part in word.split():
            yield _Word(part.casefold(), part, offset + match.start(), offset + match.end())


def _key(name: str) -> str:
    return " ".join(word.folded for word in _words(name))


class _Body:
    """The words of a paper's content blocks, and where each stands."""

    def __init__(self, paper: Paper) -> None:
        self._text = paper.text
        self._words: list[_Word] = []
        self._places: dict[str, list[int]] = {}
        for block in paper.blocks:
            if block.kind in CONTENT_KINDS and paper.sections[block.section].role != "references":
                self._words += _read(paper.text[block.start : block.end], block.start)
                self._words.append(_Word("", "", block.end, block.end))  # no name reaches into the next block
        for place, word in enumerate(self._words):
            self._places.setdefault(word.folded, []).append(place)

    def find(self, name: str, *, any_order: bool) -> str:
        """The name as the body has it first; empty where it does not.

        Words are folded, but a symbol is compared with its case: no AGE in "age". With `any_order`, a full name's words
        may stand in any order, and after a Greek letter a closing 1 may be missing: `catenin beta 1` is "β-catenin". No
        other 1 may: "bone morphogenetic protein" is a family, not BMP1.
        """
        words = _words(name)
        is_symbol = " " not in name and not all(_is_plain(word.cased) for word in words)
        wanted = [word.folded for word in words]
        spellings = [wanted]
        if any_order and wanted[-1] == "1" and wanted[-2:-1] and wanted[-2] in _GREEK:
            spellings.append(wanted[:-1])
        for spelling in spellings:
            rarest = min(spelling, key=lambda word: len(self._places.get(word, ())))
            offsets = range(len(spelling)) if any_order else [spelling.index(rarest)]
            for first in (place - offset for place in self._places.get(rarest, ()) for offset in offsets):
                run = self._words[max(first, 0) : first + len(spelling)]
                if (
                    _are_words(run, spelling, any_order=any_order)
                    and (not is_symbol or self._is_symbol(run, words))
                    and not self._goes_on(first, first + len(spelling))
                ):
                    return plain_text(self._text, run[0].start, run[-1].end)
        return ""

    def _is_symbol(self, run: list[_Word], symbol: list[_Word]) -> bool:
        """Whether the run is the symbol in one piece and in its case; with a digit also as Tnfsf11, and P53 as p53."""
        cased, own = [word.cased for word in run], [word.cased for word in symbol]
        spellings = [own]
        if any(map(str.isdigit, own)):
            spellings += [[own[0].capitalize(), *map(str.lower, own[1:])], list(map(str.upper, own))]
            if len(own[0]) == 1 and sum(map(len, own)) >= _MIN_LENGTH:
                spellings.append(list(map(str.lower, own)))
        return cased in spellings and not re.search(r"\s", self._text[run[0].start : run[-1].end])

    def _goes_on(self, first: int, last: int) -> bool:
        """Whether the words from `first` up to `last` are a piece of a longer name."""
        start, end = self._words[first].start, self._words[last - 1].end
        before = self._words[first - 1] if first else None
        after = self._words[last]  # each block ends with a word without letters
        gap = self._text[end : after.start]
        return (
            (before is not None and before.folded.isalnum() and before.end >= start)
            or (after.folded.isalnum() and (after.start <= end or (gap != " " and len(after.folded) == 1)))
            or after.folded.isdigit()
            or after.folded in _GREEK
            or after.folded in _GOES_ON
        )


def _is_plain(word: str) -> bool:
    return word.islower() or (word.istitle() and len(word) >= _MIN_PLAIN_NAME)


def _are_words(run: list[_Word], words: list[str], *, any_order: bool) -> bool:
    found = [word.folded for word in run]
    return sorted(found) == sorted(words) if any_order else found == words
