"""Text -> the terms that the full-text index holds. Index and query go through the same door.

Only matching folds: Unicode compatibility forms, case, accents, Greek letters to their names, hyphens to gaps. Then
stop words go and the English Snowball stemmer (Porter 2) takes the endings.
"""

from __future__ import annotations

import re
import threading
import unicodedata

import Stemmer

TERMS_VERSION = 1
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
_GREEK_NAMES = str.maketrans({letter: f" {name} " for letter, name in _GREEK.items()})
_TERM = re.compile(r"[^\W_]+")

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


_local = threading.local()
"""A stemmer keeps state between calls: each thread has its own."""


def _stemmer() -> Stemmer.Stemmer:
    if not hasattr(_local, "stemmer"):
        _local.stemmer = Stemmer.Stemmer("english")
    return _local.stemmer


def fold(text: str) -> str:
    """The text as matching sees it: compatibility forms, case, accents and Greek letters folded."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    if not folded.isascii():
        folded = "".join(c for c in folded if not unicodedata.combining(c)).translate(_GREEK_NAMES)
    return folded


def terms(text: str) -> list[str]:
    """The text's terms in order, stop words left out, stemmed. Each is one or more letters and digits."""
    words = [word for word in _TERM.findall(fold(text)) if word not in STOP_WORDS]
    return list(_stemmer().stemWords(words))
