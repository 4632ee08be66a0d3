"""Entries as RIS: a tag and its value a line, CRLF after each.

The PMID goes into AN and the PMCID into C2, where PubMed's own export has them and EndNote reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.formats.entries import Entry, place
from service.names import Name
from service.printable import one_line

_NO_ASTERISK = str.maketrans("*", " ")
"""RIS allows none in names of people and journals."""


def ris(entries: Sequence[Entry]) -> str:
    """A RIS file."""
    return "".join(f"{tag}  - {value}\r\n" for entry in entries for tag, value in _lines(entry))


def _lines(entry: Entry) -> Iterator[tuple[str, str]]:
    year, month, day = (*entry.date, 0, 0, 0)[:3]
    yield "TY", "JOUR" if entry.journal else "GEN"
    yield "ID", entry.key
    yield from (("AU", _name(name)) for name in entry.names)
    values = {
        "TI": entry.title,
        "T2": " ".join(entry.journal.translate(_NO_ASTERISK).split()),
        "PY": f"{year}" if year else "",
        "DA": f"{year}/{month:02}/{f'{day:02}' if day else ''}/" if month else "",
        "DO": entry.doi,
        "UR": entry.url,
        "AN": entry.pmid,
        "C2": entry.pmcid,
    }
    yield from ((tag, value) for tag, value in values.items() if value)
    notes = (f"{place(each)}: “{one_line(each.exact)}”" if each.exact else place(each) for each in entry.citations)
    yield from (("N1", note) for note in dict.fromkeys(notes))
    yield "ER", ""


def _name(name: Name) -> str:
    """`van der Poll, Tom`, `King, Martin, Jr.`."""
    parts = filter(None, (name.family, name.given, name.suffix))
    return " ".join(", ".join(parts).translate(_NO_ASTERISK).split())
