"""Entries as CSL-JSON: an array of items after the CSL 1.0 data schema."""

from __future__ import annotations

import json
from collections.abc import Sequence

from service.formats.entries import Entry, places
from service.names import Name


def csl_json(entries: Sequence[Entry]) -> str:
    """A CSL-JSON file."""
    return json.dumps([_item(entry) for entry in entries], ensure_ascii=False, indent=2) + "\n"


def _item(entry: Entry) -> dict[str, object]:
    item = {
        "id": entry.key,
        "type": "article-journal" if entry.journal else "article",
        "title": entry.title,
        "author": [_name(name) for name in entry.names],
        "container-title": entry.journal,
        "issued": {"date-parts": [list(entry.date)]} if entry.date else None,
        "DOI": entry.doi,
        "URL": entry.url,
        "PMID": entry.pmid,
        "PMCID": entry.pmcid,
        "note": places(entry),
    }
    return {name: value for name, value in item.items() if value}


def _name(name: Name) -> dict[str, str]:
    if name.is_whole:
        return {"literal": name.family}
    parts = {"family": name.family, "given": name.given, "suffix": name.suffix}
    return {part: value for part, value in parts.items() if value}
