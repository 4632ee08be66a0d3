"""A sentence-transformers model -> an ONNX file that gives the same vectors, checked against the model itself.

Exported with torch's legacy exporter, whose graph ONNX Runtime runs 12 % faster than the newer one's; its weights and
activations then made bytes where that is faster and close enough. Knows nothing of where exports are kept.
"""

from __future__ import annotations

import json
import logging
import platform
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

import numpy as np

from indexer.embedding.base import Encoder, PassageText, Precision, Vectors
from indexer.embedding.lean import INPUT, OUTPUTS, VECTOR, OnnxEmbedder, open_session, open_tokenizer
from indexer.embedding.models import file_sha256
from indexer.embedding.pooling import PoolingEmbedder, Traits
from indexer.embedding.reference import SentenceTransformerEmbedder
from indexer.embedding.sample import PASSAGES, QUERIES
from indexer.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

EXPORT_VERSION = 2
"""Raise it when what is exported or checked changes: every model is then exported anew."""

MODEL, TOKENIZER, RECORD = "model.onnx", "tokenizer.json", "record.json"
"""The files of an export."""

Scheme = Literal["int8", "int8-7bit"]
"""Weights of eight bits, or of seven: where a CPU adds products of bytes in 16 bits, those of eight would overflow."""

_OPSET = 17
_FP32_MIN_COSINE = 0.9999
_INT8_MEAN_COSINE, _INT8_MIN_COSINE = 0.985, 0.95
_WORTH_IT = 1.1
"""How many times as fast bytes must be, for their vectors are not quite the model's."""
_TIMED_RUNS = 5
_REASON_CHARS = 300


@dataclass(frozen=True, slots=True)
class Check:
    """An export on the sample: how close to sentence-transformers, and how fast."""

    cosine_mean: float
    cosine_min: float
    tokens_per_s: float
    """On one thread."""


@dataclass(frozen=True, slots=True)
class Record:
    """What stands beside an exported model."""

    precision: Precision
    """`reference` for a model that cannot be exported: then there is no other file."""
    reason: str
    """Why it cannot; else empty."""
    scheme: str
    dim: int
    pooling: str
    max_wordpieces: int
    traits: Traits
    sha256: dict[str, str]
    """Of the other files."""
    checks: dict[str, Check]
    """By precision."""
    versions: dict[str, str]
    """Of the packages that made it."""

    @property
    def encoder(self) -> Encoder:
        """What runs the model: as it is recorded in an index."""
        return Encoder(self.precision, self.checks[self.precision].cosine_mean)

    def save(self, folder: Path) -> None:
        """Write it."""
        (folder / RECORD).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Record:
        """Read it. Raises OSError, ValueError, TypeError, KeyError for one that is missing or damaged."""
        read = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        checks = {name: Check(**check) for name, check in read.pop("checks").items()}
        return cls(traits=Traits(**read.pop("traits")), checks=checks, **read)


class NotExportableError(Exception):
    """A model that only sentence-transformers can run, and why."""


def export(reference: SentenceTransformerEmbedder, precision: str, folder: Path) -> Record:
    """Write model, tokenizer and record to `folder`: in int8, fp32, or (`auto`) in what `choose` takes.

    A model that cannot be exported gets a record that says so. Raises ModelError where int8 was asked for and is not
    close enough.
    """
    with tempfile.TemporaryDirectory(dir=folder) as work:
        try:
            with _failures_named():
                checks = _candidates(reference, precision, Path(work))
        except NotExportableError as error:
            record = replace(_unexported(reference), reason=str(error))
        else:
            chosen = choose(precision, checks["int8"], checks["fp32"]) if "int8" in checks else "fp32"
            # A large model's weights stand in files of their own.
            for path in (Path(work, TOKENIZER), *Path(work, chosen).iterdir()):
                path.rename(folder / path.name)
            record = replace(
                _unexported(reference),
                precision=chosen,
                scheme=int8_scheme() if chosen == "int8" else chosen,
                sha256={path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.is_file()},
                checks=checks,
            )
    record.save(folder)
    return record


