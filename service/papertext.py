"""A paper to be read from its first passage to its last, put together again from what the index holds of it."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import groupby

from indexer.store import StoredPassage
from service.replies import SectionView, TextBlock, TextMarker


def read_blocks(passages: Sequence[StoredPassage], sections: Sequence[SectionView]) -> tuple[TextBlock, ...]:
    """The blocks of a paper's passages, in the order of the source; one that was cut in two is whole again."""
    starts = [section.start for section in sections]
    blocks: list[TextBlock] = []
    for stored in passages:
        for block in _blocks(stored, bisect(starts, stored.passage.start) - 1):
            if blocks and _are_one(blocks[-1], block):
                block = _joined(blocks.pop(), block)
            blocks.append(block)
    return tuple(blocks)


def _blocks(stored: StoredPassage, section: int) -> list[TextBlock]:
    passage = stored.passage
    blocks: list[TextBlock] = []
    for paragraph, sentences in groupby(passage.sentences, key=lambda each: each.paragraph):
        spans = list(sentences)
        start, end = spans[0].start, spans[-1].end
        markers = tuple(TextMarker(*each) for each in stored.markers if start <= each[0] and each[1] <= end)
        text = passage.text[start - passage.start : end - passage.start]
        kind = passage.kind if not blocks else "paragraph"
        blocks.append(TextBlock(kind, section, paragraph, start, end, text, markers))
    return blocks


def _are_one(before: TextBlock, block: TextBlock) -> bool:
    return block.paragraph > 0 and (before.section, before.paragraph) == (block.section, block.paragraph)


def _joined(before: TextBlock, block: TextBlock) -> TextBlock:
    """Both as one. What stands between two passages is blank, and not kept: its length is."""
    gap = block.start - before.end
    text = before.text + ("\n" + " " * (gap - 1) if gap else "") + block.text
    markers = (*before.markers, *block.markers)
    return TextBlock(before.kind, before.section, before.paragraph, before.start, block.end, text, markers)
