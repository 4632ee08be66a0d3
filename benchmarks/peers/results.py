"""What peers found, kept on disk, and scored together by loccit's own metrics. Knows no library."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from benchmarks.peers.chunks import Chunk
from indexer.errors import UsageError
from service.evaluate import Question, bootstrap, span_scores
from service.replies import Hit

METRICS = {"recall@512": "recall@512t", "MRR@10": "mrr@10", "hit@5": "hit@5"}
"""The table's columns, and what service/evaluate.py calls them."""
UNREAD_K = 10
"""The hits of each question whose text is looked at for what was never embedded."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A peer's hits as they are kept: of its chunks only those that it ever gave."""

    chunks: list[Chunk]
    rankings: dict[str, list[int]]
    """By question id: places among the chunks, best first."""
    n_chunks: int
    """All that it cut the papers into; for loccit those that it gave."""
    n_lost: int
    """Of all its chunks, those that were not found in their paper's file: they can be no hit."""
    versions: dict[str, str]
    date: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over the questions and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """A peer's line in the table."""

    peer: str
    metrics: dict[str, Estimate]
    behind: Estimate | None
    """By how much its recall@512 is lower than the first row's, question by question."""
    unread: float | None
    """Of the text of its first ten hits, the share that its embedder never read; None where it has no embedder."""
    n_chunks: int
    n_lost: int
    versions: dict[str, str]
    date: str


def condense(
    chunks: Sequence[Chunk], rankings: Mapping[str, Sequence[int]], versions: Mapping[str, str], date: str
) -> Saved:
    """The same rankings over the chunks that occur in them."""
    used = sorted({place for places in rankings.values() for place in places})
    new_place = {old: new for new, old in enumerate(used)}
    return Saved(
        chunks=[chunks[place] for place in used],
        rankings={name: [new_place[place] for place in places] for name, places in rankings.items()},
        n_chunks=len(chunks),
        n_lost=sum(chunk.start == chunk.end for chunk in chunks),
        versions=dict(versions),
        date=date,
    )


def save(saved: Saved, path: Path) -> None:
    """Writes the file beside its place and moves it there."""
    beside = path.with_suffix(".tmp")
    with gzip.open(beside, "wt", encoding="utf-8") as file:
        json.dump(asdict(saved), file)
    beside.replace(path)


def load(path: Path) -> Saved:
    """What `save` wrote."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        row = json.load(file)
    return Saved(**row | {"chunks": [Chunk(**each) for each in row["chunks"]]})


def due(names: Sequence[str], only: Sequence[str], folder: Path) -> list[str]:
    """The peers to run: those named, else those without saved rankings."""
    return [name for name in names if (name in only if only else not saved_path(folder, name).exists())]


def saved_path(folder: Path, name: str) -> Path:
    """Where a peer's rankings are kept."""
    return folder / f"{name}.json.gz"


def rows_of(
    found: Mapping[str, Saved], questions: Sequence[Question], read: Mapping[str, Sequence[int] | None]
) -> list[Row]:
    """A row a peer, in the order given; the first is the one that the others are set against.

    `read` has for each chunk the characters that the peer's embedder reads of it. Raises UsageError for rankings of
    other questions.
    """
    rows: list[Row] = []
    first: list[float] = []
    for name, saved in found.items():
        if saved.rankings.keys() != {question.id for question in questions}:
            raise UsageError(f"the rankings of {name} are of other questions: run it again with --only {name}")
        scores = [span_scores(question, _hits(saved, question.id)) for question in questions]
        recall = [score[METRICS["recall@512"]] for score in scores]
        behind = _estimate([ours - theirs for ours, theirs in zip(first, recall, strict=True)]) if rows else None
        first = first or recall
        rows.append(
            Row(
                peer=name,
                metrics={label: _estimate([score[key] for score in scores]) for label, key in METRICS.items()},
                behind=behind,
                unread=_unread(saved, read[name]),
                n_chunks=saved.n_chunks,
                n_lost=saved.n_lost,
                versions=saved.versions,
                date=saved.date,
            )
        )
    return rows


def table(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    """The rows as a Markdown table."""
    lines = [["", *METRICS, "recall@512 behind", "never embedded"], ["---"] * (len(METRICS) + 3)]
    for row in rows:
        figures = [_shown(row.metrics[label]) for label in METRICS]
        behind = _shown(row.behind) if row.behind else ""
        unread = "—" if row.unread is None else f"{100 * row.unread:.0f} %"
        lines.append([titles[row.peer], *figures, behind, unread])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@dataclass(frozen=True, slots=True)
class _Place:
    """What the metrics read of a citation."""

    paper_id: str
    source: str
    start: int
    end: int
    section: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Hit:
    """What the metrics read of a hit."""

    text: str
    citation: _Place


def _hits(saved: Saved, question_id: str) -> list[Hit]:
    chunks = [saved.chunks[place] for place in saved.rankings[question_id]]
    hits = [_Hit(each.text, _Place(each.paper_id, f"{each.paper_id}.md", each.start, each.end)) for each in chunks]
    return cast("list[Hit]", hits)


def _unread(saved: Saved, read: Sequence[int] | None) -> float | None:
    if read is None:
        return None
    places = [place for ranking in saved.rankings.values() for place in ranking[:UNREAD_K]]
    total = sum(len(saved.chunks[place].text) for place in places)
    return 1 - sum(read[place] for place in places) / total if total else 0.0


def _estimate(values: Sequence[float]) -> Estimate:
    return Estimate(sum(values) / len(values), *bootstrap(values))


def _shown(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
