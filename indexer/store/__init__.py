"""The index: SQLite holds the truth, a FAISS file beside it is a cache of the vectors.

`reader` opens an index for searching, `writer` for changing it; a `snapshot` is what it says at one moment. Ranking
knows nothing of these: they give candidates with plain scores. An index is a folder:

    index.sqlite    papers, passages, vectors, full-text index, manifest
    vectors.faiss   the vectors again, ready to search; made anew when it is missing, damaged, behind, or another's
    writer.lock     held by the one process that writes
"""

from indexer.store.embedded.folder import is_index
from indexer.store.embedded.footprint import on_disk
from indexer.store.embedded.reader import IndexReader
from indexer.store.embedded.writer import IndexWriter
from indexer.store.files import FailedFile, FileRecord, Standing
from indexer.store.ids import Ids, Scores, are_in
from indexer.store.manifest import Manifest
from indexer.store.packing import LINE_END, pack_words, unpack_words, word_code
from indexer.store.records import Alias, Definition, Similarities, StoredPaper, StoredPassage
from indexer.store.selection import Selection
from indexer.store.snapshot import Snapshot

__all__ = [
    "LINE_END",
    "Alias",
    "Definition",
    "FailedFile",
    "FileRecord",
    "Ids",
    "IndexReader",
    "IndexWriter",
    "Manifest",
    "Scores",
    "Selection",
    "Similarities",
    "Snapshot",
    "Standing",
    "StoredPaper",
    "StoredPassage",
    "are_in",
    "is_index",
    "on_disk",
    "pack_words",
    "unpack_words",
    "word_code",
]
