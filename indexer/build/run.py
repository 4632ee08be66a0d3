"""One build: file by file, which paper each one holds, and which file of each paper is searched."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from indexer.build.embed import Embedding, Pending
from indexer.build.identity import best_of, parts_of, why_in, why_one
from indexer.build.report import BuildReport, Failure, Version
from indexer.build.workshop import Job, Parts, Sheet, Workshop
from indexer.embedding import PassageVectors
from indexer.errors import SourceError
from indexer.papers import Paper
from indexer.provenance import digest_of_provenance
from indexer.sources import (
    SourceFile,
    check_name,
    is_part,
    is_there,
    named_by_path,
    parse_bytes,
    path_ids,
    printable,
    read_bytes,
    stem_ids,
    with_provenance,
)
from indexer.store import FailedFile, FileRecord, Writer

_MAX_ID = 500
"""Characters of a paper's id: PostgreSQL looks up what is no longer."""
_MAX_STEPS = 8
"""So many files are asked what hangs together with them: copies by the hundred all say the same."""
_MAX_ROUNDS = 5
"""A file that moves to another paper may move others. Two rounds are the most that were seen."""


@dataclass(frozen=True, slots=True)
class _Displaced:
    """A paper whose file holds another one now. It may turn up elsewhere in the same run."""

    sha256: str
    vectors: dict[str, PassageVectors]


@dataclass(frozen=True, slots=True)
class _Look:
    """A file that was looked at and waits for its turn."""

    file: SourceFile
    sha256: str = ""
    provenance: str = ""
    n_bytes: int = 0
    """That its job holds."""
    job: Job | None = None
    """None for a file that was as the index knew it, and for one that is `wrong`."""
    wrong: SourceError | None = None

    @property
    def is_ready(self) -> bool:
        """Whether its turn would not be waited for."""
        return self.job is None or self.job.is_done()


@dataclass(frozen=True, slots=True)
class _Opened:
    """The paper that a file holds, by the id that it goes by, and the job that takes it apart."""

    paper: Paper
    job: Job


@dataclass(frozen=True, slots=True)
class _Group:
    """The files of one paper."""

    files: list[FileRecord]
    gone: list[FileRecord]
    """Files that held it and do no longer."""
    paper_ids: set[str]
    """What it goes by in the index: mostly one id, none for a new paper, several for papers that turn out to be one."""


