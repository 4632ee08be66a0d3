"""Paper -> passages, along its sections.

Whole sentences, never across a section. Chunking knows nothing about files, models or indexes: it is handed a function
that counts tokens the way the embedder does.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from indexer.config import BuildConfig
from indexer.papers import CONTENT_KINDS, Block, Paper, Passage, Sentence, Span
from indexer.plaintext import plain_text
from indexer.rows import row_spans
from indexer.sentences import split_sentences
from indexer.tokens import count_tokens

CHUNKER_VERSION = 4
"""Raised whenever the same paper would give other passages: an index made by another version is not mixed with it."""

Count = Callable[[Sequence[str]], list[int]]
"""Texts -> the number of the embedder's tokens in each, special tokens included."""

_WORD = re.compile(r"\S+")
_ABSTRACT = re.compile(r"abstract|summary", re.IGNORECASE)
_NAMES_AUTHORS = re.compile(r"\[[^\[\]]*[^\W\d_]{2}[^\[\]]*\]\(#")
"""`[Quill et al., 1999](#bib12)`: a marker that is part of what the sentence says."""
_MAX_HALVED = 16
"""How many times too long a sentence may be to be halved until it fits: a longer one is cut into many first, as the
time for each halving is that for the whole of it."""
_ID_HEX_DIGITS = 16
"""64 bits: two of a paper's passages share an id with a chance below 1e-13 even at a thousand passages."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence or table row that is to stay whole, with its size."""

    sentence: Sentence
    n_wordpieces: int


@dataclass(frozen=True, slots=True)
class _Draft:
    """A passage in the making."""

    units: tuple[_Unit, ...]
    block: Block
    context: str = ""
    """What its embedded text says beyond its own words: a table's caption and header row."""

    @property
    def start(self) -> int:
        return self.units[0].sentence.start

    @property
    def end(self) -> int:
        return self.units[-1].sentence.end

    @property
    def size(self) -> int:
        return sum(unit.n_wordpieces for unit in self.units)


def chunk(paper: Paper, config: BuildConfig, count: Count, limit: int) -> list[Passage]:
    """The paper's passages, in reading order.

    `limit` is the most tokens that the embedder reads, special tokens included; no `embedded_text` is longer.
    Passages and the blocks that `left_out` lists cover every non-blank character of the paper.
    """
    sizer = _Sizer(paper, config, count, limit)
    runs = list(_runs(paper))
    # What will be asked for one by one is counted at once, which a tokenizer does several times as fast.
    sizer.count([text for run in runs for block in run for text in sizer.texts(block)])
    drafts: list[_Draft] = []
    for run in runs:
        target = sizer.target(paper.sections[run[0].section].title)
        drafts.extend(_merge_small(_draft_run(run, sizer, target), config.merge_below, target))
    sizer.count([sizer.embedded_text(draft) for draft in drafts])
    return _finish(paper, [fitting for draft in drafts for fitting in sizer.fit(draft)], sizer)


def sentence_texts(paper: Paper, passages: Sequence[Passage]) -> dict[str, list[str]]:
    """By passage id, what the embedder reads of each sentence on its own. None is longer than its passage may be."""
    words = _Source(paper).words
    return {
        passage.passage_id: [words(each.start, each.end, table=passage.kind == "table") for each in passage.sentences]
        for passage in passages
    }


def renamed(passages: Sequence[Passage], paper_id: str) -> list[Passage]:
    """The passages of a paper as they are where it goes by that id."""
    seen: Counter[str] = Counter()
    named: list[Passage] = []
    for each in passages:
        content = "\x1f".join((paper_id, *each.section, each.text))
        digest = hashlib.sha256(f"{content}\x1f{seen[content]}".encode()).hexdigest()[:_ID_HEX_DIGITS]
        seen[content] += 1
        named.append(replace(each, passage_id=f"{paper_id}:{digest}", paper_id=paper_id))
    return named


def split_block(text: str, block: Block) -> list[Span]:
    """The block's sentences; a table's rows. What they are numbered by, whatever the passages' size."""
    if block.kind == "table":
        return row_spans(text, Span(block.start, block.end))
    return split_sentences(text, block.start, block.end)


def left_out(paper: Paper, passages: Sequence[Passage]) -> dict[str, int]:
    """Non-blank characters that stand in no passage, counted by the kind of their block."""
    covered = iter(sorted((passage.start, passage.end) for passage in passages))
    counts: Counter[str] = Counter()
    span = next(covered, None)
    for block in paper.blocks:
        at = block.start
        while at < block.end:
            while span is not None and span[1] <= at:
                span = next(covered, None)
            if span is None or span[0] >= block.end:
                counts[block.kind] += _n_ink(paper.text[at : block.end])
                break
            if at < span[0]:
                counts[block.kind] += _n_ink(paper.text[at : span[0]])
            at = span[1]
    return {kind: n for kind, n in sorted(counts.items()) if n}


def _n_ink(text: str) -> int:
    """The number of characters that are not white space."""
    return sum(map(len, text.split()))


