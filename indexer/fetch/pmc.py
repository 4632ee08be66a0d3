"""PMC's article datasets: an S3 bucket with a folder for each version of an article.

`PMC1.2/PMC1.2.xml` is the second version's JATS, `PMC1.2/PMC1.2.json` says what is known of it: `pmcid`, `version`,
`pmid` (a number), `doi`, `license_code` (`CC BY`), `is_pmc_openaccess`, `is_retracted`. Which versions there are, the
bucket's listing tells (`?list-type=2&prefix=PMC1.&delimiter=/`, S3's ListObjectsV2). As described at
https://pmc.ncbi.nlm.nih.gov/tools/pmcaws/, in the layout that replaced `oa_comm/` and `oa_noncomm/` in 2026.
"""

from __future__ import annotations

import json
import re

from indexer.errors import SourceError
from indexer.fetch.client import Client, Known, Reply
from indexer.fetch.licences import is_open
from indexer.fetch.records import Answer, Record
from indexer.jats.tree import read_tree, text_of

NAME = "PMC"
_MAX_RECORD_BYTES = 2_000_000


def ask(client: Client, base: str, pmcid: str, known: Known | None, *, any_licence: bool) -> Answer:
    """The newest version of the article. Raises SourceError when the bucket does not answer as it should."""
    version = _newest(client, base, pmcid)
    if not version:
        return Answer(Reply(404, base))
    folder = f"{base}/{pmcid}.{version}/{pmcid}.{version}"
    record = _record(client, f"{folder}.json", pmcid)
    if record.licence and not any_licence and not is_open(record.licence):
        return Answer(None, record)
    return Answer(client.get(f"{folder}.xml", "xml", known=known), record)


def _newest(client: Client, base: str, pmcid: str) -> int:
    """The number of the newest version; 0 where there is none."""
    listing = client.get(f"{base}/?list-type=2&prefix={pmcid}.&delimiter=/", "xml", max_bytes=_MAX_RECORD_BYTES)
    if listing.status != 200:
        return 0
    folders = [text_of(each) for each in read_tree(listing.body).iter("Prefix")]
    versions = [int(match[1]) for each in folders if (match := re.fullmatch(rf"{pmcid}\.(\d{{1,4}})/", each))]
    return max(versions, default=0)


def _record(client: Client, url: str, pmcid: str) -> Record:
    """What the bucket says of the article; nothing where it has no file for that."""
    reply = client.get(url, "json", max_bytes=_MAX_RECORD_BYTES)
    if reply.status != 200:
        return Record(pmcid)
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"its record {url} is no JSON: {error}") from error
    if not isinstance(said, dict):
        raise SourceError(f"its record {url} is no JSON object")

    def text(name: str) -> str:
        value = said.get(name)
        return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""

    record = Record(
        text("pmcid").upper(),
        text("pmid"),
        text("doi"),
        text("license_code"),
        ("retracted",) if said.get("is_retracted") is True else (),
    )
    if wrong := Record(pmcid).disagreement(record):
        raise SourceError(f"its record {url} is another paper's: {wrong}")
    return record
