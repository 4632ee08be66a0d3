"""LangChain: passages as documents. Also a runnable, for chains; async calls run in its default thread pool."""

from __future__ import annotations

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import InstanceOf

from service.adapters import hits_of, metadata_of
from service.library import Library
from service.query import DEFAULT_K, Filters, Query


class LoccitRetriever(BaseRetriever):
    """The `k` passages that fit best. The library stays the caller's to close."""

    library: Library
    k: int = DEFAULT_K
    filters: InstanceOf[Filters] = Filters()

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        hits = hits_of(self.library, Query(query, self.k, self.filters))
        return [Document(id=hit.passage_id, page_content=hit.text, metadata=metadata_of(hit)) for hit in hits]
