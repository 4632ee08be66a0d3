"""A build's work on the machines of a Ray cluster: papers are taken apart and embedded there, a task on each CPU.

Files are read, identities settled and the index written by the process that builds, in the order that they have without
a cluster. So it does not matter where a task was done, or how often: what a lost machine had is done again by another.
Each machine has loccit installed, and the model; none needs the papers' files.

The module that imports ray, and only when a cluster is joined.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.build.workshop import Bench, Job, Parts, Sheet, open_sheet, take_apart
from indexer.chunking import CHUNKER_VERSION, renamed
from indexer.config import BuildConfig
from indexer.embedding import Embedder, Encoder, ModelIdentity, PassageText, PassageVectors, Precision, Vectors
from indexer.errors import ClusterError, ConfigError, LoccitError, ModelError, SourceError
from indexer.papers import Paper
from indexer.store import FileRecord
from indexer.terms import TERMS_VERSION

_log = logging.getLogger(__name__)

Load = Callable[[], Embedder]
"""Loads the model where it is called, on one thread. Must be picklable."""
Versions = tuple[tuple[str, str], ...]

_DECIDING = ("loccit", "markdown-it-py", "sentencex", "tokenizers", "tiktoken", "onnxruntime", "sentence-transformers")
"""Packages whose versions decide what a paper's passages and vectors are."""
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})")
_KNOCK = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What an HTTP/2 client begins with (RFC 9113, 3.4): Ray's head speaks gRPC, and answers with its settings."""
_SETTINGS_FRAME = 4
_KNOCK_S = 5.0
_TICK_S = 1.0
_PATIENCE_S = 120.0
"""For so long a cluster may have no CPU at all: less than it takes to replace a machine is no reason to give up."""
_GLANCE_S = 2.0
"""How long what was seen of the cluster counts."""
_TIMES = 10
"""A task whose process or machine is lost is begun again so often. What ends ten of them is the task itself."""
_FILES_FOR_A_CPU = 3
"""Begun ahead of their turn: taking apart takes a twentieth of what embedding does, so that few are enough."""
_MOST_BYTES = 32_000_000
"""Of files begun ahead. They wait in this machine's object store, what is made of them, some three times as much, in
those of the others."""
_MOST_SAID = 300
_SENTENCES = 2
"""Of a complaint of Ray's: what goes on for ten more says how such things come about."""
_PIECES_FOR_A_CPU = 2
_FEWEST_PASSAGES = 8
"""In a piece of a batch: a tenth of a second's work, a hundred times what it costs to send."""


@dataclass(frozen=True, slots=True)
class _Setup:
    """What a worker is to work with."""

    config: BuildConfig
    load: Load
    identity: ModelIdentity
    precision: Precision


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of a file."""

    paper: Paper
    record: FileRecord
    parts: Parts | SourceError


@dataclass(frozen=True, slots=True)
class _Piece:
    """Vectors of some passages, and how many wordpieces were read for them."""

    rows: npt.NDArray[np.float32]
    """Of each passage its own and its sentences', one passage after the other: (n, dim)."""
    n_rows: list[int]
    """For each passage."""
    n_wordpieces: int


