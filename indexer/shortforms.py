"""Which words can be a short form, and which words it stands for.

The algorithm is that of Schwartz & Hearst 2003 ("A simple algorithm for identifying abbreviation definitions in
biomedical text"), with Greek letters folded and with rules for what it takes wrongly in real papers. Knows nothing of
where the words stand: that is abbreviations.py.
"""

from __future__ import annotations

import re
from functools import lru_cache

from indexer.terms import fold

_WORD = re.compile(r"[^\W_]+")

_MAX_SHORT = 10
"""Characters of a short form, in at most two words (Schwartz & Hearst 2003)."""
SHORT_FORM = r"[^\W_][\w/+.&-]{0,9}(?: (?![A-Z]?[a-z]+\b)[\w/+.&-]{1,6})?"
"""One word, or two of which the second is no word of the language: `GLP 1`."""
_SHORT_FORM = re.compile(SHORT_FORM)
_PLURAL = re.compile(r"(?<=[A-Z0-9Α-Ω])s$")
_NO_SHORT_FORM = re.compile(
    r".*[.+/&-]"  # a cut word: `MEF2-`
    r"|.*[a-z]{6}.*|[A-Z][a-z]{3,} .+|.+\. .+"  # a word or name: `Therefore`, `Grade II`, `F. L1`
)
_SELDOM_SHORT_FORM = re.compile(
    r"(?:X{1,3}(?:IX|IV|V?I{0,3})|IX|VI{0,3}|I{2,3})[a-d]?"  # roman numerals; IV is intravenous
    r"|(?i:figs?|figures?|tab|tables?|eqs?|refs?|box|panels?|see|vol|no|p+)(?:\W.*)?|A-[B-Z]"  # labels
    r"|[kMGTmµμnpf]?(?:Da|Hz|[VAWJMLmg]|Gy|Pa|Bq|Ci|mol|bp|b|eV)|mmHg|dB|IU|pH"  # units
)
"""These count where every letter begins a word: `multiple myeloma (MM)`, `nitric oxide (NO)`."""

_AT_NO_END = frozenset(
    """
    a an the this these those and or but nor of in on at by for from with without to into onto as than via per between
    among during after before under over within both either where when while since through versus vs not all each its
    their our
    """.split()
)
"""Function words: no long form begins or ends with one, and initials pass over them."""
_LATIN = re.compile(r"(?:in|ex|ab|per|de|post) (?:vitro|vivo|situ|silico|utero|ovo|planta|initio|os|novo|hoc|mortem)\b")
"""`in vitro fertilization` begins with no preposition of English."""
_IN_NO_LONG_FORM = re.compile(
    r"[=<>|()\[\]]|:\s|\s[+±]\s|https?:|\b(?:19|20)\d\d[a-z]?\b|[,;:/–-]$"
    r"|\b(?:is|are|was|were|be|been|has|have|had|that|which|who|we|they|such|may|might|can)\b"
)
"""What makes a clause of it, a formula or a citation."""


def singular(short: str) -> str:
    """The short form without the `s` of its plural: `AGEs` as `AGE`; `SARS` and `As` stay."""
    return _PLURAL.sub("", short) if len(short) > 2 else short


def is_short_form(text: str) -> bool:
    """Whether this can be a short form: two to ten characters in two words at most, a capital or a digit in it."""
    return (
        2 <= len(text) <= _MAX_SHORT
        and _SHORT_FORM.fullmatch(text) is not None
        and any(map(str.isalpha, text))
        and any(character.isupper() or character.isdigit() for character in text)
        and not _NO_SHORT_FORM.fullmatch(text)
    )


def is_long_form(short: str, long: str) -> bool:
    """Whether the whole of `long` reads as what `short` stands for."""
    words = long.lower().split()
    if (
        len(long) <= len(short)
        or not 0 < len(words) <= _max_words(short)
        or words[-1] in _AT_NO_END
        or _IN_NO_LONG_FORM.search(long)
    ):
        return False
    letters, folded = _letters(singular(short)), _fold(long)
    start = _long_form_start(singular(short), long)
    names_itself = words[0] == "the" and long[0] == "T" and _spelled(letters, folded) == 0  # The Cancer Genome Atlas
    return (
        (words[0] not in _AT_NO_END or names_itself or bool(_LATIN.match(" ".join(words[:2]))))
        and (not _SELDOM_SHORT_FORM.fullmatch(short) or _spelled(letters, folded) is not None)
        and start is not None
        and " " not in folded[:start]
        and _reads_as(letters, _WORD.findall(_fold(singular(short))), _WORD.findall(folded), commas=", " in long)
    )


