"""What a build did, and who hears how it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that gave no paper, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Version:
    """A file of a paper that is searched in another file."""

    source: str
    paper_id: str
    why: str
    """How it was told: `the same DOI`."""


@dataclass(slots=True)
class BuildReport:
    """What a build did, paper by paper. Nothing is passed over in silence."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    """Papers whose text is as it was and stands in another file now."""
    removed: list[str] = field(default_factory=list)
    """Papers taken out: pruned, another paper in their file, one paper with another now, or not below the folders that
    a rebuild named."""
    vanished: list[str] = field(default_factory=list)
    """Papers whose file is gone from the folders named; still in the index unless pruned."""
    failed: list[Failure] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    """Files found to be of a paper that another file has better; they are not searched."""
    without_body: list[str] = field(default_factory=list)
    """Papers whose file says that its full text was left out."""
    empty: list[str] = field(default_factory=list)
    """Papers added or updated that gave no passage: a title and nothing else, only comments, only front matter."""
    n_unchanged: int = 0
    n_passages: int = 0
    """Of the papers added or updated, or stored anew in another file."""
    n_embedded: int = 0
    n_reused: int = 0
    n_wordpieces: int = 0
    """Embedded; special tokens included."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Non-blank characters of the papers added or updated that stand in no passage, by kind of block."""
    generation: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    """Whether all this would be done, and nothing was."""


class Progress(Protocol):
    """Hears how a build goes on."""

    def started(self, n_files: int) -> None:
        """The files were found."""
        ...

    def advanced(self, n_papers: int, n_passages: int, n_wordpieces: int) -> None:
        """So many more papers are through, passages and wordpieces embedded."""
        ...


class Silence:
    """Progress that nobody hears."""

    def started(self, n_files: int) -> None:
        """Nothing."""

    def advanced(self, n_papers: int, n_passages: int, n_wordpieces: int) -> None:
        """Nothing."""
