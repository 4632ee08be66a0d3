"""What an index holds, to compare with another; and whether it hangs together."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from indexer.store import IndexReader, Snapshot
from indexer.store.embedded.folder import DATABASE, VECTORS
from service.library import Library
from service.query import MAX_K, Query
from tests.fakes import WordEmbedder
from tests.torture.crash.world import World, queries

AT_REST = {DATABASE, VECTORS, "writer.lock"}
"""The files of an index that nobody has open."""


def embedder() -> WordEmbedder:
    """Of the default model's size, without a model."""
    return WordEmbedder("all-MiniLM-L6-v2", dim=32, max_wordpieces=256)


def digest(snapshot: Snapshot) -> str:
    """Of all that a snapshot says of its papers and files; the same for two indexes of the same papers."""
    said = hashlib.sha256()
    for paper in snapshot.papers():
        said.update(repr(paper).encode())
        for each in snapshot.passages_of(paper.paper_id):
            said.update(repr((each.passage, each.markers)).encode())
        for text, vectors in sorted(snapshot.vectors_of(paper.paper_id).items()):
            said.update(text.encode() + vectors.passage.tobytes() + vectors.sentences.tobytes())
        said.update(repr(snapshot.references(paper.paper_id)).encode())
        said.update(repr(snapshot.kept_text(paper.paper_id)).encode())
        said.update(repr(snapshot.files(paper.paper_id)).encode())
    said.update(repr(snapshot.failures()).encode())
    return said.hexdigest()


def held(index: Path) -> str:
    """The digest of an index on disk."""
    with closing(IndexReader(index)) as reader, reader.snapshot() as snapshot:
        return digest(snapshot)


def replies(index: Path) -> list[tuple[str, float]]:
    """What it answers: all passages that some searches find, and their scores."""
    with closing(Library.open(index, load=lambda _: embedder())) as library:
        found = [library.search(Query(each, MAX_K)).hits for each in queries()[::4]]
    return sorted((hit.passage_id, round(hit.score, 5)) for hits in found for hit in hits)


def faults_of(index: Path, world: World, *, at_rest: bool = False) -> Iterator[str]:
    """What does not hang together in an index that opens. `at_rest`: after a build that came to its end."""
    with closing(IndexReader(index)) as reader, _complaints() as complaints, reader.snapshot() as snapshot:
        connection = snapshot._connection
        if (said := [row[0] for row in connection.execute("PRAGMA integrity_check")]) != ["ok"]:
            yield f"integrity_check: {said}"
        if said := list(connection.execute("PRAGMA foreign_key_check")):
            yield f"foreign_key_check: {said}"
        # Against the rows that it is of: raises where it is not.
        connection.execute("INSERT INTO passages_fts (passages_fts, rank) VALUES ('integrity-check', 1)")
        rows, with_vectors = 0, set()
        for paper in snapshot.papers():
            text = snapshot.kept_text(paper.paper_id) or world.text_with(paper.sha256)
            own = snapshot.passages_of(paper.paper_id)
            rows += len(own)
            if not own:
                yield f"{paper.paper_id} has no passages"
            if [each.passage.ordinal for each in own] != list(range(len(own))):
                yield f"{paper.paper_id} has lost passages"
            for each in own:
                if text[each.passage.start : each.passage.end] != each.passage.text:
                    yield f"{each.passage.passage_id} does not read as its file"
                if each.passage.role == "body":
                    with_vectors.add(each.row_id)
            n_searched = [each.is_searched for each in snapshot.files(paper.paper_id)].count(True)
            if n_searched > 1 or (at_rest and not n_searched):
                yield f"{paper.paper_id} has {n_searched} files that are searched"
        counts = snapshot.counts()
        if (counts["passages"], counts["vectors"]) != (rows, len(with_vectors)):
            yield f"{counts}, and {rows} passages are there, {len(with_vectors)} to be searched by vectors"
        every = snapshot.nearest(np.ones(32, dtype=np.float32), rows + 1, None)
        if set(every.tolist()) != with_vectors:
            yield "the vectors that are searched are not those of the passages"
    yield from complaints


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What is logged as damaged meanwhile."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logging.getLogger("indexer").addHandler(listener)
    try:
        yield said
    finally:
        logging.getLogger("indexer").removeHandler(listener)