def _runs(paper: Paper) -> Iterator[list[Block]]:
    """The content blocks, in runs of neighbours within one section.

    A heading with nothing at all under it is a run of its own: its words stand on no other passage's path.
    """
    parents = {section.parent for section in paper.sections}
    filled = {block.section for block in paper.blocks if block.kind != "heading"}
    run: list[Block] = []
    for block in paper.blocks:
        if run and (block.kind not in CONTENT_KINDS or block.section != run[-1].section):
            yield run
            run = []
        if block.kind in CONTENT_KINDS:
            run.append(block)
        elif block.kind == "heading" and block.section not in parents and block.section not in filled:
            yield [block]
    if run:
        yield run


class _Source:
    """A paper's text as the embedder sees it."""

    def __init__(self, paper: Paper) -> None:
        self._text = paper.text
        self._markers = tuple(
            Span(marker.start, marker.end)
            for marker in paper.markers
            if not _NAMES_AUTHORS.search(paper.text, marker.start, marker.end)
        )
        self._starts = [marker.start for marker in self._markers]

    def words(self, start: int, end: int, *, table: bool = False) -> str:
        """The words of a span, its citation markers left out."""
        inside = slice(bisect_left(self._starts, start), bisect_left(self._starts, end))
        return plain_text(self._text, start, end, () if table else self._markers[inside], table=table)


def _remembered(count: Count) -> Count:
    """The same, but asked for no text twice."""
    known: dict[str, int] = {}

    def counted(texts: Sequence[str]) -> list[int]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, count(new), strict=True))
        return [known[text] for text in texts]

    return counted


