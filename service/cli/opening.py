"""Settings, and what is opened by them: the index, its model, a chat model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from indexer.errors import NotFoundError
from service import terminal

if TYPE_CHECKING:
    from indexer.embedding import Embedder
    from service.config import Settings
    from service.library import Library
    from service.llm import ChatModel


def settings_of(**flags: object) -> Settings:
    """The settings of this run, with these flags. Raises ConfigError."""
    from service.config import load_settings

    return load_settings(**flags)


def embedder_of(settings: Settings, name: str, threads: int | None = None) -> Embedder:
    """The model called `name`. Says so if it has to be exported first."""
    from indexer.embedding import load_embedder

    def say() -> None:
        terminal.note(f"preparing the model {name}: once, some twenty seconds")

    return load_embedder(name, threads=threads, precision=settings.precision, on_export=say)


def keep_numpy_to_one_thread() -> None:
    """Before it is imported: its threads wait for one another, spinning, and double what a search costs."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextmanager
def opened(settings: Settings, rerank: str = "", llm: ChatModel | None = None) -> Iterator[Library]:
    """The library over the index, closed afterwards. Raises IndexStateError, ModelError."""
    keep_numpy_to_one_thread()
    from service.library import Library

    with terminal.working("loading the re-ranker") if rerank else nullcontext():
        load = partial(embedder_of, settings, threads=1)
        library = Library.open(
            settings.index, load=load, rerank=rerank, llm=llm, prompt_tokens=settings.llm_prompt_tokens
        )
    try:
        yield library
    finally:
        library.close()


def chat_model_of(settings: Settings) -> ChatModel | None:
    """The model that writes answers, if one is configured."""
    if not settings.llm_url:
        return None
    from service.llm import ChatModel

    return ChatModel(settings.llm_url, settings.llm_model, settings.llm_key, settings.llm_timeout_s)


def omitted_bodies(library: Library, paper_ids: Iterable[str]) -> dict[str, str]:
    """Of these papers, those whose file leaves the full text out, and where that can be had."""
    found: dict[str, str] = {}
    for paper_id in dict.fromkeys(paper_ids):
        with suppress(NotFoundError):  # taken out by another process since it was found
            found[paper_id] = library.paper(paper_id).paper.body_omitted
    return {paper_id: url for paper_id, url in found.items() if url}
