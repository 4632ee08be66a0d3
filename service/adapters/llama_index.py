"""LlamaIndex: passages as nodes, for query and chat engines."""

from __future__ import annotations

import asyncio

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from service.adapters import hits_of, metadata_of
from service.library import Library
from service.query import DEFAULT_K, Filters, Query
from service.replies import Hit


class LoccitRetriever(BaseRetriever):
    """The `k` passages that fit best. The library stays the caller's to close.

    Of the metadata a model reads the label: the framework would write all of it before the text.
    """

    def __init__(self, library: Library, k: int = DEFAULT_K, filters: Filters | None = None) -> None:
        super().__init__()
        self.library, self.k, self.filters = library, k, filters or Filters()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = hits_of(self.library, Query(query_bundle.query_str, self.k, self.filters))
        return [NodeWithScore(node=_node(hit), score=hit.score) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(hit: Hit) -> TextNode:
    metadata = metadata_of(hit)
    unread = [key for key in metadata if key != "label"]
    return TextNode(
        id_=hit.passage_id,
        text=hit.text,
        metadata=metadata,
        excluded_llm_metadata_keys=unread,
        excluded_embed_metadata_keys=unread,
    )
