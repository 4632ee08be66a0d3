"""Re-ranking: question and passage read together by a cross-encoder, and a ranking ordered by what it says.

A cross-encoder attends from one text to the other (Nogueira & Cho 2019, "Passage Re-ranking with BERT"): it tells more
than two vectors do, and costs a pass of the model for each passage. So it reads the first of a ranking only.

The only module of the service that imports sentence-transformers, and only when a model is loaded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from indexer.embedding import loading, model_folder, split_to_fit
from indexer.errors import ModelError
from service.search import Scored

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

N_RERANKED = 50
"""How many passages of a ranking are read again: some 10,000 tokens, a second or two on one core for a small model."""
_BATCH_SIZE = 16
_SCORING = ("ForSequenceClassification", "ForCausalLM")
"""How the names of architectures end that give a score. Any other would get a head of random numbers, and a warning."""


class Reranker:
    """A cross-encoder with one score a pair. Safe to use from several threads; they take turns."""

    def __init__(self, model: CrossEncoder, name: str) -> None:
        self.name = name
        self._model = model
        self._prompt: str | None = model.prompts.get(model.default_prompt_name)
        self._limit: int = model.max_seq_length
        self._turn = Lock()  # a tokenizer keeps whether it cuts as a state of its own

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query: the model's logits, any real number, higher is better.

        Nothing is cut: a text that the model cannot read beside the query is read in pieces, and its best one counts.
        A query that takes up more than half of what the model reads is put in pieces, and their mean taken.
        """
        with self._turn:
            queries = split_to_fit(query, lambda piece: 2 * self._count(piece, "") <= self._limit)
            scores = [self._best_pieces(piece, texts) for piece in queries]
        return [sum(of_text) / len(queries) for of_text in zip(*scores, strict=True)]

    def _best_pieces(self, query: str, texts: Sequence[str]) -> list[float]:
        """The logit of each text's best piece."""
        pieces = [split_to_fit(text, lambda piece: self._count(query, piece) <= self._limit) for text in texts]
        logits = self._model.predict(
            [(query, piece) for of_text in pieces for piece in of_text],
            prompt=self._prompt,
            activation_fn=lambda logits: logits,
            batch_size=_BATCH_SIZE,
            show_progress_bar=False,
        )
        each = iter(logits.tolist())
        return [max(next(each) for _ in of_text) for of_text in pieces]

    def _count(self, query: str, text: str) -> int:
        """Tokens that the pair takes up in the model, all that stands around them included."""
        read = self._model.preprocess(
            [(query, text)], prompt=self._prompt, processing_kwargs={"text": {"truncation": False, "verbose": False}}
        )
        return int(read["input_ids"].shape[-1])


def rerank(
    reranker: Reranker, query: str, best: Sequence[Scored], texts: Sequence[str], rest: Sequence[Scored]
) -> list[Scored]:
    """`best` in the order of the re-ranker's scores of their `texts`, then `rest` as it was, without those of `best`.

    The logistic function brings a re-ranker's score to between 0 and 1. It is the upper half of `score`, and what was
    not read has its fused score in the lower half: `score` falls with the rank, and no page changes it.
    """
    logits = reranker.score(query, texts) if texts else []
    order = sorted(range(len(best)), key=lambda i: -logits[i])  # equal scores in the order of `best`
    read = [replace(best[i], score=(1 + _logistic(logits[i])) / 2, rerank=_logistic(logits[i])) for i in order]
    known = {each.row_id for each in best}
    return read + [replace(each, score=each.score / 2) for each in rest if each.row_id not in known]


def load_reranker(name: str, *, threads: int | None = None) -> Reranker:
    """The cross-encoder called `name`: a local folder, or a hub name (downloaded on first use).

    `threads` is how many torch may use, for the whole process; None leaves it to torch. Raises ModelError for a model
    that is not there, does not load, or does not give one score for two texts.
    """
    folder = model_folder(name)
    with loading(folder, threads):
        _check_architecture(name, folder)
        from sentence_transformers import CrossEncoder

        model = CrossEncoder(str(folder), device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True})
    if model.num_labels != 1:
        raise ModelError(
            f"{name} gives {model.num_labels} scores for a pair of texts, and a re-ranker gives one: name another with "
            "--rerank"
        )
    if not model.max_seq_length:
        raise ModelError(f"the model in {folder} does not say how much it reads")
    return Reranker(model, name)


def _check_architecture(name: str, folder: Path) -> None:
    """Raises ModelError for what is no cross-encoder; sentence-transformers would make one of any model."""
    if _json(folder / "config_sentence_transformers.json").get("model_type") == "CrossEncoder":
        return
    architectures = _json(folder / "config.json").get("architectures")
    named = [str(each) for each in architectures] if isinstance(architectures, list) else []
    if not any(each.endswith(_SCORING) for each in named):
        raise ModelError(
            f"{name} is not a cross-encoder (its config.json names {', '.join(named) or 'no architecture'}): name one "
            "with --rerank, such as cross-encoder/ms-marco-MiniLM-L6-v2"
        )


def _json(path: Path) -> dict[str, object]:
    """The object in a file; empty where there is no such file."""
    read = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return read if isinstance(read, dict) else {}


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