@contextmanager
def joined(address: str, config: BuildConfig, embedder: Embedder, load: Load) -> Iterator[Cluster]:
    """The Ray cluster at `address`, `HOST:PORT` or `auto` for that of this machine, for as long as the context lasts.

    `embedder` is this process's own, and says which model the workers must `load`. Raises ConfigError for what is no
    address; ClusterError where Ray is not installed or no cluster of which this machine is a node is there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of tasks that nobody waits for any more
    try:
        import ray
        import ray._private.worker as driver
    except ImportError as error:
        raise ClusterError(f"a cluster needs Ray ({error}): pip install 'loccit[ray]'") from error
    _check(address)
    driver.print_to_stdstream = _complained
    try:
        ray.init(address=address, namespace="loccit", log_to_driver=False, logging_level=logging.WARNING)
    except Exception as error:  # Ray raises many kinds, and no class of its own
        raise ClusterError(
            f"the Ray cluster at {address} cannot be joined ({_said(error)}): start its head with `ray start "
            "--head`, and make this machine a node of it with `ray start --address=HOST:PORT --num-cpus=0`"
        ) from error
    try:
        yield Cluster(ray, address, _Setup(config, load, embedder.identity, embedder.encoder.precision), embedder)
    finally:
        ray.shutdown()


def _check(address: str) -> None:
    """Raise ConfigError for what is no address, and ClusterError where no Ray head answers: Ray itself would go on
    trying for minutes."""
    if address == "auto":
        return
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[2]) < 1 << 16:
        raise ConfigError(f"{address!r} is no address of a Ray cluster: name HOST:PORT of its head, or `auto`")
    try:
        with socket.create_connection((match[1].strip("[]"), int(match[2])), timeout=_KNOCK_S) as line:
            if os.environ.get("RAY_USE_TLS", "0") in ("", "0"):
                line.sendall(_KNOCK)
                reply = line.recv(9)
                if len(reply) < 4 or reply[3] != _SETTINGS_FRAME:
                    raise OSError("what listens there is no Ray head")
    except OSError as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error}): start its head with `ray start --head --port="
            f"{match[2]}`, or name the address that `ray status` gives"
        ) from error


def _complained(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    """What the cluster's nodes complain of goes where all that is logged does: Ray would print it among the results."""
    for each in data["lines"]:
        first_sentences = " ".join(str(each).split()).split(". ")[:_SENTENCES]
        _log.warning("the Ray cluster: %s", ". ".join(first_sentences))


def _said(error: BaseException) -> str:
    """What an error of Ray's says, on one line."""
    return " ".join(str(error).split())[:_MOST_SAID] or type(error).__name__


class Cluster:
    """Machines that a build's work is spread over: its workshop, and where its `embedder` embeds."""

    works_ahead = True

    def __init__(self, ray: ModuleType, address: str, setup: _Setup, embedder: Embedder) -> None:
        self._ray = ray
        self._address = address
        self._given = _versions(), pickle.dumps(setup)
        task = ray.remote(num_cpus=1, max_retries=_TIMES)
        self._open, self._encode = task(_open), task(_encode)
        errors = ray.exceptions
        self._fatal = errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError
        self._glancing = Lock()
        self._n_cpus, self._seen, self._alive = 0, 0.0, time.monotonic()
        self.embedder = _SpreadEmbedder(self, embedder)

    @property
    def n_cpus(self) -> int:
        """How many CPUs the cluster has at present. Raises ClusterError where there has been none for long."""
        with self._glancing:  # two threads ask
            now = time.monotonic()
            if now - self._seen >= _GLANCE_S:
                self._n_cpus, self._seen = int(self._ray.cluster_resources().get("CPU", 0)), now
            if self._n_cpus:
                self._alive = now
            elif now - self._alive >= _PATIENCE_S:
                raise ClusterError(
                    f"the Ray cluster at {self._address} has had no CPU for {_PATIENCE_S:.0f} s: start a node with "
                    "`ray start --address=HOST:PORT`, and run again; what was committed is in the index"
                )
            return self._n_cpus

    def has_room(self, n_begun: int, n_bytes: int) -> bool:
        """Whether another job may be begun while so many are, over files of so many bytes in all."""
        return n_begun == 0 or (n_begun < _FILES_FOR_A_CPU * self.n_cpus and n_bytes < _MOST_BYTES)

    def begin(self, sheet: Sheet) -> Job:
        """Have the file's paper made somewhere."""
        return _Elsewhere(self, sheet.file.source, self._open.remote(*self._given, sheet))

    def begin_piece(self, passages: Sequence[PassageText]) -> object:
        """Have the passages embedded somewhere; `wait` gives the `_Piece`."""
        return self._encode.remote(*self._given, passages)

    def is_done(self, begun: object) -> bool:
        """Whether its result is here."""
        return bool(self._ray.wait([begun], timeout=0)[0])

    def wait(self, begun: object, what: str, tick: Callable[[], None] = lambda: None) -> object:
        """The result of a task on `what`; `tick` is called every second until it is here.

        Raises what the task gave as its error; SourceError for one that ended every process at it; ClusterError
        when the workers cannot do their work or are gone.
        """
        while not self._ray.wait([begun], timeout=_TICK_S)[0]:
            tick()
            _ = self.n_cpus
        try:
            found = self._ray.get(begun)
        except self._ray.exceptions.RayTaskError as error:
            raise ClusterError(
                f"a worker of the Ray cluster failed at {what} ({_last_line(error)}): have loccit[ray] "
                f"{_version('loccit')} installed on each node, as it is here"
            ) from error
        except self._fatal as error:
            raise SourceError(
                f"{what} ended each of {_TIMES + 1} processes that were at it ({_said(error)}): look in the logs "
                "of the cluster's nodes for what ended them, a lack of memory for one"
            ) from error
        except self._ray.exceptions.RayError as error:
            raise ClusterError(
                f"the Ray cluster at {self._address} lost {what} ({_said(error)}): run again; what was committed "
                "is in the index"
            ) from error
        if isinstance(found, LoccitError):
            raise found
        return found


