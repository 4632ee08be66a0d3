"""XML bytes -> a tree of elements with local names. Fetches nothing, takes no declarations, refuses deep nesting."""

from __future__ import annotations

import re
from html.entities import html5
from pyexpat import ExpatError, ParserCreate, XMLParserType, errors
from xml.etree.ElementTree import Element, TreeBuilder

from indexer.errors import SourceError

_MAX_DEPTH = 120
"""Of the shared papers the deepest has 30 levels."""
_NAMESPACE = "\x1f"
_ENCODINGS = re.compile(
    r"utf-?(?:8|16|16le|16be)|(?:us-)?ascii|(?:iso[-_]?8859|latin|windows|cp|koi8|mac)[-_\w]*", re.IGNORECASE
)
"""Those that an article may be in. Python knows others, such as `unicode_escape`, which are none of XML's."""


def read_tree(data: bytes) -> Element:
    """The root element, without comments and processing instructions; names and attributes without their namespaces.

    Raises SourceError for what is not well-formed, declares entities or attributes, or nests deeper than 120 elements.
    A DTD is never read: the characters that JATS names by it (`&nbsp;`) are those of HTML, any other name is an error.
    """
    builder = TreeBuilder()
    parser = ParserCreate(namespace_separator=_NAMESPACE)
    parser.buffer_text = True
    _connect(parser, builder)
    try:
        parser.Parse(data, True)
        return builder.close()
    except ExpatError as error:
        if data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
            raise SourceError(f"a web page, not a JATS article: {_NEXT}") from error
        raise SourceError(f"{_place(parser)}not well-formed XML ({errors.messages[error.code]}): {_NEXT}") from error
    except (LookupError, ValueError) as error:  # an encoding that Python has no table for
        raise SourceError(f"its encoding cannot be read ({error}): {_NEXT}") from error


_NEXT = "fetch the article's JATS XML again, as UTF-8"


def _connect(parser: XMLParserType, builder: TreeBuilder) -> None:
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise SourceError(f"{_place(parser)}elements nest deeper than {_MAX_DEPTH}, as in no article: {_NEXT}")
        builder.start(_local(name), {_local(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(name))

    def declared(name: str, *_: object) -> None:
        raise SourceError(f"{_place(parser)}it declares the entity {name!r}, which is refused: write out its text")

    def declared_for(element: str, *_: object) -> None:  # a default value would stand on every such element
        raise SourceError(
            f"{_place(parser)}it declares attributes of <{element}>, which is refused: remove its document type"
        )

    def encoded(version: str, encoding: str | None, *_: object) -> None:
        if encoding and not _ENCODINGS.fullmatch(encoding):
            raise SourceError(f"its encoding cannot be read (unknown encoding {encoding!r}): {_NEXT}")

    def external(context: str, *_: object) -> int:
        raise SourceError(
            f"{_place(parser)}it refers to another file ({context}), which is refused: write out its text"
        )

    def skipped(name: str, is_parameter: bool) -> None:
        if is_parameter:
            return
        if f"{name};" not in html5:
            raise SourceError(f"{_place(parser)}nothing says what &{name}; stands for: write the character itself")
        builder.data(html5[f"{name};"])

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.XmlDeclHandler = encoded
    parser.EntityDeclHandler = declared
    parser.AttlistDeclHandler = declared_for
    parser.ExternalEntityRefHandler = external
    parser.SkippedEntityHandler = skipped


def _local(name: str) -> str:
    return name.rpartition(_NAMESPACE)[2]


def _place(parser: XMLParserType) -> str:
    return f"line {parser.CurrentLineNumber}, column {parser.CurrentColumnNumber + 1}: "


def text_of(element: Element | None) -> str:
    """All the text inside, white space folded; empty for None."""
    return " ".join("".join(element.itertext()).split()) if element is not None else ""
