"""Measure what answers quote: whether the gold answer is in it, and whether every quote reads so in its file.

    python benchmarks/answers.py [--work DIR]

Every question of the shared sets is asked twice: of all papers, and of its own alone. A gold answer is quoted when the
whole of it, blanks at its ends aside, lies in the quotes. Evidence F1 is over sentences: those of the quotes, against
those of which at least half is evidence (Dasigi et al. 2021, "A Dataset of Information-Seeking Questions and Answers
Anchored in Research Papers", there over paragraphs). A question that is refused is answered by nothing, and counts. The
indexes are those of `make eval`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measure import QUESTIONS, answering, bring_up_to_date, by_stem

from indexer.store import IndexReader
from service.answer import Quote
from service.evaluate import Question, load_questions
from service.library import Library
from service.query import Filters

Span = tuple[int, int]


@dataclass(slots=True)
class Tally:
    """What was found of one set, asked one way."""

    n_questions: int = 0
    n_quoted: int = 0
    n_refused: int = 0
    n_quotes: int = 0
    n_characters: int = 0
    f1: list[float] = field(default_factory=list)

    def report(self) -> dict[str, float]:
        """Means over the questions."""
        n = self.n_questions
        gold = {"gold answer quoted": self.n_quoted / n, "evidence F1": sum(self.f1) / n} if self.f1 else {}
        means = {"refused": self.n_refused / n, "quotes": self.n_quotes / n, "characters": self.n_characters / n}
        return {"questions": n} | {name: round(value, 3) for name, value in (gold | means).items()}


class Sources:
    """The files of an index's papers, as they stand, and the sentences of each."""

    def __init__(self, index: Path) -> None:
        self._reader = IndexReader(index)
        self._texts: dict[str, str] = {}
        self._sentences: dict[str, list[Span]] = {}
        with self._reader.snapshot() as snapshot:
            self.origins = {each.paper_id: Path(each.origin) for each in snapshot.papers()}
            self.ids = by_stem(snapshot)

    def text(self, paper_id: str) -> str:
        """Of the file, decoded and otherwise untouched."""
        if paper_id not in self._texts:
            self._texts[paper_id] = self.origins[paper_id].read_bytes().decode()
        return self._texts[paper_id]

    def sentences(self, paper_id: str) -> list[Span]:
        """Of all its passages."""
        if paper_id not in self._sentences:
            with self._reader.snapshot() as snapshot:
                passages = snapshot.passages_of(paper_id)
            self._sentences[paper_id] = [(s.start, s.end) for each in passages for s in each.passage.sentences]
        return self._sentences[paper_id]


def check(quotes: Sequence[Quote], sources: Sources) -> None:
    """Raises AssertionError unless each quote reads so in its file, and holds the markers of its references."""
    for each in quotes:
        place = each.citation
        assert sources.text(place.paper_id)[place.start : place.end] == each.text == place.exact, place.label
        for reference in place.references:
            assert reference.marker in each.text, (place.label, reference.marker)


def holds(quotes: Sequence[Quote], paper_id: str, gold: Iterable[Span]) -> bool:
    """Whether one stretch of the gold answer lies in the quotes as a whole."""
    quoted = {at for each in quotes if each.citation.paper_id == paper_id for at in _range(each)}
    return any(quoted.issuperset(range(*span)) for span in gold)


def evidence_f1(quotes: Sequence[Quote], paper_id: str, gold: Sequence[Span], sentences: Sequence[Span]) -> float:
    """Of the quoted sentences, against those that are evidence; quotes of other papers are wrong ones."""
    wanted = {s for s in sentences if 2 * max(_shared(s, span) for span in gold) >= s[1] - s[0]}
    own = {s for s in sentences for q in quotes if q.citation.paper_id == paper_id and _shared(s, _span(q))}
    others = sum(len(q.citation.sentences) for q in quotes if q.citation.paper_id != paper_id)
    right, given = len(own & wanted), len(own) + others
    return 2 * right / (given + len(wanted)) if given + len(wanted) else 0.0


def _span(quote: Quote) -> Span:
    return quote.citation.start, quote.citation.end


def _range(quote: Quote) -> range:
    return range(*_span(quote))


def _shared(one: Span, other: Span) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def gold_of(question: Question, text: str) -> list[Span]:
    """Its evidence, blanks at the ends cut off."""
    spans = [(each.start, each.end) for each in question.evidence]
    return [
        (end - len(text[start:end].lstrip()), start + len(text[start:end].rstrip()))
        for start, end in spans
        if text[start:end].strip()
    ]


def measure(name: str, shared: Path, work: Path) -> dict[str, dict[str, float]]:
    """The set's tallies, by how it was asked. Raises AssertionError for a quote that is not in its file."""
    index = work / f"{name}-index"
    if code := bring_up_to_date(name, shared, work):
        sys.exit(code)
    sources = Sources(index)
    tallies = {"all papers": Tally(), "own paper": Tally()}
    library = Library.open(index)
    for question in load_questions(shared / QUESTIONS[name]).questions:
        own = [sources.ids[each] for each in answering(question)]
        for how, paper_ids in (("all papers", ()), ("own paper", own)):
            answer = library.ask(question.text, filters=Filters(paper_ids=tuple(paper_ids)))
            quotes = answer.quotes
            check(quotes, sources)
            tally = tallies[how]
            tally.n_questions += 1
            tally.n_quotes += len(quotes)
            tally.n_characters += sum(len(each.text) for each in quotes)
            tally.n_refused += answer.status == "not_found"
            if question.paper_id:
                gold = gold_of(question, sources.text(own[0]))
                tally.n_quoted += holds(quotes, own[0], gold)
                tally.f1.append(evidence_f1(quotes, own[0], gold, sources.sentences(own[0])))
    library.close()
    return {how: tally.report() for how, tally in tallies.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".eval"))
    args = parser.parse_args()
    shared = Path(os.environ.get("LOCCIT_SHARED") or "../shared").absolute()
    for name in QUESTIONS:
        for how, row in measure(name, shared, args.work).items():
            sys.stdout.write(json.dumps({"set": name, "of": how, **row}) + "\n")
