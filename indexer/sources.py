"""Files on disk -> papers: which files a path stands for, and their text, exact."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import SourceError
from indexer.markdown import parse_markdown
from indexer.papers import Paper

SUFFIXES = frozenset({".md", ".markdown"})
MAX_BYTES = 50_000_000
"""The longest paper of the measured sets has 1.2 MB; a file forty times that is not one paper."""

_BINARY_SAMPLE = 8192


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to index, and what it is called in citations."""

    path: Path
    """Absolute."""
    source: str
    """Its path below the folder that was named, with `/`; its name, when the file itself was named."""


def find_sources(paths: Iterable[Path]) -> list[SourceFile]:
    """The Markdown files that the paths stand for, each once, sorted within each path. Hidden ones are passed over.

    Raises SourceError when a path does not exist or holds no Markdown.
    """
    found: dict[Path, SourceFile] = {}
    for path in paths:
        if path.is_dir():
            files = sorted(_files_below(path), key=lambda file: file.source)
            if not files:
                raise SourceError(
                    f"{path} holds no Markdown ({' or '.join(sorted(SUFFIXES))}): name a folder with papers"
                )
        elif path.is_file():
            files = [SourceFile(path.absolute(), path.name)]
        elif path.exists():
            raise SourceError(f"{path} is neither a file nor a folder")
        else:
            raise SourceError(f"{path} does not exist: name a Markdown file or a folder of them")
        for file in files:
            found.setdefault(file.path.resolve(), file)
    return list(found.values())


def _files_below(folder: Path) -> Iterable[SourceFile]:
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if (
            path.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in inside.parts)
            and path.is_file()
        ):
            yield SourceFile(path.absolute(), inside.as_posix())


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises SourceError for a file that is gone, too large, empty or closed to us."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SourceError(
                f"the file has {size / 1e6:.0f} MB, and one paper may have {MAX_BYTES / 1e6:.0f}: split it into papers"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise SourceError(f"the file cannot be read: {error.strerror or error}") from error
    if not raw.strip():
        raise SourceError("the file is empty: put the paper's text in it, or remove it")
    return raw


def parse_source(file: SourceFile, raw: bytes) -> Paper:
    """The paper in the file. Raises SourceError for a file that is not UTF-8 text or has no words."""
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
    if not text.strip():
        raise SourceError("the file is empty: put the paper's text in it, or remove it")
    return parse_markdown(text, source=file.source, sha256=hashlib.sha256(raw).hexdigest())
