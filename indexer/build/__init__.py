"""Sources -> index, incrementally: unchanged files cost a hash, a changed one only its changed passages.

`run` goes through the files, `workshop` takes each one's paper apart, `identity` tells which of them are of one paper,
`embed` makes and stores what is new, `report` says what was done. Here they are put together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from indexer.build.embed import Embedding
from indexer.build.report import BuildReport, Failure, Progress, Silence, Version
from indexer.build.run import Run
from indexer.build.workshop import Bench, Workshop
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.errors import IndexDamagedError, IndexMismatchError
from indexer.sources import Changes, find_sources, only_of
from indexer.store import IndexPlace, Manifest, Writer, is_index, open_writer

__all__ = ["BuildReport", "Failure", "Progress", "Silence", "Version", "Workshop", "build"]


def build(
    paths: Sequence[Path],
    place: IndexPlace,
    embedder: Embedder,
    config: BuildConfig,
    *,
    rebuild: bool = False,
    prune: bool = False,
    dry_run: bool = False,
    changed: Changes = None,
    may_be_empty: bool = False,
    progress: Progress | None = None,
    workshop: Workshop | None = None,
) -> BuildReport:
    """Bring the index at `place` up to date with the papers' files below `paths`.

    One bad file does not stop the rest: it stands in the report. A `dry_run` tells what would be done, embeds nothing
    and leaves the index as it is. Where `changed` names files, only those are looked at.
    A folder without papers is an error unless it `may_be_empty`: a drive that is not there looks like one.
    Papers are made of files in the `workshop`: in this process, unless one is given.

    Raises SourceError for a path that is not there or holds no papers, and the IndexStateError that fits.
    """
    began = time.monotonic()
    files = find_sources(paths, may_be_empty=may_be_empty)
    wanted = only_of(files, changed)
    manifest = Manifest(config, embedder.identity, embedder.encoder)
    report, progress = BuildReport(dry_run=dry_run), progress or Silence()
    workshop = workshop or Bench(config, embedder)
    with ExitStack() as stack:
        writer = stack.enter_context(_writer(place, manifest, rebuild, dry_run, stack))
        # Beside the batch that is embedded one may wait: for a CPU, or only for CPUs elsewhere.
        threads = stack.enter_context(ThreadPoolExecutor(2 if workshop.works_ahead else 1))
        embedding = Embedding(writer, embedder, report, progress, threads)
        run = Run(writer, workshop, files, embedding, report)
        progress.started(len(wanted))
        try:
            run.take_all(wanted)
            run.take_again(wanted)
            run.look_for_vanished(paths, files, prune=prune)
            run.regroup()
            embedding.finish()
        except BaseException:
            embedding.stop()
            raise
        run.look_for_dropped()
        run.keep_failures()
        report.generation = writer.commit()
    report.seconds = time.monotonic() - began
    return report


def _writer(place: IndexPlace, manifest: Manifest, rebuild: bool, dry_run: bool, stack: ExitStack) -> Writer:
    """The index to change; for a dry run where there is none that can be, an empty one elsewhere."""
    if dry_run and is_index(place):
        try:
            return open_writer(place, manifest, rebuild=rebuild, rehearse=True)
        except (IndexDamagedError, IndexMismatchError):
            if not rebuild:
                raise
    if dry_run:
        place = Path(stack.enter_context(TemporaryDirectory()))
    return open_writer(place, manifest, rebuild=rebuild, rehearse=dry_run)
