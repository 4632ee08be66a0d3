"""What a person reads of an index's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from service.printable import clean
from service.terminal.lines import note

if TYPE_CHECKING:
    from indexer.upkeep import Diagnosis


def show_diagnosis(diagnosis: Diagnosis) -> None:
    """What was found, what was done, what is left to do."""
    for each in diagnosis.done:
        note(clean(each))
    for finding in diagnosis.findings:
        typer.echo(f"{finding.level:7}  {finding.check}: {clean(finding.what)}")
        typer.echo(f"         -> {clean(finding.remedy)}")
    if diagnosis.lost:
        names = ", ".join(clean(name) for name in diagnosis.lost)
        typer.echo(f"lost     {len(diagnosis.lost)} papers could not be read from the index: {names}")
        files = ", ".join(clean(name) for name in diagnosis.files) or "their files"
        typer.echo(f"         -> run `loccit index PATH...`, which has them again from {files}")
    state = "sound" if diagnosis.sound else "not sound"
    what = f"{diagnosis.papers:,} papers, {diagnosis.passages:,} passages, generation {diagnosis.generation}"
    typer.echo(f"{clean(diagnosis.index)} is {state}: {what} (looked at: {', '.join(diagnosis.checked)})")
