"""What a paper without an id in its text is called: by its file's path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from indexer.markdown.metadata import Metadata, paper_id
from indexer.papers import Paper
from indexer.sources.files import SourceFile
from indexer.sources.manuscripts import name_of


def path_ids(path: Path) -> list[str]:
    """The ids that a file's path gives: its stem, then with the folder above in front, then with the next, ..."""
    stem = paper_id(Metadata(), name_of(path))
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
