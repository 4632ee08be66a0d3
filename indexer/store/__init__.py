"""The index: papers, passages, vectors and word lists, in one of two engines with the same tables.

`embedded` keeps it in a folder: SQLite holds the truth, a FAISS file beside it is a cache of the vectors, and a lock
file is held by the one process that writes. `postgres` keeps it on PostgreSQL servers with pgvector. `opening` tells
which one a place means; what both have in common stands beside it. A `snapshot` is what an index says at one moment.
Ranking knows nothing of these: they give candidates with plain scores.
"""

from indexer.places import IndexPlace, place_of
from indexer.store.embedded.reader import IndexReader
from indexer.store.embedded.writer import IndexWriter
from indexer.store.files import FailedFile, FileRecord, Files, Standing
from indexer.store.ids import Ids, Scores, are_in
from indexer.store.manifest import Manifest
from indexer.store.opening import (
    Reader,
    is_index,
    on_disk,
    open_reader,
    open_writer,
    shown_place,
)
from indexer.store.packing import LINE_END, pack_words, unpack_words, word_code
from indexer.store.records import Alias, Definition, Shard, Similarities, StoredPaper, StoredPassage
from indexer.store.selection import Selection
from indexer.store.snapshot import Snapshot
from indexer.store.writing import Writer

__all__ = [
    "LINE_END",
    "Alias",
    "Definition",
    "FailedFile",
    "FileRecord",
    "Files",
    "Ids",
    "IndexPlace",
    "IndexReader",
    "IndexWriter",
    "Manifest",
    "Reader",
    "Scores",
    "Selection",
    "Shard",
    "Similarities",
    "Snapshot",
    "Standing",
    "StoredPaper",
    "StoredPassage",
    "Writer",
    "are_in",
    "is_index",
    "on_disk",
    "open_reader",
    "open_writer",
    "pack_words",
    "place_of",
    "shown_place",
    "unpack_words",
    "word_code",
]
