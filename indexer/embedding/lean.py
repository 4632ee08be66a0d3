"""The embedder for every day: an exported model, run by ONNX Runtime. Knows nothing of torch or where exports are kept.

Texts are run one at a time: nothing is padded, and a text's vector never depends on its neighbours, which it would with
bytes, as they are scaled by the largest number of a run. As many run at once as there are threads.

The module that imports onnxruntime and tokenizers, and only when a model is loaded.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.embedding.base import Encoder, ModelIdentity, Vectors, available_cpus
from indexer.embedding.pooling import PoolingEmbedder, Reading, Tokens, Traits, pool
from indexer.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

INPUT = "input_ids"
VECTOR, OUTPUTS = "sentence_embedding", "token_embeddings"


class OnnxEmbedder(PoolingEmbedder):
    """A model with the input `INPUT` (token ids, no padding) and the outputs `VECTOR` (unit length) and `OUTPUTS`."""

    def __init__(
        self,
        session: InferenceSession,
        tokenizer: Tokenizer,
        identity: ModelIdentity,
        encoder: Encoder,
        traits: Traits,
        threads: int | None = None,
    ) -> None:
        super().__init__(identity, encoder, traits)
        self._session = session
        self._tokenizer = tokenizer
        self._threads = threads or available_cpus()

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(each) for each in self._tokenizer.encode_batch_fast(list(texts))]

    def _tokens(self, texts: Sequence[str]) -> list[Tokens]:
        return [
            Tokens(each.ids, np.array(each.offsets, dtype=np.int64).reshape(-1, 2))
            for each in self._tokenizer.encode_batch(list(texts))
        ]

    def _run(self, readings: Sequence[Reading], prompt: str) -> Generator[Vectors, None, None]:
        threads = min(self._threads, len(readings))
        if threads < 2:
            yield from map(self._rows, readings)
            return
        with ThreadPoolExecutor(threads) as workers:
            yield from workers.map(self._rows, readings)

    def _rows(self, reading: Reading) -> Vectors:
        ids = np.array([reading.tokens.ids], dtype=np.int64)
        wanted = [VECTOR, OUTPUTS] if reading.parts else [VECTOR]
        vector, *outputs = self._session.run(wanted, {INPUT: ids})
        return np.vstack([vector, *(pool(each[0], list(reading.parts.values())) for each in outputs)])


def open_session(path: Path) -> InferenceSession:
    """The model in a file, ready to run on the thread that calls it. Raises ModelError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle thread takes no CPU
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no other class
        raise ModelError(f"{path} does not load ({error}): delete its folder, and it is made anew") from error


def open_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file: it cuts nothing and pads nothing. Raises ModelError."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises no other class
        raise ModelError(f"{path} does not load ({error}): delete its folder, and it is made anew") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
