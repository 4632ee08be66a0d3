"""A process that builds an index and ends at once, as if killed, when it has come so far. Forked from a clean server:
an SQLite connection must not be carried into a child."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.store import IndexWriter
from indexer.store.embedded import dense
from tests.fakes import WordEmbedder

CONFIG = BuildConfig(model="words", max_wordpieces=32, merge_below=8)
KILLED = 9
_PLACES = [
    (IndexWriter, ("put", "put_file", "forget_file", "take_down", "checkpoint")),
    (IndexWriter, ("_write_words", "commit", "_save_vectors")),
    (dense.DenseIndex, ("save", "caught_up")),
    (WordEmbedder, ("encode",)),
    (os, ("fsync",)),
    (Path, ("replace",)),
]  # fmt: skip


def build_until_killed(papers: Path, index: Path, *, after: int, rebuild: bool) -> bool:
    """Whether the build was killed after so many steps; else it is done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.crashing", "service.library"])
    process = context.Process(target=_build, args=(papers, index, after, rebuild))
    process.start()
    process.join(60)
    assert process.exitcode in (0, KILLED)
    code = process.exitcode
    process.close()
    return code == KILLED


def _build(papers: Path, index: Path, after: int, rebuild: bool) -> None:
    left = after

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(KILLED)

    for owner, names in _PLACES:
        for name in names:
            setattr(owner, name, _counted(getattr(owner, name), step))
    build([papers], index, embedder(), CONFIG, prune=True, rebuild=rebuild)


def _counted(of: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        step()
        found = of(*args, **kwargs)
        step()
        return found

    return counted


def embedder() -> Embedder:
    """The embedder that the index is made with."""
    return WordEmbedder()
