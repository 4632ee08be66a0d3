"""Whether a paper still reads as a citation says, and if not, where the text stands now.

First the text itself is looked for, then the same words in another writing (white space, quotation marks, composed
characters), then the words most like it. Knows nothing of files and indexes: it is handed the paper as its file reads.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from heapq import nlargest, nsmallest
from itertools import islice
from math import log
from typing import get_args

from indexer.papers import CONTENT_KINDS, Paper, Sentence, Span
from service.cite import Citation, cite_span, sentences_in
from service.replies import Verdict, VerdictStatus
from service.verify.claims import Claim

MIN_ALIKE = 0.5
"""Similarity from which a place is named as what a changed text has become. Of 486 sentences and runs of four that are
another paper's none reached 0.38; of 248 with a word in ten changed all had 0.87 or more, and their own place."""
MAX_COMPARED_WORDS = 1000
"""Longer texts are not compared word by word, which takes time by the square. The longest passage has some 250."""
_MAX_PLACES = 10_000
"""A text with more places than these is a word or less."""
_MAX_WEIGHED = 500
"""Of many places those nearest to the old one are weighed."""
_MAX_ALIKE = 5
"""Places whose words are compared in order."""
_CHANCE = 0.1
"""Share of words in a changed text that the paper has anywhere; the others are the cited text's."""
_LOG_CHANCE = log(_CHANCE)

_NUMBERED = ("section", "paragraph")
_PLACE_FIELDS = (*_NUMBERED, "sentences", "label")
_SAID = {"paper_id": "paper id", "sentences": "sentence number"}
"""What a field is called."""
_RECORD_FIELDS = ("paper_id", "source", "title", "authors", "year", "journal", "date", "doi", "pmcid", "pmid", "url")

_INK = re.compile(r"\S+")
_WORD = re.compile(r"\w+")
_ENDS_LATER = re.compile(r"\w|[.,]\d")
_TYPOGRAPHY = str.maketrans(
    dict.fromkeys("‘’‚‛′", "'") | dict.fromkeys("“”„‟″«»", '"') | dict.fromkeys("\u00ad\u200b\u2060\ufeff")
)
"""Quotation marks and primes as they are typed; soft hyphens and characters without width are nothing."""


class Source:
    """A paper as its file reads now. What searching it takes is made once, when it is needed."""

    def __init__(self, paper: Paper, indexed_sha256: str, indexed: Sequence[Sentence]) -> None:
        """`indexed`: the sentences of the paper's passages, as the index has them of a file with that SHA-256."""
        self.paper = paper
        self.indexed_sha256 = indexed_sha256
        self.indexed = indexed

    @cached_property
    def folded(self) -> Folded:
        """The paper's text without its typography."""
        return Folded(self.paper.text)

    @cached_property
    def words(self) -> list[tuple[str, int, int]]:
        """Its words, and where they stand in the folded text."""
        return [(word[0].lower(), word.start(), word.end()) for word in _WORD.finditer(self.folded.text)]

    @cached_property
    def frequencies(self) -> Counter[str]:
        """How often each of them stands there."""
        return Counter(word for word, _, _ in self.words)