class Run:
    """One run over some files."""

    def __init__(
        self,
        writer: Writer,
        workshop: Workshop,
        files: Sequence[SourceFile],
        embedding: Embedding,
        report: BuildReport,
    ) -> None:
        self.report = report
        self._writer = writer
        self._workshop = workshop
        self._embedding = embedding
        self._stem_ids = stem_ids(files)
        self._holding: dict[str, bool] = {}
        """Of files looked at in this run: whether they hold what is known of them."""
        self._displaced: dict[str, _Displaced] = {}
        self._shaken: list[str] = []
        """Papers of which a file has changed or gone."""
        self._clashed: set[str] = set()
        """Files whose id another one had when they were looked at."""
        self._superseded: set[str] = set()
        """Papers that go as soon as another is stored, which they are one with."""
        self._told: set[str] = set()
        """Papers that the report speaks of: a search of its lists for every paper would take the square of the time."""
        self._failed: list[FailedFile] = []
        for origin in writer.files.left_over():
            writer.forget_file(origin)

    def take_all(self, files: Sequence[SourceFile]) -> None:
        """These files, in order. The work on some is begun ahead, as long as the workshop has room."""
        begun: deque[_Look] = deque()
        for file in files:
            while begun and (begun[0].is_ready or not self._has_room(begun)):
                self._take_turn(begun.popleft())
            begun.append(self._look(file))
        while begun:
            self._take_turn(begun.popleft())

    def _has_room(self, begun: Sequence[_Look]) -> bool:
        jobs = [look for look in begun if look.job is not None]
        return self._workshop.has_room(len(jobs), sum(look.n_bytes for look in jobs))

    def _look(self, file: SourceFile) -> _Look:
        """What the file holds now; the work on it is begun, unless it is as the index knows it."""
        try:
            check_name(file.path)
            sheet = _sheet_of(file)
        except SourceError as error:
            return _Look(file, wrong=error)
        sha256 = hashlib.sha256(sheet.raw).hexdigest()
        if self._workshop.works_ahead and _is_as(self._writer.files.at(str(file.path)), sha256, sheet.provenance):
            return _Look(file, sha256, sheet.provenance)
        return _Look(file, sha256, sheet.provenance, len(sheet.raw), self._workshop.begin(sheet))

    def _take_turn(self, look: _Look) -> None:
        """One file: skip it, note its move, or queue its paper's passages."""
        file, origin = look.file, str(look.file.path)
        try:
            self._take(look, origin)
            self._holding[origin] = True
        except SourceError as error:
            stays = "; what was indexed of it before stays" if self._writer.files.at(printable(origin)) else ""
            self._fail(file, f"{error}{stays}")
            self._embedding.advanced(1, 0, 0)

    def take_again(self, files: Sequence[SourceFile]) -> None:
        """Those of the files whose id was another's: that one may hold something else by now."""
        again = [file for file in files if str(file.path) in self._clashed]
        told = {printable(file.source) for file in again}
        self.report.failed[:] = [each for each in self.report.failed if each.source not in told]
        self._failed[:] = [each for each in self._failed if each.source not in told]
        self.take_all(again)

    def _take(self, look: _Look, origin: str) -> None:
        if look.wrong is not None:
            raise look.wrong
        here = self._writer.files.at(origin)
        if here is not None and _is_as(here, look.sha256, look.provenance):
            self._unchanged(here, look.file.source)
            return
        # What was known of it when it was looked at may be forgotten by now.
        job = look.job or self._workshop.begin(_sheet_of(look.file))
        found, record = job.opened()
        paper = self._named(with_provenance(found, look.file), look.file, here)
        if len(paper.paper_id) > _MAX_ID:
            raise SourceError(
                f"its paper id has {len(paper.paper_id):,} characters, and {_MAX_ID} are the most: give it a shorter "
                "one with `paper_id:` in YAML front matter"
            )
        record = _recorded_as(record, paper)
        self._settle(self._group_of(record, here), {origin: _Opened(paper, job)}, here)

    def _fail(self, file: SourceFile, reason: str) -> None:
        self.report.failed.append(Failure(printable(file.source), reason))
        self._failed.append(FailedFile(printable(str(file.path)), printable(file.source), reason))

    def _unchanged(self, here: FileRecord, source: str) -> None:
        self.report.n_unchanged += 1
        if here.source != source:
            self._writer.put_file(replace(here, source=source))
            if here.is_searched:
                self._move(here.paper_id, here.origin, source)
        self._embedding.advanced(1, 0, 0)

    def _named(self, paper: Paper, file: SourceFile, here: FileRecord | None) -> Paper:
        """The paper by the id that it goes by in this index: its own, else one that its path gives and is free."""
        if not named_by_path(paper, file.path):
            return paper
        if here is not None and here.own_id in path_ids(file.path):
            return replace(paper, paper_id=here.own_id)
        names = self._stem_ids[file.path]
        return replace(paper, paper_id=next((name for name in names if self._is_free(name, file)), names[-1]))

    def _is_free(self, name: str, file: SourceFile) -> bool:
        holder = self._writer.files.searched(name)
        return holder is None or holder.origin == str(file.path) or not self._holds(holder, file.path)

    def _holds(self, record: FileRecord, asking: Path) -> bool:
        """Whether a file holds its paper still, and is another file than `asking` by another name."""
        if record.origin not in self._holding:
            self._holding[record.origin] = _holds_still(record)
        return self._holding[record.origin] and not _are_one_file(Path(record.origin), asking)

    def _group_of(self, record: FileRecord, here: FileRecord | None) -> _Group:
        """All that is of one paper with the file, which held `here`. Raises SourceError where its id is another's."""
        files, gone, clashing = self._reached_from(record)
        part = next(part for part in parts_of([record, *files]) if record in part)
        for each in (*clashing, *files):
            if each.own_id == record.own_id and each not in part:
                self._clashed.add(record.origin)
                raise SourceError(_taken(each))
        paper_ids = {each.paper_id for each in (*part, *gone) if each is not record}
        if here is not None and here.paper_id == record.own_id:
            paper_ids.add(record.own_id)
        elsewhere = {each.paper_id for each in (*clashing, *files) if each.is_searched and each not in part}
        # Nor is it the group's paper that another file holds by now: a version of what that held before says so still.
        origins = {each.origin for each in (*part, *gone)}
        heads = (self._writer.files.searched(paper_id) for paper_id in paper_ids)
        taken = (each for each in heads if each is not None and each.origin not in origins)
        elsewhere |= {each.paper_id for each in taken if self._holds(each, Path(record.origin))}
        return _Group(part, gone, paper_ids - elsewhere)

    def _reached_from(self, record: FileRecord) -> tuple[list[FileRecord], list[FileRecord], list[FileRecord]]:
        """The files that hang together with this one, some through others; those that held such and do no longer; and
        those that share something with it and are of other papers."""
        reached, gone = {record.origin: record}, dict[str, FileRecord]()
        clashing: dict[str, FileRecord] = {}
        for n, one in enumerate(steps := [record]):
            for each in self._writer.files.related(one) if n < _MAX_STEPS else ():
                if each.origin in reached or each.origin in gone:
                    continue
                why = why_one(one, each)
                if not self._holds(each, Path(record.origin)):
                    if why or each.own_id == record.own_id:
                        gone[each.origin] = each
                elif why:
                    reached[each.origin] = each
                    steps.append(each)
                else:
                    clashing[each.origin] = each
        others = [each for origin, each in clashing.items() if origin not in reached]
        return steps[1:], list(gone.values()), others

    def _settle(self, group: _Group, opened: dict[str, _Opened], here: FileRecord | None = None) -> None:
        """Have the best file of the group searched, and the others known as its versions.

        `opened`: what was opened already, by file. `here`: what is known of the file that was looked at. Raises
        SourceError, and has changed nothing then.
        """
        best = best_of(group.files)
        if here is not None or group.gone or len(group.files) > 1:
            self._shaken += [*group.paper_ids, best.own_id, *(each.paper_id for each in group.files)]
        leaving = here if here is not None and here.paper_id not in group.paper_ids else None
        if best.origin not in opened and best.is_searched:
            self._leave(leaving)
            self._keep_versions(group, best, best.paper_id)
            for other in group.paper_ids - {best.paper_id}:
                self._take_down(other)
            self._embedding.advanced(len(opened), 0, 0)
            return
        if best.origin not in opened:
            opened[best.origin], best = self._read_again(best)
        paper, job = opened[best.origin].paper, opened[best.origin].job
        stored = self._stored(paper.paper_id)
        same = stored is not None and (stored.sha256, stored.provenance) == (best.sha256, best.provenance)
        pending = None if same else _pending(paper, best.origin, job.parts(paper))
        # Whatever can be wrong with the file has shown by now: from here on the index changes.
        self._leave(leaving)
        before = {each for each in group.paper_ids | {paper.paper_id} if self._is_known(each)}
        self._keep_versions(group, best, paper.paper_id)
        self._writer.put_file(replace(best, paper_id=paper.paper_id, is_searched=True, why=""))
        if pending is None:
            for other in group.paper_ids - {paper.paper_id}:
                self._take_down(other)
            self._move(paper.paper_id, best.origin, best.source)
            self._embedding.advanced(1, 0, 0)
        else:
            self._queue(pending, before)

    def _read_again(self, record: FileRecord) -> tuple[_Opened, FileRecord]:
        """What the file holds now. Raises SourceError."""
        file = SourceFile(Path(record.origin), record.source)
        job = self._workshop.begin(_sheet_of(file))
        found, now = job.opened()
        paper = _named_as(record, with_provenance(found, file))
        return _Opened(paper, job), _recorded_as(now, paper)

    def _stored(self, paper_id: str) -> FileRecord | None:
        """The searched file of a paper that is in the index, not on its way there."""
        return None if self._embedding.is_on_its_way(paper_id) else self._writer.files.searched(paper_id)

    def _is_known(self, paper_id: str) -> bool:
        """Whether a paper of that id is in the index, or on its way there."""
        return self._writer.files.searched(paper_id) is not None or self._writer.view().has(paper_id)

    def _leave(self, leaving: FileRecord | None) -> None:
        """Take out a paper whose file holds another one now. Its vectors are kept, should it turn up elsewhere."""
        if leaving is None:
            return
        self._shaken.append(leaving.paper_id)
        self._writer.forget_file(leaving.origin)
        if leaving.is_searched:
            paper_id = leaving.paper_id
            self._embedding.drop(paper_id)
            self._displaced[paper_id] = _Displaced(leaving.sha256, self._writer.view().vectors_of(paper_id))
            self._take_down(paper_id)

    def _keep_versions(self, group: _Group, best: FileRecord, paper_id: str) -> None:
        """Know all files of the group but the best one as versions of that paper."""
        for each in group.gone:
            self._writer.forget_file(each.origin)
        for each in group.files:
            if each.origin == best.origin:
                continue
            why = why_in(each, best, group.files)
            version = replace(each, paper_id=paper_id, is_searched=False, why=why)
            if self._writer.files.at(each.origin) != version:
                self._writer.put_file(version)
                self.report.versions.append(Version(printable(each.source), paper_id, version.why))

    def _take_down(self, paper_id: str) -> None:
        """Take out a paper that is gone, or one with another."""
        self._embedding.drop(paper_id)
        self._writer.take_down(paper_id)
        if not self._unsay(paper_id):
            self.report.removed.append(paper_id)

    def _unsay(self, paper_id: str) -> bool:
        """Take back what the report says of a paper. Whether it said that it is new."""
        if paper_id not in self._told:
            return False
        is_new = paper_id in self.report.added
        for told in (self.report.added, self.report.updated, self.report.without_body, self.report.empty):
            told[:] = [each for each in told if each != paper_id]
        return is_new

    def _move(self, paper_id: str, origin: str, source: str) -> None:
        self._writer.move(paper_id, origin, source)
        if self._displaced.pop(paper_id, None) is not None:
            self.report.removed.remove(paper_id)
        self.report.moved.append(paper_id)

    def _queue(self, pending: Pending, before: set[str]) -> None:
        """Have the paper embedded and stored, in place of those that it went by `before`."""
        paper = pending.paper
        self._tell(paper, before)
        for paper_id in before:
            if waiting := self._embedding.drop(paper_id):
                pending.known.update(waiting.known)
                pending.supersedes.update(waiting.supersedes)
            pending.known.update(self._writer.view().vectors_of(paper_id))
        if displaced := self._displaced.pop(paper.paper_id, None):
            pending.known.update(displaced.vectors)
        pending.supersedes.update(before - {paper.paper_id})
        self._superseded |= pending.supersedes
        if paper.body_omitted:
            self.report.without_body.append(paper.paper_id)
        if not pending.passages:
            self.report.empty.append(paper.paper_id)
        self._embedding.put(pending)

    def _tell(self, paper: Paper, before: set[str]) -> None:
        """Note in the report what becomes of the paper."""
        paper_id = paper.paper_id
        is_new = self._unsay(paper_id)
        self._told.add(paper_id)
        self.report.removed += sorted(each for each in before - {paper_id} if not self._unsay(each))
        if displaced := self._displaced.get(paper_id):
            self.report.removed.remove(paper_id)
            (self.report.moved if displaced.sha256 == paper.sha256 else self.report.updated).append(paper_id)
        else:
            (self.report.updated if paper_id in before and not is_new else self.report.added).append(paper_id)

    def look_for_vanished(self, paths: Sequence[Path], files: Sequence[SourceFile], *, prune: bool) -> None:
        """Papers of the index whose file stood below `paths` and is gone: report them, or take them out. So are those
        that have become a part of one of `files`."""
        roots = [path.resolve() for path in paths]
        found = {file.path for file in files}
        for origin, paper_id, is_searched in self._writer.files.origins():
            path = Path(origin)
            is_part_now = path.parent in found and is_part(path.name)
            if paper_id in self._superseded:
                continue
            if not any(path.is_relative_to(root) for root in roots) or (is_there(path) and not is_part_now):
                continue
            if is_part_now:
                self._writer.forget_file(origin)
                self._shaken.append(paper_id)
                continue
            others = [each for each in self._writer.files.of(paper_id) if each.origin != origin]
            if is_searched and not prune and not any(self._holds(each, Path(origin)) for each in others):
                self.report.vanished.append(paper_id)
            else:
                self._writer.forget_file(origin)
                self._shaken.append(paper_id)

    def regroup(self) -> None:
        """Have the best version searched of papers that lost the file that was, and apart what was one by a lost file
        alone."""
        for _ in range(_MAX_ROUNDS):
            shaken, self._shaken = list(dict.fromkeys(self._shaken)), []
            for paper_id in shaken:
                self._regroup(paper_id)

    def _regroup(self, paper_id: str) -> None:
        files = self._writer.files.of(paper_id)
        heads = [each for each in files if each.is_searched]
        heirs = set() if heads else {paper_id}
        for part in sorted(parts_of(files), key=lambda part: part[0].own_id != paper_id):
            for record in part if not any(each in part for each in heads) else ():
                now = self._writer.files.at(record.origin)
                is_headless = now is not None and now.paper_id == paper_id and not now.is_searched
                if is_headless and self._promote(record, heirs):
                    heirs = set()
        if heirs and paper_id not in self._superseded and self._writer.view().has(paper_id):
            self._take_down(paper_id)

    def _promote(self, record: FileRecord, paper_ids: set[str]) -> bool:
        """Have the file searched, or known as a version of what is. Its paper was one of `paper_ids`. Whether it could
        be read."""
        try:
            if not self._holds(record, Path()):
                self._writer.forget_file(record.origin)
                return False
            group = self._group_of(record, record)
            self._settle(_Group(group.files, group.gone, group.paper_ids | paper_ids), {})
        except SourceError as error:
            self._fail(SourceFile(Path(record.origin), record.source), str(error))
            self._writer.forget_file(record.origin)
            return False
        return True

    def look_for_dropped(self) -> None:
        """Papers that were in the index before a rebuild, and were not found in what it was named."""
        present = {paper_id for _, paper_id, is_searched in self._writer.files.origins() if is_searched}
        self.report.removed.extend(sorted(self._writer.dropped - present - set(self.report.removed)))

    def keep_failures(self) -> None:
        """Remember which files gave no paper: those of this run, and of files that it was not named."""
        looked_at = {*self._holding, *(each.origin for each in self._failed)}
        others = [each for each in self._writer.files.failures() if each.origin not in looked_at]
        self._writer.keep_failures([*self._failed, *(each for each in others if is_there(Path(each.origin)))])


