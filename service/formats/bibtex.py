"""Entries as BibTeX.

Greek and accents stay as they are: the file is UTF-8. A brace of the text becomes a command, since BibTeX counts
braces also behind a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from service.formats.entries import MONTHS, Entry, places
from service.names import Name

_ESCAPES = str.maketrans(
    {
        "\\": r"{\textbackslash}",
        "{": r"{\textbraceleft}",
        "}": r"{\textbraceright}",
        "~": r"{\textasciitilde}",
        "^": r"{\textasciicircum}",
        "<": r"{\textless}",  # in LaTeX's oldest fonts `<`, `>` and `|` are other characters
        ">": r"{\textgreater}",
        "|": r"{\textbar}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
    }
)
_AS_IT_STANDS = "!#$%&'()*+,-./:;<=>?@[]_|~"
"""In a DOI or link, which styles print verbatim."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_JOINED = re.compile(r"(?:^|\s)(?:and|others)(?=\s|$)|,", re.IGNORECASE)
"""What parts names, and the `others` that stands for et al."""
_MIN_TELLING_WORD = 4
"""Letters of a word whose first says whether the title is in title case; shorter ones are small in either."""


def bibtex(entries: Sequence[Entry]) -> str:
    """A BibTeX file."""
    return "\n".join(map(_entry, entries))


def _entry(entry: Entry) -> str:
    year, month, day = (*entry.date, 0, 0, 0)[:3]
    fields = {
        "author": " and ".join(map(_name, entry.names)),
        "title": _title(entry.title),
        "journal": _escaped(entry.journal),
        "year": f"{year}" if year else "",
        "month": MONTHS[month - 1] if month else "",
        "day": f"{day}" if day else "",
        "doi": quote(entry.doi, safe=_AS_IT_STANDS),
        "url": quote(entry.url, safe=_AS_IT_STANDS),
        "pmid": _escaped(entry.pmid),
        "pmcid": _escaped(entry.pmcid),
        "note": _escaped(places(entry)),
    }
    lines = [f"  {name} = {value if name == 'month' else f'{{{value}}}'},\n" for name, value in fields.items() if value]
    return f"@{'article' if entry.journal else 'misc'}{{{entry.key},\n{''.join(lines)}}}\n"


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def _name(name: Name) -> str:
    """`van der Poll, Tom`, `King, Jr., Martin`, `{World Health Organization}`."""
    if name.is_whole:
        return f"{{{_escaped(name.family)}}}"
    parts = (name.family, name.suffix, name.given)
    return ", ".join(f"{{{_escaped(part)}}}" if _JOINED.search(part) else _escaped(part) for part in parts if part)


def _title(title: str) -> str:
    """The title, words in braces whose capitals no style must make small: `DNA`, `Sam68`, `Aβ`, the D of `vitamin D`;
    in a title that is not in title case also names.
    """
    telling = [word for word in _WORD.findall(title)[1:] if len(word) >= _MIN_TELLING_WORD]
    sentence_case = sum(word[0].isupper() for word in telling) * 2 < len(telling)

    def keep(match: re.Match[str]) -> str:
        word, is_first = match[0], match.start() == 0
        formula = word[0].isupper() and any(each.isdigit() or "α" <= each <= "ω" for each in word[1:])
        name = word[0].isupper() and not is_first and (sentence_case or len(word) == 1)
        return f"{{{word}}}" if formula or name or any(map(str.isupper, word[1:])) else word

    return _WORD.sub(keep, _escaped(title))
