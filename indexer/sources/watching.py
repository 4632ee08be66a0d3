"""What changes below folders, as it changes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from indexer.provenance import file_of_provenance
from indexer.sources.files import SUFFIXES, SourceFile
from indexer.sources.manuscripts import FIRST

Changes = frozenset[Path] | None
"""Paths that changed; None where everything should be looked at."""

_TICK_MS = 500
_DEBOUNCE_MS = 1600
"""A copy of many files is waited for, as long as no pause in it is longer than a tenth of a second."""
_STEP_MS = 100


def changes(paths: Sequence[Path], *, leave_out: Path | None = None) -> Iterator[Changes]:
    """First None, then what changed, as often as something does; an empty set twice a second while nothing does.

    Nothing hidden, nothing below the folder `leave_out`, and nothing that is no paper's file. A folder that goes away
    is waited for; None when it is back. Set WATCHFILES_FORCE_POLLING for file systems that tell of no changes.
    """
    from watchfiles import Change, watch

    roots = [path.resolve() for path in paths]
    left_out = leave_out.resolve() if leave_out is not None else None

    def matters(change: Change, name: str) -> bool:
        path = Path(name)
        root = next((root for root in roots if path.is_relative_to(root)), None)
        if root is None or (left_out is not None and path.is_relative_to(left_out)):
            return False
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        return not hidden and (change == Change.deleted or path.is_dir() or file_changed_by(path) is not None)

    known = dict(zip(roots, _identities(roots), strict=True))
    while True:
        while any(_is_away(root, known[root]) for root in roots):
            yield frozenset()
            time.sleep(_TICK_MS / 1000)
        known = dict(zip(roots, _identities(roots), strict=True))
        folders = [root for root in roots if root.is_dir()]
        there = _identities(folders)
        # A file that is replaced by another takes its watch with it: its folder stays.
        watched = {root if root.is_dir() else root.parent for root in roots}
        first = True
        for found in watch(
            *watched,
            watch_filter=matters,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
        ):
            if _identities(folders) != there:
                break  # gone, or another folder by its name
            yield None if first else frozenset(Path(name) for _, name in found)
            first = False


def file_changed_by(path: Path) -> Path | None:
    """The paper's file, or manuscript's folder, that a change of this path changes; None for none."""
    if path.name == "metadata.yaml":
        return path.parent
    if (of := file_of_provenance(path)) is not None:
        return of
    return path if path.suffix.lower() in SUFFIXES else None


def only_of(files: Sequence[SourceFile], changed: Changes) -> list[SourceFile]:
    """Those of the files that changed: themselves, what is kept beside them, a part of them, or a folder above."""
    if changed is None:
        return list(files)
    own = {path for each in changed for path in (each, each.parent, file_changed_by(each))}
    reshaped = {each.parent for each in changed if each.name == FIRST}  # its files are parts now, or no longer
    return [
        file
        for file in files
        if file.path in own or file.path.parent in reshaped or not changed.isdisjoint(file.path.parents)
    ]


def _is_away(root: Path, known: tuple[int, int]) -> bool:
    """Whether the root is gone, or an empty folder stands in its place, as where a drive was let go."""
    if not root.exists():
        return True
    return root.is_dir() and _identity(root) != known and not any(root.iterdir())


def _identities(folders: Sequence[Path]) -> list[tuple[int, int]]:
    return [_identity(folder) for folder in folders]


def _identity(folder: Path) -> tuple[int, int]:
    """Zeros where it is gone."""
    try:
        status = folder.stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
