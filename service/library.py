"""Library: an open index and its model. Every front end calls this and nothing else, and shows what it gives.

What only some calls need is imported there: a first answer does not wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from indexer.embedding import Embedder, load_embedder, mean_vector
from indexer.errors import (
    IndexMismatchError,
    IndexMissingError,
    IndexUnreachableError,
    ModelError,
    NotFoundError,
    UsageError,
    partly,
)
from indexer.papers import PaperOrder, Reference
from indexer.places import place_of, without_password
from indexer.store import (
    FileRecord,
    IndexPlace,
    Reader,
    Snapshot,
    StoredPaper,
    StoredPassage,
    on_disk,
    open_reader,
    shown_place,
)
from service.answer import Highlight, Quote, choose, quote
from service.cite import Citation, cite, cite_within
from service.confidence import N_NAMED, N_RANKED, N_READ, features, fitted
from service.leftout import why_left_out
from service.llm import DEFAULT_PROMPT_TOKENS, ChatModel
from service.papertext import read_blocks
from service.query import MAX_K, Filters, Query, id_of
from service.reading import Question, read_question
from service.replies import (
    Answer,
    FailedSource,
    Hit,
    Info,
    PaperList,
    PaperReply,
    PaperSummary,
    PaperText,
    PassageReply,
    PassageView,
    ReferencesReply,
    Removal,
    Scores,
    SearchReply,
    SectionView,
    SourceText,
    Statement,
    VerifyReply,
    VersionView,
    VitalSigns,
    Waiting,
)
from service.rerank import N_RERANKED, Reranker, load_reranker, rerank
from service.resolve import resolve
from service.search import Ranking, Scored, best_sentences, rank, sentence_scores
from service.stages import stage

if TYPE_CHECKING:
    from service.generate import CitedPassage
    from service.verify import Claim, Sources
    from service.writing import Generate

DEFAULT_ASK_K = 8
_DEFAULT_RANKING = Ranking()
_PROBE = Query("is anything found?", 1)
_PROBE_RANKING = Ranking(rerank=False)
MAX_CONTEXT = 20
"""Passages on either side that may be asked for."""


class Library:
    """An open index. Safe to use from several threads; each call sees one generation."""

    def __init__(
        self,
        reader: Reader,
        load: Callable[[str], Embedder],
        reranker: Reranker | None = None,
        llm: ChatModel | None = None,
        prompt_tokens: int = DEFAULT_PROMPT_TOKENS,
    ) -> None:
        self._reader = reader
        self._load = load
        self._reranker = reranker
        self._llm = llm
        self._prompt_tokens = prompt_tokens
        self._loading = Lock()
        self._embedder: Embedder | None = None

    @classmethod
    def open(
        cls,
        place: IndexPlace,
        *,
        load: Callable[[str], Embedder] | None = None,
        rerank: str = "",
        llm: ChatModel | None = None,
        prompt_tokens: int = DEFAULT_PROMPT_TOKENS,
    ) -> Library:
        """Open the index at `place`. The model is loaded at the first question, the cross-encoder `rerank` now.

        `llm` writes answers, from passages of `prompt_tokens` cl100k_base tokens at the most; the library closes it.
        Raises IndexStateError, UsageError for a URL that names none, and ModelError for that cross-encoder.
        """
        reader = open_reader(place_of(place))
        try:
            reranker = load_reranker(rerank, threads=1) if rerank else None
        except ModelError:
            reader.close()
            raise
        return cls(reader, load or (lambda name: load_embedder(name, threads=1)), reranker, llm, prompt_tokens)

    @property
    def place(self) -> str:
        """Where the index is, for opening it again: without a password, which whoever opens it has otherwise."""
        place = self._reader.place
        return without_password(place) if isinstance(place, str) else str(place)

    @property
    def model(self) -> str:
        """The name of the model that writes answers; empty where there is none."""
        return self._llm.name if self._llm is not None else ""

    @property
    def reranker(self) -> str:
        """The name of the cross-encoder that ranks again; empty where there is none."""
        return self._reranker.name if self._reranker is not None else ""

    def warm(self) -> None:
        """Load the model now. Raises ModelError, IndexMismatchError."""
        with self._snapshot() as snapshot:
            self._model(snapshot)

    def probe(self) -> tuple[str, ...]:
        """Do once what every search does. The servers that did not answer. Raises what a search would raise."""
        return self.search(_PROBE, ranking=_PROBE_RANKING).missing_shards

    def vital_signs(self) -> VitalSigns:
        """What the index has now, in a few milliseconds whatever its size. Raises IndexStateError."""
        with self._snapshot() as snapshot:
            n_bytes, written_at = self._on_disk(snapshot.missing)
            return VitalSigns(
                generation=snapshot.generation,
                n_papers=snapshot.n_papers(),
                n_passages=snapshot.n_passages(),
                n_failed_sources=len(snapshot.failures()),
                n_bytes=n_bytes,
                written_at=written_at,
                is_model_loaded=self._embedder is not None,
                missing_shards=snapshot.missing,
            )

    def _on_disk(self, missing: Sequence[str]) -> tuple[int, float] | tuple[None, None]:
        """What `on_disk` says; nothing while a server is away, for which it would wait."""
        with suppress(IndexUnreachableError):
            if not missing:
                return on_disk(self._reader.place)
        return None, None

    def search(self, query: Query, *, ranking: Ranking = _DEFAULT_RANKING) -> SearchReply:
        """The passages that fit the query best. Raises UsageError, NotFoundError, IndexStateError, ModelError."""
        began = time.perf_counter()
        with self._snapshot() as snapshot:
            embedder = self._model(snapshot)
            reranker = self.reranker if ranking.rerank else ""
            offset = query.offset(snapshot.generation, reranker)
            question = _read(snapshot, query, ranking)
            scored = self._rank(snapshot, embedder, query, question, offset + query.k + 1, ranking)
            with stage("passages"):
                page = scored[offset : offset + query.k]
                found = snapshot.passages([each.row_id for each in page])
                n_fit = _within(found, query.max_tokens)
                page, found = page[:n_fit], found[:n_fit]
                hits = _hits(snapshot, page, found, sentence_scores(page, found), offset)
            end = offset + n_fit
            more = n_fit > 0 and len(scored) > end
            return SearchReply(
                query=query.text,
                generation=snapshot.generation,
                took_ms=_ms_since(began),
                expansions=question.expansions,
                hits=hits,
                next_cursor=query.next_cursor(end, snapshot.generation, reranker) if more else None,
                missing_shards=snapshot.missing,
            )

    def ask(
        self,
        question: str,
        *,
        k: int = DEFAULT_ASK_K,
        filters: Filters | None = None,
        generate: Generate = "auto",
    ) -> Answer:
        """The sentences that answer best, quoted and cited, and the passages they stand in.

        With a chat model its own sentences, each with the quotes that it rests on: see `ask_stream`, which also says
        what is raised.
        """
        *_, answer = self.ask_stream(question, k=k, filters=filters, generate=generate)
        assert isinstance(answer, Answer)
        return answer

    def ask_stream(
        self,
        question: str,
        *,
        k: int = DEFAULT_ASK_K,
        filters: Filters | None = None,
        generate: Generate = "auto",
    ) -> Generator[Statement | Waiting | Answer, None, None]:
        """The same as it comes about: each statement of a chat model once its quotes are found, the answer last.

        A model is asked only where the passages seem to answer, and the index is not held meanwhile. What `generate`
        makes of a model that fails, `service.writing` says. Raises as `search` does, UsageError where a model is wanted
        and none is configured, and GenerationError where it fails and is wanted always.
        """
        if generate == "always" and self._llm is None:
            raise UsageError(
                "no model is configured that could write an answer: set LOCCIT_LLM_URL and LOCCIT_LLM_MODEL, or leave "
                'generate at "auto"'
            )
        began = time.perf_counter()
        answer, sources = self._ask(question, k=k, filters=filters)
        if self._llm is None or generate == "never" or answer.status == "not_found":
            yield answer
            return
        yield Waiting()
        from service.writing import write

        writing = write(self._llm, answer, sources, self._prompt_tokens, strict=generate == "always")
        with stage("generate"), closing(writing) as events:
            for event in events:
                yield replace(event, took_ms=_ms_since(began)) if isinstance(event, Answer) else event

    def _ask(self, question: str, *, k: int, filters: Filters | None) -> tuple[Answer, list[CitedPassage]]:
        """The answer in the papers' own sentences, and the passages that a model may write another one from."""
        began = time.perf_counter()
        query = Query(question, k, filters or Filters())
        with self._snapshot() as snapshot:
            embedder = self._model(snapshot)
            asked = _read(snapshot, query, _DEFAULT_RANKING)
            ranked = self._rank(snapshot, embedder, query, asked, max(k + 1, N_RANKED), _DEFAULT_RANKING)
            with stage("passages"):
                read = snapshot.passages([each.row_id for each in ranked[: max(k, N_READ)]])
                page, found = ranked[:k], read[:k]
                scores = sentence_scores(page, found)
                probability = _probability(snapshot, asked, ranked[:N_RANKED], read[:N_READ])
                status = fitted().status(probability)
                chosen = choose(found, [each.score for each in page], scores) if status != "not_found" else []
                quotes = tuple(
                    quote(n, found[each.hit], each, _references(snapshot, found[each.hit]))
                    for n, each in enumerate(chosen, start=1)
                )
                if status == "answered" and not quotes:  # by what cannot be quoted, such as the middle of a table
                    status = "partial"
                answer = Answer(
                    question=question,
                    status=status,
                    confidence=round(probability, 4),
                    kind="extractive" if quotes else "none",
                    text=" ".join(f"{each.text} [{each.n}]" for each in quotes),
                    model="",
                    note="",
                    quotes=quotes,
                    hits=_hits(snapshot, page, found, scores, 0),
                    expansions=asked.expansions,
                    generation=snapshot.generation,
                    took_ms=_ms_since(began),
                    next_cursor=query.next_cursor(k, snapshot.generation, self.reranker) if len(ranked) > k else None,
                    missing_shards=snapshot.missing,
                )
                return answer, _cited_passages(snapshot, found) if self._llm is not None else []

    def verify(self, cited: Sequence[Citation | Claim | Quote | Hit]) -> VerifyReply:
        """Whether the papers' files still read as cited. No model is loaded; no file is read but the index's papers'.

        A file that cannot be read is a verdict on what cites it. Raises UsageError, IndexStateError.
        """
        from service.verify import Claim, verdict, worst

        if not cited:
            raise UsageError("there is no citation to verify")
        with self._snapshot() as snapshot:
            sources: Sources = {}
            claims = [
                Claim(each.exact, each) if isinstance(each, Citation) else Claim(each.text, each.citation)
                for each in cited
            ]
            verdicts = tuple(verdict(snapshot, claim, sources) for claim in claims)
            return VerifyReply(worst(verdicts), verdicts, snapshot.missing)

    def passage(
        self, passage_id: str, *, context: int = 0, before: int | None = None, after: int | None = None
    ) -> PassageReply:
        """A passage with `context` neighbours on either side, or as many `before` and `after` it as these say.

        Raises NotFoundError, UsageError.
        """
        for name, asked in (("context", context), ("before", before), ("after", after)):
            if asked is not None and not 0 <= asked <= MAX_CONTEXT:
                raise UsageError(f"{name} is {asked}: ask for 0 to {MAX_CONTEXT} passages on either side")
        before, after = context if before is None else before, context if after is None else after
        with self._snapshot() as snapshot:
            around, at = snapshot.passage(id_of(passage_id), max(before, after))
            first = max(at - before, 0)
            views = [_view(snapshot, stored) for stored in around[first : at + after + 1]]
            return PassageReply(views[at - first], tuple(views[: at - first]), tuple(views[at - first + 1 :]))

    def papers(self, *, sort: PaperOrder = "paper_id", cursor: str = "", limit: int = MAX_K) -> PaperList:
        """Papers in that order, after the one named by `cursor`. Raises UsageError."""
        if not 1 <= limit <= MAX_K:
            raise UsageError(f"limit is {limit}: ask for 1 to {MAX_K} papers")
        with self._snapshot() as snapshot:
            rows = snapshot.papers(sort, after=cursor, limit=limit + 1)
            page = tuple(_summary(snapshot, row) for row in rows[:limit])
            more = page[-1].paper_id if len(rows) > limit else None
            failed = tuple(FailedSource(each.source, each.reason) for each in snapshot.failures())
            return PaperList(page, snapshot.n_papers(), more, failed, snapshot.missing)

    def paper(self, paper_id: str) -> PaperReply:
        """One paper's record and outline. Raises NotFoundError."""
        paper_id = id_of(paper_id)
        with self._snapshot() as snapshot:
            row = snapshot.paper(paper_id)
            return PaperReply(
                paper=_summary(snapshot, row),
                sections=_sections(snapshot, paper_id),
                passage_ids=tuple(each.passage.passage_id for each in snapshot.passages_of(paper_id)),
                references=tuple(snapshot.references(paper_id).values()),
            )

    def text(self, paper_id: str) -> PaperText:
        """A paper to be read from its first passage to its last. Raises NotFoundError."""
        paper_id = id_of(paper_id)
        with self._snapshot() as snapshot:
            sections = _sections(snapshot, paper_id)
            return PaperText(
                paper=_summary(snapshot, snapshot.paper(paper_id)),
                sections=sections,
                blocks=read_blocks(snapshot.passages_of(paper_id), sections),
                references=tuple(snapshot.references(paper_id).values()),
            )

    def source(self, paper_id: str) -> SourceText:
        """The text that the paper's offsets count in. Raises NotFoundError; SourceError where its file has changed."""
        from service.verify.sources import source_text

        with self._snapshot() as snapshot:
            row = snapshot.paper(id_of(paper_id))
            return SourceText(row.paper_id, row.source, row.sha256, row.format, source_text(snapshot, row))

    def cite(self, paper_id: str, start: int, end: int) -> Citation:
        """The citation of `source[start:end]`, as it was indexed: of a passage, or of a part. Raises NotFoundError."""
        paper_id = id_of(paper_id)
        with self._snapshot() as snapshot:
            for stored in snapshot.passages_at(paper_id, start, end) if 0 <= start < end < 1 << 63 else ():
                if any(each.start < end and each.end > start for each in stored.passage.sentences):
                    return cite_within(stored, _references(snapshot, stored), start, end)
        raise NotFoundError(
            f"no passage of {paper_id} holds characters {start} to {end}: its file may have changed since; search again"
        )

    def references(self, paper_id: str, marker: str, *, passage_id: str = "") -> ReferencesReply:
        """The entries of a paper's reference list that an inline marker names: `[45]`, `[44-46]`, or just `45`.

        With `passage_id`, as that passage cites them. Raises NotFoundError.
        """
        paper_id, passage_id = id_of(paper_id), id_of(passage_id)
        with self._snapshot() as snapshot:
            entries = snapshot.references(snapshot.paper(paper_id).paper_id)
            passages = snapshot.passage(passage_id)[0] if passage_id else snapshot.passages_of(paper_id)
            if passages and passages[0].paper.paper_id != paper_id:
                raise NotFoundError(f"{passage_id} is a passage of another paper than {paper_id}: name that one")
        cited = (each for stored in passages for each in cite(stored, entries).references)
        return ReferencesReply(paper_id, marker, resolve(marker, cited, tuple(entries.values())))

    def remove(self, paper_ids: Sequence[str]) -> Removal:
        """Take papers out of the index, all of them or none. Raises NotFoundError, IndexBusyError.

        The library sees it from its next call on, and so do other processes.
        """
        from service.removal import remove

        return remove(self._reader.place, [id_of(each) for each in paper_ids])

    def info(self) -> Info:
        """What the index is and holds."""
        with self._snapshot() as snapshot:
            counts, manifest = snapshot.counts(), snapshot.manifest
            return Info(
                folder=shown_place(self._reader.place),
                generation=snapshot.generation,
                n_papers=counts["papers"],
                n_passages=counts["passages"],
                n_vectors=counts["vectors"],
                model=manifest.model.name,
                model_revision=manifest.model.revision,
                model_weights_sha256=manifest.model.weights_sha256,
                dim=manifest.model.dim,
                pooling=manifest.model.pooling,
                max_wordpieces=manifest.model.max_wordpieces,
                passage_wordpieces=manifest.config.max_wordpieces,
                precision=manifest.encoder.precision,
                cosine=manifest.encoder.cosine,
                dense_lists=snapshot.structure.n_lists,
                dense_lists_searched=snapshot.structure.n_probed,
                dense_recall=snapshot.structure.recall,
                dense_graph=snapshot.structure.is_graph,
                missing_shards=snapshot.missing,
            )

    def close(self) -> None:
        """Let go of the index's files, and of the connection to the chat model."""
        self._reader.close()
        if self._llm is not None:
            self._llm.close()

    @contextmanager
    def _snapshot(self) -> Iterator[Snapshot]:
        """The newest generation; where servers are missing from it, what is not found says so."""
        with self._reader.snapshot() as snapshot:
            try:
                yield snapshot
            except NotFoundError as error:
                if snapshot.missing:
                    raise NotFoundError(str(error), snapshot.missing) from error
                raise

    def _model(self, snapshot: Snapshot) -> Embedder:
        """The embedder that the snapshot's vectors were made with."""
        # Passages are counted already; to count papers may take as long as a search.
        if not snapshot.n_passages() and not snapshot.n_papers():
            if snapshot.missing:
                raise IndexUnreachableError(f"{partly(snapshot.missing)}: check that they are up; there are no others")
            raise IndexMissingError(
                f"the index in {shown_place(self._reader.place)} holds no papers yet: "
                "run `loccit index PATH...` to add some"
            )
        wanted = snapshot.manifest.model
        with self._loading:
            if self._embedder is None or self._embedder.identity.name != wanted.name:
                self._embedder = self._load(wanted.name)
            if self._embedder.identity != wanted:
                raise IndexMismatchError(
                    f"the index was made with {wanted.name} of weights {wanted.weights_sha256[:12]}…, and the model of "
                    f"that name here has {self._embedder.identity.weights_sha256[:12]}…: install that model, or run "
                    "`loccit index PATH... --rebuild`"
                )
            return self._embedder

    def _rank(
        self, snapshot: Snapshot, embedder: Embedder, query: Query, question: Question, k: int, ranking: Ranking
    ) -> list[Scored]:
        with stage("encode"):
            vector = mean_vector([embedder.encode_query(text) for text in question.embedded])
        if self._reranker is None or not ranking.rerank:
            return rank(snapshot, question, vector, k, query.selection, ranking)
        # The same passages are read again whatever the page, so that the pages of a search join up.
        best = rank(snapshot, question, vector, N_RERANKED, query.selection, ranking)
        rest = rank(snapshot, question, vector, k, query.selection, ranking) if k > N_RERANKED else []
        with stage("rerank"):
            # As the embedder read them: without citation markers, a table's rows with its caption and header.
            texts = [each.passage.embedded_text for each in snapshot.passages([each.row_id for each in best])]
            return rerank(self._reranker, query.question, best, texts, rest)[:k]


