"""The libraries, a function each: papers and questions in, ranked chunks out.

Settings are those that a library's documentation shows first, apart from the model and the number of hits asked for.
Each function imports its own library, so that one which is not installed does not stand in the way of the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.peers.chunks import ANY_OVERLAP, Chunk, chunks_of
from benchmarks.peers.encoding import MAX_POSITIONS, MAX_WORDPIECES, MODEL_FOLDER, Encoder
from indexer.build import build
from indexer.config import DEFAULT_MODEL, BuildConfig
from indexer.embedding import load_embedder
from service.evaluate import SPAN_K, Question
from service.library import Library
from service.query import Query


@dataclass(frozen=True, slots=True)
class Bench:
    """What every peer is given."""

    files: Mapping[str, Path]
    """The papers' files, by paper id."""
    papers: Mapping[str, str]
    """The same files' texts."""
    questions: tuple[Question, ...]
    encode: Encoder
    index: Path
    """loccit's index; it is made where there is none."""
    threads: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a peer found: all its chunks, and for each question's id the best ones' places among them, best first."""

    chunks: list[Chunk]
    rankings: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A library under one setting."""

    title: str
    settings: str
    packages: tuple[str, ...]
    reads: int | None
    """Wordpieces that its embedder reads of a chunk; None where nothing is embedded."""
    search: Callable[[Bench], Found]


def loccit(bench: Bench) -> Found:
    """The library of this environment, over `bench.index`."""
    if not bench.index.exists():
        embedder = load_embedder(DEFAULT_MODEL, threads=bench.threads)
        report = build(list(bench.files.values()), bench.index, embedder, BuildConfig())
        if report.failed:
            raise SystemExit(f"loccit could not index {report.failed}")
    places: dict[Chunk, int] = {}
    rankings: dict[str, list[int]] = {}
    library = Library.open(bench.index)
    for question in bench.questions:
        hits = library.search(Query(question.text, SPAN_K)).hits
        chunks = [Chunk(Path(hit.citation.source).stem, hit.citation.start, hit.citation.end, hit.text) for hit in hits]
        rankings[question.id] = [places.setdefault(chunk, len(places)) for chunk in chunks]
    library.close()
    return Found(list(places), rankings)


def tutorial(bench: Bench) -> Found:
    """Nearest chunks by vector, every one compared."""
    import faiss

    chunks = _recursive_chunks(bench)
    vectors = bench.encode([chunk.text for chunk in chunks])
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    _, nearest = index.search(bench.encode([question.text for question in bench.questions]), SPAN_K)
    return Found(chunks, _by_question(bench, nearest.tolist()))


def bm25s(bench: Bench) -> Found:
    """BM25 over the tutorial's chunks."""
    import bm25s
    import Stemmer

    chunks = _recursive_chunks(bench)
    tokenize = partial(bm25s.tokenize, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)
    retriever = bm25s.BM25()
    retriever.index(tokenize([chunk.text for chunk in chunks]), show_progress=False)
    queries = tokenize([question.text for question in bench.questions])
    best, _ = retriever.retrieve(queries, k=SPAN_K, show_progress=False)
    return Found(chunks, _by_question(bench, best.tolist()))


def llamaindex(bench: Bench) -> Found:
    """LlamaIndex's vector index over its own splitter's nodes."""
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.core.embeddings import BaseEmbedding
    from llama_index.core.node_parser import SentenceSplitter

    class Embedding(BaseEmbedding):
        """What its sentence-transformers integration gives, from the cache."""

        def _get_text_embedding(self, text: str) -> list[float]:
            return self._get_text_embeddings([text])[0]

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return bench.encode(texts).tolist()

        def _get_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return await asyncio.to_thread(self._get_query_embedding, query)

    # No metadata: the path that its folder reader would add is no help in a search.
    documents = [Document(id_=paper_id, text=text) for paper_id, text in bench.papers.items()]
    nodes = SentenceSplitter().get_nodes_from_documents(documents)
    pieces: dict[str, list[str]] = {}
    for node in nodes:
        pieces.setdefault(node.ref_doc_id, []).append(node.text)
    chunks = _chunks(bench, pieces, overlap=ANY_OVERLAP)
    places = {node.node_id: place for place, node in enumerate(nodes)}  # nodes come paper by paper, in order
    retriever = VectorStoreIndex(nodes, embed_model=Embedding(embed_batch_size=2048)).as_retriever(
        similarity_top_k=SPAN_K
    )
    rankings = {
        question.id: [places[hit.node.node_id] for hit in retriever.retrieve(question.text)]
        for question in bench.questions
    }
    return Found(chunks, rankings)


