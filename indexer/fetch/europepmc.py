"""Europe PMC's REST service: a search that knows every id of a paper, and the JATS of open-access papers.

`/search?query=…&format=json&resultType=core&pageSize=…&cursorMark=*` gives `nextCursorMark` (absent, or the same
again, at the end) and `resultList.result[]` with `pmcid`, `pmid`, `doi`, `source`, `license` (`cc by`),
`pubTypeList.pubType[]`; `/PMC1/fullTextXML` gives the XML. As described at https://europepmc.org/RestfulWebService.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from indexer.errors import SourceError
from indexer.fetch.client import Client, Known
from indexer.fetch.identifiers import Identifier
from indexer.fetch.records import Answer, Record
from indexer.papers import Notice

NAME = "Europe PMC"
_PAGE_SIZE = 100
_NOTICES: dict[str, Notice] = {
    "retracted publication": "retracted",
    "retraction of publication": "retraction",
    "expression of concern": "concern",
    "published erratum": "correction",
    "correction": "correction",
}


def ask(client: Client, base: str, pmcid: str, known: Known | None) -> Answer:
    """The JATS of the article. Raises SourceError when the service does not answer as it should."""
    return Answer(client.get(f"{base}/{pmcid}/fullTextXML", "xml", known=known))


def record_of(client: Client, base: str, identifier: Identifier) -> Record | None:
    """What Europe PMC knows of the paper; None where it does not know it."""
    value = identifier.value
    query = {
        "pmcid": f"PMCID:{value}",
        "pmid": f"EXT_ID:{value} AND SRC:MED",
        "doi": f'DOI:"{value}"',
        "arxiv": f'DOI:"10.48550/arXiv.{value}"',
    }[identifier.kind]
    asked = Record(
        pmcid=value if identifier.kind == "pmcid" else "",
        pmid=value if identifier.kind == "pmid" else "",
        doi={"doi": value, "arxiv": f"10.48550/arXiv.{value}"}.get(identifier.kind, ""),
    )
    found, _ = _page(client, base, query, "*", 25)
    # A search finds what is like the id too: only a record that has it counts, one with a full text before others.
    same = [record for record in found if _has(record, asked)]
    return next((record for record in same if record.pmcid), next(iter(same), None))


def search(client: Client, base: str, query: str, limit: int, *, any_licence: bool) -> Iterator[Record]:
    """Up to `limit` papers with a full text that the query finds, the best first."""
    query = f"({query}) AND {'IN_EPMC:y' if any_licence else 'OPEN_ACCESS:y'}"
    cursor, n_given = "*", 0
    while cursor:
        found, following = _page(client, base, query, cursor, min(limit, _PAGE_SIZE))
        for record in found:
            if record.pmcid:
                yield record
                n_given += 1
            if n_given == limit:
                return
        cursor = following if found and following != cursor else ""


def _has(record: Record, asked: Record) -> bool:
    pairs = ((record.pmcid, asked.pmcid), (record.pmid, asked.pmid), (record.doi, asked.doi))
    return all(not wanted or wanted.casefold() == given.casefold() for given, wanted in pairs)


def _page(client: Client, base: str, query: str, cursor: str, page_size: int) -> tuple[list[Record], str]:
    """The papers of one page, and the cursor of the next; empty at the end."""
    asked = {"query": query, "format": "json", "resultType": "core", "pageSize": page_size, "cursorMark": cursor}
    reply = client.get(f"{base}/search?{urlencode(asked)}", "json")
    if reply.status != 200:
        raise SourceError(f"{NAME}'s search answers {reply.status}: check europepmc_url")
    try:
        said = json.loads(reply.body)
        found = [_record(each) for each in said["resultList"]["result"]]
        return found, str(said.get("nextCursorMark") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(
            f"{NAME}'s search did not answer as its documentation says ({type(error).__name__}: {error}): try again "
            "later, or report it as a bug in loccit"
        ) from error


def _record(said: dict[str, Any]) -> Record:
    types = said.get("pubTypeList", {}).get("pubType", [])
    named = [each.lower() for each in ([types] if isinstance(types, str) else types)]
    return Record(
        str(said.get("pmcid") or ""),
        str(said.get("pmid") or ""),
        str(said.get("doi") or ""),
        str(said.get("license") or ""),
        tuple(dict.fromkeys(_NOTICES[each] for each in named if each in _NOTICES)),
    )
