"""The record's lists of linked and full-text entities -> metadata. Dirty by nature: read, not believed."""

from __future__ import annotations

import re

from indexer.papers import Entity

_TITLE = re.compile(r"(?:linked|full[- ]text) entities", re.IGNORECASE)
_LIST = re.compile(r"\s*[-*+]\s+\*\*([^*\r\n]{1,40}?):?\*\*:?\s*")
_ALIASES = re.compile(r"\s*\{aka ([^{}]*)\}\s*$")
_IDENTIFIER = re.compile(r"\s*\[([^\[\]]*)\]\s*$")
_DESCRIPTION = re.compile(r"\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)?\s*$")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_IS_IDENTIFIER = re.compile(r"[A-Za-z]+:\S+|-")


def is_entity_section(title: str) -> bool:
    """Whether a section of this title lists entities."""
    return bool(_TITLE.fullmatch(title))


def read_entities(item: str) -> list[Entity]:
    """The rows of one list item: `- **Genes:** BMP1 (bone morphogenetic protein 1) [NCBI Gene 649] {aka OI13}, ...`."""
    match = _LIST.match(item)
    if match is None:
        return []
    return [_entity(match[1].strip(), row) for row in _split(item[match.end() :]) if row]


def _split(rows: str) -> list[str]:
    """The rows between commas that stand in no bracket. A bracket that never closes ends with its row."""
    found: list[str] = []
    depth: list[str] = []
    start = 0
    for at, character in enumerate(rows):
        if character in _PAIRS:
            depth.append(_PAIRS[character])
        elif depth and character in depth:
            del depth[depth.index(character) :]
        elif character == "," and (not depth or rows[at - 1] in ")]}"):
            found.append(rows[start:at].strip())
            start, depth = at + 1, []
    found.append(rows[start:].strip())
    return found


def _entity(kind: str, row: str) -> Entity:
    aliases: tuple[str, ...] = ()
    identifier = description = ""
    if match := _ALIASES.search(row):
        aliases = tuple(alias.strip() for alias in match[1].split(",") if alias.strip())
        row = row[: match.start()]
    if match := _IDENTIFIER.search(row):
        identifier, row = match[1].strip(), row[: match.start()]
    if match := _DESCRIPTION.search(row):
        description, row = match[1].strip(), row[: match.start()]
    bare = description.strip("( )")
    if not identifier and _IS_IDENTIFIER.fullmatch(bare):
        identifier, description = bare, ""
    return Entity(kind, row.strip(), description, identifier, aliases)
