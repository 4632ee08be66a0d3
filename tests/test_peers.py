"""The peers' benchmark, as far as it is ours: chunks put in their places, rankings kept and scored together."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.peers.chunks import ANY_OVERLAP, Chunk, chunks_of, locate
from benchmarks.peers.results import Estimate, Saved, condense, due, load, rows_of, save, saved_path, table
from indexer.errors import UsageError
from indexer.papers import Span
from service.evaluate import Evidence, Question


@st.composite
def cuts(draw: st.DrawFn) -> tuple[str, list[Span], int]:
    """A text that repeats itself, pieces of it in reading order, and the most that two neighbours share."""
    text = draw(st.text("ab \n\u2028", min_size=1, max_size=60))
    solid = [at for at, character in enumerate(text) if not character.isspace()]
    assume(solid)
    starts = sorted(draw(st.sets(st.sampled_from(solid), min_size=1)))
    spans = [Span(start, draw(st.integers(start + 1, len(text)))) for start in starts]
    shared = [one.end - other.start for one, other in pairwise(spans)]
    return text, spans, max([0, *shared])


def bare(text: str) -> str:
    return "".join(text.split())


@given(cuts(), st.sampled_from(["", " ", "\n\n"]))
def test_every_piece_is_found_and_none_behind_its_place(made: tuple[str, list[Span], int], space: str) -> None:
    text, true, overlap = made
    pieces = [space + (space or " ").join(text[span.start : span.end].split()) for span in true]
    for found in (locate(text, pieces, overlap=overlap), locate(text, pieces, overlap=ANY_OVERLAP)):
        for span, place, piece in zip(true, found, pieces, strict=True):
            assert place is not None
            assert bare(text[place.start : place.end]) == bare(piece)
            assert place.start <= span.start
        starts = [place.start for place in found if place]
        assert starts == sorted(set(starts))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_pieces_that_cover_a_text_stand_where_they_were_cut(sizes: list[int]) -> None:
    text = "aba" * 60  # every piece occurs many times
    pieces, expected, at = [], [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        expected.append(Span(at, at + size))
        at += size
    assert locate(text, pieces) == expected


def test_a_piece_that_is_not_there_does_not_lose_the_others() -> None:
    text = "One\u2003fish, two  fish.\n\nRed fish."
    assert locate(text, ["One fish,", "green fish", " ", "two fish. ", "Red\nfish."]) == [
        Span(0, 9),
        None,
        None,
        Span(10, 20),
        Span(22, 31),
    ]
    lost = chunks_of("p", text, ["green fish"])
    assert lost == [Chunk("p", 0, 0, "green fish")]


def test_a_short_piece_is_not_put_into_the_one_before() -> None:
    text = "See References there.\n\nReferences"
    assert locate(text, ["See References there.", "References"])[1] == Span(23, 33)


QUESTIONS = [Question("1", "?", "p", (Evidence(0, 10),)), Question("2", "?", "q", (Evidence(20, 30),))]
CHUNKS = [Chunk("p", 0, 10, "ten letter"), Chunk("p", 40, 50, "elsewhere "), Chunk("q", 20, 30, "ten more .")]


def found(rankings: dict[str, list[int]]) -> Saved:
    return condense(CHUNKS, rankings, {"library": "1.0"}, "2026-01-31")


def test_rankings_are_kept_with_only_their_chunks(tmp_path: Path) -> None:
    saved = found({"1": [2, 0], "2": [0]})
    assert (saved.chunks, saved.rankings, saved.n_chunks) == ([CHUNKS[0], CHUNKS[2]], {"1": [1, 0], "2": [0]}, 3)
    path = saved_path(tmp_path, "library")
    save(saved, path)
    assert load(path) == saved
    assert [each.name for each in tmp_path.iterdir()] == ["library.json.gz"]


def test_a_chunk_without_a_place_takes_up_room_and_hits_nothing() -> None:
    lost = condense([Chunk("p", 0, 0, "ten letter"), CHUNKS[0]], {"1": [0, 1], "2": []}, {}, "")
    (row,) = rows_of({"library": lost}, QUESTIONS, {"library": None})
    assert lost.n_lost == row.n_lost == 1
    assert row.metrics["MRR@10"].mean == pytest.approx((1 / 2 + 0) / 2)


def test_only_what_is_named_or_missing_is_run(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    assert due(names, [], tmp_path) == names
    save(found({}), saved_path(tmp_path, "b"))
    assert due(names, [], tmp_path) == ["a", "c"]
    assert due(names, ["b"], tmp_path) == ["b"]


def test_peers_are_scored_together_and_against_the_first() -> None:
    best, worse = found({"1": [0], "2": [2]}), found({"1": [1, 0], "2": [0]})
    read = {"best": [10, 5], "worse": None}
    rows = rows_of({"best": best, "worse": worse}, QUESTIONS, read)
    means = [{label: estimate.mean for label, estimate in row.metrics.items()} for row in rows]
    assert means == [
        {"recall@512": 1.0, "MRR@10": 1.0, "hit@5": 1.0},
        {"recall@512": 0.5, "MRR@10": 0.25, "hit@5": 0.5},
    ]
    assert (rows[0].behind, rows[0].unread, rows[1].unread) == (None, 0.25, None)
    assert rows[1].behind == Estimate(0.5, 0.0, 1.0)
    shown = table(rows, {"best": "Best", "worse": "Worse"}).splitlines()
    assert shown[2] == "| Best | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) |  | 25 % |"
    assert shown[3].endswith("| 0.500 (0.000 to 1.000) | — |")
    with pytest.raises(UsageError, match="--only best"):
        rows_of({"best": best}, QUESTIONS[:1], {"best": None})
