"""The command that gets papers: fetch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.errors import LoccitError, NotFoundError
from service import terminal
from service.cli.opening import settings_of
from service.cli.options import Index, Json, utf8

if TYPE_CHECKING:
    from indexer.build import BuildReport
    from indexer.fetch.report import PaperFetch
    from service.config import Settings

EXIT_FAILED_PAPERS = 1


@dataclass(frozen=True, slots=True)
class Fetched:
    """What `fetch` did: its papers, and the build that followed."""

    to: str
    papers: tuple[PaperFetch, ...]
    index: BuildReport | None
    """None where nothing was indexed."""


def fetch_command(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...", parser=utf8, help="PMCID, PMID, DOI, arXiv id, or https address of XML or Markdown."
        ),
    ] = None,
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder that the files go to.")] = Path("data/papers"),
    query: Annotated[
        str, typer.Option(metavar="TEXT", parser=utf8, help="Also what Europe PMC finds for this, in its syntax.")
    ] = "",
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="At most so many of these.")] = 25,
    any_licence: Annotated[
        bool, typer.Option("--any-licence", help="Also papers whose licence is no Creative Commons one, or unknown.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", parser=utf8, help="Fetch from this host too (HOST or HOST:PORT); may be repeated."
        ),
    ] = None,
    no_index: Annotated[bool, typer.Option("--no-index", help="Do not bring the index up to date afterwards.")] = False,
    index: Index = None,
    as_json: Json = False,
) -> None:
    """Fetch papers' full texts from PMC, Europe PMC and tomesphere, with their licences, and index them."""
    settings = settings_of(index=index)
    from indexer.fetch.places import Places
    from indexer.fetch.run import fetch

    places = Places(*(url.rstrip("/") for url in (settings.pmc_url, settings.europepmc_url, settings.tomesphere_url)))
    with terminal.FetchProgress() as progress:
        report = fetch(
            ids or (),
            to,
            agent=agent_of(settings),
            query=query,
            limit=limit,
            places=places,
            allow_hosts=allow_host or (),
            any_licence=any_licence,
            progress=progress,
        )
    if not as_json and report.papers:
        terminal.show_fetched(report)
    built = None
    if not no_index and any(paper.is_there for paper in report.papers):
        try:
            built = index_after([Path(paper.path) for paper in report.papers if paper.is_there], to, settings, as_json)
        except LoccitError:
            if as_json:
                terminal.put_json(Fetched(report.to, tuple(report.papers), None))
            raise
    if as_json:
        terminal.put_json(Fetched(report.to, tuple(report.papers), built))
    if not report.papers:
        raise NotFoundError(f"Europe PMC finds no paper with a full text for {query!r}: try other words")
    missing = sum(not paper.is_there for paper in report.papers)
    if missing:
        others = f"; the others are in {report.to}" if missing < len(report.papers) else ""
        terminal.complain(f"{missing} of {len(report.papers)} papers were not fetched{others}")
    if built is not None and built.failed:
        terminal.complain(f"{len(built.failed)} files in {report.to} could not be indexed; the others are in the index")
    if missing or (built is not None and built.failed):
        raise typer.Exit(EXIT_FAILED_PAPERS)


def index_after(files: Sequence[Path], folder: Path, settings: Settings, as_json: bool) -> BuildReport:
    """Bring the index up to date with these files below the folder, and show what that did.

    Below `data` they are called as `loccit index`, which takes that folder, calls them.
    """
    from service.cli.indexing import DEFAULT_PATHS, index_paths

    root = next((path for path in DEFAULT_PATHS if _is_seen_below(folder.resolve(), path.resolve())), folder)
    report = index_paths(settings, [root], files)
    if not as_json:
        terminal.show_report(report, settings.shown_index, {})
    return report


def _is_seen_below(folder: Path, root: Path) -> bool:
    """Whether who indexes the root finds the folder: what is hidden is passed over."""
    return folder.is_relative_to(root) and not any(part.startswith(".") for part in folder.relative_to(root).parts)


def agent_of(settings: Settings) -> str:
    """What the services are told of who asks: `loccit/0.1.0 (mailto:me@example.org)`."""
    from service.config import version

    name = f"loccit/{version()}"
    return f"{name} (mailto:{settings.contact})" if settings.contact else name
