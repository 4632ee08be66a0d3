"""An embedder by its model's name: exported where that works, else run by sentence-transformers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from indexer.embedding.base import Precision
from indexer.embedding.cache import cache_folder, export_key, exported, ready
from indexer.embedding.export import MODEL, TOKENIZER, Record, export
from indexer.embedding.lean import OnnxEmbedder, open_session, open_tokenizer
from indexer.embedding.models import ModelFiles, model_files
from indexer.embedding.pooling import PoolingEmbedder
from indexer.embedding.reference import load_reference

_log = logging.getLogger(__name__)


def load_embedder(
    name: str,
    *,
    threads: int | None = None,
    precision: Precision | Literal["auto"] = "auto",
    on_export: Callable[[], None] = lambda: None,
) -> PoolingEmbedder:
    """The embedder called `name`: the bundled default, a local folder, or a hub name (downloaded on first use).

    `threads` is how many texts are encoded at once (None: as many as there are CPUs for this process); where
    sentence-transformers runs the model it is what torch may use, for the whole process. `precision` is int8, fp32,
    `auto` (int8 where it is faster and close enough, else fp32) or `reference` (sentence-transformers), which is also
    what runs a model that cannot be exported. The first time a model is exported, which takes some 15 s:
    `on_export` is called before. Raises ModelError.
    """
    cache = cache_folder()
    files = model_files(name, cache / "sha256.json")
    if precision == "reference":
        return load_reference(files, threads)
    folder = cache / export_key(files, precision)
    record = ready(folder)
    if record is not None:
        return _embedder(files, folder, record, threads)

    def make(out: Path) -> Record:
        on_export()
        _log.info("exporting the model %s: once, for this machine", name)
        return export(load_reference(files, threads), precision, out)

    with exported(folder, make) as (place, made):
        return _embedder(files, place, made, threads)


def _embedder(files: ModelFiles, folder: Path, record: Record, threads: int | None) -> PoolingEmbedder:
    if record.precision == "reference":
        _log.warning(
            "%s cannot be exported, so sentence-transformers runs it: %s (delete %s to try again)",
            files.name,
            record.reason,
            folder,
        )
        return load_reference(files, threads)
    identity = files.identity(record.dim, record.pooling, record.max_wordpieces)
    session, tokenizer = open_session(folder / MODEL), open_tokenizer(folder / TOKENIZER)
    return OnnxEmbedder(session, tokenizer, identity, record.encoder, record.traits, threads)
