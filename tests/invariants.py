"""What always holds of a parsed paper, of its passages and of what is made of JATS, checked from outside.

The property tests ask it of small inputs, `benchmarks/fuzz.py` of as many as there is time for.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

from indexer.chunking import chunk, left_out, sentence_texts
from indexer.config import BuildConfig
from indexer.errors import SourceError
from indexer.jats import JatsPaper, read_jats
from indexer.jats.tree import read_tree
from indexer.markdown import parse_markdown
from indexer.papers import CONTENT_KINDS, Paper, Passage

LIMIT = 64
CONFIG = BuildConfig(max_wordpieces=32, merge_below=12)
_WORD = re.compile(r"\w+|[^\w\s]")
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1f]")
_NEXT_STEP = re.compile(r": (?:fetch|write|give|remove)")


def count(texts: Sequence[str]) -> list[int]:
    """Words and marks, and two special tokens: additive, like the real tokenizer, and checkable by hand."""
    return [2 + len(_WORD.findall(text)) for text in texts]


def check_markdown(text: str) -> Paper:
    """The paper in any text, when all that DESIGN promises of it and its passages holds."""
    paper = parse_markdown(text, source="folder/paper.md", sha256="0" * 64)
    assert paper.text == text
    check_paper(paper)
    passages = chunk(paper, CONFIG, count, LIMIT)
    check_passages(paper, passages, LIMIT)
    again = parse_markdown(text, source="folder/paper.md", sha256="0" * 64)
    assert again == paper
    assert chunk(again, CONFIG, count, LIMIT) == passages
    return paper


def check_paper(paper: Paper) -> None:
    """Blocks, sections, references and markers of one paper."""
    _check_sections(paper)
    _check_blocks(paper)
    _check_markers(paper)
    assert paper.paper_id
    assert not any(character.isspace() or character == "/" for character in paper.paper_id)


def _check_sections(paper: Paper) -> None:
    root, *sections = paper.sections
    assert (root.parent, root.level, root.start, root.title) == (-1, 0, 0, "")
    for number, section in enumerate(sections, start=1):
        assert 0 <= section.parent < number
        assert section.level == paper.sections[section.parent].level + 1
    assert all(a.start <= b.start for a, b in pairwise(paper.sections))
    headings = [block.start for block in paper.blocks if block.kind == "heading"]
    assert [section.start for section in sections] == headings


def _check_blocks(paper: Paper) -> None:
    text = paper.text
    starts = [section.start for section in paper.sections]
    n_paragraphs: Counter[int] = Counter()
    last = 0
    for block in paper.blocks:
        assert last <= block.start < block.end <= len(text)
        assert not text[last : block.start].strip()
        assert text[block.start : block.end].strip() == text[block.start : block.end]
        above = bisect_right(starts, block.start) - 1 if block.section else 0
        assert block.section == above
        n_paragraphs[block.section] += block.kind in CONTENT_KINDS
        assert block.paragraph == (n_paragraphs[block.section] if block.kind in CONTENT_KINDS else 0)
        assert block.kind == "table" or (block.caption is None and block.header is None)
        if block.caption is not None:
            assert 0 <= block.caption.start < block.caption.end <= len(text)
        if block.header is not None:
            assert block.start <= block.header.start < block.header.end <= block.end
        last = block.end
    assert not text[last:].strip()


def _check_markers(paper: Paper) -> None:
    for reference in paper.references:
        assert 0 <= reference.start <= reference.end <= len(paper.text)
        assert paper.text[reference.start : reference.end] == reference.text
    starts = [block.start for block in paper.blocks]
    at = 0
    for marker in paper.markers:
        assert at <= marker.start < marker.end
        block = paper.blocks[bisect_right(starts, marker.start) - 1]
        assert block.start <= marker.start < marker.end <= block.end
        assert marker.references
        assert len(set(marker.references)) == len(marker.references)
        assert all(0 <= number < len(paper.references) for number in marker.references)
        at = marker.end


def check_passages(
    paper: Paper, passages: Sequence[Passage], limit: int, counter: Callable[[Sequence[str]], list[int]] = count
) -> None:
    """Every promise that DESIGN makes of passages."""
    starts = [block.start for block in paper.blocks]
    covered = bytearray(len(paper.text))
    numbers: Counter[int] = Counter()
    last = 0
    for ordinal, passage in enumerate(passages):
        assert passage.ordinal == ordinal
        assert paper.text[passage.start : passage.end] == passage.text
        assert passage.start >= last
        last = passage.end
        assert passage.text.strip() == passage.text != ""
        assert (passage.sentences[0].start, passage.sentences[-1].end) == (passage.start, passage.end)
        at = passage.start
        for sentence in passage.sentences:
            assert at <= sentence.start < sentence.end <= passage.end
            at = sentence.end
            block = paper.blocks[bisect_right(starts, sentence.start) - 1]
            assert sentence.end <= block.end
            assert passage.section == paper.section_path(block.section)
            assert sentence.paragraph == block.paragraph
            assert sentence.number - numbers[block.start] in (0, 1)  # a sentence that was cut keeps its number
            numbers[block.start] = sentence.number
        covered[passage.start : passage.end] = b"\1" * (passage.end - passage.start)
    assert len({passage.passage_id for passage in passages}) == len(passages)
    _check_sizes(paper, passages, limit, counter)
    _check_cover(paper, passages, covered)


def _check_sizes(
    paper: Paper, passages: Sequence[Passage], limit: int, counter: Callable[[Sequence[str]], list[int]]
) -> None:
    sizes = counter([passage.embedded_text for passage in passages])
    assert [passage.n_wordpieces for passage in passages] == sizes
    assert max(sizes, default=0) <= limit
    sentences = [text for texts in sentence_texts(paper, passages).values() for text in texts]
    assert max(counter(sentences), default=0) <= limit


def _check_cover(paper: Paper, passages: Sequence[Passage], covered: bytearray) -> None:
    """What stands in no passage is what `left_out` counts, and no content."""
    out: Counter[str] = Counter()
    for block in paper.blocks:
        inside = zip(paper.text[block.start : block.end], covered[block.start : block.end], strict=True)
        n_out = sum(not there and not character.isspace() for character, there in inside)
        assert not n_out or block.kind not in CONTENT_KINDS
        out[block.kind] += n_out
    assert left_out(paper, passages) == {kind: n for kind, n in out.items() if n}


def check_jats(data: bytes, words: Iterable[str] = ()) -> JatsPaper | None:
    """The article in any bytes, when nothing of it is lost; None when it is refused, with what to do then.

    `words` are what its Markdown must have beside the words of its paragraphs, captions, cells and list items.
    """
    article = _read_or_refused(data)
    assert _read_or_refused(data) == article
    if isinstance(article, str):
        assert _NEXT_STEP.search(article), article
        return None
    assert not _CONTROL.search(article.markdown)
    paper = check_markdown(article.markdown)
    found = "".join(letters(plain(paper.text[b.start : b.end])) for b in paper.blocks if b.kind != "markup")
    lost = [*lost_words(read_tree(data), found), *(word for word in words if letters(word) not in found)]
    assert not lost, lost[:3]
    return article


def _read_or_refused(data: bytes) -> JatsPaper | str:
    try:
        return read_jats(data)
    except SourceError as error:
        return str(error)


# An independent reading of the XML: what stands in which element, in letters and digits alone.

_BLOCKS = frozenset(
    """fig table-wrap list disp-formula inline-formula boxed-text def-list supplementary-material media fig-group
    disp-quote math tex-math array code inline-graphic graphic fn p title label alternatives sec caption list-item
    def-item table thead tbody tr td th preformat statement verse-group disp-formula-group table-wrap-group permissions
    ack app app-group bio notes glossary ref-list ref fn-group table-wrap-foot term def mixed-citation
    element-citation""".split()
)
_SECTIONS = frozenset("sec app ack notes glossary ref-list bio fn-group app-group".split())
_READ = frozenset({"p", "td", "th", "list-item", "caption"})
_NOT_AS_IT_STANDS = frozenset(
    "alternatives citation-alternatives math tex-math sec-meta processing-meta institution-id ref".split()
)
"""What is read in part or in another order, or is no words of the paper."""
_LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?:[^()\s]|\([^()]*\))*\)")
_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)


def letters(text: str) -> str:
    """Letters and digits, those that look alike as one, whatever marks stand on them."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text).casefold()))


