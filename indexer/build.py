"""Sources -> index, incrementally: unchanged files cost a hash, a changed one only its changed passages."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock
from typing import Protocol

from indexer.abbreviations import find_abbreviations
from indexer.aliases import find_aliases
from indexer.chunking import chunk, left_out, sentence_texts
from indexer.config import BuildConfig
from indexer.embedding import Embedder, PassageText, PassageVectors
from indexer.errors import SourceError
from indexer.papers import CONTENT_KINDS, Abbreviation, AliasGroup, Paper, Passage
from indexer.sources import (
    Place,
    Places,
    SourceFile,
    bugs_named,
    check_name,
    find_sources,
    holds_still,
    named_by_path,
    parse_source,
    path_ids,
    printable,
    read_bytes,
    stem_ids,
)
from indexer.store import IndexWriter, Manifest

_BATCH_WORDPIECES = 50_000
"""Papers are embedded and committed in groups of about so much new text: some three seconds on two cores."""
_STORED_FOR_ONE = 8
"""Wordpieces that are stored as quickly as one is embedded: a group of known texts has an end too."""


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
    """Papers whose text is as it was and stands in another file now."""
    removed: list[str] = field(default_factory=list)
    """Papers taken out: pruned, another paper in their file, or not below the folders that a rebuild named."""
    vanished: list[str] = field(default_factory=list)
    """Papers whose file is gone from the folders named; still in the index unless pruned."""
    failed: list[Failure] = field(default_factory=list)
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
    left_out: dict[str, int]
    abbreviations: tuple[Abbreviation, ...]
    aliases: tuple[AliasGroup, ...]
    known: dict[str, PassageVectors] = field(default_factory=dict)
    """Vectors that an earlier version of the paper had, by embedded text."""

    def waiting(self) -> list[Passage]:
        """The passages that need new vectors."""
        return [each for each in self.passages if _is_embedded(each) and each.embedded_text not in self.known]


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
    manifest = Manifest(config, embedder.identity, embedder.encoder)
    with IndexWriter(folder, manifest, rebuild=rebuild) as writer, ThreadPoolExecutor(1) as embedder_thread:
        run = _Build(writer, embedder, config, progress or Silence(), files, embedder_thread)
        run.progress.started(len(files))
        try:
            for file in files:
                run.take(file)
            run.finish()
        except BaseException:
            run.stop()
            raise
        run.look_for_vanished(paths, prune=prune)
        run.look_for_dropped()
        run.report.generation = writer.commit()
    run.report.seconds = time.monotonic() - began
    return run.report


@dataclass(frozen=True, slots=True)
class _Displaced:
    """A paper whose file holds another one now. It may turn up elsewhere in the same run."""

    sha256: str
    vectors: dict[str, PassageVectors]


class _Build:
    """One run over some files."""

    def __init__(
        self,
        writer: IndexWriter,
        embedder: Embedder,
        config: BuildConfig,
        progress: Progress,
        files: Sequence[SourceFile],
        embedder_thread: Executor,
    ) -> None:
        self.writer = writer
        self.embedder = embedder
        self.config = config
        self.progress = progress
        self.report = BuildReport()
        self._left_out: Counter[str] = Counter()
        self._stem_ids = stem_ids(files)
        self._places = Places(
            Place(paper_id, origin, sha256, source)
            for origin, (paper_id, sha256, source) in writer.view().origins().items()
        )
        self._displaced: dict[str, _Displaced] = {}
        self._pending: list[_Pending] = []
        self._n_pending = 0
        self._embedder_thread = embedder_thread
        self._embedding: tuple[list[_Pending], Future[dict[str, PassageVectors]]] | None = None
        """Papers whose vectors are being made."""
        self._stopped = Event()
        self._hearing = Lock()
        """Two threads have progress to tell."""

    def take(self, file: SourceFile) -> None:
        """One file: skip it, note its move, or parse it and queue its passages."""
        try:
            self._take(file, str(file.path))
        except SourceError as error:
            self.report.failed.append(Failure(printable(file.source), str(error)))
            self._advanced(1, 0, 0)

    def _take(self, file: SourceFile, origin: str) -> None:
        check_name(file.path)
        raw = read_bytes(file.path)
        sha256 = hashlib.sha256(raw).hexdigest()
        here = self._places.at(origin)
        if here is not None and here.sha256 == sha256:
            self.report.n_unchanged += 1
            if here.source != file.source:
                self._move(replace(here, source=file.source))
            self._advanced(1, 0, 0)
            return
        paper = self._named(parse_source(file, raw), file, here)
        place = Place(paper.paper_id, origin, sha256, file.source)
        if holder := self._other_holder(place):
            raise SourceError(_taken(holder, same=holder.sha256 == sha256))
        before = self._places.of(paper.paper_id)
        unchanged = before is not None and before.sha256 == sha256
        pending = None if unchanged else self._taken_apart(paper, origin)
        # Whatever can be wrong with the file has shown by now: from here on the index changes.
        if here is not None and here.paper_id != paper.paper_id:
            self._displace(here)
        if pending is None:
            self._move(place)
            self._advanced(1, 0, 0)
        else:
            self._queue(pending, place)

    def _named(self, paper: Paper, file: SourceFile, here: Place | None) -> Paper:
        """The paper by the id that it goes by in this index: its own, else one that its path gives and is free."""
        if not named_by_path(paper, file.path):
            return paper
        if here is not None and here.paper_id in path_ids(file.path):
            return replace(paper, paper_id=here.paper_id)
        names = self._stem_ids[file.path]
        free = (name for name in names if not self._other_holder(Place(name, str(file.path), "", "")))
        return replace(paper, paper_id=next(free, names[-1]))

    def _other_holder(self, wanted: Place) -> Place | None:
        """Another file that holds the wanted paper now, whatever it held when it was indexed."""
        place = self._places.of(wanted.paper_id)
        if place is None or place.origin == wanted.origin:
            return None
        return place if holds_still(place) and not Path(place.origin).samefile(wanted.origin) else None

    def _displace(self, place: Place) -> None:
        """Take out a paper whose file holds another one now. Its vectors are kept, should it turn up elsewhere."""
        self._displaced[place.paper_id] = _Displaced(place.sha256, self.writer.view().vectors_of(place.paper_id))
        self._places.forget(place.paper_id)
        self.writer.remove(place.paper_id)
        self.report.removed.append(place.paper_id)

    def _move(self, place: Place) -> None:
        self._places.put(place)
        self.writer.move(place.paper_id, place.origin, place.source)
        self.report.moved.append(place.paper_id)

    def _taken_apart(self, paper: Paper, origin: str) -> _Pending:
        """The paper's passages and names. Raises SourceError when the passages would not hold all of it."""
        with bugs_named(paper.source):
            passages = chunk(paper, self.config, self.embedder.count, self.embedder.identity.max_wordpieces)
            out = left_out(paper, passages)
            names = find_abbreviations(paper), find_aliases(paper)
        lost = {kind: n for kind, n in out.items() if kind in CONTENT_KINDS}
        if lost:
            raise SourceError(f"characters would be lost in chunking ({lost}): please report this file as a bug")
        return _Pending(paper, origin, passages, out, *names)

    def _queue(self, pending: _Pending, place: Place) -> None:
        """Keep the paper until there is enough to embed."""
        pending.known.update(self._known_vectors(pending.paper))
        self._left_out.update(pending.left_out)
        if pending.paper.body_omitted:
            self.report.without_body.append(place.paper_id)
        if not pending.passages:
            self.report.empty.append(place.paper_id)
        self._places.put(place)
        self._pending.append(pending)
        self._n_pending += sum(each.n_wordpieces for each in pending.waiting())
        self._n_pending += sum(each.n_wordpieces for each in pending.passages) // _STORED_FOR_ONE
        if self._n_pending >= _BATCH_WORDPIECES:
            self.flush()

    def _known_vectors(self, paper: Paper) -> dict[str, PassageVectors]:
        """The vectors that the paper had so far. Notes in the report what becomes of it."""
        displaced = self._displaced.pop(paper.paper_id, None)
        if displaced is not None:
            self.report.removed.remove(paper.paper_id)
            same = displaced.sha256 == paper.sha256
            (self.report.moved if same else self.report.updated).append(paper.paper_id)
            return displaced.vectors
        if self._places.of(paper.paper_id) is not None:
            self.report.updated.append(paper.paper_id)
            return self.writer.view().vectors_of(paper.paper_id)
        self.report.added.append(paper.paper_id)
        return {}

    def stop(self) -> None:
        """Embed no more."""
        self._stopped.set()
        if self._embedding is not None:
            self._embedding[1].cancel()

    def flush(self) -> None:
        """Have what waits embedded, and meanwhile store what was embedded before it."""
        before = self._embedding
        if before is not None and before[1].done():
            before[1].result()  # raises what went wrong with it, before more is begun
        self._embedding = self._pending, self._embedder_thread.submit(self._embed, self._pending)
        self._pending, self._n_pending = [], 0
        if before is not None:
            self._store(*before)

    def finish(self) -> None:
        """Embed and store all that is left."""
        self.flush()
        if self._embedding is not None:
            self._store(*self._embedding)
        self._embedding = None

    def _store(self, embedded: list[_Pending], vectors: Future[dict[str, PassageVectors]]) -> None:
        """Store these papers once their vectors are there, and commit."""
        fresh = vectors.result()
        for each in embedded:
            reused = {
                passage.passage_id: each.known[passage.embedded_text]
                for passage in each.passages
                if _is_embedded(passage) and passage.embedded_text in each.known
            }
            self.writer.put(
                each.paper, each.origin, each.passages, fresh | reused, each.left_out, each.abbreviations, each.aliases
            )
            self.report.n_passages += len(each.passages)
            self.report.n_reused += len(reused)
            self._advanced(1, len(each.passages), 0)
        self.report.n_embedded += len(fresh)
        self.report.left_out = dict(self._left_out)
        self.writer.checkpoint()

    def _embed(self, papers: list[_Pending]) -> dict[str, PassageVectors]:
        """The new vectors that these papers need, by passage id. Runs beside the rest."""
        waiting = [passage for pending in papers for passage in pending.waiting()]
        sentences: dict[str, list[str]] = {}
        for pending in papers:
            sentences |= sentence_texts(pending.paper, pending.waiting())
        texts = [PassageText(each.embedded_text, tuple(sentences[each.passage_id])) for each in waiting]

        def heard(n_wordpieces: int) -> None:
            if self._stopped.is_set():
                raise CancelledError
            self.report.n_wordpieces += n_wordpieces
            self._advanced(0, 0, n_wordpieces)

        vectors = self.embedder.encode(texts, on_progress=heard)
        return {passage.passage_id: each for passage, each in zip(waiting, vectors, strict=True)}

    def _advanced(self, n_papers: int, n_passages: int, n_wordpieces: int) -> None:
        with self._hearing:
            self.progress.advanced(n_papers, n_passages, n_wordpieces)

    def look_for_vanished(self, paths: Sequence[Path], *, prune: bool) -> None:
        """Papers of the index whose file stood below `paths` and is gone: report them, or take them out."""
        roots = [path.resolve() for path in paths]
        for origin, (paper_id, _, _) in self.writer.view().origins().items():
            below = any(Path(origin).is_relative_to(root) for root in roots)
            if below and not Path(origin).exists():
                if prune:
                    self.writer.remove(paper_id)
                    self.report.removed.append(paper_id)
                else:
                    self.report.vanished.append(paper_id)

    def look_for_dropped(self) -> None:
        """Papers that were in the index before a rebuild, and were not found in what it was named."""
        present = {paper_id for paper_id, _, _ in self.writer.view().origins().values()}
        self.report.removed.extend(sorted(self.writer.dropped - present - set(self.report.removed)))


def _is_embedded(passage: Passage) -> bool:
    """Only what is searched by default has a vector; references and back matter are found by their words."""
    return passage.role == "body"


def _taken(holder: Place, *, same: bool) -> str:
    if same:
        return f"the same file as {holder.origin}, which is in the index already"
    return (
        f"its paper id {holder.paper_id} is taken by {holder.origin}: correct its PMCID or DOI, or give it an id of "
        "its own with `paper_id:` in YAML front matter"
    )
