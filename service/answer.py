"""Passages -> the few sentences of them that answer, the best first, without saying the same thing twice.

Extractive only: every word is a paper's own. How likely they are to answer is `service.confidence`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from indexer.papers import Passage, Reference, Sentence
from indexer.store import StoredPassage
from indexer.terms import terms
from service.cite import Citation, cite_sentences
from service.orders import gives_orders

Status = Literal["answered", "partial", "not_found"]
Kind = Literal["extractive", "generated", "none"]
Basis = Literal["own", "reported"]

MAX_QUOTES = 3
MAX_SENTENCES = 4
"""Of all quotes together, those that a quote is understood by not counted."""
_NEAR_BEST = 0.7
"""A sentence is quoted when it scores at least this share of the best of all."""
_SAME = 0.7
"""Two sentences say the same when they share so much of their terms (Jaccard 1912)."""

_LEANS_BACK = re.compile(
    r"[*_(\"“]*(?:(?:this|these|those|such|it|its|they|their|he|she|his|her|both|the (?:former|latter)|the same)\b"
    r"(?! is (?:known|well|likely|clear|possible|important|estimated|unclear|unknown|believed|thought)\b)"
    r"|(?:however|therefore|thus|hence|moreover|furthermore|consequently|similarly|likewise|conversely|instead"
    r"|nevertheless|nonetheless|accordingly|additionally|otherwise|also|in addition|in contrast|by contrast"
    r"|on the other hand|as a result|for (?:example|instance))\b)",
    re.IGNORECASE,
)
"""How a sentence begins that is understood by the one before it."""
_OWN = re.compile(
    r"\b(?:we|our|ours)\b|\b(?:this|the (?:present|current)|present|current) "
    r"(?:study|work|paper|trial|investigation|analysis)\b"
    r"|\bin this (?:review|article|report)\b",
    re.IGNORECASE,
)
_REPORTED = re.compile(
    r"\bet al\b|\b(?:previous|prior|earlier|other|recent|several|many|some|numerous) "
    r"(?:\w+ )?(?:stud(?:y|ies)|works?|reports?|trials?|authors|investigat(?:ors|ions)|researchers|analyses)\b"
    r"|\b(?:has|have) (?:previously )?been (?:\w+ly )?"
    r"(?:shown|reported|demonstrated|suggested|described|observed|proposed|identified)\b"
    r"|(?-i:\b[A-Z][\w-]+ \((?:19|20)\d\d[a-z]?\))"
    r"|\[\d{1,3}(?:\s?[,–-]\s?\d{1,3})*\]|\((?-i:[A-Z])[\w’-]+(?: (?:and|&) [\w’-]+)?,? (?:19|20)\d\d[a-z]?\b",
    re.IGNORECASE,
)
"""How a paper speaks of others, or cites them where its reference list is not in the file: `[9]`, `(Quill, 1999)`."""
_TABLE_HEADER = re.compile(r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\||$)|<t[hr]\b", re.MULTILINE | re.IGNORECASE)
"""The line below a Markdown table's header row; or HTML's first row."""


@dataclass(frozen=True, slots=True)
class Highlight:
    """Half-open offsets into the text beside it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence, or a few in a row, verbatim, and the place where they stand."""

    n: int
    """Its number in the answer's text: `[1]`."""
    text: str
    highlights: tuple[Highlight, ...]
    """What in it answers; the rest is there so that it can be understood."""
    basis: Basis
    """Whether the paper says so itself, or reports it of other works."""
    citation: Citation


@dataclass(frozen=True, slots=True)
class Choice:
    """Sentences in a row to quote, of one passage."""

    hit: int
    """The passage's place in the ranking, from 0."""
    begin: int
    """Places among the passage's sentences: `first` to `last` answer, what comes from `begin` on leads up to them."""
    first: int
    last: int
    score: float


