"""A manuscript in several Markdown files, as Manubot has it: `00.front-matter.md`, `01.abstract.md`, ..."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from indexer.errors import SourceError

_PART = re.compile(r"\d\d\.[^/]+\.md")
FIRST = "00.front-matter.md"
_METADATA = "metadata.yaml"
_BLANK = b"\n\n"


def is_manuscript(names: Iterable[str]) -> bool:
    """Whether a folder with files of these names is one paper: Manubot's all begin with a file of this name."""
    return FIRST in names


def is_part(name: str) -> bool:
    """Whether a file of this name in a manuscript's folder belongs to it."""
    return _PART.fullmatch(name) is not None


def name_of(folder: Path) -> str:
    """What the manuscript is called: its folder's name, or that of the one above where it is Manubot's `content`."""
    return folder.parent.name if folder.name == "content" and folder.parent.name else folder.name


def put_together(folder: Path, read: Callable[[Path], bytes]) -> bytes:
    """The manuscript as one text: its metadata as YAML front matter, then its parts, a blank line between.

    Raises SourceError, OSError.
    """
    parts = sorted(path for path in folder.iterdir() if is_part(path.name) and path.is_file())
    if not parts:
        raise SourceError(f"the folder has no {FIRST} any more: put the manuscript's files back, or remove it")
    texts = [read(part).removeprefix(b"\xef\xbb\xbf").strip(b"\r\n") for part in parts]
    metadata = folder / _METADATA
    if metadata.is_file():
        yaml = read(metadata).strip()
        bare = yaml.removeprefix(b"---").removesuffix(b"---").removesuffix(b"...").strip()
        texts.insert(0, b"---\n" + bare + b"\n---")
    return _BLANK.join(text for text in texts if text) + b"\n"
