"""Files on disk -> papers: which files a path stands for, and their text, exact."""

from __future__ import annotations

import hashlib
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from indexer.errors import LoccitError, SourceError
from indexer.markdown import parse_markdown
from indexer.markdown.metadata import Metadata, paper_id
from indexer.papers import Paper

SUFFIXES = frozenset({".md", ".markdown"})
MAX_BYTES = 50_000_000
"""The longest paper of the measured sets has 1.2 MB; a file forty times that is not one paper."""

_BINARY_SAMPLE = 8192

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to index, and what it is called in citations."""

    path: Path
    """Absolute, its folder without links and `..`: one file has one path, however its folder was named."""
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
            files = [SourceFile(_placed(path), path.name)]
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
            yield SourceFile(_placed(path), inside.as_posix())


def _placed(path: Path) -> Path:
    """The file's own path. A link is not followed at the last step: what it points to may be kept under a hash."""
    return path.parent.resolve() / path.name


def path_ids(path: Path) -> list[str]:
    """The ids that a file's path gives: its stem, then with the folder above in front, then with the next, ..."""
    stem = paper_id(Metadata(), path.name)
    folders = path.parts[1:-1]
    return [
        paper_id(Metadata(paper_id="/".join((*folders[len(folders) - n :], stem))), "") for n in range(len(folders) + 1)
    ]


def named_by_path(paper: Paper, path: Path) -> bool:
    """Whether the paper's text names no id, so that it goes by its file's stem."""
    return not paper.pmcid and not paper.doi and paper.paper_id == path_ids(path)[0]


def stem_ids(files: Sequence[SourceFile]) -> dict[Path, list[str]]:
    """For each file, the ids that its paper may go by when its text names none, best first.

    That is the stem; where files of the run share it, folders (below the one that was named, then that one too) go in
    front of each. Which of them come first depends on the files' names alone, not on their order.
    """
    ladders: dict[Path, list[str]] = {}
    for file in files:
        ids = path_ids(file.path)
        depth = len(PurePosixPath(file.source).parts)
        ladders[file.path] = [ids[0], ids[depth - 1], ids[min(depth, len(ids) - 1)]]
    counts = Counter((rung, name) for ladder in ladders.values() for rung, name in enumerate(ladder))
    first = {
        path: next((rung for rung, name in enumerate(ladder) if counts[rung, name] == 1), len(ladder) - 1)
        for path, ladder in ladders.items()
    }
    return {path: ladder[first[path] :] for path, ladder in ladders.items()}


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
    """The paper in the file.

    Raises SourceError for a file that is not UTF-8 text or has no words, and for one that trips a bug.
    """
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
    with bugs_named(file.source):
        return parse_markdown(text, source=file.source, sha256=hashlib.sha256(raw).hexdigest())


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


@dataclass(frozen=True, slots=True)
class Place:
    """A paper, and the file that it stands in."""

    paper_id: str
    origin: str
    sha256: str
    source: str


class Places:
    """Which paper stands in which file, as the run goes on: one file a paper, one paper a file."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._by_origin = {place.origin: place for place in places}
        self._by_paper = {place.paper_id: place for place in self._by_origin.values()}

    def at(self, origin: str) -> Place | None:
        """What stands in the file."""
        return self._by_origin.get(origin)

    def of(self, paper_id: str) -> Place | None:
        """Where the paper stands."""
        return self._by_paper.get(paper_id)

    def put(self, place: Place) -> None:
        """The paper stands there now, and nowhere else."""
        self.forget(place.paper_id)
        self._by_origin[place.origin] = self._by_paper[place.paper_id] = place

    def forget(self, paper_id: str) -> None:
        """The paper stands nowhere."""
        place = self._by_paper.pop(paper_id, None)
        if place is not None:
            del self._by_origin[place.origin]


def holds_still(place: Place) -> bool:
    """Whether the file holds that paper now. One that cannot be read holds nothing."""
    file = SourceFile(Path(place.origin), place.source)
    try:
        raw = read_bytes(file.path)
        if hashlib.sha256(raw).hexdigest() == place.sha256:
            return True
        paper = parse_source(file, raw)
    except SourceError:
        return False
    return paper.paper_id == place.paper_id or (
        named_by_path(paper, file.path) and place.paper_id in path_ids(file.path)
    )
