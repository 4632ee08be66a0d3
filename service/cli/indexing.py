"""The command that makes the index and keeps it in step with its files."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.errors import LoccitError, SourceError, UsageError
from service import terminal
from service.cli.opening import embedder_of, omitted_bodies, opened, settings_of
from service.cli.options import Index, Json, utf8

if TYPE_CHECKING:
    from indexer.build import BuildReport, Workshop
    from indexer.config import BuildConfig
    from indexer.embedding import Embedder
    from indexer.sources import Changes
    from service.config import Settings

EXIT_FAILED_FILES = 1
DEFAULT_PATHS = [Path("data")]
_SWITCH_INTERVAL = 0.0005
"""Seconds: the encoder's threads need the interpreter for a moment every few milliseconds, and should not wait."""
_RETRY_S = 5
"""After so long, what could not be done is tried again."""


def index_command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Papers in Markdown or JATS XML, or folders of them (default: data). A folder with Manubot's "
            "00.front-matter.md is one paper.",
        ),
    ] = None,
    index: Index = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make the index anew, also with another model or size.")
    ] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Take out papers whose file is gone from PATH.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; embed nothing and change nothing.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and keep the index in step with PATH (with --prune) until Ctrl-C.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Embedding model: a folder or hub name (default: all-MiniLM-L6-v2, bundled)."
        ),
    ] = None,
    max_wordpieces: Annotated[
        int | None,
        typer.Option(metavar="N", help="Aim for passages of at most N of the model's tokens (default: 128)."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            parser=utf8,
            help="Spread the work over this Ray cluster: HOST:PORT of its head, or auto (default: none; needs "
            "loccit[ray], on each of its nodes).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring the index up to date with papers in Markdown or JATS XML. Only what changed is embedded."""
    if watch and dry_run:
        raise UsageError("--watch keeps an index in step and --dry-run changes none: leave one of them out")
    settings = settings_of(index=index, model=model, max_wordpieces=max_wordpieces, ray=ray)
    given = paths or DEFAULT_PATHS
    embedder = _embedder(settings, given, may_be_empty=watch)
    with _spread(settings, embedder) as (embedder, workshop):
        run = partial(_run, settings, given, embedder, workshop)
        if watch:
            _watch(settings, given, run, rebuild=rebuild, as_json=as_json)
            return
        report, n_files = run(rebuild=rebuild, prune=prune, dry_run=dry_run)
    _show(settings, report, n_files, as_json=as_json)
    if report.failed:
        raise typer.Exit(EXIT_FAILED_FILES)


def index_paths(settings: Settings, paths: Sequence[Path], files: Sequence[Path]) -> BuildReport:
    """Bring the index up to date with some files below these paths, as `loccit index PATH...` does with all."""
    changed = frozenset(file.parent.resolve() / file.name for file in files)
    return _run(settings, paths, _embedder(settings, paths), changed=changed)[0]


def _embedder(settings: Settings, paths: Sequence[Path], *, may_be_empty: bool = False) -> Embedder:
    from indexer.sources import find_sources

    with terminal.working("loading the model"):
        find_sources(paths, may_be_empty=may_be_empty)  # a path that is not there shows before the model is loaded
        return embedder_of(settings, settings.model)


@contextmanager
def _spread(settings: Settings, embedder: Embedder) -> Iterator[tuple[Embedder, Workshop | None]]:
    """What embeds and what takes papers apart: a cluster's machines, or this process alone. Raises ClusterError."""
    if not settings.ray:
        yield embedder, None
        return
    from indexer.build.spread import joined
    from indexer.embedding import load_embedder

    load = partial(load_embedder, settings.model, threads=1, precision=settings.precision)
    with ExitStack() as stack:
        with terminal.working("joining the cluster"):
            cluster = stack.enter_context(joined(settings.ray, _config(settings), embedder, load))
        yield cluster.embedder, cluster


def _config(settings: Settings) -> BuildConfig:
    from indexer.config import BuildConfig

    return BuildConfig(model=settings.model, max_wordpieces=settings.max_wordpieces)


def _run(
    settings: Settings,
    paths: Sequence[Path],
    embedder: Embedder,
    workshop: Workshop | None = None,
    *,
    rebuild: bool = False,
    prune: bool = False,
    dry_run: bool = False,
    changed: Changes = None,
    may_be_empty: bool = False,
) -> tuple[BuildReport, int]:
    """What a build did, and how many files it looked at."""
    from indexer.build import build

    sys.setswitchinterval(_SWITCH_INTERVAL)
    with terminal.BuildProgress() as progress:
        report = build(
            paths,
            settings.index,
            embedder,
            _config(settings),
            rebuild=rebuild,
            prune=prune,
            dry_run=dry_run,
            changed=changed,
            may_be_empty=may_be_empty,
            progress=progress,
            workshop=workshop,
        )
    return report, progress.n_files


def _show(settings: Settings, report: BuildReport, n_files: int, *, as_json: bool, compact: bool = False) -> None:
    if as_json:
        terminal.put_json(report, compact=compact)
    else:
        ask = report.without_body and not report.dry_run
        with opened(settings) if ask else nullcontext() as library:
            bodies = omitted_bodies(library, report.without_body) if library is not None else {}
        terminal.show_report(report, settings.shown_index, bodies)
    if report.failed:
        others = "would be" if report.dry_run else "are"
        terminal.complain(f"{len(report.failed)} of {n_files} files failed; the others {others} in the index")


def _hold_papers(paths: Sequence[Path]) -> bool:
    """Whether there are papers below each path. Where there are none, a drive may be away: papers are then taken out
    only once their files are seen to change."""
    from indexer.sources import find_sources

    try:
        return bool(find_sources(paths))
    except SourceError:
        return False


def _watch(
    settings: Settings,
    paths: Sequence[Path],
    run: partial[tuple[BuildReport, int]],
    *,
    rebuild: bool,
    as_json: bool,
) -> None:
    """Build again whenever files change. What cannot be done now (another process writes) is tried again."""
    from indexer.sources import changes

    prune = _hold_papers(paths)
    report, n_files = run(rebuild=rebuild, prune=prune, may_be_empty=True)  # a fault of the index itself ends it here
    _show(settings, report, n_files, as_json=as_json, compact=True)
    terminal.note("watching for changes; Ctrl-C ends it")
    waiting: Changes = frozenset()
    generation, said, not_before = report.generation, "", 0.0
    try:
        leave_out = settings.index if isinstance(settings.index, Path) else None
        for changed in changes(paths, leave_out=leave_out):
            waiting = None if waiting is None or changed is None else waiting | changed
            if waiting == frozenset() or time.monotonic() < not_before:
                continue
            prune = prune or bool(changed)
            try:
                report, n_files = run(prune=prune, changed=waiting, may_be_empty=True)
            except LoccitError as error:
                if str(error) != said:
                    terminal.complain(f"{error} (goes on watching)")
                said, not_before = str(error), time.monotonic() + _RETRY_S
                continue
            if report.generation != generation or report.failed:
                _show(settings, report, n_files, as_json=as_json, compact=True)
            waiting, generation, said, not_before = frozenset(), report.generation, "", 0.0
    except KeyboardInterrupt:
        terminal.note("stopped watching")