def plain(markdown: str) -> str:
    """Markdown without its links' targets, tags and entities."""
    for _ in range(3):
        markdown = _LINK.sub("\0\\1\0", markdown)  # `<[a](#b)` begins no tag
    return html.unescape(_TAG.sub("", markdown.replace("<br>", " ")))


def name(element: Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rsplit("}", 1)[-1]


def runs(element: Element) -> Iterator[str]:
    """The text of an element between its formulas, citations and inner blocks."""
    pieces = [element.text or ""]
    for child in element:
        if name(child) in _BLOCKS or child.get("ref-type") == "bibr" or _is_written_otherwise(child):
            yield "".join(pieces)
            pieces = []
        else:
            *before, last = runs(child)
            for n, run in enumerate(before):
                yield "".join([*pieces, run]) if n == 0 else run
                pieces = [] if n == 0 else pieces
            pieces.append(last)
        pieces.append(child.tail or "")
    yield "".join(pieces)


def _is_written_otherwise(element: Element) -> bool:
    """Whether Markdown has other words in an element's place: `doi:10.1000/x`, a link's address."""
    if name(element) in ("ext-link", "uri"):
        return not letters("".join(element.itertext()))
    return name(element) in ("object-id", "pub-id")


def title_paths(element: Element, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Of every section below, its title and those above it."""
    for child in element:
        if name(child) in ("boxed-text", "disp-quote"):
            continue
        below = path
        if name(child) in _SECTIONS:
            words = " ".join("".join(each.itertext()) for tag in ("label", "title") for each in child.findall(tag))
            if title := letters(words):
                below = (*path, title)
                yield below
        yield from title_paths(child, below)


def lost_words(root: Element, found: str) -> Iterator[str]:
    """The runs of an article's paragraphs, cells, list items and captions that are not in `found`."""
    article = root if root.tag == "article" else root.find(".//article[front]")
    assert article is not None
    for part in _parts(article):
        yield from (run for each in _read(part) for run in map(letters, runs(each)) if run not in found)


def _parts(article: Element) -> Iterator[Element]:
    for path in ("front/article-meta", "front-stub"):
        if (meta := article.find(path)) is not None:
            yield from (each for each in meta if each.tag in ("abstract", "trans-abstract"))
            break
    first = (article.find(path) for path in ("body", "back"))
    yield from (part for part in first if part is not None)
    yield from article.findall("floats-group")
    for reply in article:
        if reply.tag in ("sub-article", "response") and reply.get("article-type") != "translation":
            yield from (part for part in _parts(reply) if "abstract" not in part.tag)


def _read(element: Element) -> Iterator[Element]:
    if element.tag in _NOT_AS_IT_STANDS:
        return
    if element.tag in _READ:
        yield element
    for child in element:
        yield from _read(child)