class Folded:
    """A text with one blank for any white space, typed quotation marks and composed characters (NFC)."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._spans: list[tuple[int, int]] = []
        """Of the words in the source,"""
        self._starts: list[int] = []
        """... and where they start in the folded text."""
        words: list[str] = []
        at = 0
        for ink in _INK.finditer(source):
            if word := _folded_word(ink[0]):
                words.append(word)
                self._spans.append(ink.span())
                self._starts.append(at)
                at += len(word) + 1
        self.text = " ".join(words)

    def span(self, start: int, end: int) -> Span:
        """Where `text[start:end]` stands in the source."""
        return Span(self._offset(start), self._offset(end))

    def _offset(self, at: int) -> int:
        n = bisect_right(self._starts, at) - 1
        first, last = self._spans[n]
        word, inside = self._source[first:last], at - self._starts[n]
        if word.isascii():
            return first + inside
        # The furthest place with so many folded characters before it: a mark belongs to the letter that it stands on.
        return first + bisect_right(range(len(word) + 1), inside, key=lambda n: len(_folded_word(word[:n]))) - 1


def _folded_word(word: str) -> str:
    return word if word.isascii() else unicodedata.normalize("NFC", word.translate(_TYPOGRAPHY))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(Folded(text).text)]


def verify(claim: Claim, source: Source) -> Verdict:
    """What became of the text that is said to stand at a place of this paper."""
    citation, text = claim.citation, source.paper.text
    if claim.text != citation.exact:
        return Verdict("changed", "the text beside the citation is not the one that it names", citation, None, None)
    if text[citation.start : citation.end] == citation.exact:
        whole = citation.suffix and not _goes_on(citation.exact + citation.suffix, len(citation.exact))
        if whole and _goes_on(text, citation.end):
            reason = "the text's last word or number goes on in the file now"
            span = Span(citation.start, citation.end)
            return Verdict("changed", reason, citation, _cite(citation, source, span), None)
        return _in_place(citation, source)
    found = _moved(citation, source) or _changed(citation, source)
    if source.paper.sha256 == citation.source_sha256:
        reason = "the citation is not true to its source: the file is the one cited, and does not read so there"
        similarity = 1.0 if found.status == "moved" else found.similarity
        return Verdict("changed", f"{reason}; {found.reason}", citation, found.now, similarity)
    return found


def _goes_on(text: str, at: int) -> bool:
    """Whether a word or number ends only behind this place: a dose of 5 is not one of 5.5."""
    return bool(_ENDS_LATER.match(text, at)) and text[at - 1 : at].isalnum()


def worst(verdicts: Sequence[Verdict]) -> VerdictStatus:
    """The worst status of any."""
    return max((verdict.status for verdict in verdicts), key=get_args(VerdictStatus).index)


def _in_place(citation: Citation, source: Source) -> Verdict:
    """The verdict on a text that stands where it is cited."""
    span = Span(citation.start, citation.end)
    now = _cite(citation, source, span)
    if other := _other(citation, now, _PLACE_FIELDS):
        return Verdict("moved", f"the text stands where it did, with another {other}", citation, now, None)
    if other := _other(citation, now, _RECORD_FIELDS):
        return Verdict("ok", f"the text stands where it did; the paper has another {other} now", citation, now, None)
    changed = citation.source_sha256 not in ("", source.paper.sha256)
    reason = "the text stands where it did; its file has changed elsewhere" if changed else "the text stands there"
    return Verdict("ok", reason, citation, None, None)


def _other(citation: Citation, now: Citation, names: Sequence[str]) -> str:
    """Which of these fields say something else now, those that were left out set aside."""
    # A citation of ours says its sentences: then no section is none, and no paragraph a heading.
    given = [name for name in names if getattr(citation, name) or (name in _NUMBERED and citation.sentences)]
    named = [_SAID.get(name, name) for name in given if getattr(citation, name) != getattr(now, name)]
    return " and ".join(filter(None, (", ".join(named[:-1]), *named[-1:])))


def _cite(citation: Citation, source: Source, span: Span) -> Citation:
    """The place as it is cited now, by those of its sentences that the citation was of: a passage's best ones."""
    inside = sentences_in(source.paper, span.start, span.end)
    if span == Span(citation.start, citation.end):
        named = [each for each in inside if _is_named(each, citation)]
    elif span.end - span.start == citation.end - citation.start and citation.source_sha256 == source.indexed_sha256:
        shift = span.start - citation.start
        starts = {
            each.start + shift
            for each in source.indexed
            if citation.start <= each.start < citation.end and _is_named(each, citation)
        }
        named = [each for each in inside if each.start in starts]
    else:
        named = []
    return cite_span(source.paper, span.start, span.end, named or inside)


def _is_named(sentence: Sentence, citation: Citation) -> bool:
    return sentence.paragraph == citation.paragraph and sentence.number in citation.sentences


def _moved(citation: Citation, source: Source) -> Verdict | None:
    """The verdict on a text that stands elsewhere, to the letter or but for its typography."""
    reason = "the text stands elsewhere in the file now"
    spans = [Span(at, at + len(citation.exact)) for at in _finds(source.paper.text, citation.exact)]
    if not spans:
        reason += "; white space, quotation marks or composed characters differ, its words do not"
        wanted = Folded(citation.exact).text
        spans = [source.folded.span(at, at + len(wanted)) for at in _finds(source.folded.text, wanted)]
    if not spans:
        return None
    span, n_alike = _likeliest(citation, source, spans)
    if n_alike > 1:
        reason += f"; {n_alike:,} places read and are surrounded alike, and this is the nearest to where it stood"
    return Verdict("moved", reason, citation, _cite(citation, source, span), None)


def _finds(text: str, wanted: str) -> list[int]:
    """Where the wanted text starts, each place once, overlapping ones too."""

    def each() -> Iterator[int]:
        at = text.find(wanted) if wanted else -1
        while at >= 0:
            yield at
            at = text.find(wanted, at + 1)

    return list(islice(each(), _MAX_PLACES))


