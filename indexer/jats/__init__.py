"""JATS XML -> the Markdown that loccit keeps as the paper's source, and what is known beyond it.

`tree` parses; `inline` and `maths` write running text, `tables`, `references` and `blocks` what it stands in; `front`
has what is known of the article. Here they are put together. Knows nothing of files and indexes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from indexer.errors import SourceError
from indexer.jats.blocks import Writer, heading
from indexer.jats.front import Front, Relation, front_blocks, front_matter, read_front, title_line
from indexer.jats.inline import plain, settle
from indexer.jats.references import numbers_called
from indexer.jats.tree import read_tree

__all__ = ["Front", "JatsPaper", "Relation", "read_jats"]

_OTHER_ROOTS = {
    "html": "a web page",
    "rss": "an RSS feed",
    "feed": "an Atom feed",
    "full-text-retrieval-response": "Elsevier's XML",
    "TEI": "TEI",
    "PubmedArticleSet": "a PubMed record",
    "book": "a book",
    "book-part-wrapper": "a book's chapter",
}
_READ = frozenset(
    """article-id title-group author-notes pub-date abstract trans-abstract kwd-group funding-group related-article
    related-object custom-meta-group""".split()
)
"""What of the article's metadata is read, save these parts of it:"""
_LEFT_OUT = (
    "title-group//fn",
    "title-group/trans-title-group",
    "author-notes/p",
    "author-notes/corresp",
    "funding-group/award-group",
)


@dataclass(frozen=True, slots=True)
class JatsPaper:
    """A JATS article, read."""

    markdown: str
    """What `indexer.markdown.parse_markdown` makes a `Paper` of, its metadata in YAML front matter."""
    front: Front
    left_out: dict[str, int]
    """By element, the characters that are not white space and that the Markdown does not have."""


def read_jats(data: bytes) -> JatsPaper:
    """The article in the bytes of a JATS file. Nothing is fetched, whatever the file refers to.

    Raises SourceError for what is no well-formed JATS article, or unsafe to read.
    """
    root = _article(read_tree(data))
    front = read_front(root)
    blocks = [block for block in _blocks(root) if block]
    markdown = "\n\n".join([*filter(None, [front_matter(front)]), *blocks]) + "\n"
    return JatsPaper(markdown, front, _left_out(root))


def _article(root: Element) -> Element:
    """The article that is the root, or the only one that it wraps, as an OAI record does."""
    if root.tag == "article" and any(root.find(part) is not None for part in ("front", "body", "front-stub")):
        return root
    articles = [each for each in root.iter("article") if each.find("front") is not None]
    if len(articles) == 1:
        return articles[0]
    found = _OTHER_ROOTS.get(root.tag, f"<{root.tag}>")
    if articles:
        raise SourceError(f"it holds {len(articles)} articles: write each to a file of its own")
    raise SourceError(f"not a JATS article but {found}: fetch the article's JATS XML, or give its Markdown")


def _blocks(root: Element) -> Iterator[str]:
    writer = Writer(numbers_called(root))
    yield from front_blocks(root, writer)
    yield from _body(root, writer, 2)
    for reply in _replies(root):
        kind = reply.get("article-type", "").replace("-", " ").capitalize()
        yield heading(title_line(reply) or settle(plain(kind)) or "Reply", 2)
        yield from _body(reply, Writer(numbers_called(reply), writer.room), 3)


def _body(article: Element, writer: Writer, level: int) -> Iterator[str]:
    """Body, floats and back matter. After this, floats would stand under the reference list."""
    if (body := article.find("body")) is not None:
        yield from writer.blocks(body, level)
    floats = [block for each in article.findall("floats-group") for block in writer.blocks(each, level + 1)]
    if floats:
        yield heading("Figures and tables", level)
        yield from floats
    if (back := article.find("back")) is not None:
        yield from writer.back(back, level)


def _replies(article: Element) -> Iterator[Element]:
    """Letters and answers that belong to the article, and those to them; not its translations."""
    for each in article:
        if each.tag in ("sub-article", "response") and not _is_translation(each):
            yield each
            yield from _replies(each)


def _is_translation(article: Element) -> bool:
    return article.get("article-type") == "translation"


def _left_out(root: Element) -> dict[str, int]:
    meta = root.find("front/article-meta")
    counts: Counter[str] = Counter()
    for part in meta if meta is not None else ():
        counts[part.tag] += _n_ink(part) if part.tag not in _READ else 0
    for path in _LEFT_OUT:
        counts[path.rpartition("/")[2]] += sum(map(_n_ink, meta.findall(path) if meta is not None else ()))
    counts["translation"] = sum(map(_n_ink, filter(_is_translation, root.iter("sub-article"))))
    counts["notes"] = sum(map(_n_ink, root.findall("front/notes")))
    return {name: n for name, n in counts.items() if n}


def _n_ink(element: Element) -> int:
    return sum(map(len, "".join(element.itertext()).split()))