class _Sizer:
    """Cuts blocks of one paper into units and counts them."""

    def __init__(self, paper: Paper, config: BuildConfig, count: Count, limit: int) -> None:
        self.paper = paper
        self.count = _remembered(count)
        self.overhead = self.count([""])[0]
        self.limit = limit - self.overhead
        self._target = min(config.max_wordpieces, self.limit)
        self.words = _Source(paper).words
        self._spans: dict[int, list[Span]] = {}
        """By their block's start."""

    def target(self, section: str) -> int:
        """The size to aim for in a section of this title: an abstract is one thought, and stays whole if it can."""
        return self.limit if _ABSTRACT.fullmatch(section) else self._target

    def embedded_text(self, draft: _Draft) -> str:
        """The draft's words after its context."""
        words = self.words(draft.start, draft.end, table=draft.block.kind == "table")
        return f"{draft.context}. {words}" if draft.context else words

    def fit(self, draft: _Draft) -> Iterator[_Draft]:
        """The draft, as it is or in parts, so that the embedder reads every word of it.

        Sizes are sums over sentences; the whole can come out a little longer where Markdown spans two of them.
        """
        if self.count([self.embedded_text(draft)])[0] <= self.limit + self.overhead:
            yield draft
        elif draft.context:
            yield from self.fit(replace(draft, context=""))
        elif len(draft.units) > 1:
            half = len(draft.units) // 2
            yield from self.fit(replace(draft, units=draft.units[:half]))
            yield from self.fit(replace(draft, units=draft.units[half:]))
        else:
            unit = draft.units[0]
            most = unit.n_wordpieces * 3 // 4
            span = Span(unit.sentence.start, unit.sentence.end)
            for piece, n in self._cut(span, unit.n_wordpieces, most, draft.block.kind == "table"):
                sentence = replace(unit.sentence, start=piece.start, end=piece.end)
                yield replace(draft, units=(_Unit(sentence, n),))

    def spans(self, block: Block) -> list[Span]:
        """The block's sentences; a table's rows."""
        if block.start not in self._spans:
            self._spans[block.start] = split_block(self.paper.text, block)
        return self._spans[block.start]

    def texts(self, block: Block) -> list[str]:
        """The words of each of them."""
        table = block.kind == "table"
        return [self.words(span.start, span.end, table=table) for span in self.spans(block)]

    def units(self, block: Block, *, most: int) -> list[_Unit]:
        """The block's spans as units of at most `most` wordpieces; a longer one is cut between words."""
        table = block.kind == "table"
        sizes = self.count(self.texts(block))
        units: list[_Unit] = []
        for number, (span, size) in enumerate(zip(self.spans(block), sizes, strict=True), start=1):
            for piece, n in self._cut(span, size - self.overhead, most, table):
                units.append(_Unit(Sentence(piece.start, piece.end, block.paragraph, number), n))
        return units

    def _cut(self, span: Span, size: int, most: int, table: bool) -> list[tuple[Span, int]]:
        if size <= most or span.end - span.start < 2:
            return [(span, size)]
        n_parts = 2 if size <= most * _MAX_HALVED else size // (most * _MAX_HALVED // 2)
        pieces = self._parts(span, n_parts)
        sizes = self.count([self.words(piece.start, piece.end, table=table) for piece in pieces])
        return [
            part
            for piece, n in zip(pieces, sizes, strict=True)
            for part in self._cut(piece, n - self.overhead, most, table)
        ]

    def _parts(self, span: Span, n_parts: int) -> list[Span]:
        """The span in about `n_parts` even parts, at least two, cut between words where there are any."""
        text = self.paper.text
        words = [word.start() for word in _WORD.finditer(text, span.start, span.end)][1:]
        marks = [span.start + (span.end - span.start) * n // n_parts for n in range(1, n_parts)]
        cuts = sorted({_nearest(words, mark) for mark in marks}) if words else sorted({*marks} - {span.start})
        return [
            Span(start, start + len(text[start:end].rstrip())) for start, end in pairwise([span.start, *cuts, span.end])
        ]


def _nearest(places: Sequence[int], wanted: int) -> int:
    """The one of rising places that is nearest to the wanted; of two as near, the first."""
    after = bisect_left(places, wanted)
    return min(places[max(0, after - 1) : after + 1], key=lambda at: abs(at - wanted))


def _draft_run(run: Sequence[Block], sizer: _Sizer, target: int) -> Iterator[_Draft]:
    """Drafts of one run of blocks: paragraphs whole or in even parts, tables by row, captions on their own."""
    lead: list[_Unit] = []
    above = {
        at
        for block in run
        if block.kind == "table" and block.caption is not None and block.caption.end <= block.start
        for at in (block.caption.start, block.caption.end)
    }
    """Where captions start and end that stand above their tables."""
    for block in run:
        if block.kind == "table":
            yield from _draft_table(block, lead, sizer, target)
            lead = []
        elif block.kind == "table_caption" and (block.start in above or block.end in above):
            # the table's first passage begins with its caption
            lead = [*lead, *sizer.units(block, most=sizer.limit // 2)]
        else:
            yield from _even_parts(_Draft(tuple(sizer.units(block, most=sizer.limit)), block), target)


def _draft_table(block: Block, lead: Sequence[_Unit], sizer: _Sizer, target: int) -> Iterator[_Draft]:
    """A table's rows, packed; every piece carries the caption and the header row in its embedded text."""
    room = sizer.limit // 2
    heads = [
        sizer.words(span.start, span.end, table=True) for span in (block.caption, block.header) if span is not None
    ]
    context = _clip(". ".join(heads), room, sizer)
    units = [*lead, *sizer.units(block, most=sizer.limit - room)]
    for n, draft in enumerate(_even_parts(_Draft(tuple(units), block), max(target, room))):
        yield replace(draft, context=context if n else "")  # the first piece holds both in its own words


def _clip(context: str, room: int, sizer: _Sizer) -> str:
    """The context's first words, as many as `room` wordpieces take."""
    while context and sizer.count([context])[0] - sizer.overhead > room:
        words = context.split()
        context = " ".join(words[: len(words) * 3 // 4])
    return context


def _even_parts(draft: _Draft, target: int) -> Iterator[_Draft]:
    """The draft in parts of at most `target` wordpieces (a longer unit stands alone), few and of even size."""
    even = draft.size / max(1, -(-draft.size // target))
    part: list[_Unit] = []
    size = done = n_parts = 0
    for unit in draft.units:
        fits = size + unit.n_wordpieces <= target
        full = done + size + unit.n_wordpieces / 2 > even * (n_parts + 1)
        if part and (full or not fits):
            yield replace(draft, units=tuple(part))
            n_parts += 1
            done += size
            part, size = [], 0
        part.append(unit)
        size += unit.n_wordpieces
    if part:
        yield replace(draft, units=tuple(part))


_MERGED_KINDS = frozenset({"paragraph", "list_item", "equation", "quote", "code"})


def _merge_small(drafts: Iterator[_Draft], merge_below: int, target: int) -> list[_Draft]:
    """Neighbours joined where one of them is small and both fit."""
    merged: list[_Draft] = []
    for draft in drafts:
        before = merged[-1] if merged else None
        if (
            before is not None
            and {before.block.kind, draft.block.kind} <= _MERGED_KINDS
            and min(before.size, draft.size) < merge_below
            and before.size + draft.size <= target
        ):
            merged[-1] = replace(before, units=before.units + draft.units)
        else:
            merged.append(draft)
    return merged


def _finish(paper: Paper, drafts: Sequence[_Draft], sizer: _Sizer) -> list[Passage]:
    """Drafts with their text, counts and ids."""
    embedded = [sizer.embedded_text(draft) for draft in drafts]
    n_wordpieces = sizer.count(embedded)
    n_tokens = count_tokens([paper.text[draft.start : draft.end] for draft in drafts])
    passages: list[Passage] = []
    for ordinal, draft in enumerate(drafts):
        section = paper.sections[draft.block.section]
        passages.append(
            Passage(
                passage_id="",
                paper_id="",
                ordinal=ordinal,
                start=draft.start,
                end=draft.end,
                text=paper.text[draft.start : draft.end],
                kind=draft.block.kind,
                role=section.role,
                section=paper.section_path(draft.block.section),
                section_number=section.number,
                sentences=tuple(unit.sentence for unit in draft.units),
                embedded_text=embedded[ordinal],
                n_wordpieces=n_wordpieces[ordinal],
                n_tokens=n_tokens[ordinal],
            )
        )
    return renamed(passages, paper.paper_id)
