"""Haystack: passages as documents, from a component for pipelines."""

from __future__ import annotations

from typing import Any

from haystack import Document, component, default_to_dict
from pydantic_core import to_jsonable_python

from service.adapters import hits_of, metadata_of
from service.library import Library
from service.query import DEFAULT_K, Filters, Query


@component
class LoccitRetriever:
    """The `top_k` passages that fit best; `filters` and `top_k` of a run stand in for the component's own."""

    def __init__(self, library: Library, top_k: int = DEFAULT_K, filters: Filters | None = None) -> None:
        self.library, self.top_k, self.filters = library, top_k, filters or Filters()

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: Filters | None = None, top_k: int | None = None) -> dict[str, list[Document]]:
        """The passages as `documents`, the best first. Raises what `Library.search` does."""
        wanted = Query(query, self.top_k if top_k is None else top_k, filters or self.filters)
        hits = hits_of(self.library, wanted)
        return {
            "documents": [
                Document(id=hit.passage_id, content=hit.text, score=hit.score, meta=metadata_of(hit)) for hit in hits
            ]
        }

    def to_dict(self) -> dict[str, Any]:
        """Where the index is, as the library was told, but for a password; the re-ranker, and what the component was
        made with."""
        saved: dict[str, Any] = default_to_dict(
            self,
            index=self.library.place,
            rerank=self.library.reranker,
            top_k=self.top_k,
            filters=to_jsonable_python(self.filters),
        )
        return saved

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LoccitRetriever:
        """The same over that index, opened anew with its default settings; `Pipeline.close` closes it."""
        saved = data["init_parameters"]
        given: dict[str, Any] = saved["filters"]
        tuples = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
        filters = Filters(**{**given, **tuples})
        return cls(Library.open(saved["index"], rerank=saved["rerank"]), saved["top_k"], filters)

    def close(self) -> None:
        """Close the library; whoever gave it may do so instead."""
        self.library.close()