def _sheet_of(file: SourceFile) -> Sheet:
    """The file as it is now. Raises SourceError."""
    return Sheet(file, file.format, read_bytes(file.path), digest_of_provenance(file.path))


def _is_as(known: FileRecord | None, sha256: str, provenance: str) -> bool:
    """Whether that is what is known of a file."""
    return known is not None and (known.sha256, known.provenance) == (sha256, provenance)


def _recorded_as(record: FileRecord, paper: Paper) -> FileRecord:
    """The record of a file whose paper goes by that id, and of which more may be known than the file says."""
    return replace(record, paper_id=paper.paper_id, own_id=paper.paper_id, notices=paper.notices)


def _pending(paper: Paper, origin: str, parts: Parts) -> Pending:
    return Pending(paper, origin, parts.passages, parts.left_out, parts.abbreviations, parts.aliases)


def _holds_still(record: FileRecord) -> bool:
    """Whether the file holds that paper now. One that cannot be read holds nothing."""
    file = SourceFile(Path(record.origin), record.source)
    try:
        raw = read_bytes(file.path)
        if hashlib.sha256(raw).hexdigest() == record.sha256:
            return True
        paper = parse_bytes(file, raw)
    except SourceError:
        return False
    return _named_as(record, paper).paper_id == record.own_id


def _named_as(record: FileRecord, paper: Paper) -> Paper:
    """The paper by the id of its file's record, if the file's path gives that."""
    path = Path(record.origin)
    known = named_by_path(paper, path) and record.own_id in path_ids(path)
    return replace(paper, paper_id=record.own_id) if known else paper


def _are_one_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _taken(holder: FileRecord) -> str:
    return (
        f"its paper id {holder.own_id} is taken by {holder.origin}, which reads otherwise: correct its PMCID or DOI, "
        "or give it an id of its own with `paper_id:` in YAML front matter"
    )
