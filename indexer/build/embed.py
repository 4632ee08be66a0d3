"""Papers that wait for their vectors: embedded in batches beside the rest, then stored and committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass, field
from threading import Event, Lock

from indexer.build.report import BuildReport, Progress
from indexer.chunking import sentence_texts
from indexer.embedding import Embedder, PassageText, PassageVectors
from indexer.papers import Abbreviation, AliasGroup, Paper, Passage
from indexer.store import Writer

_BATCH_WORDPIECES = 50_000
"""Papers are embedded and committed in groups of about so much new text: some three seconds on two cores."""
_STORED_FOR_ONE = 8
"""Wordpieces that are stored as quickly as one is embedded: a group of known texts has an end too."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A paper that waits for its vectors."""

    paper: Paper
    origin: str
    passages: list[Passage]
    left_out: dict[str, int]
    abbreviations: tuple[Abbreviation, ...]
    aliases: tuple[AliasGroup, ...]
    known: dict[str, PassageVectors] = field(default_factory=dict)
    """Vectors that an earlier version of the paper had, by embedded text."""
    supersedes: set[str] = field(default_factory=set)
    """Papers that go when this one is stored: they are one with it."""

    def waiting(self) -> list[Passage]:
        """The passages that need new vectors."""
        return [each for each in self.passages if _is_embedded(each) and each.embedded_text not in self.known]

    def cost(self) -> int:
        """What it takes to embed and store it, in wordpieces embedded."""
        stored = sum(each.n_wordpieces for each in self.passages) // _STORED_FOR_ONE
        return sum(each.n_wordpieces for each in self.waiting()) + stored


class Embedding:
    """The papers of a run that wait, and those whose vectors are being made."""

    def __init__(
        self,
        writer: Writer,
        embedder: Embedder,
        report: BuildReport,
        progress: Progress,
        thread: Executor,
    ) -> None:
        self._writer = writer
        self._embedder = embedder
        self._report = report
        self._progress = progress
        self._thread = thread
        self._pending: dict[str, Pending] = {}
        self._n_pending = 0
        self._in_flight: tuple[list[Pending], Future[dict[str, PassageVectors]]] | None = None
        self._stopped = Event()
        self._hearing = Lock()
        """Two threads have progress to tell."""

    def put(self, pending: Pending) -> None:
        """Keep the paper until there is enough to embed."""
        self._pending[pending.paper.paper_id] = pending
        self._n_pending += pending.cost()
        if self._n_pending >= _BATCH_WORDPIECES:
            self.flush()

    def drop(self, paper_id: str) -> Pending | None:
        """Let go of a paper that waits; afterwards, none of that id is on its way to the index."""
        found = self._pending.pop(paper_id, None)
        if found is not None:
            self._n_pending -= found.cost()
            self.advanced(1, 0, 0)
        if self._in_flight is not None and any(each.paper.paper_id == paper_id for each in self._in_flight[0]):
            self._land()
        return found

    def is_on_its_way(self, paper_id: str) -> bool:
        """Whether a paper of that id waits, or its vectors are being made."""
        in_flight = self._in_flight[0] if self._in_flight is not None else []
        return paper_id in self._pending or any(each.paper.paper_id == paper_id for each in in_flight)

    def stop(self) -> None:
        """Embed no more."""
        self._stopped.set()
        if self._in_flight is not None:
            self._in_flight[1].cancel()

    def flush(self) -> None:
        """Have what waits embedded, and meanwhile store what was embedded before it."""
        before = self._in_flight
        if before is not None and before[1].done():
            before[1].result()  # raises what went wrong with it, before more is begun
        batch = list(self._pending.values())
        self._in_flight = batch, self._thread.submit(self._embed, batch)
        self._pending, self._n_pending = {}, 0
        if before is not None:
            self._store(*before)

    def finish(self) -> None:
        """Embed and store all that is left."""
        self.flush()
        self._land()

    def _land(self) -> None:
        if self._in_flight is not None:
            self._store(*self._in_flight)
        self._in_flight = None

    def _store(self, embedded: list[Pending], vectors: Future[dict[str, PassageVectors]]) -> None:
        """Store these papers once their vectors are there, and commit."""
        fresh = vectors.result()
        for each in embedded:
            reused = {
                passage.passage_id: each.known[passage.embedded_text]
                for passage in each.passages
                if _is_embedded(passage) and passage.embedded_text in each.known
            }
            if not self._report.dry_run:
                for paper_id in each.supersedes:
                    self._writer.take_down(paper_id)
                self._writer.put(
                    each.paper,
                    each.origin,
                    each.passages,
                    fresh | reused,
                    each.left_out,
                    each.abbreviations,
                    each.aliases,
                )
            self._report.n_passages += len(each.passages)
            self._report.n_reused += len(reused)
            self._report.n_embedded += len({passage.passage_id for passage in each.waiting()})
            if not self._report.dry_run:
                self._report.n_wordpieces += sum(passage.n_wordpieces for passage in each.waiting())
            self._report.left_out = dict(Counter(self._report.left_out) + Counter(each.left_out))
            self.advanced(1, len(each.passages), 0)
        self._writer.checkpoint()

    def _embed(self, papers: Sequence[Pending]) -> dict[str, PassageVectors]:
        """The new vectors that these papers need, by passage id. Runs beside the rest."""
        if self._report.dry_run:
            return {}
        waiting = [passage for pending in papers for passage in pending.waiting()]
        sentences: dict[str, list[str]] = {}
        for pending in papers:
            sentences |= sentence_texts(pending.paper, pending.waiting())
        texts = [PassageText(each.embedded_text, tuple(sentences[each.passage_id])) for each in waiting]

        def heard(n_wordpieces: int) -> None:
            if self._stopped.is_set():
                raise CancelledError
            self.advanced(0, 0, n_wordpieces)

        vectors = self._embedder.encode(texts, on_progress=heard)
        return {passage.passage_id: each for passage, each in zip(waiting, vectors, strict=True)}

    def advanced(self, n_papers: int, n_passages: int, n_wordpieces: int) -> None:
        """Tell how far it is."""
        with self._hearing:
            self._progress.advanced(n_papers, n_passages, n_wordpieces)


def _is_embedded(passage: Passage) -> bool:
    """Only what is searched by default has a vector; references and back matter are found by their words."""
    return passage.role == "body"
