"""What a look at an index, and mending it, came to."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.upkeep.findings import Finding


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What `doctor` found, and did."""

    index: str
    sound: bool
    """Whether the index answers rightly, after what was done."""
    generation: int
    papers: int
    passages: int
    checked: tuple[str, ...]
    findings: tuple[Finding, ...]
    """As it is now: after what was done."""
    done: tuple[str, ...]
    lost: tuple[str, ...]
    """Papers that could not be read from the index any more: index their files again."""
    files: tuple[str, ...]
    """The files of those, as far as they are known."""
