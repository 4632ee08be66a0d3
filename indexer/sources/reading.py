"""A file's bytes -> the paper in it, exact."""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from indexer.errors import LoccitError, SourceError
from indexer.jats import read_jats
from indexer.markdown import parse_markdown
from indexer.papers import Paper, SourceFormat
from indexer.provenance import provenance_of
from indexer.sources.files import SourceFile
from indexer.sources.naming import path_ids

_BINARY_SAMPLE = 8192
_MAX_LINES = 1_000_000
"""Of a paper of the measured sets: 11,000. A line of a few characters takes a kilobyte while it is read."""

_log = logging.getLogger(__name__)


def parse_source(file: SourceFile, raw: bytes) -> Paper:
    """The paper in the file, with what is kept beside it of where it came from. Raises SourceError."""
    return with_provenance(parse_bytes(file, raw), file)


def with_provenance(paper: Paper, file: SourceFile) -> Paper:
    """The paper, and what is kept beside its file of where it came from. Raises SourceError."""
    came = provenance_of(file.path)
    if came is None:
        return paper
    notices = tuple(dict.fromkeys((*paper.notices, *came.notices)))
    return replace(paper, licence=paper.licence or came.licence, notices=notices)


def parse_bytes(file: SourceFile, raw: bytes, written: SourceFormat | None = None) -> Paper:
    """The paper in the file, by the file alone; `written` in that format, which is known without the file at hand.

    Raises SourceError for a file that is no text of its kind or has no words, and for one that trips a bug.
    """
    sha256 = hashlib.sha256(raw).hexdigest()
    written = written or file.format
    with bugs_named(file.source):
        if written == "jats":
            article = read_jats(raw)
            _check_length(article.markdown)
            paper = parse_markdown(article.markdown, source=file.source, sha256=sha256)
            return replace(paper, format="jats", dropped=article.left_out)
        paper = replace(parse_markdown(_text_of(raw), source=file.source, sha256=sha256), format=written)
        return replace(paper, paper_id=path_ids(file.path)[0]) if paper.paper_id == file.path.name else paper


def _text_of(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError("the file is UTF-16, not UTF-8: convert it, for example with `iconv -f utf-16 -t utf-8`")
    if b"\0" in raw[:_BINARY_SAMPLE]:
        raise SourceError("the file is binary, not Markdown text")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"the file is not UTF-8: byte 0x{raw[error.start]:02x} in line {line} (offset {error.start}); "
            "convert it, for example with `iconv -f latin1 -t utf-8`"
        ) from error
    if all(each.isspace() or unicodedata.category(each) == "Cf" for each in text):  # a byte order mark is a Cf
        raise SourceError("the file is empty: put the paper's text in it, or remove it")
    _check_length(text)
    return text


def _check_length(text: str) -> None:
    if text.count("\n") + text.count("\r") > _MAX_LINES:
        raise SourceError(f"the text has more than {_MAX_LINES:,} lines, as no paper has: split it into papers")


@contextmanager
def bugs_named(source: str) -> Iterator[None]:
    """Turn a bug that a paper trips into a SourceError for that paper; what is known goes on as it came.

    Whatever the bug is, one paper must not stop the others: this alone catches every exception.
    """
    try:
        yield
    except LoccitError:
        raise
    except Exception as error:
        _log.exception("internal error in %s", source)
        raise SourceError(
            f"internal error ({type(error).__name__}: {error}): please report this file as a bug in loccit"
        ) from error