def _read(snapshot: Snapshot, query: Query, ranking: Ranking) -> Question:
    return read_question(
        snapshot,
        query.question,
        query.selection.paper_ids,
        abbreviations=ranking.abbreviations,
        aliases=ranking.aliases,
    )


def _ms_since(began: float) -> float:
    return round(1e3 * (time.perf_counter() - began), 2)


def _within(found: Sequence[StoredPassage], max_tokens: int) -> int:
    """How many of the passages fit the budget, from the first on; the first one is given whatever its size."""
    if not max_tokens:
        return len(found)
    spent = 0
    for n, stored in enumerate(found):
        spent += stored.passage.n_tokens
        if spent > max_tokens:
            return max(n, 1)
    return len(found)


def _hits(
    snapshot: Snapshot,
    page: Sequence[Scored],
    found: Sequence[StoredPassage],
    scores: Sequence[Sequence[float]],
    offset: int,
) -> tuple[Hit, ...]:
    """Hits in ranking order, with their best sentences marked and cited."""
    hits: list[Hit] = []
    for n, (each, stored, of_sentences) in enumerate(zip(page, found, scores, strict=True), start=offset + 1):
        best = best_sentences(stored, of_sentences)
        passage = stored.passage
        hits.append(
            Hit(
                rank=n,
                score=round(each.score, 6),
                scores=_scores(each),
                passage_id=passage.passage_id,
                text=passage.text,
                highlights=tuple(Highlight(one.start - passage.start, one.end - passage.start) for one in best),
                citation=cite(stored, _references(snapshot, stored), best),
            )
        )
    return tuple(hits)


