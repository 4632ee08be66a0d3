"""Markers that name a work by a key, as pandoc and Manubot write them, or by a footnote that is its entry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from indexer.papers import Block, Marker, Reference

_CITED_KEYS = re.compile(r"\[[^\[\]@]{0,400}@[^\[\]]{1,1000}\]|(?<![\w@\[./])@[\w:][^\s;,\[\]()]*")
_KEY = re.compile(r"(?<![\w@./])@([\w][^\s;,\[\]]*)")
_TYPED_KEY = re.compile(r"(?:doi|pmid|pmcid|pmc|arxiv|isbn|url|https?|tag|wikidata|raw|clinicaltrials):", re.IGNORECASE)
_OWN_KEY = re.compile(r"(?:fig|figure|tbl|tab|table|eq|sec|lst|alg|thm|app)[:-]", re.IGNORECASE)
"""`@fig:rib`: what names a part of the paper itself."""
_DEFINITION = re.compile(r"(?:^|(?<=[\r\n]))[ \t]*\[@([^\]\s]+)\]:[ \t]*(\S+)")
"""Manubot's `[@x]: doi:10.1000/x` and `[@tag:x]: …`: what a key stands for."""
_NOTE_MARKERS = re.compile(r"(?:\[\^[^\[\]\s]{1,60}\](?!:))+")
_NOTE_LABEL = re.compile(r"\[\^([^\[\]\s]+)\]")


def keyed_markers(text: str, prose: Sequence[Block], references: list[Reference]) -> list[Marker]:
    """Markers by citation key, `[@doi:10.1371/x; @pmid:2]`, `[@quill2019, p. 3]`; their entries are made from the keys.

    Outside brackets only those keys count that say what they are, or that the text defines.
    """
    known = {entry.key: n for n, entry in enumerate(references)}
    defined = {key.removeprefix("tag:"): value for key, value in _DEFINITION.findall(text)}
    markers: list[Marker] = []
    for block in prose:
        for match in _CITED_KEYS.finditer(text, block.start, block.end):
            bare = match[0].rstrip(".:!?*_'\"")
            named: list[int] = []
            for key in (each.rstrip(".:!?*_'\"") for each in _KEY.findall(bare)):
                target = defined.get(key.removeprefix("tag:"), key)
                if _OWN_KEY.match(key) or (bare[0] == "@" and not _TYPED_KEY.match(target)):
                    continue
                if target not in known:
                    known[target] = len(references)
                    kind, _, value = target.partition(":")
                    doi, pmid = (value if kind == "doi" else ""), (value if kind == "pmid" else "")
                    references.append(Reference(key, "", doi, pmid, 0, 0))
                named.append(known[target])
            if named:
                markers.append(Marker(match.start(), match.start() + len(bare), tuple(dict.fromkeys(named))))
    return markers


def note_markers(text: str, prose: Sequence[Block], notes: Mapping[str, int]) -> list[Marker]:
    """Markers of footnotes that are entries, by the notes' labels: `[^1]`, `[^1][^tern]`."""
    return [
        Marker(match.start(), match.end(), named)
        for block in (prose if notes else ())
        for match in _NOTE_MARKERS.finditer(text, block.start, block.end)
        if (named := tuple(dict.fromkeys(notes[each] for each in _NOTE_LABEL.findall(match[0]) if each in notes)))
    ]