def long_form_before(short: str, sentence: str) -> int | None:
    """Where the long form of `short` begins that the sentence ends with; None where it ends with none."""
    words = [word.start() for word in re.finditer(r"\S+", sentence)][-_max_words(short) :]
    if not words:
        return None
    start = _long_form_start(singular(short), sentence[words[0] :])
    if start is None or not is_long_form(short, sentence[words[0] + start :]):
        return None
    return words[0] + start


def begins_like(short: str, long: str) -> bool:
    """What is enough where a list says that the one stands for the other."""
    return is_short_form(short) and len(long) > len(short) and _fold(short)[0] == _fold(long)[0]


def _long_form_start(short: str, text: str) -> int | None:
    """Where in `text` the long form of `short` begins, when the text ends with one; else None.

    As Schwartz & Hearst 2003 have it: every letter and digit of the short form stands in the long form in the same
    order, its first one at the beginning of a word, found from the end. Words whose initials spell the short form go
    before: the shortest match of MM in "multiple myeloma" is the second word alone.
    """
    letters, folded = _letters(short), _fold(text)
    at = _spelled(letters, folded)
    if at is None:
        at = len(folded)
        for place in range(len(letters) - 1, -1, -1):
            at = folded.rfind(letters[place], 0, at)
            while place == 0 and at > 0 and folded[at - 1].isalnum():
                at = folded.rfind(letters[0], 0, at)
            if at < 0:
                return None
    return max(folded.rfind(mark, 0, at) for mark in " ([/—±") + 1


def _spelled(letters: list[str], folded: str) -> int | None:
    """Where the last words begin whose initials are the letters, function words passed over."""
    words = list(_WORD.finditer(folded))
    at = len(folded)
    for letter in reversed(letters):
        while words and at < len(folded) and words[-1][0][0] != letter and words[-1][0] in _AT_NO_END:
            words.pop()
        if not words or words[-1][0][0] != letter:
            return None
        at = words.pop().start()
    return at


def _reads_as(letters: list[str], short: list[str], long: list[str], *, commas: bool) -> bool:
    """Whether enough words of the long form begin with a letter of the short form, and none of them is that itself.

    Schwartz & Hearst take letters from anywhere. In what that finds in real papers, six words and more of which less
    than a third begin with a letter are a clause, and words with commas are mostly an enumeration.
    """
    if "".join(letters) in {*long, "".join(long)} or f" {' '.join(short)} " in f" {' '.join(long)} ":
        return False
    n_initials = _count_initials(letters, long)
    n_words = sum(word not in _AT_NO_END for word in long)
    return (n_words <= 5 or 3 * n_initials > n_words) and (not commas or max(2, len(letters) / 2) <= n_initials)


def _count_initials(letters: list[str], words: list[str]) -> int:
    """How many of the letters can be the first of a word, when all of them stand in the words in order."""
    best = {0: 0}  # letters placed so far -> initials among them
    for word in words:
        for n_placed, n_initials in list(best.items()):
            for place, character in enumerate(word):
                if n_placed < len(letters) and character == letters[n_placed]:
                    n_placed += 1
                    n_initials += place == 0
                    best[n_placed] = max(best.get(n_placed, 0), n_initials)
    return best.get(len(letters), 0)


def _max_words(short: str) -> int:
    return min(len(short) + 5, 2 * len(short))


def _letters(short: str) -> list[str]:
    return [character for character in _fold(short) if character.isalnum()]


def _fold(text: str) -> str:
    """Folded, character for character, a Greek letter as the first of its name: "… alpha" spells the end of TNF-α."""
    if text.isascii():
        return re.sub(r"\s", " ", text.lower())
    return "".join(map(_initial, text))


@lru_cache(maxsize=4096)
def _initial(character: str) -> str:
    return fold(character).strip()[:1] or " "
