"""Markdown -> Paper, every span an offset into the source. Never raises on any text.

`blocks` finds runs of lines, `sections` makes the tree, `captions` tells captions, `metadata` reads headers,
`references` the lists, `markers` what names their entries, `entities` the record's lists; here they are put together.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from indexer.markdown.authors import line_of_authors
from indexer.markdown.blocks import read_blocks
from indexer.markdown.captions import caption_kind, captions_table, follows_table, titled_caption
from indexer.markdown.entities import is_entity_section, read_entities
from indexer.markdown.mend import RawBlock
from indexer.markdown.metadata import (
    Metadata,
    front_matter_end,
    is_footer,
    is_header,
    paper_id,
    plain_title,
    read_front_matter,
    read_header,
    read_notice,
    record_url,
    says_retracted,
)
from indexer.markdown.references import read_references, settle_roles
from indexer.markdown.sections import (
    Heading,
    SectionTree,
    atx_heading,
    bold_heading,
    clean_title,
    is_opening,
    typed_heading,
    unspaced_heading,
)
from indexer.markdown.tables import link_tables
from indexer.markdown.unread import INVISIBLE, is_template, is_unread, markup_kind, only_defines_links
from indexer.papers import CONTENT_KINDS, Block, BlockKind, Entity, Paper
from indexer.syntax import trim

_INK = re.compile(r"[^\r\n\s]")
_MIN_TITLE_WORDS = 3
"""`Open access`, `Authors` and `Review article` stand over papers too, and are no titles."""
_MAX_AUTHORS_CHARACTERS = 4000
_TAGS = re.compile(r"#[A-Za-z][\w/-]{0,60}(?:[ \t]+#[A-Za-z][\w/-]{0,60})+")
"""`#bone #diabetes/type2`: a notebook's keywords."""


def parse_markdown(text: str, *, source: str, sha256: str) -> Paper:
    """The paper in `text`. `source` is the file's name in citations, `sha256` that of its bytes."""
    reader = _Reader(text)
    reader.read()
    metadata = reader.metadata
    blocks = link_tables(text, reader.blocks)
    sections = settle_roles(text, reader.tree.sections, blocks)
    references, markers = read_references(text, sections, blocks)
    notices = metadata.notices
    if says_retracted(metadata.title) and "retracted" not in notices:
        notices = ("retracted", *notices)
    return Paper(
        paper_id=paper_id(metadata, source),
        source=source,
        sha256=sha256,
        text=text,
        title=metadata.title,
        authors=metadata.authors,
        pmcid=metadata.pmcid,
        doi=metadata.doi,
        pmid=metadata.pmid,
        journal=metadata.journal,
        date=metadata.date,
        year=metadata.year,
        licence=metadata.licence,
        url=record_url(metadata),
        sections=sections,
        blocks=tuple(blocks),
        references=tuple(references),
        markers=tuple(markers),
        entities=tuple(reader.entities),
        body_omitted=metadata.body_omitted,
        notices=notices,
    )