def _scores(scored: Scored) -> Scores:
    return Scores(
        dense=round(scored.dense, 6),
        lexical=round(scored.lexical, 6),
        sentence=round(max(scored.sentences, default=0.0), 6),
        rerank=None if scored.rerank is None else round(scored.rerank, 6),
    )


def _probability(
    snapshot: Snapshot, question: Question, ranked: Sequence[Scored], read: Sequence[StoredPassage]
) -> float:
    """That what was found answers; 0 where nothing was."""
    if not ranked:
        return 0.0
    papers = snapshot.papers_of([each.row_id for each in ranked[:N_NAMED]])
    return fitted().probability(features(question, ranked, papers, read))


def _cited_passages(snapshot: Snapshot, found: Sequence[StoredPassage]) -> list[CitedPassage]:
    """The passages as a model may quote them, once the snapshot is gone."""
    from service.generate import CitedPassage

    return [CitedPassage(stored, _references(snapshot, stored)) for stored in found]


def _sections(snapshot: Snapshot, paper_id: str) -> tuple[SectionView, ...]:
    return tuple(SectionView(**each) for each in snapshot.outline(paper_id))  # type: ignore[arg-type]


def _references(snapshot: Snapshot, stored: StoredPassage) -> dict[int, Reference]:
    """The reference entries that the passage's markers name."""
    numbers = sorted({number for _, _, named in stored.markers for number in named})
    return snapshot.references(stored.paper.paper_id, numbers) if numbers else {}


