"""An open library as a retriever of other frameworks: `langchain`, `llama_index`, `haystack`.

A module each, which alone imports its framework (an extra of the same name). They search, and hand on what was found;
errors are the library's own.
"""

from __future__ import annotations

from pydantic_core import to_jsonable_python

from service.replies import Hit


def metadata_of(hit: Hit) -> dict[str, object]:
    """A hit as every front end gives it, in JSON's own types, without its text.

    Its citation's label stands outside of it too: templates of prompts name only what is outermost.
    """
    metadata = {"label": hit.citation.label, **to_jsonable_python(hit)}
    del metadata["text"]
    return metadata
