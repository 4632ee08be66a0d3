"""Whatever is sent over HTTP gets what the OpenAPI document says. The long form is in tests/torture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from fastapi import FastAPI

from indexer.build import build
from indexer.config import BuildConfig
from service.access import Policy
from service.access.keys import KeyFile, Scope
from service.api import create_app
from service.library import Library
from tests.explorer import Seen, explore
from tests.fakes import WordEmbedder

SCOPES: tuple[Scope | None, ...] = (None, "read", "admin")

CONFIG = BuildConfig(model="words", max_wordpieces=32, merge_below=8)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:schemathesis")


@pytest.fixture(scope="module")
def served(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """The invented papers, found by an embedder without a model."""
    folder = tmp_path_factory.mktemp("explored") / "index"
    build([corpus], folder, WordEmbedder(), CONFIG)
    library = Library.open(folder, load=lambda name: WordEmbedder())
    yield library
    library.close()


@pytest.fixture
def put_back(served: Library, corpus: Path) -> Callable[[], object]:
    """Indexes again what was taken out."""
    return lambda: build([corpus], served._reader.folder, WordEmbedder(), CONFIG)


def test_every_reply_is_as_the_document_says(served: Library, tmp_path: Path) -> None:
    seen = hold(*guarded(served, tmp_path / "keys", None), n_requests=12, n_walks=50)
    # The links lead to what there is: no chance guess would name a passage or paper. None leads to taking one out.
    answered = {operation for operation, status in seen if status == 200}
    assert {operation for operation, _ in seen} - answered <= {
        "POST /v1/chat/completions",
        "DELETE /v1/papers/{paper_id}",
    }


@pytest.mark.parametrize("scope", ["read", "admin"])
def test_so_is_every_reply_to_a_key(
    served: Library, tmp_path: Path, scope: Scope, put_back: Callable[[], object]
) -> None:
    seen = hold(*guarded(served, tmp_path / "keys", scope), put_back, n_requests=5, n_walks=5)
    assert 401 not in {status for _, status in seen}
    assert (("DELETE /v1/papers/{paper_id}", 403) in seen) == (scope == "read")


def guarded(library: Library, keys: Path, scope: Scope | None) -> tuple[FastAPI, dict[str, str]]:
    """An app that asks for keys, and the headers of one of that scope; without a scope one that asks for none."""
    if scope is None:
        return create_app(library), {}
    secret = KeyFile(keys).add("explorer", scope)
    policy = Policy(keys=KeyFile(keys), anonymous="never")
    return create_app(library, policy=policy), {"authorization": f"Bearer {secret}"}


def hold(
    app: FastAPI,
    headers: Mapping[str, str],
    put_back: Callable[[], object] = lambda: None,
    *,
    n_requests: int,
    n_walks: int,
) -> Seen:
    """Explore the app, with these headers on every request; gives what was seen. What is taken out is put back."""
    seen = explore(app, headers, put_back, n_requests=n_requests, n_walks=n_walks)
    operations = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    assert {operation for operation, _ in seen} == operations
    assert not [each for each in seen if each[1] >= 500]
    return seen