def choose(
    found: Sequence[StoredPassage], passage_scores: Sequence[float], scores: Sequence[Sequence[float]]
) -> list[Choice]:
    """The few sentences that answer best: the best first, those of one paper together.

    A sentence counts by its own score and its passage's, both 0 to 1. Neighbours become one quote; what says the same
    as a better one is left out, and so is what tells a model what to answer.
    """
    order = sorted(
        (-(own + whole), hit, at)
        for hit, (whole, of_sentences) in enumerate(zip(passage_scores, scores, strict=True))
        for at, own in enumerate(of_sentences)
    )
    quoted: dict[int, set[int]] = {}
    said: list[frozenset[str]] = []
    for negative, hit, at in order:
        if len(said) == MAX_SENTENCES or -negative < _NEAR_BEST * -order[0][0]:
            break
        text = _text(found[hit], found[hit].passage.sentences[at])
        words = frozenset(terms(text))
        if (
            not words
            or gives_orders(text)
            or not _reads_alone(found[hit].passage)
            or any(len(words & other) >= _SAME * len(words | other) for other in said)
        ):
            continue
        trial = quoted | {hit: quoted.get(hit, set()) | {at}}
        if sum(len(_runs(found[each], places)) for each, places in trial.items()) > MAX_QUOTES:
            continue
        quoted = trial
        said.append(words)
    choices = [
        Choice(
            hit, _beginning(found[hit], first), first, last, max(scores[hit][first : last + 1]) + passage_scores[hit]
        )
        for hit, places in quoted.items()
        for first, last in _runs(found[hit], places)
    ]
    top: dict[str, float] = {}
    for each in choices:
        paper_id = found[each.hit].paper.paper_id
        top[paper_id] = max(each.score, top.get(paper_id, 0.0))
    return sorted(choices, key=lambda each: _order(found[each.hit], each, top))


def quote(n: int, stored: StoredPassage, choice: Choice, references: Mapping[int, Reference]) -> Quote:
    """The chosen sentences, cited; `references` are the entries that the passage's markers name."""
    sentences = stored.passage.sentences[choice.begin : choice.last + 1]
    citation = cite_sentences(stored, references, sentences)
    answer = Highlight(stored.passage.sentences[choice.first].start - citation.start, len(citation.exact))
    answering = stored.passage.sentences[choice.first : choice.last + 1]
    return Quote(n, citation.exact, (answer,), basis(stored, answering), citation)


def basis(stored: StoredPassage, sentences: Sequence[Sentence]) -> Basis:
    """Whether the paper says all of these sentences itself: none that it reports passes for its own finding."""
    reported = any(
        basis_of(_text(stored, each), any(each.start <= at and to <= each.end for at, to, _ in stored.markers))
        == "reported"
        for each in sentences
    )
    return "reported" if reported else "own"


def basis_of(text: str, names_works: bool) -> Basis:
    """Whether a paper says this itself, or reports it of others: by markers in it, and by how it speaks of itself."""
    if _OWN.search(text):
        return "own"
    return "reported" if names_works or _REPORTED.search(text) else "own"


def _reads_alone(passage: Passage) -> bool:
    """Whether the passage can be understood without what stands before it: not so the rows of a table's middle."""
    return passage.kind != "table" or bool(_TABLE_HEADER.search(passage.text))


def _runs(stored: StoredPassage, places: Set[int]) -> list[tuple[int, int]]:
    """First and last of the sentences that stand side by side in one paragraph."""
    runs: list[tuple[int, int]] = []
    sentences = stored.passage.sentences
    for at in sorted(places):
        if runs and runs[-1][1] == at - 1 and sentences[at - 1].paragraph == sentences[at].paragraph:
            runs[-1] = (runs[-1][0], at)
        else:
            runs.append((at, at))
    return runs


def _beginning(stored: StoredPassage, first: int) -> int:
    """Where to begin so that the sentence can be understood: at the one before, where it leans on that; at a table's
    header."""
    if stored.passage.kind == "table":
        return 0
    sentences = stored.passage.sentences
    if first and sentences[first - 1].paragraph == sentences[first].paragraph:
        return first - bool(_LEANS_BACK.match(_text(stored, sentences[first])))
    return first


def _order(stored: StoredPassage, choice: Choice, top: Mapping[str, float]) -> tuple[float, str, float, int, int]:
    paper_id = stored.paper.paper_id
    return -top[paper_id], paper_id, -choice.score, stored.passage.ordinal, choice.first


def _text(stored: StoredPassage, sentence: Sentence) -> str:
    start = stored.passage.start
    return stored.passage.text[sentence.start - start : sentence.end - start]
