"""Sources -> index, incrementally: unchanged files cost a hash, a changed one only its changed passages."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from indexer.chunking import chunk, left_out
from indexer.config import BuildConfig
from indexer.embedding import Embedder, Vectors
from indexer.errors import SourceError
from indexer.papers import CONTENT_KINDS, Paper, Passage
from indexer.sources import SourceFile, find_sources, parse_source, read_bytes
from indexer.store import IndexWriter, Manifest

_BATCH_WORDPIECES = 100_000
"""Papers are embedded and committed in groups of about so much new text: some twenty seconds on two cores."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that gave no paper, and why."""

    source: str
    reason: str


@dataclass(slots=True)
class BuildReport:
    """What a build did, paper by paper. Nothing is passed over in silence."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    """Papers whose file is gone from the folders named; still in the index unless pruned."""
    failed: list[Failure] = field(default_factory=list)
    without_body: list[str] = field(default_factory=list)
    """Papers whose file says that its full text was left out."""
    n_unchanged: int = 0
    n_passages: int = 0
    """Of the papers added or updated."""
    n_embedded: int = 0
    n_reused: int = 0
    n_wordpieces: int = 0
    """Embedded, special tokens included."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Non-blank characters of the papers added or updated that stand in no passage, by kind of block."""
    generation: int = 0
    seconds: float = 0.0


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


@dataclass(frozen=True, slots=True)
class _Pending:
    """A paper that waits for its vectors."""

    paper: Paper
    origin: str
    passages: list[Passage]
    known: dict[str, Vectors]
    """Vectors that an earlier version of the paper had, by embedded text."""


