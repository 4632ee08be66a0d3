"""An inline citation marker, as someone copied or typed it -> the entries of the reference list that it names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from indexer.errors import NotFoundError
from indexer.papers import Reference
from service.cite import CitedReference

_MARKUP = re.compile(r"\]\([^()\s]*\)|</?sup>|[\[\]()^\s@]")
_DASH = re.compile(r"[‒–—−]")
_PART = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
_MAX_RANGE = 100


def resolve(marker: str, cited: Iterable[CitedReference], entries: Sequence[Reference]) -> tuple[CitedReference, ...]:
    """What the paper cites by that marker; else the entries of its list with that number, numbers or key.

    A paper with two lists may have two entries of a number: both are given.
    `cited` are the paper's, or a passage's own. Raises NotFoundError.
    """
    wanted = _plain(marker)
    if not wanted:
        raise NotFoundError(
            f"{marker[:40]!r} is no marker: give it as it stands in the text, such as '[45]' or '44-46'"
        )
    if named := tuple(dict.fromkeys(each for each in cited if _plain(each.marker) == wanted)):
        return named
    of_key: dict[str, list[Reference]] = {}
    for entry in entries:
        of_key.setdefault(entry.key, []).append(entry)
    keys = [wanted] if wanted in of_key else _numbers(wanted)
    missing = [key for key in keys if key not in of_key]
    if missing or not keys:
        known = f"has {len(entries):,}, {entries[0].key} to {entries[-1].key}" if entries else "is not in its file"
        raise NotFoundError(f"no reference {(missing or [marker[:40]])[0]!r} in this paper: its reference list {known}")
    found = (entry for key in keys for entry in of_key[key])
    return tuple(CitedReference(marker, entry.key, entry.text, entry.doi, entry.pmid) for entry in found)


def _plain(marker: str) -> str:
    """The numbers or key in a marker: `[44–46]`, `^44-46^`, `⁴⁴⁻⁴⁶` and `[44]–[46]` are all `44-46`."""
    return _DASH.sub("-", _MARKUP.sub("", unicodedata.normalize("NFKC", marker))).replace(";", ",")


def _numbers(plain: str) -> list[str]:
    found: list[str] = []
    for part in plain.split(","):
        if not (numbers := _PART.fullmatch(part)):
            return []
        first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        if not 0 <= last - first < _MAX_RANGE:
            return []
        found += map(str, range(first, last + 1))
    return found
