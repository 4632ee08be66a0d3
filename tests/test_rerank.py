"""Re-ranking against the cross-encoder's own `predict`, over a tiny model made here, and every way to have none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.errors import ModelError, UsageError
from indexer.store import IndexReader
from service.api import create_app
from service.library import Library
from service.query import Filters, Query
from service.replies import Hit
from service.rerank import N_RERANKED, Reranker, load_reranker
from service.search import Ranking
from tests.conftest import Run
from tests.fakes import WordEmbedder
from tests.test_store import write_papers

pytestmark = pytest.mark.model

QUESTION = "why do limpets lose their grip in warm water?"
LONGEST = 48
"""Tokens that the tiny models read."""


def write_model(folder: Path, kind: str = "BertForSequenceClassification", **config: int) -> Path:
    """A BERT of random weights, the same each time, whose tokens are letters and a few words."""
    import torch
    import transformers

    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters), *"0123456789"]
    tokens += ["the", "of", "and", "in", "grip", "water", "limpets", "lichens", "stone", "growth", ".", ",", "?", "-"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=LONGEST)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(7)
    made = transformers.BertConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LONGEST,
        initializer_range=1.0,  # far from 0, so that scores differ
        **config,
    )
    getattr(transformers, kind)(made).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", num_labels=1)


@pytest.fixture(scope="module")
def reranker(folder: Path) -> Reranker:
    return load_reranker(str(folder))


@pytest.fixture(scope="module")
def predict(folder: Path) -> Callable[[str, str], float]:
    """What the model itself says of two texts, 0 to 1; it refuses those that it would cut."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", local_files_only=True)

    def one(query: str, text: str) -> float:
        assert len(model.tokenizer(query, text, truncation=False)["input_ids"]) <= LONGEST
        return float(model.predict((query, text), show_progress_bar=False))

    return one


@pytest.fixture
def reranked(built: Path, embedder: Embedder, reranker: Reranker) -> Iterator[Library]:
    opened = Library(IndexReader(built), lambda name: embedder, reranker)
    yield opened
    opened.close()


def pages(library: Library, text: str, k: int) -> list[Hit]:
    """All hits of a search, page by page."""
    hits: list[Hit] = []
    cursor: str | None = ""
    while cursor is not None:
        reply = library.search(Query(text, k, cursor=cursor))
        hits += reply.hits
        cursor = reply.next_cursor
    return hits


