"""Which files a path stands for, and their bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from indexer.errors import SourceError
from indexer.papers import SourceFormat
from indexer.sources.manuscripts import is_manuscript, is_part, put_together

_FORMATS: dict[str, SourceFormat] = {".md": "markdown", ".markdown": "markdown", ".xml": "jats", ".nxml": "jats"}
SUFFIXES = frozenset(_FORMATS)
MAX_BYTES = 50_000_000
"""The longest paper of the measured sets has 1.2 MB; a file forty times that is not one paper."""

_ANNEXED = "/.git/annex/objects/"
_ADDRESS = re.compile(r"[a-z]{2,}:/")
"""As a path has it: of two slashes, one is left."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to index, and what it is called in citations. Of a manuscript in several files, their folder."""

    path: Path
    """Absolute, its folder without links and `..`: one file has one path, however its folder was named."""
    source: str
    """Its path below the folder that was named, with `/`; its name, when the file itself was named."""

    @property
    def format(self) -> SourceFormat:
        """What it is written in, by its name."""
        return _FORMATS.get(self.path.suffix.lower(), "markdown") if self.path.is_file() else "manuscript"


def find_sources(paths: Iterable[Path], *, may_be_empty: bool = False) -> list[SourceFile]:
    """The papers' files that the paths stand for, each once, sorted within each path. Hidden ones are passed over.

    Raises SourceError when a path does not exist, or holds none and may not be empty.
    """
    found: dict[str, SourceFile] = {}
    for path in paths:
        if path.is_dir():
            files = sorted(_files_below(path), key=lambda file: file.source)
            if not files and not may_be_empty:
                raise SourceError(
                    f"{path} holds no papers in Markdown (.md, .markdown) or JATS XML (.xml, .nxml): name a folder "
                    "with papers, or `loccit fetch` some"
                )
        elif path.is_file():
            files = [SourceFile(placed(path), path.name)]
        elif path.exists():
            raise SourceError(f"{path} is neither a file nor a folder")
        elif _ADDRESS.match(str(path)):
            raise SourceError(f"{path} is no file: `loccit fetch` gets papers from addresses")
        else:
            raise SourceError(f"{path} does not exist: name a paper's Markdown or JATS file, or a folder of them")
        for file in files:
            found.setdefault(os.path.realpath(file.path), file)  # of links in a circle, `resolve` makes an error
    return list(found.values())


def _files_below(folder: Path) -> Iterator[SourceFile]:
    """Each file of a known kind; a manuscript's folder in place of its parts.

    A folder that cannot be read is given as if it were a file, so that its failure is told and not passed over.
    """
    closed: list[OSError] = []
    for above, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = Path(above)
        whole = is_manuscript(names)
        if whole:
            yield _below(folder, here)
        for name in names:
            if name.startswith(".") or (whole and is_part(name)) or Path(name).suffix.lower() not in SUFFIXES:
                continue
            yield _below(folder, here / name)
    for error in closed:
        yield _below(folder, Path(error.filename))


def _below(folder: Path, path: Path) -> SourceFile:
    if path == folder:
        return SourceFile(folder.resolve(), folder.resolve().name)
    return SourceFile(placed(path), path.relative_to(folder).as_posix())


def placed(path: Path) -> Path:
    """The file's own path. A link is not followed at the last step: what it points to may be kept under a hash."""
    return path.parent.resolve() / path.name


def is_there(path: Path) -> bool:
    """Whether a file, or a manuscript's folder, stands at that path. So does a link whose target is away for now, and
    what we may not look at."""
    try:
        return path.is_symlink() or path.is_file() or (path.is_dir() and is_manuscript(os.listdir(path)))  # noqa: PTH208
    except OSError:
        return True


def printable(name: str) -> str:
    """A file name that can be printed and written as JSON: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def check_name(path: Path) -> None:
    """Raise SourceError for a path that is not UTF-8: no citation could name it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"its path {printable(str(path))} is not UTF-8: rename it") from error


def read_bytes(path: Path) -> bytes:
    """The file's bytes; of a manuscript's folder, those of its files put together.

    Raises SourceError for a file that is gone, too large, empty or closed to us.
    """
    try:
        raw = put_together(path, _read) if path.is_dir() else _read(path)
    except OSError as error:
        raise SourceError(f"the file cannot be read: {error.strerror or error}") from error
    if not raw.strip():
        raise SourceError("the file is empty: put the paper's text in it, or remove it")
    return raw


def _read(path: Path) -> bytes:
    if path.is_symlink():
        _check_link(path)
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise SourceError("it is no file that can be read as a whole: remove it, or give it another name")
    size = status.st_size
    if size > MAX_BYTES:
        raise SourceError(
            f"the file has {size / 1e6:.0f} MB, and one paper may have {MAX_BYTES / 1e6:.0f}: split it into papers"
        )
    return path.read_bytes()


def _check_link(path: Path) -> None:
    """Raise SourceError for a link that leads nowhere, or to what by its name is no paper.

    Collections share papers by links, and git-annex keeps files under hashes. But a folder from elsewhere may hold a
    link that calls someone's private file a paper.
    """
    target = printable(str(path.readlink()))
    if not path.exists():
        raise SourceError(f"it is a link to {target}, which is not there: put that back")
    real = path.resolve()
    if real.suffix.lower() not in SUFFIXES | {path.suffix.lower()} and _ANNEXED not in real.as_posix():
        raise SourceError(f"it is a link to {target}, which by its name is no paper: name that file itself, or copy it")
