"""Text -> the terms that the full-text index holds. Index and query go through the same door.

Only matching folds: Unicode compatibility forms, accents, Greek letters to their names, hyphens to gaps, case. Then
stop words go and the English Snowball stemmer (Porter 2) takes the endings.

An acronym is a term of its own, `^age` for "AGEs", so that it is not the word that it looks like. Which of both a
query's "age" or "RANKL" means, the index's own counts say: `variants` lists what it may be.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import Stemmer

from indexer.spelling import american

TERMS_VERSION = 3
"""Raised whenever the same text would give other terms; part of the manifest."""

_GREEK = {
    **dict(
        zip(
            "αβγδεζηθικλμνξοπρστυφχψω",
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon "
            "phi chi psi omega".split(),
            strict=True,
        )
    ),
    "ς": "sigma",
}
_LETTERS = {name: letter for letter, name in _GREEK.items() if letter != "ς"}
_GREEK_NAMES = str.maketrans({form: f" {name} " for letter, name in _GREEK.items() for form in letter + letter.upper()})
_GREEK_WORD = re.compile(rf"[-\s]*(?:\b({'|'.join(_GREEK.values())})\b|([{''.join(_GREEK)}]))[-\s]*", re.IGNORECASE)
_TERM = re.compile(r"[^\W_]+")
_LINE = re.compile(r"[^\n]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")

ACRONYM = "^"
"""What an acronym's term begins with. The full-text index's tokenizer keeps it."""
_MAX_CAPITALS = 6
"""Of a word all in capitals that is an acronym; a longer one is a word in a heading."""
_NUMBERED = re.compile(r"([a-z]{2,})(\d{1,3})([a-z]?)")
"""`IL6` and `Sox2` have the terms of `IL-6` and `Sox-2`."""

STOP_WORDS = frozenset(
    """
    a about above after again against all also am an and any are as at be because been before being below between
    both but by can could did do does doing down during each few for from further had has have having he her here
    hers him his how i if in into is it its itself just me more most my no nor not now of off on once only or
    other our out over own per s same she should so some such t than that the their them then there these they
    this those through thus to too under until up upon very via was we were what when where which while who whom
    whose why will with within without would you your
    """.split()
)
"""English function words, question words among them: they say how something is asked, not what about."""


_LETTERS_AND_WORDS = frozenset(word.upper() for word in STOP_WORDS if len(word) == 1)
"""Capitals that may be a name's (vitamin A, T cell) or a stop word."""

_local = threading.local()
"""A stemmer keeps state between calls: each thread has its own."""


def _stemmer() -> Stemmer.Stemmer:
    if not hasattr(_local, "stemmer"):
        _local.stemmer = Stemmer.Stemmer("english")
    return _local.stemmer


def fold(text: str) -> str:
    """The text as matching sees it: compatibility forms, case, accents and Greek letters folded."""
    return _fold_letters(text).casefold()


def terms(text: str) -> list[str]:
    """The text's terms in order, stop words left out, stemmed. Each is letters and digits, `^` before an acronym's."""
    return [term for term, _, _ in _placed(_fold_letters(text))]


def placed_terms(text: str) -> list[tuple[str, int, int]]:
    """The text's terms, each with where it stands: offsets into the text, half-open."""
    pieces = [_fold_letters(character) for character in text]  # none folds otherwise for its neighbours
    origin = [at for at, piece in enumerate(pieces) for _ in piece]
    return [(term, origin[start], origin[end - 1] + 1) for term, start, end in _placed("".join(pieces))]


def variants(term: str) -> tuple[str, str]:
    """A query's term as a word and as an acronym: `age` and `^age` for either."""
    bare = term.removeprefix(ACRONYM)
    return bare, ACRONYM + bare


