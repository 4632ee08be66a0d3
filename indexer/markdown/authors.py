"""Authors' names, from YAML, from a labelled line, and from the line under a title."""

from __future__ import annotations

import re
from collections.abc import Mapping

from indexer.syntax import HTML_TAG

UNKNOWN = ("nan", "none", "unknown")
_AUTHOR_END = re.compile(r",\s+(?!(?:Jr|Sr|II|III|IV)\b)|\s+and\s+")
_AND = re.compile(r"\s+and\s+")
_WIKI_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
"""`[[Mara Quill]]`, `[[people/quill|Mara Quill]]`."""
_FAMILY_FIRST = re.compile(r"(?![^a-z]+,)[\w’'-]+,\s+(?!.*\sand\s)[^,;]+")
"""One word before the only comma: `Jamieson, Amanda M`; not `WHO, Red Cross`."""

_RAISED = re.compile(
    r"<sup>.{0,80}?</sup>|\^[^\s^]{1,40}\^|\$\s*\^\s*\{[^{}$]{0,80}\}\s*\$|[¹²³⁴⁵⁶⁷⁸⁹⁰]+"
    r"|\[[^\[\]]{0,40}\]\([^()]{0,200}\)",
    re.IGNORECASE,
)
_NOTE_MARK = re.compile(r"(?<!\w)[a-z](?!\w)|\d+|[*†‡§¶#✉\\]+")
"""What stands behind names for affiliations and notes: `1`, `a`, `†`."""
_INITIAL = re.compile(r"(?<!\w)[A-Z]\.?(?!\w)")
_DEGREE = re.compile(
    r",?\s+(?:Ph\.?D|M\.?D|M\.?Sc|B\.?Sc|M\.?P\.?H|D\.?Phil|Dr\.? med|R\.?N|F\.?R\.?C\.?P)\.?(?=[\s,;]|$)"
)
_NAME_END = re.compile(r"\s*[,;·|&]\s*|\s+and\s+")
_NAME_WORD = re.compile(r"[^\W\d_][\w’'.-]*")
_PARTICLES = frozenset("von van de der den la le da di dos del bin al el ten ter".split())
_MAX_NAME_WORDS = 5
_NO_NAME = re.compile(
    r"\b(?:academy|access|article|center|centre|clinic|college|department|division|faculty|group|hospital|institut\w*"
    r"|copyright|rights|reserved|keywords?|elsevier|springer|wiley|journal|laborator\w*|ministry|open|original|paper|report|research|review|school|section|unit|universit\w*|vol"
    r"|volume)\b",
    re.IGNORECASE,
)
_MIN_NAMES = 2
"""One alone may be a place, or what kind of article it is."""


def yaml_authors(value: object) -> tuple[str, ...]:
    """A list of names or of mappings with names, or one line of them."""
    if isinstance(value, str):
        return split_authors(value)
    if not isinstance(value, list):
        return ()
    names: list[str] = []
    for each in value:
        if isinstance(each, Mapping):
            given, family = str(each.get("given", "")), str(each.get("family", ""))
            names.append(str(each.get("name") or f"{given} {family}").strip())
        else:
            names.append(str(each).strip())
    return tuple(_WIKI_LINK.sub(r"\1", name) for name in names if name)


def split_authors(value: str) -> tuple[str, ...]:
    """`A B, C D`, `A B and C D`, `B, A; D, C`, `B, A and D, C` or, of one author, `B, A`."""
    if value.lower() in UNKNOWN:
        return ()
    value = _WIKI_LINK.sub(r"\1", value)
    by_and = _AND.split(value)
    if len(by_and) > 1 and all(_FAMILY_FIRST.fullmatch(part) for part in by_and):
        parts = by_and
    elif ";" in value or _FAMILY_FIRST.fullmatch(value):
        parts = value.split(";")
    else:
        parts = _AUTHOR_END.split(value)
    return tuple(name for part in parts if (name := " ".join(part.strip("*_ ").split())))


def line_of_authors(source: str) -> tuple[str, ...]:
    """The names in a line of nothing else, `Mara Quill^1^, Otto Tern^2,*^`; none where it may be anything else.

    Words with capitals may be a place, a list of keywords, a publisher's rights: initials, degrees, or marks behind the
    names tell that they are people.
    """
    if not (_RAISED.search(source) or _NOTE_MARK.search(source) or _INITIAL.search(source) or _DEGREE.search(source)):
        return ()
    source = _DEGREE.sub("", source)
    plain = HTML_TAG.sub("", _RAISED.sub("", source))
    parts = [" ".join(part.split()) for part in _NAME_END.split(_NOTE_MARK.sub(" ", plain))]
    names = tuple(part for part in parts if part)
    if len(names) < _MIN_NAMES or _NO_NAME.search(plain) or not all(map(_is_name, names)):
        return ()
    return names


def _is_name(part: str) -> bool:
    """Whether there are two words or more, each with a capital but `van` and its like."""
    words = part.split()
    return 2 <= len(words) <= _MAX_NAME_WORDS and all(
        _NAME_WORD.fullmatch(word) and (word[0].isupper() or (word in _PARTICLES and 0 < n < len(words) - 1))
        for n, word in enumerate(words)
    )
