"""sentence-transformers: what defines a model's vectors, and runs the models that cannot be exported.

The module that loads sentence-transformers and torch, and only when a model is loaded: that takes seconds.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.embedding.base import Encoder, ModelIdentity, Vectors, unit
from indexer.embedding.models import ModelFiles
from indexer.embedding.pooling import PoolingEmbedder, Reading, Tokens, Traits, pool
from indexer.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_BATCH_SIZE = 32
_MEAN_POOLED = {"Transformer", "Pooling", "Normalize"}
"""The modules of a model whose vectors are its tokens' means and nothing else."""


class SentenceTransformerEmbedder(PoolingEmbedder):
    """Any sentence-transformers model, from a folder or a hub."""

    def __init__(self, model: SentenceTransformer, identity: ModelIdentity) -> None:
        late = identity.pooling == "mean" and {type(module).__name__ for module in model} <= _MEAN_POOLED
        traits = Traits(_prompt(model, "document", "passage"), _prompt(model, "query"), late)
        super().__init__(identity, Encoder("reference", 1.0), traits)
        self.model = model
        # A tokenizer keeps whether it cuts as a state of its own: one that never does, for all threads.
        self._counter = copy.deepcopy(model.tokenizer)

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        encoded = self._counter(list(texts), truncation=False, padding=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def _tokens(self, texts: Sequence[str]) -> list[Tokens]:
        if not texts:
            return []
        located = bool(self._counter.is_fast)
        encoded = self._counter(
            list(texts), truncation=False, padding=False, verbose=False, return_offsets_mapping=located
        )
        ids = encoded["input_ids"]
        offsets = encoded["offset_mapping"] if located else [[(0, 0)] * len(each) for each in ids]
        return [Tokens(of, np.array(at, dtype=np.int64).reshape(-1, 2)) for of, at in zip(ids, offsets, strict=True)]

    def _run(self, readings: Sequence[Reading], prompt: str) -> Generator[Vectors, None, None]:
        """In batches of neighbours: a batch is padded to its longest text."""
        for at in range(0, len(readings), _BATCH_SIZE):
            batch = readings[at : at + _BATCH_SIZE]
            encoded = self.model.encode(
                [reading.text for reading in batch],
                prompt=prompt or None,
                output_value=None,
                show_progress_bar=False,
                batch_size=_BATCH_SIZE,
            )
            for reading, each in zip(batch, encoded, strict=True):
                rows = [unit(each["sentence_embedding"].float().numpy())]
                if reading.parts:
                    outputs = each["token_embeddings"][each["attention_mask"].bool()].float().numpy()
                    rows.append(pool(outputs, list(reading.parts.values())))
                yield np.vstack(rows)


def load_reference(files: ModelFiles, threads: int | None = None) -> SentenceTransformerEmbedder:
    """The model in these files, run by torch on so many threads (for the whole process; None leaves it to torch).

    Raises ModelError.
    """
    with loading(files.folder, threads):
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(
            str(files.folder), device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True}
        )
    dim = model.get_embedding_dimension()
    if not dim or not model.max_seq_length:
        raise ModelError(f"the model in {files.folder} does not say its dimension or how much it reads")
    return SentenceTransformerEmbedder(model, files.identity(dim, _pooling(model), model.max_seq_length))


@contextmanager
def loading(folder: Path, threads: int | None) -> Iterator[None]:
    """Around the loading of the model in `folder`: no progress bars, and whatever fails is a ModelError.

    `threads` is how many torch may use, for the whole process; None leaves it to torch.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    import torch
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()  # "Loading weights" is not the user's progress
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the model in {folder} does not load: {error}") from error


def _pooling(model: SentenceTransformer) -> str:
    for module in model:
        mode = getattr(module, "pooling_mode", None) or getattr(module, "get_pooling_mode_str", lambda: None)()
        if mode:
            return str(mode)
    return "unknown"


def _prompt(model: SentenceTransformer, *names: str) -> str:
    """The text that the model wants in front of a passage or query; empty for most."""
    prompts = {str(key): str(value or "") for key, value in model.prompts.items()}
    return next((prompts[name] for name in (*names, model.default_prompt_name) if prompts.get(name)), "")