def _view(snapshot: Snapshot, stored: StoredPassage) -> PassageView:
    passage = stored.passage
    return PassageView(
        passage.passage_id,
        passage.text,
        passage.kind,
        passage.role,
        passage.n_tokens,
        cite(stored, _references(snapshot, stored)),
    )


def _summary(snapshot: Snapshot, row: StoredPaper) -> PaperSummary:
    versions = snapshot.files(row.paper_id) if row.n_versions else []
    return PaperSummary(
        paper_id=row.paper_id,
        title=row.title,
        authors=row.authors,
        year=row.year,
        journal=row.journal,
        date=row.date,
        doi=row.doi,
        pmcid=row.pmcid,
        pmid=row.pmid,
        licence=row.licence,
        url=row.url,
        source=row.source,
        source_sha256=row.sha256,
        n_passages=row.n_passages,
        body_omitted=row.body_omitted,
        left_out=row.left_out,
        left_out_why=why_left_out(row.left_out),
        kept=row.kept,
        format=row.format,
        notices=row.notices,
        versions=tuple(_version(each) for each in versions if not each.is_searched),
    )


def _version(file: FileRecord) -> VersionView:
    return VersionView(
        file.source, file.sha256, file.format, file.date, file.doi, file.pmcid, file.pmid, file.notices, file.why
    )
