"""Whether quoted sentences bear a claim out, as far as cheap signs tell.

A quote that stands in a paper does not make the sentence before it true. What is looked for here are the marks of
invention: numbers and units that the source has not, words that it does not speak of, a denial or a direction turned
round, a guess told as a finding, and orders to the reader in place of findings. What passes may still be wrong; what
fails may have been right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from indexer.terms import ACRONYM, fold, terms
from service.orders import gives_orders

Fault = Literal["order", "numbers", "words", "contradiction", "certainty"]

MIN_SHARE = 0.55
"""Of a claim's terms that the source or the question has,"""
MIN_SHARE_OF_SOURCE = 0.4
"""... that the source has,"""
MIN_SHARE_OF_NEW = 0.34
"""... and, of those that the question has not, that the source has. Chosen on the pairs of tests/test_generate.py."""
_MIN_STEM = 4
"""Letters of a term that another may be longer by its ending: "weak", "weaken"."""

_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_ONES = {
    word: n
    for n, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
}
_TENS = {word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_SPELT = re.compile(rf"\b(?:{'|'.join((*_ONES, *_TENS))})(?:[\s-]+(?:{'|'.join((*_ONES, *_TENS, *_SCALES))}))*\b")
_ONE = re.compile(r"\bone\b")
_SHARES = {
    **dict.fromkeys("half halve halved halves halving".split(), "half"),
    **dict.fromkeys("third thirds".split(), "third"),
    **dict.fromkeys("quarter quarters".split(), "quarter"),
    **dict.fromkeys("twice double doubled doubles doubling twofold".split(), "twice"),
    **dict.fromkeys("thrice triple tripled triples tripling threefold".split(), "thrice"),
    "twothirds": "2/3",
    "threequarters": "3/4",
}
_PARTS_OF = re.compile(r"\b(two|three)[\s-]+(thirds|quarters)\b")
"""Shares of two words, which are one number."""
_OF = re.compile(r"\b(\d+) (?:out )?of (?:the |all )?(\d+)\b")
_BOUND = re.compile(rf"([<>≤≥])\s*({_DIGITS})")
_SAME = {"50%": "half", "half": "50", "25%": "quarter", "quarter": "25"}

_UNIT_WORDS = {
    "%": "percent percentage",
    "°c": "celsius centigrade",
    "kg": "kilogram kilograms",
    "g": "gram grams",
    "mg": "milligram milligrams",
    "µg": "ug mcg microgram micrograms",
    "ng": "nanogram nanograms",
    "l": "litre litres liter liters",
    "ml": "millilitre millilitres milliliter milliliters",
    "km": "kilometre kilometres kilometer kilometers",
    "m": "metre metres meter meters",
    "cm": "centimetre centimetres centimeter centimeters",
    "mm": "millimetre millimetres millimeter millimeters",
    "µm": "um micron microns micrometre micrometres micrometer micrometers",
    "nm": "nanometre nanometres nanometer nanometers",
    "s": "sec second seconds",
    "min": "mins minute minutes",
    "h": "hr hrs hour hours",
    "d": "day days",
    "wk": "week weeks",
    "mo": "month months",
    "yr": "yrs year years",
    "pa": "pascal pascals",
    "kpa": "",
    "mpa": "",
    "gpa": "",
    "hz": "hertz",
    "mol": "mole moles",
    "mmol": "",
    "µmol": "",
    "nmol": "",
    "iu": "",
}
_UNITS = {word: unit for unit, words in _UNIT_WORDS.items() for word in (unit, *words.split())}
_UNIT = r"%|°\s?c\b|[a-zµ]+"
_MEASURE = re.compile(rf"(?P<number>{_DIGITS})\s*(?P<unit>{_UNIT})")

_SECOND_THOUGHTS = re.compile(r"\b(?:not (?:only|just|merely|necessarily)|whether or not)\b")
_NOT = re.compile(
    r"(?:\b(?:not|never|cannot|fail(?:s|ed)? to|unable to|rather than)\b|n't\b)"
    r"(?:\s+(?:[a-z]+ly|able|appear|been|be|found|known|observed|reported|seem|seen|shown|to)\b)*"
)
"""With what may stand between it and what it denies: `did not significantly reduce`, `was not found to reduce`."""
_NO = re.compile(r"\b(?:no|none|neither|nor|without)\b")
_SOFTLY_NOT = re.compile(
    r"\b(?:fail|lack|absen|unable|hardly|rarely|scarcely|little|few|nothing|nobody|refus)\w*"
    r"|\bun(?!der|til|it|iv|iq|ion|less)\w+"
)
_CONTRARY = (("un", ""), ("non", ""), ("in", ""), ("hypo", "hyper"), ("down", "up"))
"""Beginnings of words that say the contrary: `unsafe`, `ineffective`, `downregulated`."""
_MIN_CONTRARY = 4
"""Letters of a term that such a beginning makes its contrary, not another word."""
_MAYBE = re.compile(r"\b(?:may|might|could)\b(?:\s+(?:[a-z]+ly|also|be|have|not|to)\b)*")
"""With what may stand between it and what it says of it: `may also help to`."""
_CAUSE = re.compile(r"\b(?:caus(?:e[sd]?|ing)|(?:leads?|led) to|result(?:s|ed)? in|due to|because)\b")
_ASSOCIATION = re.compile(r"\b(?:associat|correlat)\w*|\blink(?:s|ed)? (?:to|with|between)\b")
_GUESS = re.compile(r"\b(?:hypothes|speculat|conjectur|refut|disprov|debunk)\w*")
_HEDGE = re.compile(
    rf"\b(?:may|might|can|could|would|possibl[ey]|potential\w*|perhaps|probabl[ey]|likely|suggest\w*|appear\w*|seem\w*"
    rf"|indicat\w*|propos\w*|suspect\w*|believe\w*|thought|whether)\b|{_GUESS.pattern}"
)
_N_DENIED = 4
"""Terms after a "no" that may be what it denies; two of them shared make it the same denial."""
_OPPOSITES = tuple(
    (frozenset(terms(one)), frozenset(terms(other)))
    for one, other in (
        ("increase increased rise rose risen higher greater more elevate elevated raise raised grow grew",
         "decrease decreased fall fell fallen lower less reduce reduced decline declined drop dropped diminish"),
        ("improve improved better enhance", "worsen worsened worse impair impaired"),
        ("promote stimulate activate", "inhibit suppress block"),
        ("longer", "shorter"),
        ("faster quicker", "slower"),
        ("stronger harder", "weaker softer"),
        ("positive positively", "negative negatively inverse inversely"),
        ("high", "low"),
    )
)  # fmt: skip


def fault(claim: str, quoted: str, around: str, known: str) -> Fault | None:
    """The first sign that the claim is not borne out; None where there is none.

    `quoted` is the text of the sentences that are quoted; `around` the same with what stands right before them and the
    titles above; `known` the question, whose words a claim may repeat.
    """
    if gives_orders(around) or gives_orders(claim):
        return "order"
    if not _has_numbers(claim, around) or any(link not in quoted for link in _LINK.findall(claim)):
        return "numbers"
    if not _shares_words(claim, around, known):
        return "words"
    if _is_denied(claim, quoted) or (_is_denied(quoted, claim, among=around)) or _is_turned_round(claim, quoted):
        return "contradiction"
    return "certainty" if _is_surer(claim, quoted) else None


def _has_numbers(claim: str, source: str) -> bool:
    """Whether each number of the claim stands in the source, in digits or words, and its unit somewhere there."""
    claim, source = fold(claim).replace("μ", "µ"), fold(source).replace("μ", "µ")
    there = _numbers(source)
    there |= {_SAME[each] for each in there if each in _SAME}
    if _ONE.search(source):
        there.add("1")
    if not {each for each in _numbers(claim) if not each.endswith("%")} <= there:
        return False
    if any(int(part) > int(whole) for part, whole in _OF.findall(claim)):
        return False
    if not set(_BOUND.findall(claim)) <= set(_BOUND.findall(source)):
        return False
    units = {_UNITS.get(word.replace(" ", "")) for word in re.findall(_UNIT, source)}
    if there & _SAME.keys():
        units.add("%")
    measured = _measures(source)
    numbered = {number for number, _ in measured}
    return all(
        unit in units and ((number, unit) in measured or number not in numbered) for number, unit in _measures(claim)
    )


def _measures(folded: str) -> set[tuple[str, str]]:
    """Numbers that a unit follows, and the unit."""
    return {
        (_digits(match["number"]), unit)
        for match in _MEASURE.finditer(folded)
        if (unit := _UNITS.get(match["unit"].replace(" ", ""))) is not None
    }


def _numbers(folded: str) -> set[str]:
    """Numbers as digits, shares such as "half" by name, and percentages once more with their `%`."""
    folded = _PARTS_OF.sub(r"\1\2", folded)
    found = {_digits(each) for each in re.findall(_DIGITS, folded)}
    found |= {f"{_digits(each)}%" for each in re.findall(rf"({_DIGITS})\s*(?:%|per\s?cent)", folded)}
    for match in _SPELT.finditer(folded):
        n = _value(re.split(r"[\s-]+", match[0]))
        if n != 1:  # "one of the ..."
            found.add(str(n))
    return found | {_SHARES[word] for word in re.findall(r"[a-z]+", folded) if word in _SHARES}


def _digits(number: str) -> str:
    number = number.replace(",", "")
    whole, point, rest = number.partition(".")
    rest = rest.rstrip("0")
    return f"{whole.lstrip('0') or '0'}{point if rest else ''}{rest}"


def _value(words: Iterable[str]) -> int:
    total = current = 0
    for word in words:
        if word == "hundred":
            current = max(current, 1) * 100
        elif word in _SCALES:
            total, current = total + max(current, 1) * _SCALES[word], 0
        else:
            current += _ONES.get(word, 0) + _TENS.get(word, 0)
    return total + current


def _shares_words(claim: str, source: str, known: str) -> bool:
    said, there, asked = _words(claim), _words(source), _words(known)
    if not said:
        return False
    borne = {term for term in said if _among(term, there)}
    new = {term for term in said if not _among(term, asked)}
    return (
        len(borne | (said - new)) >= MIN_SHARE * len(said)
        and len(borne) >= MIN_SHARE_OF_SOURCE * len(said)
        and len(borne & new) >= MIN_SHARE_OF_NEW * len(new)
    )


def _words(text: str) -> set[str]:
    return {bare for term in terms(text) if not (bare := term.removeprefix(ACRONYM)).isdigit()}


def _among(term: str, there: set[str]) -> bool:
    """Whether the term, or one that differs by an ending, is there."""
    return term in there or any(
        min(len(term), len(other)) >= _MIN_STEM and (term.startswith(other) or other.startswith(term))
        for other in there
    )


def _is_denied(affirmed: str, denying: str, among: str = "") -> bool:
    """Whether one text denies what the other, which denies nothing, affirms. `among` may deny in its place too."""
    affirmed, denying = (_SECOND_THOUGHTS.sub(" ", fold(each).replace("’", "'")) for each in (affirmed, denying))
    if any(cue.search(f"{affirmed} {fold(among)}") for cue in (_NOT, _NO, _SOFTLY_NOT)):
        return False
    shared = _words(affirmed)
    for cue, n_words, n_shared in ((_NOT, 1, 1), (_NO, _N_DENIED, 2)):
        for match in cue.finditer(denying):
            denied = [term.removeprefix(ACRONYM) for term in terms(denying[match.end() :])][:n_words]
            if sum(term in shared for term in denied) >= n_shared:
                return True
    return False


def _is_surer(claim: str, quoted: str) -> bool:
    """Whether the claim takes for certain what its source takes for possible or refuted, or for a cause what that finds
    associated."""
    claim, quoted = fold(claim), fold(quoted)
    if _CAUSE.search(claim) and _ASSOCIATION.search(quoted) and not _CAUSE.search(quoted):
        return True
    if _HEDGE.search(claim):
        return False
    return bool(_GUESS.search(quoted)) or any(
        term.removeprefix(ACRONYM) in _words(claim)
        for match in _MAYBE.finditer(quoted)
        for term in list(terms(quoted[match.end() :]))[:1]
    )


def _is_turned_round(claim: str, quoted: str) -> bool:
    """Whether the claim goes one way only where the source goes the other way only."""
    said, there = set(terms(claim)), set(terms(quoted))
    return _are_contrary(said, there) or any(
        bool(said & one) and not said & other and bool(there & other) and not there & one
        for pair in _OPPOSITES
        for one, other in (pair, pair[::-1])
    )


def _are_contrary(said: set[str], there: set[str]) -> bool:
    """Whether one has a term only with the beginning that makes it the contrary, the other only without."""
    return any(
        (contrary := beginning + term[len(bare) :]) in other and contrary not in one and term not in other
        for one, other in ((said, there), (there, said))
        for term in one
        for beginning, bare in _CONTRARY
        if term.startswith(bare) and len(term) - len(bare) >= _MIN_CONTRARY
    )