class _Reader:
    """One pass over the blocks of a text, in order."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.metadata = Metadata()
        self.tree = SectionTree()
        self.blocks: list[Block] = []
        self.entities: list[Entity] = []
        self._section = 0
        self._paragraphs: Counter[int] = Counter()
        self._in_header = True
        """Above the first section, where header lines count."""
        self._caption_to_come: BlockKind | None = None
        """After a heading such as `Figure 2`: the next paragraph is its caption."""

    def read(self) -> None:
        """Fill `blocks`, `tree`, `metadata` and `entities`."""
        front = front_matter_end(self.text)
        read_front_matter(self.text[:front], self.metadata)
        if head := trim(self.text, 0, front):
            self._add("metadata", head.start, head.end)
        elif front := len(self.text) - len(self.text.lstrip(INVISIBLE)):
            self._add("markup", 0, front)  # before `# Title` it would hide the title
        raw = read_blocks(_INK.sub(" ", self.text[:front]) + self.text[front:])
        raw = _with_title_level(self.text, raw) if not self.metadata.title else raw
        raw = self._plain_title(raw)
        for n, block in enumerate(raw):
            self._take(block, raw[n - 1] if n else None, raw[n + 1] if n + 1 < len(raw) else None)

    def _plain_title(self, raw: list[RawBlock]) -> list[RawBlock]:
        """Take the title of a text without headings: its first line, when header lines follow."""
        opening = [self._source(block) for block in raw[:2]]
        if len(raw) > 1 and not any(block.heading_level for block in raw) and plain_title(opening):
            self.metadata.add(title=clean_title(opening[0]))
            self._add("metadata", raw[0].start, raw[0].end)
            return raw[1:]
        return raw

    def _take(self, block: RawBlock, before: RawBlock | None, after: RawBlock | None) -> None:
        source = self._source(block)
        heading = self._heading(block, source, after)
        if heading is not None:
            self._take_heading(block, heading)
            return
        kind = self._kind(block, source, before, after)
        if kind != "markup":
            self._caption_to_come = None
        self._add(kind, block.start, block.end)

    def _take_heading(self, block: RawBlock, heading: Heading) -> None:
        if block.heading_level == 1 and self._section == 0 and self._is_title(heading):
            self.metadata.add(title=heading.title)
            self._add("metadata", block.start, block.end)
            return
        self._in_header = False
        caption = titled_caption(heading.title)
        if caption is not None:
            kind, has_words = caption
            self._add(kind, block.start, block.end)
            self._caption_to_come = None if has_words else kind
            return
        self._caption_to_come = None
        self._section = self.tree.add(heading, block.start)
        self._add("heading", block.start, block.end)

    def _is_title(self, heading: Heading) -> bool:
        """Whether a first-level heading is the paper's title: the first one, unless the front matter has another."""
        return bool(heading.title) and self._in_header and self.metadata.title in ("", heading.title)

    def _heading(self, block: RawBlock, source: str, after: RawBlock | None) -> Heading | None:
        if block.heading_level:
            heading = atx_heading(source, block.heading_level)
            return heading if heading.title.strip(INVISIBLE) else None
        if block.kind == "paragraph":
            if caption_kind(source) or (self._in_header and is_header(source)):
                return None
            heading_or_none = bold_heading(source) or unspaced_heading(source)
            if heading_or_none is None and after is not None and after.kind in CONTENT_KINDS:
                heading_or_none = typed_heading(source, lone_item=False)
            return heading_or_none
        if block.lone_item and after is not None and after.kind in CONTENT_KINDS:
            return typed_heading(source, lone_item=True)
        return None

    def _kind(self, block: RawBlock, source: str, before: RawBlock | None, after: RawBlock | None) -> BlockKind:
        section = self.tree.sections[self._section]
        title = section.title
        if block.kind == "list_item" and is_entity_section(title):
            self.entities.extend(read_entities(source))
            return "entities"
        if block.kind == "heading":
            return "markup"  # a heading without words
        if self._in_header and block.kind in ("paragraph", "markup") and is_header(source):
            read_header(source, self.metadata)
            return "metadata"
        if block.kind == "paragraph" and self._names_authors(source):
            return "metadata"
        if block.kind in ("paragraph", "markup") and is_unread(source):
            return "markup"
        if block.kind == "markup" or (block.kind not in ("equation", "code") and is_template(source)):
            kind = markup_kind(source)
            if kind != "paragraph":
                return kind
        if block.kind not in ("paragraph", "markup"):
            return block.kind
        if after is None and is_footer(source):
            read_header(source, self.metadata)
            return "metadata"
        if _TAGS.fullmatch(source):
            return "metadata"
        if read_notice(source, title, self.metadata):
            return "metadata"
        if self._caption_to_come is not None:
            return self._caption_to_come
        if before is not None and before.kind == "table" and follows_table(source):
            return "table_caption"
        if captions_table(source) and "table" in [each.kind for each in (before, after) if each is not None]:
            return "table_caption"
        if only_defines_links(source, in_references=section.role == "references"):
            return "markup"
        return caption_kind(source) or "paragraph"

    def _names_authors(self, source: str) -> bool:
        """Whether the line under the title names the authors; take them over."""
        under_title = self._in_header and bool(self.blocks) and self.blocks[-1].kind == "metadata"
        if not under_title or not self.metadata.title or self.metadata.authors or len(source) > _MAX_AUTHORS_CHARACTERS:
            return False
        self.metadata.authors = line_of_authors(source)
        return bool(self.metadata.authors)

    def _add(self, kind: BlockKind, start: int, end: int) -> None:
        paragraph = 0
        if kind in CONTENT_KINDS:
            self._paragraphs[self._section] += 1
            paragraph = self._paragraphs[self._section]
        self.blocks.append(Block(kind, start, end, self._section, paragraph))

    def _source(self, block: RawBlock) -> str:
        return self.text[block.start : block.end]


def _with_title_level(text: str, raw: list[RawBlock]) -> list[RawBlock]:
    """The blocks, a first heading of the same level as `Abstract` or `Introduction` as the title that it is, in a text
    without headings of the first level.
    """
    headings = [n for n, block in enumerate(raw) if block.heading_level]
    if not headings or any(raw[n].heading_level == 1 for n in headings):
        return raw
    first, *later = [atx_heading(text[raw[n].start : raw[n].end], raw[n].heading_level) for n in headings]
    beside = any(each.level == first.level and is_opening(each) for each in later)
    if not beside or first.number or len(first.title.split()) < _MIN_TITLE_WORDS or titled_caption(first.title):
        return raw
    above = raw[: headings[0]]
    if any(block.kind != "markup" and not is_unread(text[block.start : block.end]) for block in above):
        return raw
    return [replace(block, heading_level=1) if n == headings[0] else block for n, block in enumerate(raw)]
