"""Fixtures that several test files share."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import indexer.embedding
import service.library
from indexer.build import build
from indexer.config import DEFAULT_MODEL, BuildConfig
from indexer.embedding import Embedder, load_embedder
from service.cli import main
from service.library import Library
from tests.corpus import PAPERS


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Have Ctrl-C heard here, and by what is started from here, also where a shell began this in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty place for exported models, which the tests share, and the commands that they start."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield cache / "loccit" / "models"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with papers and question sets to measure on; skips where there is none."""
    folder = Path(os.environ.get("LOCCIT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "papers").is_dir():
        pytest.skip("no shared papers: set LOCCIT_SHARED to their folder")
    return folder.absolute()


@pytest.fixture(scope="session")
def embedder(models: Path) -> Embedder:
    """The default model, exported and loaded once; on one thread, as a library has it."""
    return load_embedder(DEFAULT_MODEL, threads=1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the invented papers. Read only."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, text in PAPERS.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def built(corpus: Path, tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Path:
    """Their index, made with the default model. Read only: change a copy."""
    folder = tmp_path_factory.mktemp("built") / "index"
    report = build([corpus], folder, embedder, BuildConfig())
    assert not report.failed
    return folder


@pytest.fixture
def library(built: Path, embedder: Embedder) -> Iterator[Library]:
    """That index, open."""
    opened = Library.open(built, load=lambda name: embedder)
    yield opened
    opened.close()


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and an environment without loccit's settings."""
    for name in os.environ:
        if name.startswith("LOCCIT_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a benchmark, as its script would run."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module


@dataclass(frozen=True, slots=True)
class Run:
    """What a command gave."""

    code: int
    out: str
    err: str


@pytest.fixture
def loccit(
    workdir: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Run]:
    """Runs a command in this process, with the model that is loaded already."""

    def run(*arguments: str | Path) -> Run:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err)

    def loaded(name: str, **options: object) -> Embedder:
        assert name == DEFAULT_MODEL
        return embedder

    monkeypatch.setattr(indexer.embedding, "load_embedder", loaded)
    monkeypatch.setattr(service.library, "load_embedder", loaded)
    return run
