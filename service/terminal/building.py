"""How a build goes, and what it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from service.leftout import counted
from service.terminal.lines import MAX_NAMED, console_of, first_of, note, print_rows

if TYPE_CHECKING:
    from rich.progress import TaskID

    from indexer.build import BuildReport


class BuildProgress:
    """A progress bar on stderr: papers, passages, tokens per second. Silent where there is no terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = console_of(stderr=True)
        self._bar = Progress(
            TextColumn("indexing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("papers, {task.fields[passages]:,} passages, {task.fields[speed]:,.0f} tokens/s"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None
        self._n_passages = self._n_tokens = 0
        self.n_files = 0

    def __enter__(self) -> BuildProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, n_files: int) -> None:
        """The files were found."""
        self.n_files = n_files
        self._task = self._bar.add_task("", total=n_files, passages=0, speed=0)

    def advanced(self, n_papers: int, n_passages: int, n_wordpieces: int) -> None:
        """So many more papers are through, passages and wordpieces embedded."""
        if self._task is None:
            return
        self._n_passages += n_passages
        self._n_tokens += n_wordpieces
        seconds = self._bar.tasks[0].elapsed or 0
        speed = self._n_tokens / seconds if seconds else 0
        self._bar.update(self._task, advance=n_papers, passages=self._n_passages, speed=speed)


def show_report(report: BuildReport, index: str, bodies: Mapping[str, str]) -> None:
    """What a build did. `bodies` says where the full text of papers without one can be had."""
    done = {
        "added": len(report.added),
        "updated": len(report.updated),
        "moved": len(report.moved),
        "unchanged": report.n_unchanged,
        "removed": len(report.removed),
        "failed": len(report.failed),
    }
    by_words = report.n_passages - report.n_embedded - report.n_reused
    speed = f" at {report.n_wordpieces / report.seconds:,.0f} tokens/s" if report.n_wordpieces else ""
    rows = [("papers", ", ".join(f"{n:,} {what}" for what, n in done.items() if n) or "none")]
    if report.n_passages:
        passages = f"{report.n_passages:,}: {report.n_embedded:,} embedded{speed}, {report.n_reused:,} reused"
        rows.append(("passages", passages + (f", {by_words:,} found by words alone" if by_words else "")))
    if report.left_out:
        rows.append(("left out", counted(report.left_out)))
    rows += [("removed", name) for name in first_of(report.removed)]
    rows += [
        ("vanished", f"{name}: its file is gone; run again with --prune to take it out")
        for name in first_of(report.vanished)
    ]
    rows += [("no body", without_body(name, bodies.get(name, ""))) for name in first_of(report.without_body)]
    rows += [
        ("empty", f"{name}: its file gave no passage, so that no search finds it")
        for name in first_of([name for name in report.empty if name not in report.without_body])
    ]
    versions = [
        f"{each.source}: not searched, {each.paper_id} has a better file ({each.why})" for each in report.versions
    ]
    rows += [("version", each) for each in first_of(versions)]
    rows += [("failed", f"{each.source}: {each.reason}") for each in report.failed]
    if report.dry_run:
        rows.append(("dry run", f"nothing was changed in {index}"))
    else:
        rows.append(("index", f"{index}, generation {report.generation}, {report.seconds:.1f} s"))
    print_rows(console_of(), rows)


def note_bodies(bodies: Mapping[str, str]) -> None:
    """Say that found papers have no full text here, and the next step."""
    for paper_id, url in list(bodies.items())[:MAX_NAMED]:
        note(f"note: {without_body(paper_id, url)}")


def without_body(paper_id: str, url: str) -> str:
    """What to do about a file that leaves the full text out."""
    fetch = f"run `loccit fetch {paper_id}`, or " if paper_id.startswith("PMC") else ""
    return (
        f"the full text of {paper_id} is not in its file: {fetch}get it from {url or 'its publisher'}, and index that"
    )