def choose(precision: str, int8: Check, fp32: Check) -> Literal["int8", "fp32"]:
    """Which of the two is used. Raises ModelError where int8 was asked for and is not close enough."""
    close = int8.cosine_mean >= _INT8_MEAN_COSINE and int8.cosine_min >= _INT8_MIN_COSINE
    if precision == "int8" and not close:
        raise ModelError(
            f"in int8 the model's vectors have a cosine of {int8.cosine_mean:.4f} to its own in the mean and "
            f"{int8.cosine_min:.4f} at the least, and {_INT8_MEAN_COSINE} and {_INT8_MIN_COSINE} are wanted: use fp32"
        )
    faster = int8.tokens_per_s >= _WORTH_IT * fp32.tokens_per_s
    return "int8" if close and (faster or precision == "int8") else "fp32"


def int8_scheme() -> Scheme:
    """The bytes that suit this CPU, as ONNX Runtime's documentation of quantisation has it."""
    if platform.machine() in ("arm64", "aarch64"):
        return "int8"
    return "int8" if {"avx512_vnni", "avx_vnni"} & _cpu_flags() else "int8-7bit"


def versions() -> dict[str, str]:
    """Of the packages that an export depends on."""
    return {name: version(name) for name in ("torch", "sentence-transformers", "onnx", "onnxruntime", "tokenizers")}


def _cpu_flags() -> set[str]:
    """Of the first CPU; empty where the system does not say."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return set(next((line for line in lines if line.startswith("flags")), "").split())
    except OSError:
        return set()


def _unexported(reference: SentenceTransformerEmbedder) -> Record:
    identity = reference.identity
    return Record(
        precision="reference",
        reason="",
        scheme="",
        dim=identity.dim,
        pooling=identity.pooling,
        max_wordpieces=identity.max_wordpieces,
        traits=reference.traits,
        sha256={},
        checks={},
        versions=versions(),
    )


@contextmanager
def _failures_named() -> Iterator[None]:
    """Around torch's exporter, onnx and ONNX Runtime, which raise what they like: it is a NotExportableError."""
    try:
        yield
    except (NotExportableError, OSError, MemoryError):
        raise  # this says nothing of the model
    except Exception as error:
        raise NotExportableError(" ".join(f"{type(error).__name__}: {error}".split())[:_REASON_CHARS]) from error


def _candidates(reference: SentenceTransformerEmbedder, precision: str, folder: Path) -> dict[str, Check]:
    """Write the tokenizer, and the models to choose from to folders of their own; how good each is, by precision."""
    reference.model.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER), False)
    wanted = _sample_vectors(reference)
    fp32, int8 = folder / "fp32" / MODEL, folder / "int8" / MODEL
    fp32.parent.mkdir()
    _write_onnx(reference.model, fp32)
    embedders = {"fp32": _opened(fp32, folder, reference)}
    cosines = {"fp32": _cosines(embedders["fp32"], reference, wanted)}
    if not cosines["fp32"].min() >= _FP32_MIN_COSINE:
        raise NotExportableError(f"its vectors come out different (cosine {cosines['fp32'].min():.4f})")
    if precision != "fp32":
        int8.parent.mkdir()
        _write_int8(fp32, int8, int8_scheme())
        embedders["int8"] = _opened(int8, folder, reference)
        cosines["int8"] = _cosines(embedders["int8"], reference, wanted)
    speeds = _speeds(embedders)
    return {
        name: Check(round(float(each.mean()), 5), round(float(each.min()), 5), round(speeds[name]))
        for name, each in cosines.items()
    }


def _opened(model: Path, folder: Path, reference: SentenceTransformerEmbedder) -> OnnxEmbedder:
    """The model as it will be used, on one thread."""
    session, tokenizer = open_session(model), open_tokenizer(folder / TOKENIZER)
    return OnnxEmbedder(session, tokenizer, reference.identity, Encoder("fp32", 1.0), reference.traits, threads=1)


