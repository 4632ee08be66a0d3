"""An open library as a retriever of other frameworks: `langchain`, `llama_index`, `haystack`.

A module each, which alone imports its framework (an extra of the same name). They search, and hand on what was found;
errors are the library's own.
"""

from __future__ import annotations

import logging

from pydantic_core import to_jsonable_python

from indexer.errors import partly
from service.library import Library
from service.query import Query
from service.replies import Hit

_log = logging.getLogger(__name__)


def hits_of(library: Library, query: Query) -> tuple[Hit, ...]:
    """What `Library.search` finds. Frameworks' lists cannot say that servers are missing: the log does."""
    reply = library.search(query)
    if reply.missing_shards:
        _log.warning("not all of the index: %s", partly(reply.missing_shards))
    return reply.hits


def metadata_of(hit: Hit) -> dict[str, object]:
    """A hit as every front end gives it, in JSON's own types, without its text.

    Its citation's label stands outside of it too: templates of prompts name only what is outermost.
    """
    metadata = {"label": hit.citation.label, **to_jsonable_python(hit)}
    del metadata["text"]
    return metadata
