"""The files of the papers that citations name, as they read now. Only the index's papers are ever read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from indexer.errors import NotFoundError, SourceError, partly
from indexer.markdown import parse_markdown
from indexer.papers import Paper
from indexer.sources import SUFFIXES, SourceFile, is_there, named_by_path, parse_bytes, path_ids, read_bytes
from indexer.store import FileRecord, Snapshot, StoredPaper
from service.cite import Citation
from service.replies import Verdict
from service.verify.claims import Claim
from service.verify.compare import Source, verify

Sources = dict[str, Source | SourceError]
"""What was read so far, or why it could not be, by file."""


def verdict(snapshot: Snapshot, claim: Claim, sources: Sources) -> Verdict:
    """The verdict on a claim. `sources`: what was read so far, by file."""
    citation, reason = claim.citation, ""
    for origin, read in _readings(snapshot, citation):
        if origin not in sources:
            sources[origin] = read()
        source = sources[origin]
        if isinstance(source, Source):
            return verify(claim, source)
        reason = reason or str(source)
    unknown = f"no paper {citation.paper_id!r} in this index: index its file with `loccit index PATH...`"
    if snapshot.missing:
        unknown += f"; {partly(snapshot.missing)}"
    return Verdict("source_missing", reason or unknown, citation, None, None)


def _readings(snapshot: Snapshot, citation: Citation) -> Iterator[tuple[str, Callable[[], Source | SourceError]]]:
    """The files that may hold what is cited, and how each is read: those searched, then those known as versions."""
    for stored in _cited_papers(snapshot, citation):
        yield stored.origin, partial(_source, snapshot, stored)
    for version in snapshot.versions_holding(citation.source_sha256, citation.paper_id):
        yield version.origin, partial(_version, version)


def _version(version: FileRecord) -> Source | SourceError:
    """The paper in a file that is not searched."""
    path = Path(version.origin)
    try:
        paper = parse_bytes(SourceFile(path, version.source), _bytes_of(path, version.sha256))
    except SourceError as error:
        return SourceError(f"{path}: {error}")
    return Source(replace(paper, paper_id=version.own_id), version.sha256, [])


def _cited_papers(snapshot: Snapshot, citation: Citation) -> Iterator[StoredPaper]:
    """The paper of that id, then those whose file had the cited bytes: a paper may go by another id now."""
    with suppress(NotFoundError):
        yield snapshot.paper(citation.paper_id)
    yield from snapshot.papers_holding(citation.source_sha256, citation.source)


def _source(snapshot: Snapshot, stored: StoredPaper) -> Source | SourceError:
    """The paper as its file reads now, by the id that it goes by in the index; else why it cannot be read."""
    path = Path(stored.origin)
    try:
        if not path.exists():
            return SourceError(f"{path} is gone: put it back, or run `loccit index PATH...` where the file stands now")
        if not is_there(path):
            return SourceError(f"{path} is not a file any more: put the paper back, and verify again")
        paper = _paper(snapshot, stored, path)
    except (OSError, SourceError) as error:
        return SourceError(f"{path}: {error}")
    if named_by_path(paper, path) and stored.paper_id in path_ids(path):
        paper = replace(paper, paper_id=stored.paper_id)
    indexed = snapshot.passages_of(stored.paper_id) if paper.sha256 != stored.sha256 else []
    return Source(paper, stored.sha256, [each for one in indexed for each in one.passage.sentences])


def _paper(snapshot: Snapshot, stored: StoredPaper, path: Path) -> Paper:
    """What the file reads as now. Of an unchanged one in another format, the Markdown that was made of it then: what
    is made of it today may differ, and its citations are right all the same. Raises SourceError."""
    raw = _bytes_of(path, stored.sha256)
    if sha256(raw).hexdigest() == stored.sha256 and (kept := snapshot.kept_text(stored.paper_id)) is not None:
        paper = parse_markdown(kept, source=stored.source, sha256=stored.sha256)
        return replace(paper, paper_id=stored.paper_id, format=stored.format, notices=stored.notices)
    return parse_bytes(SourceFile(path, stored.source), raw)


def _bytes_of(path: Path, digest: str) -> bytes:
    """The file's bytes. Raises SourceError.

    An index from elsewhere may name any file of this machine as a paper's: what is quoted of one that is not as it was
    indexed must at least be a paper by its name.
    """
    raw = read_bytes(path)
    if not path.is_dir() and path.suffix.lower() not in SUFFIXES and sha256(raw).hexdigest() != digest:
        raise SourceError("it has changed since it was indexed, and by its name is no paper: index it anew")
    return raw


def source_text(snapshot: Snapshot, stored: StoredPaper) -> str:
    """The text that the paper's offsets count in. Raises SourceError where its file is not as it was indexed."""
    if (kept := snapshot.kept_text(stored.paper_id)) is not None:
        return kept
    try:
        raw = read_bytes(Path(stored.origin))
    except SourceError as error:
        raise SourceError(f"{stored.origin}: {error}; put it back, or index it where it stands now") from error
    if sha256(raw).hexdigest() != stored.sha256:
        raise SourceError(
            f"{stored.source} has changed since it was indexed: run `loccit index PATH...`, and cite it anew"
        )
    return raw.decode()