def _write_onnx(model: SentenceTransformer, path: Path) -> None:
    """The whole model, from token ids to a vector of unit length and the tokens' outputs."""
    import torch

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            out = self.model({INPUT: ids})  # no padding, so no mask of it: 4 % faster
            return torch.nn.functional.normalize(out[VECTOR], p=2, dim=1), out[OUTPUTS]

    if any(model.prompts.values()) and any(getattr(module, "include_prompt", True) is False for module in model):
        raise NotExportableError("its vectors leave out the prompt")
    ids = model.tokenizer(["a text of a few words"], return_tensors="pt")[INPUT]
    axes = {0: "texts", 1: "tokens"}
    with _eager_attention(model), torch.inference_mode(), _quiet():
        torch.onnx.export(
            Whole().eval(),
            (ids,),
            str(path),
            input_names=[INPUT],
            output_names=[VECTOR, OUTPUTS],
            dynamic_axes={INPUT: axes, OUTPUTS: axes, VECTOR: {0: "texts"}},
            dynamo=False,
            opset_version=_OPSET,
        )


@contextmanager
def _eager_attention(model: SentenceTransformer) -> Iterator[None]:
    """Attention as plain matrix products, which the exporter and the quantiser know, where the model allows it."""
    transformer = getattr(model[0], "auto_model", None)
    before = getattr(getattr(transformer, "config", None), "_attn_implementation", None)
    if transformer is None or before is None:
        yield
        return
    transformer.set_attn_implementation("eager")
    try:
        yield
    finally:
        transformer.set_attn_implementation(before)


def _write_int8(fp32: Path, int8: Path, scheme: Scheme) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(fp32, int8, weight_type=QuantType.QInt8, per_channel=True, reduce_range=scheme == "int8-7bit")


def _sample_vectors(embedder: PoolingEmbedder) -> Vectors:
    """The embedder's vectors of the sample: (n_texts, dim)."""
    passages = embedder.encode([PassageText(text, ()) for text in _sample_passages(embedder)])
    queries = [embedder.encode_query(text) for text in QUERIES]
    return np.vstack([*(each.passage for each in passages), *queries])


def _sample_passages(embedder: PoolingEmbedder) -> list[str]:
    """Those that the model can read."""
    counts = embedder.count(PASSAGES)
    return [text for text, n in zip(PASSAGES, counts, strict=True) if n <= embedder.identity.max_wordpieces]


def _cosines(exported: OnnxEmbedder, reference: SentenceTransformerEmbedder, wanted: Vectors) -> Vectors:
    """Of the exported model's vectors of the sample to those wanted: (n_texts,)."""
    if exported.count(PASSAGES) != reference.count(PASSAGES):
        raise NotExportableError("its tokenizer counts differently outside of sentence-transformers")
    return np.asarray(np.sum(_sample_vectors(exported) * wanted, axis=1))


def _speeds(embedders: dict[str, OnnxEmbedder]) -> dict[str, float]:
    """Tokens a second on the sample; in turns, so that what else the machine does slows all alike."""
    any_of_them = embedders["fp32"]
    passages = [PassageText(text, ()) for text in _sample_passages(any_of_them)]
    n_tokens = sum(any_of_them.count([each.text for each in passages]))
    seconds: dict[str, list[float]] = {name: [] for name in embedders}
    for _ in range(_TIMED_RUNS):
        for name, embedder in embedders.items():
            began = time.perf_counter()
            embedder.encode(passages)
            seconds[name].append(time.perf_counter() - began)
    return {name: n_tokens / median(each) for name, each in seconds.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter and the quantiser say of themselves: warnings, and lines in the root logger."""

    def of_others(record: logging.LogRecord) -> bool:
        return "onnx" not in record.pathname

    root, silence = logging.getLogger(), logging.NullHandler()
    root.addFilter(of_others)
    root.addHandler(silence)  # else the first line logged would give the process a handler that prints
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(silence)
        root.removeFilter(of_others)