def txtai(bench: Bench, *, own_segments: bool) -> Found:
    """txtai's hybrid index over its own paragraphs, or over the tutorial's chunks."""
    import torch
    from txtai import Embeddings
    from txtai.pipeline import Segmentation

    torch.set_num_threads(bench.threads)
    if own_segments:
        segment = Segmentation(paragraphs=True)
        chunks = _chunks(bench, {paper_id: segment(text) for paper_id, text in bench.papers.items()})
    else:
        chunks = _recursive_chunks(bench)
    embeddings = Embeddings(path=str(MODEL_FOLDER), hybrid=True)
    embeddings.index((place, chunk.text, None) for place, chunk in enumerate(chunks))
    found = embeddings.batchsearch([question.text for question in bench.questions], SPAN_K)
    return Found(chunks, _by_question(bench, [[place for place, _ in hits] for hits in found]))


def haystack(bench: Bench, *, join_mode: str) -> Found:
    """Haystack's in-memory BM25 and embedding retrievers, their hits joined."""
    from haystack import Document
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.preprocessors import DocumentSplitter
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    splitter = DocumentSplitter()
    splits = {
        paper_id: splitter.run(documents=[Document(content=text)])["documents"]
        for paper_id, text in bench.papers.items()
    }
    chunks = _chunks(bench, {paper_id: [each.content for each in parts] for paper_id, parts in splits.items()})
    store = InMemoryDocumentStore()
    vectors = bench.encode([chunk.text for chunk in chunks]).tolist()
    documents = [
        Document(content=chunk.text, meta={"place": place}, embedding=vector)
        for place, (chunk, vector) in enumerate(zip(chunks, vectors, strict=True))
    ]
    store.write_documents(documents)
    lexical = InMemoryBM25Retriever(store, top_k=SPAN_K)
    dense = InMemoryEmbeddingRetriever(store, top_k=SPAN_K)
    joiner = DocumentJoiner(join_mode=join_mode, top_k=SPAN_K)
    rankings: dict[str, list[int]] = {}
    for question, vector in zip(
        bench.questions, bench.encode([question.text for question in bench.questions]).tolist(), strict=True
    ):
        halves = [lexical.run(query=question.text)["documents"], dense.run(query_embedding=vector)["documents"]]
        joined = joiner.run(documents=halves)["documents"]
        rankings[question.id] = [document.meta["place"] for document in joined]
    return Found(chunks, rankings)


def _recursive_chunks(bench: Bench) -> list[Chunk]:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    overlap = 200
    splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=overlap)
    pieces = {paper_id: splitter.split_text(text) for paper_id, text in bench.papers.items()}
    return _chunks(bench, pieces, overlap=overlap)


def _chunks(bench: Bench, pieces: Mapping[str, list[str]], *, overlap: int = 0) -> list[Chunk]:
    return [
        chunk
        for paper_id, of_paper in pieces.items()
        for chunk in chunks_of(paper_id, bench.papers[paper_id], of_paper, overlap=overlap)
    ]


def _by_question(bench: Bench, rankings: list[list[int]]) -> dict[str, list[int]]:
    return {question.id: places for question, places in zip(bench.questions, rankings, strict=True)}


PEERS: Mapping[str, Peer] = {
    "loccit": Peer("loccit", "its defaults", ("loccit",), MAX_WORDPIECES, loccit),
    "tutorial": Peer(
        "the tutorial way",
        "LangChain's RecursiveCharacterTextSplitter, 1000 characters, overlap 200; FAISS flat, inner product",
        ("langchain-text-splitters", "faiss-cpu"),
        MAX_WORDPIECES,
        tutorial,
    ),
    "bm25s": Peer(
        "bm25s",
        "the tutorial's chunks; its defaults (Lucene's BM25, k1 1.5, b 0.75), its English stop words and stemmer",
        ("bm25s",),
        None,
        bm25s,
    ),
    "llamaindex": Peer(
        "LlamaIndex",
        "SentenceSplitter's defaults (1024 tokens, overlap 200), VectorStoreIndex",
        ("llama-index-core",),
        MAX_WORDPIECES,
        llamaindex,
    ),
    "txtai": Peer(
        "txtai hybrid, paragraphs",
        "its Segmentation by paragraphs, hybrid=True (BM25 and vectors, weights 0.5)",
        ("txtai",),
        MAX_POSITIONS,
        partial(txtai, own_segments=True),
    ),
    "txtai-1000": Peer(
        "txtai hybrid, tutorial's chunks",
        "the tutorial's chunks, hybrid=True (BM25 and vectors, weights 0.5)",
        ("txtai",),
        MAX_POSITIONS,
        partial(txtai, own_segments=False),
    ),
    "haystack": Peer(
        "Haystack hybrid",
        "DocumentSplitter's defaults (200 words, no overlap), in-memory BM25 and vectors, DocumentJoiner's default "
        "(concatenate)",
        ("haystack-ai",),
        MAX_WORDPIECES,
        partial(haystack, join_mode="concatenate"),
    ),
    "haystack-rrf": Peer(
        "Haystack hybrid, rank fusion",
        "the same, joined by reciprocal_rank_fusion",
        ("haystack-ai",),
        MAX_WORDPIECES,
        partial(haystack, join_mode="reciprocal_rank_fusion"),
    ),
}
"""By the name that `--only` takes, in the order of the table."""
