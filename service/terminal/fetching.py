"""How a fetch goes, and what became of each paper."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from service.terminal.lines import console_of, print_rows

if TYPE_CHECKING:
    from rich.progress import TaskID

    from indexer.fetch.report import FetchReport, PaperFetch
    from indexer.papers import Notice

_NOTICES: dict[Notice, str] = {
    "retracted": "it was retracted",
    "retraction": "it is a notice of retraction",
    "corrected": "it was corrected",
    "correction": "it is a correction",
    "concern": "there is an expression of concern about it",
}


class FetchProgress:
    """A progress bar on stderr. Silent where there is no terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = console_of(stderr=True)
        self._bar = Progress(
            TextColumn("fetching"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("papers, {task.fields[megabytes]:,.1f} MB, {task.fields[failed]:,} not fetched"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None
        self._n_bytes = self._n_failed = 0

    def __enter__(self) -> FetchProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, n_papers: int) -> None:
        """So many papers are asked for."""
        self._task = self._bar.add_task("", total=n_papers, megabytes=0, failed=0)

    def advanced(self, paper: PaperFetch) -> None:
        """One more is done with."""
        if self._task is None:
            return
        self._n_bytes += paper.n_bytes if paper.outcome == "fetched" else 0
        self._n_failed += not paper.is_there
        self._bar.update(self._task, advance=1, megabytes=self._n_bytes / 1e6, failed=self._n_failed)


def show_fetched(report: FetchReport) -> None:
    """What became of each paper, and how many there are of each kind."""
    rows: list[tuple[str, str]] = [(paper.outcome, _told(paper)) for paper in report.papers]
    counts = Counter(paper.outcome for paper in report.papers)
    rows.append(("papers", f"{', '.join(f'{n:,} {what}' for what, n in counts.items())}, in {report.to}"))
    print_rows(console_of(), rows)


def _told(paper: PaperFetch) -> str:
    """One paper's line: what it is, where it came from, and what is to be said of it."""
    name = f"{paper.asked} ({paper.paper_id})" if paper.paper_id not in ("", paper.asked) else paper.asked
    size = f"{paper.n_bytes:,} bytes" if paper.path else ""
    facts = ", ".join(filter(None, (paper.source, paper.licence, size, paper.path)))
    said = (facts, *(_NOTICES[notice] for notice in paper.notices), paper.reason)
    return f"{name}: {'; '.join(filter(None, said))}"
