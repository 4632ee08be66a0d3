"""Authors as papers print them -> the parts of their names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from indexer.plaintext import plain_text

_SUFFIXES = frozenset({"Jr", "Jr.", "Sr", "Sr.", "II", "III", "IV"})
_PARTICLES = frozenset("Al Da Das De Del Della Den Der Di Dos Du El La Le Ten Ter Van Vander Von d' D' ‘t".split())
"""Words that begin a family name also when they are capitalised: `Robert C De Lisle`. Small words always do."""
_INITIALS = re.compile(r"(?:[^\W\d_]\.?-?){1,2}|(?:[^\W\d_]\.-?){3,4}")
_BODY_WORDS = frozenset(
    """
    agency alliance association authors center centers centre centres collaboration collaborative collaborators
    commission committee conference consortium council department federation foundation group groups hospital
    initiative institute institutes institution investigators laboratory ministry network organisation organization
    panel partnership programme project registry services society taskforce trialists union university
    """.split()
)
_SMALL_WORDS = frozenset({"of", "for", "and", "on", "the", "&"})
"""What stands in the name of a body, and in no person's."""
_FAR_EAST = re.compile(r"[\u3400-\u9fff\uac00-\ud7a3]")
"""Han and Hangul, in which the family name comes first."""
_MARKS = re.compile(r"\^[^^]*\^|<sup>.*?</sup>|[*†‡§¶‖]+", re.IGNORECASE)
"""What points from an author to an affiliation or a note."""


@dataclass(frozen=True, slots=True)
class Name:
    """An author's name in its parts; a body's stands whole in `family`."""

    family: str
    """With its particles: `van der Poll`."""
    given: str
    suffix: str
    """`Jr.`, `III`; mostly empty."""
    is_whole: bool
    """Whether `family` is all there is: of a body, or of a person with one name."""


def read_name(author: str) -> Name:
    """The parts of `Carole Fournier`, `Fournier, Carole`, `Fournier C`, `王 伟`, `Ludwig van Beethoven`, `WHO`."""
    bare = _MARKS.sub(" ", author)
    plain = plain_text(bare, 0, len(bare))
    parts = [part for part in map(str.strip, plain.split(",")) if part]
    suffix = next((part for part in parts[1:] if part in _SUFFIXES), "")
    parts = [part for part in parts if part != suffix]
    if len(parts) > 1:
        return Name(parts[0], ", ".join(parts[1:]), suffix, is_whole=False)
    words = parts[0].split() if parts else []
    if _is_body(words):
        return Name(" ".join(words), "", suffix, is_whole=True)
    if len(words) > 1 and words[-1] in _SUFFIXES:
        suffix = words.pop()
    first = _family_at(words)
    if first < 0:
        return Name(" ".join(words[:first]), " ".join(words[first:]), suffix, is_whole=False)
    return Name(" ".join(words[first:]), " ".join(words[:first]), suffix, is_whole=first == 0)


def _is_body(words: list[str]) -> bool:
    """Whether these are the words of an organisation's or a group's name."""
    return not _SMALL_WORDS.isdisjoint(words) or any(word.lower().strip(".()") in _BODY_WORDS for word in words)


def _family_at(words: list[str]) -> int:
    """Index of the family name's first word; negative where it comes first: that of the first word after it."""
    n_initials = 0
    while n_initials < len(words) - 1 and _is_initials(words[-1 - n_initials]):
        n_initials += 1
    if n_initials and not _is_initials(words[0]):
        return -n_initials
    if len(words) == 2 and _FAR_EAST.match(words[0]):
        return -1
    first = max(len(words) - 1, 0)
    while first > 1 and (words[first - 1].islower() or words[first - 1] in _PARTICLES):
        first -= 1
    return first


def _is_initials(word: str) -> bool:
    return word.isupper() and _INITIALS.fullmatch(word) is not None