def _last_line(error: BaseException) -> str:
    """Of a worker's error, which Ray gives with its traceback, what it says."""
    return str(error).strip().splitlines()[-1].strip()


class _Elsewhere:
    """A job that some machine of the cluster does."""

    def __init__(self, cluster: Cluster, source: str, begun: object) -> None:
        self._cluster = cluster
        self._source = source
        self._begun = begun
        self._found: _Done | None = None

    def is_done(self) -> bool:
        return self._found is not None or self._cluster.is_done(self._begun)

    def opened(self) -> tuple[Paper, FileRecord]:
        done = self._done()
        return done.paper, done.record

    def parts(self, paper: Paper) -> Parts:
        done = self._done()
        if isinstance(done.parts, SourceError):
            raise done.parts
        if paper.paper_id == done.paper.paper_id:
            return done.parts
        return replace(done.parts, passages=renamed(done.parts.passages, paper.paper_id))

    def _done(self) -> _Done:
        if self._found is None:
            found = self._cluster.wait(self._begun, f"the file {self._source}")
            assert isinstance(found, _Done)
            self._found, self._begun = found, None  # the cluster need not keep it
        return self._found


class _SpreadEmbedder:
    """The model, as all the cluster's machines together run it. What is short is done here."""

    def __init__(self, cluster: Cluster, own: Embedder) -> None:
        self._cluster = cluster
        self._own = own

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is, to the byte."""
        return self._own.identity

    @property
    def encoder(self) -> Encoder:
        """What runs it."""
        return self._own.encoder

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens that each text takes up in the model, special tokens and prompt included."""
        return self._own.count(texts)

    def encode(
        self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
    ) -> list[PassageVectors]:
        """Passages and their sentences, in order, embedded piece by piece. One that is there twice is sent once.

        `on_progress` hears how many more wordpieces have been read, and every second that it was none.
        Raises ModelError for a text longer than the model reads, and ClusterError.
        """
        each_once = list(dict.fromkeys(passages))
        n_pieces = min(-(-len(each_once) // _FEWEST_PASSAGES), _PIECES_FOR_A_CPU * max(1, self._cluster.n_cpus))
        pieces = [each_once[n::n_pieces] for n in range(n_pieces)]
        begun = [self._cluster.begin_piece(piece) for piece in pieces]
        vectors: dict[PassageText, PassageVectors] = {}
        for piece, task in zip(pieces, begun, strict=True):
            try:
                done = self._cluster.wait(task, f"{len(piece)} passages", lambda: on_progress(0))
            except SourceError as error:
                raise ClusterError(str(error)) from error
            assert isinstance(done, _Piece)
            vectors |= zip(piece, _taken_apart(done), strict=True)
            on_progress(done.n_wordpieces)
        return [vectors[passage] for passage in passages]

    def encode_query(self, text: str) -> Vectors:
        """A query -> (dim,)."""
        return self._own.encode_query(text)


def _put_together(vectors: Sequence[PassageVectors], n_wordpieces: int) -> _Piece:
    """The vectors in one array: Ray sends each array apart."""
    rows = [part for each in vectors for part in (each.passage[np.newaxis], each.sentences)]
    return _Piece(np.concatenate(rows), [1 + len(each.sentences) for each in vectors], n_wordpieces)


def _taken_apart(piece: _Piece) -> list[PassageVectors]:
    rows = np.array(piece.rows)  # Ray's own lie in its object store, as long as they are looked at
    ends = np.cumsum(piece.n_rows)
    return [PassageVectors(rows[end - n], rows[end - n + 1 : end]) for end, n in zip(ends, piece.n_rows, strict=True)]


# What follows runs on the workers.


def _versions() -> Versions:
    """What decides, on this machine, how a paper is taken apart and embedded."""
    return (
        *((name, _version(name)) for name in _DECIDING),
        ("chunker", str(CHUNKER_VERSION)),
        ("terms", str(TERMS_VERSION)),
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@lru_cache(maxsize=1)
def _bench(versions: Versions, setup: bytes) -> Bench:
    """What this process works with, loaded once. Raises ClusterError unless it is what the build works with."""
    here, own = f"the node {platform.node()}", dict(_versions())
    for name, wanted in versions:
        if own.get(name) != wanted:
            raise ClusterError(
                f"{here} has {name} {own.get(name)}, and this machine {wanted}: install the same loccit on both, with "
                "the versions of its constraints.txt"
            )
    os.environ["HF_HUB_OFFLINE"] = "1"  # a cluster's machines reach for no model: each has it
    asked: _Setup = pickle.loads(setup)
    try:
        embedder = asked.load()
    except ModelError as error:
        raise ClusterError(f"on {here}: {error}") from error
    found, wanted_model = embedder.identity, asked.identity
    if found.weights_sha256 != wanted_model.weights_sha256:
        raise ClusterError(
            f"{here} has other weights of the model {wanted_model.name} (SHA-256 {found.weights_sha256[:12]}…, here "
            f"{wanted_model.weights_sha256[:12]}…): put the same files on both"
        )
    if found != wanted_model:
        raise ClusterError(
            f"{here} has the model as {found}, and this machine as {wanted_model}: put the same files on both"
        )
    if embedder.encoder.precision != asked.precision:
        raise ClusterError(
            f"{here} runs the model in {embedder.encoder.precision}, and this machine in {asked.precision}: set "
            "LOCCIT_PRECISION to `int8` or `fp32`, which then counts for all"
        )
    return Bench(asked.config, embedder)


def _open(versions: Versions, setup: bytes, sheet: Sheet) -> _Done | SourceError | ClusterError:
    """The file's paper, taken apart. Errors are results: Ray would wrap them."""
    try:
        bench = _bench(versions, setup)
        paper, record = open_sheet(sheet)
    except (SourceError, ClusterError) as error:
        return error
    try:
        return _Done(paper, record, take_apart(paper, bench.config, bench.embedder))
    except SourceError as error:  # which counts only if the paper is to be taken apart
        return _Done(paper, record, error)


def _encode(versions: Versions, setup: bytes, passages: Sequence[PassageText]) -> _Piece | LoccitError:
    """The passages' vectors. Errors are results here too."""
    read: list[int] = []
    try:
        vectors = _bench(versions, setup).embedder.encode(passages, read.append)
    except LoccitError as error:
        return error
    return _put_together(vectors, sum(read))
