"""What became of the papers that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from indexer.papers import Notice

Outcome = Literal["fetched", "unchanged", "kept", "refused", "failed"]
"""`kept`: a file of the user's stands in the paper's place, or was edited since it was fetched. `refused`: for its
licence."""


@dataclass(frozen=True, slots=True)
class PaperFetch:
    """What became of one paper."""

    asked: str
    """As the user named it; of a query's, its PMCID."""
    outcome: Outcome
    paper_id: str = ""
    path: str = ""
    """The file; empty where there is none."""
    source: str = ""
    """Who sent it: `PMC`, `Europe PMC`, `tomesphere`, a host."""
    licence: str = ""
    n_bytes: int = 0
    notices: tuple[Notice, ...] = ()
    reason: str = ""
    """What is to be said of it: why not, and the next step; else what the sources before said."""

    @property
    def is_there(self) -> bool:
        """Whether its file stands in the folder, as it should."""
        return self.outcome in ("fetched", "unchanged", "kept")


@dataclass(slots=True)
class FetchReport:
    """What a fetch did, paper by paper, in the order asked."""

    to: str
    """The folder."""
    papers: list[PaperFetch] = field(default_factory=list)


class Progress(Protocol):
    """Hears how it goes."""

    def started(self, n_papers: int) -> None:
        """So many papers are asked for."""

    def advanced(self, paper: PaperFetch) -> None:
        """One more is done with."""


class Silent:
    """Nobody hears."""

    def started(self, n_papers: int) -> None:
        """So many papers are asked for."""

    def advanced(self, paper: PaperFetch) -> None:
        """One more is done with."""