def _likeliest(citation: Citation, source: Source, spans: Sequence[Span]) -> tuple[Span, int]:
    """The span that is where the text has moved to, and how many are as likely but for the way."""
    paper = source.paper
    starts = [block.start for block in paper.blocks]

    def likelihood(span: Span) -> tuple[bool, int, bool]:
        block = paper.blocks[max(0, bisect_right(starts, span.start) - 1)]
        same_section = paper.section_path(block.section) == citation.section
        is_read = block.kind in CONTENT_KINDS and paper.sections[block.section].role != "references"
        return is_read or same_section, _agreement(citation, paper.text, span), same_section

    near = nsmallest(_MAX_WEIGHED, spans, key=lambda span: abs(span.start - citation.start))
    rated = [(likelihood(span), span) for span in near]
    best = max(rating for rating, _ in rated)
    likely = [span for rating, span in rated if rating == best]
    return likely[0], len(likely)


def _agreement(citation: Citation, text: str, span: Span) -> int:
    """How many characters next to the span are those that stood next to the cited text."""
    before = Folded(text[max(0, span.start - 2 * len(citation.prefix)) : span.start]).text
    after = Folded(text[span.end : span.end + 2 * len(citation.suffix)]).text
    backwards = _n_common(Folded(citation.prefix).text[::-1], before[::-1])
    return backwards + _n_common(Folded(citation.suffix).text, after)


def _n_common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _changed(citation: Citation, source: Source) -> Verdict:
    """The verdict on a text whose words stand nowhere, with the place that is most like it."""
    reason = "the text stands nowhere in the file now"
    wanted = _words(citation.exact)
    if len(wanted) > MAX_COMPARED_WORDS:
        reason += "; it is too long to look for one like it"
        return Verdict("changed", reason, citation, None, None)
    alike = [_most_alike(wanted, source, stretch) for stretch in _stretches(wanted, source)]
    likely = [(similarity, span) for similarity, span in alike if similarity >= MIN_ALIKE]
    if not likely:
        return Verdict("changed", f"{reason}, and no other is like it", citation, None, None)
    text, room = source.paper.text, len(citation.prefix) + len(citation.suffix) or 1
    similarity, span = max(likely, key=lambda each: each[0] + _agreement(citation, text, each[1]) / room)
    reason += f"; the one most like it shares {similarity:.0%} of its words"
    return Verdict("changed", reason, citation, _cite(citation, source, span), round(similarity, 4))


def _stretches(wanted: Sequence[str], source: Source) -> list[Span]:
    """Places whose words are rather the wanted text's than the paper's, the likeliest first.

    The stretches of highest sum of log-likelihood ratios, as in Karlin & Altschul 1990.
    """
    counts, words = Counter(wanted), source.words
    ratios = {
        word: log(_CHANCE + (1 - _CHANCE) * n / len(wanted) * len(words) / source.frequencies[word])
        for word, n in counts.items()
        if word in source.frequencies
    }
    stretches: list[tuple[float, int, int]] = []
    best, first, last, total = 0.0, 0, 0, 0.0
    for n, (word, _, _) in enumerate(words):
        if total <= 0:
            stretches.append((best, first, last))
            best, first, total = 0.0, n, 0.0
        total += ratios.get(word, _LOG_CHANCE)
        if total > best:
            best, last = total, n
    found = nlargest(_MAX_ALIKE, [each for each in (*stretches, (best, first, last)) if each[0] > 0])
    return [source.folded.span(words[first][1], words[last][2]) for _, first, last in found]


def _most_alike(wanted: Sequence[str], source: Source, stretch: Span) -> tuple[float, Span]:
    """Similarity and place of the sentences about the stretch that are most alike; of it alone where none are."""
    reach = stretch.end - stretch.start
    sentences = sentences_in(source.paper, stretch.start - reach, stretch.end + reach)

    def rated(first: int, last: int) -> tuple[float, int, int]:
        if not 0 <= first <= last < len(sentences):
            return 0.0, first, last
        return _similarity(wanted, source, Span(sentences[first].start, sentences[last].end)), first, last

    inside = [n for n, each in enumerate(sentences) if each.start < stretch.end and each.end > stretch.start]
    best = rated(inside[0], inside[-1])
    while True:
        _, first, last = best
        ends = ((first + 1, last), (first, last - 1), (first - 1, last), (first, last + 1))
        better = max((rated(*each) for each in ends), key=lambda each: each[0])
        if better[0] <= best[0]:
            break
        best = better
    similarity, first, last = best
    if similarity >= MIN_ALIKE:
        return similarity, Span(sentences[first].start, sentences[last].end)
    return _similarity(wanted, source, stretch), stretch


def _similarity(wanted: Sequence[str], source: Source, span: Span) -> float:
    """The share of words that both have in the same order: Ratcliff & Obershelp 1988, as in difflib."""
    own = _words(source.paper.text[span.start : span.end])
    if len(own) > 2 * MAX_COMPARED_WORDS:
        return 0.0
    return SequenceMatcher(None, wanted, own, autojunk=False).ratio()