def best_piece(predict: Callable[[str, str], float], query: str, text: str) -> float:
    """The text's score, halved until the model reads it whole."""
    try:
        return predict(query, text)
    except AssertionError:
        half = text.find(" ", len(text) // 2)
        return max(best_piece(predict, query, text[:half]), best_piece(predict, query, text[half:]))


# The order


def test_the_order_is_that_of_the_models_own_scores(
    reranked: Library, library: Library, built: Path, predict: Callable[[str, str], float]
) -> None:
    reader = IndexReader(built)
    with reader.snapshot() as snapshot:
        rows = [each for paper in snapshot.papers() for each in snapshot.passages_of(paper.paper_id)]
        texts = {each.passage.passage_id: each.passage.embedded_text for each in rows}
    reader.close()
    query = "limpets and water"
    plain = {hit.passage_id: hit for hit in library.search(Query(query, 50)).hits}
    hits = reranked.search(Query(query, 50)).hits
    expected = {passage_id: best_piece(predict, query, texts[passage_id]) for passage_id in plain}
    assert len({round(score, 4) for score in expected.values()}) == len(expected) == 8
    assert [hit.passage_id for hit in hits] == sorted(expected, key=lambda passage_id: -expected[passage_id])
    assert [hit.passage_id for hit in hits] != list(plain)
    for hit in hits:
        assert hit.scores.rerank == pytest.approx(expected[hit.passage_id], abs=1e-5)
        assert hit.score == pytest.approx(0.5 + expected[hit.passage_id] / 2, abs=1e-5)
        assert plain[hit.passage_id].scores.rerank is None
        assert (hit.scores.dense, hit.scores.lexical) == (
            plain[hit.passage_id].scores.dense,
            plain[hit.passage_id].scores.lexical,
        )
    assert [hit.passage_id for hit in reranked.ask(query, k=3).hits] == [hit.passage_id for hit in hits[:3]]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """An index of more passages than are read again."""
    write_papers(tmp_path / "papers", n=30)
    build([tmp_path / "papers"], tmp_path / "index", WordEmbedder(), BuildConfig(model="words", max_wordpieces=32))
    return tmp_path / "index"


@pytest.mark.parametrize("k", [7, 50, 60])
def test_all_pages_together_hold_each_passage_once(many: Path, reranker: Reranker, k: int) -> None:
    embedder = WordEmbedder()
    library = Library(IndexReader(many), lambda name: embedder, reranker)
    plain = Library(IndexReader(many), lambda name: embedder)
    text = "the grip of a cell"
    fused = pages(plain, text, k)
    hits = pages(library, text, k)
    assert len(fused) > N_RERANKED + 10
    assert [hit.rank for hit in hits] == list(range(1, len(fused) + 1))
    assert {hit.passage_id for hit in hits[:N_RERANKED]} == {hit.passage_id for hit in fused[:N_RERANKED]}
    assert [hit.passage_id for hit in hits[N_RERANKED:]] == [hit.passage_id for hit in fused[N_RERANKED:]]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert [hit.scores.rerank is not None for hit in hits] == [n < N_RERANKED for n in range(len(hits))]
    library.close()
    plain.close()


def test_a_ranking_may_leave_it_out(reranked: Library, library: Library) -> None:
    query = Query(QUESTION, 5)
    assert reranked.search(query, ranking=Ranking(rerank=False)).hits == library.search(query).hits


def test_nothing_found_is_nothing_to_read(reranked: Library) -> None:
    assert reranked.search(Query(QUESTION, filters=Filters(section="no such section"))).hits == ()


def test_a_cursor_is_of_one_ranking(reranked: Library, library: Library) -> None:
    for one, other in ((reranked, library), (library, reranked)):
        cursor = one.search(Query(QUESTION, 2)).next_cursor
        assert cursor is not None
        assert one.search(Query(QUESTION, 2, cursor=cursor)).hits[0].rank == 3
        with pytest.raises(UsageError, match="another query or re-ranker"):
            other.search(Query(QUESTION, 2, cursor=cursor))


# Nothing is cut


@pytest.mark.parametrize("query", ["grip of limpets", "how do limpets of stone grip and " * 9 + "water?"])
@pytest.mark.parametrize("text", ["water", "lichens, growth and stone " * 30 + "grip", "骨" * 200])
def test_every_word_is_read(reranker: Reranker, monkeypatch: pytest.MonkeyPatch, query: str, text: str) -> None:
    read: list[tuple[str, str]] = []
    model = reranker._model
    whole = model.predict

    def heard(pairs: list[tuple[str, str]], **options: Any) -> Any:
        read.extend(pairs)
        return whole(pairs, **options)

    monkeypatch.setattr(model, "predict", heard)
    reranker.score(query, [text])
    queries = list(dict.fromkeys(part for part, _ in read))
    assert "".join(queries) == query
    for part in queries:
        assert "".join(piece for of, piece in read if of == part) == text
    assert max(len(model.tokenizer(*pair, truncation=False)["input_ids"]) for pair in read) <= LONGEST


def test_the_best_piece_counts(reranker: Reranker, predict: Callable[[str, str], float]) -> None:
    text = "lichens of the stone " * 20 + "limpets grip, " * 20
    (logit,) = reranker.score("water", [text])
    assert 1 / (1 + math.exp(-logit)) == pytest.approx(best_piece(predict, "water", text), abs=1e-5)
    assert reranker.score("water", [text, "grip"]) == pytest.approx(
        [logit, *reranker.score("water", ["grip"])], abs=1e-4
    )


# Models that are none


def test_models_that_are_refused(tmp_path: Path) -> None:
    three = write_model(tmp_path / "three", num_labels=3)
    bare = write_model(tmp_path / "bare", "BertModel", num_labels=1)
    (tmp_path / "empty").mkdir()
    broken = write_model(tmp_path / "broken", num_labels=1)
    (broken / "model.safetensors").write_bytes(b"not weights")
    for name, said in {
        str(three): "three gives 3 scores for a pair of texts, and a re-ranker gives one",
        str(bare): r"bare is not a cross-encoder \(its config.json names BertModel\)",
        "all-MiniLM-L6-v2": r"all-MiniLM-L6-v2 is not a cross-encoder \(.* BertModel\): name one with --rerank",
        str(tmp_path / "empty"): "names no architecture",
        str(broken): "broken does not load",
        str(tmp_path / "nowhere"): "there is no such folder",
        "not a/model/name": "neither a folder nor a hub model's name",
    }.items():
        with pytest.raises(ModelError, match=said):
            load_reranker(name)


@pytest.mark.parametrize("command", ["ask", "search", "eval", "serve"])
def test_a_command_says_so_when_it_begins(
    loccit: Callable[..., Run], built: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(Library, "_model", lambda *_: pytest.fail("a model was loaded first"))
    (workdir / "questions.jsonl").write_text('{"question": "x", "paper_id": "x", "start": 0, "end": 1}\n')
    given = {"ask": [QUESTION], "search": [QUESTION], "eval": ["."], "serve": ["--port", "0"]}[command]
    run = loccit(command, *given, "--index", built, "--rerank", "./nowhere")
    assert run == Run(
        1, "", "loccit: ./nowhere: there is no such folder; name a sentence-transformers folder or a hub model\n"
    )


# Front ends


def test_the_flag_and_the_setting(
    loccit: Callable[..., Run], built: Path, folder: Path, reranked: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [hit.passage_id for hit in reranked.search(Query(QUESTION, 4)).hits]

    def found(*flags: str | Path) -> list[dict[str, Any]]:
        hits: list[dict[str, Any]] = json.loads(loccit("search", QUESTION, "-k", "4", "--json", *flags).out)["hits"]
        return hits

    monkeypatch.setenv("LOCCIT_INDEX", str(built))
    plain = found()
    assert [hit["scores"]["rerank"] for hit in plain] == [None] * 4
    flagged = found("--rerank", folder)
    assert [hit["passage_id"] for hit in flagged] == expected
    assert all(0 < hit["scores"]["rerank"] < 1 for hit in flagged)
    asked = json.loads(loccit("ask", QUESTION, "-k", "4", "--json", "--rerank", folder).out)
    assert [hit["passage_id"] for hit in asked["hits"]] == expected
    monkeypatch.setenv("LOCCIT_RERANK", str(folder))
    assert found() == flagged
    assert found("--rerank", "") == plain


def test_over_http(reranked: Library, library: Library) -> None:
    with TestClient(create_app(reranked)) as client:
        hits = client.post("/v1/search", json={"query": QUESTION, "k": 3}).json()["hits"]
        asked = client.post("/v1/ask", json={"question": QUESTION, "k": 3}).json()["hits"]
        schema = client.get("/openapi.json").json()["components"]["schemas"]["Scores"]
    with TestClient(create_app(library)) as client:
        plain = client.post("/v1/search", json={"query": QUESTION, "k": 3}).json()["hits"]
    assert hits == asked
    assert [hit["score"] for hit in hits] == pytest.approx(
        [0.5 + hit["scores"]["rerank"] / 2 for hit in hits], abs=1e-6
    )
    assert [hit["scores"]["rerank"] for hit in plain] == [None] * 3
    assert "rerank" in schema["required"]


def test_evaluation_shows_what_it_adds(loccit: Callable[..., Run], built: Path, folder: Path, workdir: Path) -> None:
    (workdir / "queries.jsonl").write_text('{"_id": "1", "text": "slow growth of lichens"}\n', encoding="utf-8")
    (workdir / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\tlichens\t1\n", encoding="utf-8")

    def metrics(*flags: str | Path) -> dict[str, Any]:
        done = json.loads(loccit("eval", ".", "--index", built, "--ablate", "--json", *flags).out)["evaluations"]
        return {each["ranking"]: each["metrics"] for each in done}

    plain, read = metrics(), metrics("--rerank", folder)
    assert read.keys() - plain.keys() == {"without re-ranking"}
    assert read["without re-ranking"] == plain["full"]
