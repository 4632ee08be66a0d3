"""JSON -> claims: a citation, or an answer or reply that holds some, checked field by field.

Takes what this service gave, also earlier on or by way of another program: what a citation is not needed for may be
left out. Knows nothing of files and indexes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache

from pydantic import TypeAdapter, ValidationError

from indexer.errors import UsageError
from indexer.sources import MAX_BYTES
from service.cite import Citation

MAX_CLAIMS = 1000
"""Citations in one request; a search gives 200 at the most."""

_NEEDED = ("paper_id", "start", "end", "exact")
_EMPTY: Mapping[str, object] = {
    "title": "",
    "authors": [],
    "year": None,
    "journal": "",
    "date": "",
    "doi": "",
    "pmcid": "",
    "pmid": "",
    "url": "",
    "section": [],
    "paragraph": 0,
    "sentences": [],
    "prefix": "",
    "suffix": "",
    "source": "",
    "source_sha256": "",
    "label": "",
    "links": {},
    "references": [],
}
_EMPTY_LINKS = {"doi": "", "reader": ""}
_EMPTY_REFERENCE = {"marker": "", "number": "", "text": "", "doi": "", "pmid": ""}


@dataclass(frozen=True, slots=True)
class Claim:
    """A text, and where it is said to stand."""

    text: str
    citation: Citation


def read_claims(value: object) -> tuple[Claim, ...]:
    """The claims in decoded JSON: a citation, a quote or hit, an answer, a search reply, or a list of such.

    Of an answer its quotes, or its hits where it has no quotes. Raises UsageError, which names the field.
    """
    claims: list[Claim] = []
    for claim in _claims(value, ""):
        if len(claims) == MAX_CLAIMS:
            raise UsageError(f"more than {MAX_CLAIMS:,} citations: verify them in parts")
        claims.append(claim)
    if not claims:
        raise UsageError("there is no citation in it: give a citation, or an answer or reply that has quotes or hits")
    return tuple(claims)


def _claims(value: object, at: str) -> Iterator[Claim]:
    if isinstance(value, list) and not at:
        for n, each in enumerate(value):
            yield from _claims(each, f"[{n}]")
        return
    if not isinstance(value, dict):
        raise UsageError(f"{at or 'the input'} is neither a citation nor an answer or reply that holds some")
    if "citation" in value:
        yield _claim(value["citation"], _at(at, "citation"), value, at)
        return
    if not {"quotes", "hits"} & value.keys():
        yield _claim(value, at, {}, at)
        return
    name = "quotes" if value.get("quotes") else "hits"
    listed = value.get(name, [])
    if not isinstance(listed, list):
        raise UsageError(f"{_at(at, name)} is not a list")
    for n, each in enumerate(listed):
        here = f"{_at(at, name)}[{n}]"
        if not isinstance(each, dict) or "citation" not in each:
            raise UsageError(f"{here} has no citation")
        yield _claim(each["citation"], f"{here}.citation", each, here)


def _claim(given: object, at: str, beside: Mapping[str, object], beside_at: str) -> Claim:
    """The claim of a citation and, where it stands in a quote or hit, of the text `beside` it."""
    if not isinstance(given, dict):
        raise UsageError(f"{at or 'the input'} is not a citation")
    text = beside.get("text", given.get("exact"))
    if not isinstance(text, str) and "text" in beside:
        raise UsageError(f"{_at(beside_at, 'text')} is not text")
    whole = {**_EMPTY, "exact": text, **given} if text is not None else {**_EMPTY, **given}
    if missing := [name for name in _NEEDED if name not in whole]:
        raise UsageError(f"{_at(at, missing[0])} is missing: a citation needs {', '.join(_NEEDED)}")
    if unknown := sorted(whole.keys() - {each.name for each in fields(Citation)}):
        raise UsageError(f"{_at(at, unknown[0])} is no field of a citation")
    citation = _checked(_filled(whole), at)
    return Claim(text if isinstance(text, str) else citation.exact, citation)


def _filled(given: dict[str, object]) -> dict[str, object]:
    """The citation with what its links and references lack."""
    links, references = given["links"], given["references"]
    if isinstance(links, dict):
        given["links"] = _EMPTY_LINKS | links
    if isinstance(references, list):
        given["references"] = [
            _EMPTY_REFERENCE | each if isinstance(each, dict) else each  # what is none is named below
            for each in references
        ]
    return given


def _checked(given: dict[str, object], at: str) -> Citation:
    try:
        # As JSON: there a list may be a tuple's, and nothing else is taken for what it is not.
        citation = _adapter().validate_json(json.dumps(given), strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise UsageError(f"{at or 'the citation'} is not text: it holds half of a surrogate pair") from None
        where = at
        for part in first["loc"]:
            where = f"{where}[{part}]" if isinstance(part, int) else _at(where, part)
        raise UsageError(f"{where}: {first['msg']}") from None
    if not citation.exact.strip():
        raise UsageError(f"{_at(at, 'exact')} is empty: a citation says which text stands there")
    if not 0 <= citation.start <= MAX_BYTES:
        raise UsageError(f"{_at(at, 'start')} is {citation.start}: it counts characters of a file, from 0")
    if not citation.start < citation.end <= MAX_BYTES:
        raise UsageError(f"{_at(at, 'end')} is {citation.end}: it counts characters of a file, and comes after start")
    return citation


@cache
def _adapter() -> TypeAdapter[Citation]:
    return TypeAdapter(Citation)


def _at(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name
