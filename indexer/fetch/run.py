"""Papers fetched: those that are named, and those that a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from indexer.errors import UsageError
from indexer.fetch import europepmc
from indexer.fetch.client import Client, Limits
from indexer.fetch.identifiers import identify
from indexer.fetch.network import Resolver, resolve
from indexer.fetch.places import Places
from indexer.fetch.plan import Plan
from indexer.fetch.report import FetchReport, Progress, Silent


def fetch(
    ids: Sequence[str],
    to: Path,
    *,
    agent: str,
    query: str = "",
    limit: int = 25,
    places: Places | None = None,
    allow_hosts: Sequence[str] = (),
    any_licence: bool = False,
    limits: Limits | None = None,
    resolver: Resolver = resolve,
    progress: Progress | None = None,
) -> FetchReport:
    """The papers that are named, and up to `limit` that Europe PMC finds for the query, as files in the folder `to`.

    `agent` says to the services who is asking. One paper's failure does not stop the others: it stands in the report.
    Raises UsageError before anything is asked for, when an id names no paper or a host no host; SourceError when the
    search fails.
    """
    if not ids and not query.strip():
        raise UsageError("name papers by PMCID, PMID, DOI, arXiv id or https address, or search with --query")
    if limit < 1:
        raise UsageError(f"a limit of {limit} papers fetches none: give 1 or more")
    named = [identify(each) for each in dict.fromkeys(ids)]
    places, progress = places or Places(), progress or Silent()
    report = FetchReport(to.as_posix())
    with Client(places.hosts(allow_hosts), agent, limits, resolver) as client:
        plan = Plan(client, places, to, any_licence=any_licence)
        records = []
        if query.strip():
            records = list(
                europepmc.search(client, places.europepmc_url, query.strip(), limit, any_licence=any_licence)
            )
        progress.started(len(named) + len(records))
        for identifier in named:
            report.papers.append(plan.named(identifier))
            progress.advanced(report.papers[-1])
        for record in records:
            report.papers.append(plan.found(record))
            progress.advanced(report.papers[-1])
    return report
