"""A reply as it comes -> the statements of it that hold, and the quotes that they rest on, numbered as they appear."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from indexer.papers import Span
from service.answer import Highlight, Quote, basis
from service.cite import cite_sentences
from service.generate.match import find, is_substantial
from service.generate.parse import Claim, Marker, Parser
from service.generate.prompt import CitedPassage
from service.generate.support import Fault, fault
from service.replies import Statement

MAX_STATEMENTS = 8

_TABLE = re.compile(r"\|\s*:?-{2,}")

Reason = Fault | Literal["unquoted", "form", "passage", "short", "quote"]
"""Why a sentence of the reply was dropped. `unquoted`: it quotes nothing. `form`: it is a table. `passage`: it names a
passage that there is not. `short`: its quote is too short to prove anything. `quote`: its quote does not stand there.
Else see `support`."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Neighbouring sentences of a source, and what in them was quoted."""

    source: int
    first: int
    last: int
    span: Span
    """Into the passage's text."""


class _DroppedError(Exception):
    def __init__(self, reason: Reason) -> None:
        self.reason = reason


class Draft:
    """What holds of one reply."""

    def __init__(self, sources: Sequence[CitedPassage], known: str) -> None:
        """`sources` in the order of their numbers; `known` is the question, and what its short forms stand for."""
        self.dropped: Counter[Reason] = Counter()
        """Sentences that were left out, by the first reason that was found."""
        self._n_statements = 0
        self._said: set[str] = set()
        self._sources = sources
        self._known = known
        self._parser = Parser()
        self._quotes: dict[tuple[int, int, int], Quote] = {}

    @property
    def declined(self) -> bool:
        """Whether the model said that the passages do not answer."""
        return self._parser.declined

    @property
    def is_full(self) -> bool:
        """Whether it holds as many statements as an answer has; more are not looked at."""
        return self._n_statements >= MAX_STATEMENTS

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """The quotes of all statements so far. What later ones quote of the same sentences is highlighted too."""
        return tuple(self._quotes.values())

    def read(self, piece: str) -> list[Statement]:
        """The statements that are complete with this piece of the reply, and hold."""
        return self._held(self._parser.feed(piece))

    def finish(self) -> list[Statement]:
        """Those left over at the reply's end."""
        return self._held(self._parser.finish())

    def _held(self, claims: Sequence[Claim]) -> list[Statement]:
        held: list[Statement] = []
        for claim in claims:
            if self.is_full:
                break
            if claim.text in self._said:  # a model that goes in circles comes to its end too
                self._n_statements += 1
                continue
            try:
                places = self._places(claim)
                self._check(claim, places)
            except _DroppedError as dropped:
                self.dropped[dropped.reason] += 1
            else:
                held.append(self._statement(claim, places))
                self._said.add(claim.text)
                self._n_statements += 1
        return held

    def _places(self, claim: Claim) -> list[_Place]:
        """Where the claim's quotes stand. Raises _DroppedError unless every one of them stands somewhere."""
        if any(not 1 <= marker.number <= len(self._sources) for marker in claim.markers):
            raise _DroppedError("passage")
        quoting = [marker for marker in claim.markers if marker.quote]
        if not quoting:
            raise _DroppedError("unquoted")
        if _TABLE.search(claim.text):
            raise _DroppedError("form")
        places: list[_Place] = []
        for marker in quoting:
            if not is_substantial(marker.quote):
                raise _DroppedError("short")
            at, spans = self._found(marker)
            places += [self._place(at, span) for span in spans]
        return places

    def _found(self, marker: Marker) -> tuple[int, list[Span]]:
        """In the passage that is named; else in the only one where it stands, so that what is shown is true."""
        named = marker.number - 1
        if spans := find(marker.quote, self._sources[named].stored):
            return named, spans
        elsewhere = [
            (at, spans) for at, source in enumerate(self._sources) if (spans := find(marker.quote, source.stored))
        ]
        if len(elsewhere) != 1:
            raise _DroppedError("quote")
        return elsewhere[0]

    def _place(self, at: int, span: Span) -> _Place:
        passage = self._sources[at].stored.passage
        held = [
            n
            for n, sentence in enumerate(passage.sentences)
            if sentence.start - passage.start < span.end and span.start < sentence.end - passage.start
        ]
        if not held:
            raise _DroppedError("quote")
        return _Place(at, held[0], held[-1], span)

    def _check(self, claim: Claim, places: Sequence[_Place]) -> None:
        quoted = " ".join(self._text(place.source, place.first, place.last) for place in places)
        around = [self._text(place.source, max(place.first - 1, 0), place.last) for place in places]
        for place in places:
            stored = self._sources[place.source].stored
            around += [stored.paper.title, *stored.passage.section]
        if found := fault(claim.text, quoted, "\n".join(around), self._known):
            raise _DroppedError(found)

    def _text(self, at: int, first: int, last: int) -> str:
        """Neighbouring sentences without their citation markers: the number of a reference is none of the findings."""
        stored = self._sources[at].stored
        passage = stored.passage
        begun, end = passage.sentences[first].start, passage.sentences[last].end
        pieces: list[str] = []
        for start, after, _ in stored.markers:
            if begun <= start and after <= end:
                pieces.append(passage.text[begun - passage.start : start - passage.start])
                begun = after
        return " ".join((*pieces, passage.text[begun - passage.start : end - passage.start]))

    def _statement(self, claim: Claim, places: Sequence[_Place]) -> Statement:
        new: dict[int, Quote] = {}
        numbers: dict[int, None] = {}
        for place in places:
            key = (place.source, place.first, place.last)
            known = self._quotes.get(key)
            quote = self._quoted(place, len(self._quotes) + 1) if known is None else self._marked(known, place)
            self._quotes[key] = quote
            numbers[quote.n] = None
            if known is None or quote.n in new:
                new[quote.n] = quote
        return Statement(f"{claim.text} {''.join(f'[{n}]' for n in numbers)}", tuple(new.values()))

    def _quoted(self, place: _Place, n: int) -> Quote:
        source = self._sources[place.source]
        sentences = source.stored.passage.sentences[place.first : place.last + 1]
        citation = cite_sentences(source.stored, source.references, sentences)
        return self._marked(Quote(n, citation.exact, (), basis(source.stored, sentences), citation), place)

    def _marked(self, quote: Quote, place: _Place) -> Quote:
        """The quote with the place's span highlighted too."""
        start = quote.citation.start - self._sources[place.source].stored.passage.start
        span = Highlight(max(place.span.start - start, 0), min(place.span.end - start, len(quote.text)))
        return replace(quote, highlights=_joined((*quote.highlights, span)))


def _joined(highlights: Sequence[Highlight]) -> tuple[Highlight, ...]:
    """The highlights in order, those that meet made one."""
    joined: list[Highlight] = []
    for each in sorted(highlights, key=lambda each: (each.start, each.end)):
        if joined and each.start <= joined[-1].end:
            joined[-1] = Highlight(joined[-1].start, max(joined[-1].end, each.end))
        else:
            joined.append(each)
    return tuple(joined)