def greek_spellings(text: str) -> tuple[str, ...]:
    """The text with its Greek letters by name, and as letters; the text itself where it has neither.

    However they were written, and joined to the words about them, the spellings are the same.
    """
    if not _GREEK_WORD.search(text):
        return (text,)

    def name(match: re.Match[str]) -> str:
        return f" {match[1].lower() if match[1] else _GREEK[match[2].casefold()]} "

    def letter(match: re.Match[str]) -> str:
        return f" {match[2].casefold() if match[2] else _LETTERS[match[1].lower()]} "

    return tuple(" ".join(_GREEK_WORD.sub(spell, text).split()) for spell in (name, letter))


def numbered_parts(folded: str) -> tuple[str, ...]:
    """The letters and the number of a numbered name, and the letter after it; of other words the word."""
    found = _NUMBERED.fullmatch(folded)
    return tuple(part for part in found.groups() if part) if found else (folded,)


def spellings(word: str) -> list[str]:
    """What a folded word may be in the terms of a text, whatever its case there; each terms with a space between.

    Empty for a stop word: a text may have no term for it.
    """
    if word in STOP_WORDS:
        return []
    singular = word.removesuffix("s")
    found: list[str] = []
    for form in dict.fromkeys((word, singular)):
        name, *tail = numbered_parts(form)
        found += (" ".join((ACRONYM + name, *tail)), " ".join((_stemmer().stemWord(american(name)), *tail)))
    return found


def _fold_letters(text: str) -> str:
    """The text with compatibility forms, accents and Greek letters folded, in its own case."""
    return text if text.isascii() else _NOT_ASCII.sub(lambda run: _folded_run(run[0]), text)


@lru_cache(maxsize=1 << 12)
def _folded_run(run: str) -> str:
    """The same of characters that are not ASCII: none folds otherwise for its neighbours."""
    folded = unicodedata.normalize("NFKD", run)
    return "".join(c for c in folded if not unicodedata.combining(c)).translate(_GREEK_NAMES)


def _placed(folded: str) -> Iterator[tuple[str, int, int]]:
    """The terms of a text whose letters are folded, each with where it stands there."""
    for line in _LINE.finditer(folded):
        words = list(_TERM.finditer(folded, line.start(), line.end()))
        shouted = line[0].isupper() and any(word[0].isalpha() and len(word[0]) > _MAX_CAPITALS for word in words)
        before = None
        for match in words:
            word, start, end = match[0], match.start(), match.end()
            if word in _LETTERS_AND_WORDS and _is_name(word, before, match):
                yield ACRONYM + word.casefold(), start, end
            else:
                parts = _terms_of(word, shouted)
                for part, n_letters in parts:
                    after = start + n_letters if len(parts) > 1 else end
                    yield part, start, after
                    start = after
            before = match


@lru_cache(maxsize=1 << 16)
def _terms_of(word: str, shouted: bool) -> tuple[tuple[str, int], ...]:
    """The terms of one word whose letters are folded, each with how many letters it is of; none of a stop word.

    `shouted` says that it stands in a line all in capitals.
    """
    short = "" if shouted else _acronym(word)
    word_folded = (short or word).casefold()
    name, *tail = numbered_parts(word_folded)
    if short:
        first = ACRONYM + name
    elif word_folded in STOP_WORDS:
        return ()
    else:
        first = _stemmer().stemWord(american(name))
    return ((first, len(name)), *((part, len(part)) for part in tail))


def _acronym(word: str) -> str:
    """The word in its singular when it is an acronym; else empty. An acronym has two capitals at least."""
    if word.islower() or len(word) < 2:
        return ""
    short = word[:-1] if word[-1] == "s" and word[-2].isupper() else word
    n_capitals = sum(map(str.isupper, short))
    n_letters = sum(map(str.isalpha, short))
    return short if n_capitals >= 2 and not (n_capitals == n_letters > _MAX_CAPITALS) else ""


def _is_name(letter: str, before: re.Match[str] | None, match: re.Match[str]) -> bool:
    """Whether the capital is no article: the `A` of "vitamin A", the `T` of "T cells"; not that of "A study"."""
    if letter in "ST":
        return True
    return before is not None and match.start() - before.end() == 1 and before[0].casefold() not in STOP_WORDS