def build(
    paths: Sequence[Path],
    folder: Path,
    embedder: Embedder,
    config: BuildConfig,
    *,
    rebuild: bool = False,
    prune: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Bring the index in `folder` up to date with the Markdown files below `paths`.

    One bad file does not stop the rest: it stands in the report. Raises SourceError for a path that is not there or
    holds no Markdown, and the IndexStateError that fits.
    """
    began = time.monotonic()
    files = find_sources(paths)
    with IndexWriter(folder, Manifest(config, embedder.identity), rebuild=rebuild) as writer:
        run = _Build(writer, embedder, config, progress or Silence())
        run.progress.started(len(files))
        for file in files:
            run.take(file)
        run.flush()
        run.look_for_vanished(paths, prune=prune)
        run.report.generation = writer.commit()
    run.report.seconds = time.monotonic() - began
    return run.report


class _Build:
    """One run over some files."""

    def __init__(self, writer: IndexWriter, embedder: Embedder, config: BuildConfig, progress: Progress) -> None:
        self.writer = writer
        self.embedder = embedder
        self.config = config
        self.progress = progress
        self.report = BuildReport()
        self._left_out: Counter[str] = Counter()
        self._by_origin = writer.view().origins()
        self._by_paper = {paper_id: (origin, sha256) for origin, (paper_id, sha256, _) in self._by_origin.items()}
        self._pending: list[_Pending] = []

    def take(self, file: SourceFile) -> None:
        """One file: skip it, note its move, or parse it and queue its passages."""
        try:
            self._take(file, str(file.path))
        except SourceError as error:
            self.report.failed.append(Failure(file.source, str(error)))
            self.progress.advanced(1, 0, 0)

    def _take(self, file: SourceFile, origin: str) -> None:
        raw = read_bytes(file.path)
        sha256 = hashlib.sha256(raw).hexdigest()
        paper_id, indexed_sha256, source = self._by_origin.get(origin, ("", "", ""))
        if sha256 == indexed_sha256:
            if source != file.source:
                self.writer.move(paper_id, origin, file.source)
                self.report.moved.append(paper_id)
            self.report.n_unchanged += 1
            self.progress.advanced(1, 0, 0)
            return
        paper = parse_source(file, raw)
        other, other_sha256 = self._by_paper.get(paper.paper_id, ("", ""))
        if other and other != origin:
            if Path(other).exists():
                raise SourceError(_taken(paper.paper_id, other, same=other_sha256 == sha256))
            self._forget(other)
            if other_sha256 == sha256:
                self._know(origin, paper)
                self.writer.move(paper.paper_id, origin, file.source)
                self.report.moved.append(paper.paper_id)
                self.progress.advanced(1, 0, 0)
                return
        if paper_id and paper_id != paper.paper_id:  # the file now holds another paper
            self.writer.remove(paper_id)
            self.report.removed.append(paper_id)
            self._by_paper.pop(paper_id, None)
        self._queue(paper, origin)

    def _queue(self, paper: Paper, origin: str) -> None:
        """Chunk the paper and keep it until there is enough to embed."""
        passages = chunk(paper, self.config, self.embedder.count, self.embedder.identity.max_wordpieces)
        out = left_out(paper, passages)
        lost = {kind: n for kind, n in out.items() if kind in CONTENT_KINDS}
        if lost:
            raise SourceError(f"characters would be lost in chunking ({lost}): please report this file as a bug")
        self._left_out.update(out)
        update = paper.paper_id in self._by_paper
        (self.report.updated if update else self.report.added).append(paper.paper_id)
        if paper.body_omitted:
            self.report.without_body.append(paper.paper_id)
        known = self.writer.view().vectors_of(paper.paper_id) if update else {}
        self._know(origin, paper)
        self._pending.append(_Pending(paper, origin, passages, known))
        if sum(each.n_wordpieces for each in self._waiting()) >= _BATCH_WORDPIECES:
            self.flush()

    def flush(self) -> None:
        """Embed what waits, store it, and commit."""
        waiting = list(self._waiting())
        vectors = self.embedder.encode(
            [passage.embedded_text for passage in waiting],
            on_progress=lambda n_wordpieces: self.progress.advanced(0, 0, n_wordpieces),
        )
        fresh = {passage.passage_id: vector for passage, vector in zip(waiting, vectors, strict=True)}
        for each in self._pending:
            reused = {
                passage.passage_id: each.known[passage.embedded_text]
                for passage in each.passages
                if _is_embedded(passage) and passage.embedded_text in each.known
            }
            self.writer.put(each.paper, each.origin, each.passages, fresh | reused, left_out(each.paper, each.passages))
            self.report.n_passages += len(each.passages)
            self.report.n_reused += len(reused)
            self.progress.advanced(1, len(each.passages), 0)
        self.report.n_embedded += len(fresh)
        self.report.n_wordpieces += sum(passage.n_wordpieces for passage in waiting)
        self.report.left_out = dict(self._left_out)
        self._pending = []
        self.writer.checkpoint()

    def look_for_vanished(self, paths: Sequence[Path], *, prune: bool) -> None:
        """Papers of the index whose file stood below `paths` and is gone: report them, or take them out."""
        roots = [path.absolute() for path in paths]
        for origin, (paper_id, _, _) in self.writer.view().origins().items():
            below = any(Path(origin).is_relative_to(root) for root in roots)
            if below and not Path(origin).exists():
                if prune:
                    self.writer.remove(paper_id)
                    self.report.removed.append(paper_id)
                else:
                    self.report.vanished.append(paper_id)

    def _waiting(self) -> Iterable[Passage]:
        """Passages in the queue that need a new vector."""
        for each in self._pending:
            for passage in each.passages:
                if _is_embedded(passage) and passage.embedded_text not in each.known:
                    yield passage

    def _know(self, origin: str, paper: Paper) -> None:
        self._by_origin[origin] = (paper.paper_id, paper.sha256, paper.source)
        self._by_paper[paper.paper_id] = (origin, paper.sha256)

    def _forget(self, origin: str) -> None:
        self._by_origin.pop(origin, None)


def _is_embedded(passage: Passage) -> bool:
    """Only what is searched by default has a vector; references and back matter are found by their words."""
    return passage.role == "body"


def _taken(paper_id: str, other: str, *, same: bool) -> str:
    if same:
        return f"the same file as {other}, which is in the index already"
    return (
        f"its paper id {paper_id} is taken by {other}: correct its PMCID or DOI, or give it an id of its own with "
        "`paper_id:` in YAML front matter"
    )
