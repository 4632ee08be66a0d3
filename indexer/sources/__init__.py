"""Files on disk -> papers: which files a path stands for, and their text, exact.

`files` finds them and reads their bytes, `manuscripts` puts those in several files together, `reading` makes a paper of
the bytes, `naming` has the ids of papers whose text names none, `watching` tells what changes.
"""

from indexer.sources.files import (
    MAX_BYTES,
    SUFFIXES,
    SourceFile,
    check_name,
    find_sources,
    is_there,
    printable,
    read_bytes,
)
from indexer.sources.manuscripts import is_part
from indexer.sources.naming import named_by_path, path_ids, stem_ids
from indexer.sources.reading import bugs_named, parse_bytes, parse_source, with_provenance
from indexer.sources.watching import Changes, changes, only_of

__all__ = [
    "MAX_BYTES",
    "SUFFIXES",
    "Changes",
    "SourceFile",
    "bugs_named",
    "changes",
    "check_name",
    "find_sources",
    "is_part",
    "is_there",
    "named_by_path",
    "only_of",
    "parse_bytes",
    "parse_source",
    "path_ids",
    "printable",
    "read_bytes",
    "stem_ids",
    "with_provenance",
]
