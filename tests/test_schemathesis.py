"""Whatever is sent over HTTP gets what the OpenAPI document says. The long form is in tests/torture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fastapi import FastAPI

from indexer.build import build
from indexer.config import BuildConfig
from service.api import create_app
from service.library import Library
from tests.explorer import Seen, explore
from tests.fakes import WordEmbedder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:schemathesis")


@pytest.fixture(scope="module")
def served(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """The invented papers, found by an embedder without a model."""
    folder = tmp_path_factory.mktemp("explored") / "index"
    build([corpus], folder, WordEmbedder(), BuildConfig(model="words", max_wordpieces=32, merge_below=8))
    library = Library.open(folder, load=lambda name: WordEmbedder())
    yield library
    library.close()


def test_every_reply_is_as_the_document_says(served: Library) -> None:
    hold(create_app(served), {}, n_requests=15, n_walks=25)


def hold(app: FastAPI, headers: Mapping[str, str], *, n_requests: int, n_walks: int) -> Seen:
    """Explore the app, with these headers on every request; gives what was seen."""
    seen = explore(app, headers, n_requests=n_requests, n_walks=n_walks)
    operations = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    assert {operation for operation, _ in seen} == operations
    assert not [each for each in seen if each[1] >= 500]
    # The links lead to what there is: no chance guess would name a passage or paper.
    answered = {operation for operation, status in seen if status == 200}
    assert operations - answered <= {"POST /v1/chat/completions"}
    return seen
