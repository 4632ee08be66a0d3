"""British spellings -> American ones, for matching only: `oestrogen` finds estrogen, `randomised` randomized.

Rules for the word families of scientific English, not a dictionary. Knows single words, folded to small letters.
"""

from __future__ import annotations

import re

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), american)
    for pattern, american in (
        (r"ae(?=m|c|d(?!es)|ti|sth)", "e"),  # haemoglobin, anaemia, faecal, paediatric, aetiology, anaesthesia
        (r"(pal|arch)aeo", r"\1eo"),
        (r"oe(?=str|dem|soph|liac)|(?<=^f)oe(?=t)|(?<=hom)oe(?=o)|(?<=^am)oe(?=b)|(?<=rrh)oe(?=a)|(?<=pn)oe(?=a)", "e"),
        (r"((?:^|dis|un|re)(?:tum|col|fav|lab|vap|hum|hon|vig|rig|arm|flav|harb|behavi|neighb|od))our", r"\1or"),
        (r"(anal|catal|rol|autol|paral|dial)ys(?=e[ds]?$|ers?$|ing$)", r"\1yz"),
        (r"(^cent|^calib|fib|^lit|[imo]lit|^met|[imo]met|^tit)re(?=s?$)", r"\1er"),
        (
            r"((?:^|re|un)(?:label|model|level|total|signal|travel|tunnel|channel|counsel|fuel))l(?=ed$|ing$|ers?$|ors?$)",
            r"\1",
        ),
        (r"(anal|orthol|paral|dial|catal|homol)ogue", r"\1og"),
        (r"sulph", "sulf"),
        (r"^programme(?=s?$)", "program"),
        (r"^grey(?=$|s$|ish$)", "gray"),
        (r"^mould", "mold"),
        (r"^(def|off|lic)ence", r"\1ense"),
        (r"^ageing$", "aging"),
        (r"^aluminium$", "aluminum"),
    )
)
_ANY_RULE = re.compile("|".join(pattern.pattern for pattern, _ in _RULES))
"""Looked for first: most words have none."""
_ISE = re.compile(r"([a-z]{3,})is(e[ds]?|ers?|ing|ations?)")
_NOT_IZE = re.compile(
    r".*(?:[cv]|[aou]|pr|rw|kew|ct|rt|nd|prom|dem|prem|franch|parad|adv|surm|chast|conc|prec|tre|pra|noi)|.{0,3}r"
)
"""What stands before the `is` of words that Americans write so too: exercise, revise, raise, comprise, rise."""


def american(word: str) -> str:
    """The word as Americans spell it, as far as the rules go; most words as they are."""
    if _ANY_RULE.search(word):
        for pattern, spelling in _RULES:
            word = pattern.sub(spelling, word)
    found = _ISE.fullmatch(word)
    if found and not _NOT_IZE.fullmatch(found[1]):
        return f"{found[1]}iz{found[2]}"
    return word
