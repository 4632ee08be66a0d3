"""Whether files are of one paper, and which of them is the best to search. Reads no files and no index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import PurePath

from indexer.likeness import resemblance, signature, words_of
from indexer.papers import CONTENT_KINDS, Paper
from indexer.store import FileRecord, Standing

_FULL_WORDS = 800
"""A text with fewer is an abstract or a notice."""
_STUB, _ABSTRACT, _FULL = range(3)
_SAME_TEXT = 0.8
_SAME_TEXT_AND_TITLE = 0.5
"""Of 16 papers of the shared sets that stand there in two conversions, the least alike two share 0.54 of their runs of
five words; of two papers, none share more than 0.05."""
_SAME_TEXT_WORDS = 300
"""Where nothing but the text says that two papers are one, and their DOIs differ, it must be longer than a notice."""
_SOME_TEXT = 0.3
_NO_TEXT = 0.1
"""Two full texts that share less are no two versions: a supplement has the DOI of its paper, and other words."""
_SAME_TITLE = 0.8
_REPOSITORY = re.compile(
    r"10\.(?:1101|48550|20944|21203|2139|26434|31219|31234|31222|31223|35542|36227|5281|6084|64898|17605|22541|12688)/"
)
"""DOI prefixes of preprint servers and archives: bioRxiv and medRxiv, arXiv, Preprints, Research Square, SSRN,
ChemRxiv, OSF, TechRxiv, Zenodo, figshare, openRxiv, Authorea, and F1000 with its platforms, whose articles have
versions."""
_VERSION = re.compile(r"(?:[./_-]v|(?<=\d)v|^10\.12688/.+\.)(\d{1,2})$", re.IGNORECASE)
"""`2101.00001v2`, `10.20944/preprints202101.0001.v2`, `10.12688/f1000research.1234.2`."""
_ASIDE = re.compile(
    r"(?:supp(?:lement|orting)|appendix|correction|corrigend|errat|retraction|expression of concern|reply|response"
    r"|comment|author response|peer review|translation)"
)
"""How the title of something begins that is about a paper, and goes by its name."""
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?")
_FORMATS = {"manuscript": 0, "markdown": 1, "jats": 2}


def record_of(paper: Paper, origin: str, provenance: str) -> FileRecord:
    """What the file at `origin` says of itself. It is of no paper yet but its own."""
    words = words_of(
        "\n".join(
            paper.text[block.start : block.end]
            for block in paper.blocks
            if block.kind in CONTENT_KINDS and paper.sections[block.section].role != "references"
        )
    )
    return FileRecord(
        origin=origin,
        source=paper.source,
        sha256=paper.sha256,
        provenance=provenance,
        paper_id=paper.paper_id,
        is_searched=True,
        own_id=paper.paper_id,
        title=" ".join(re.findall(r"\w+", paper.title.lower())),
        pmcid=paper.pmcid,
        doi=paper.doi.lower(),
        pmid=paper.pmid,
        date=paper.date,
        format=paper.format,
        notices=paper.notices,
        standing=_standing(paper, len(words)),
        n_words=len(words),
        signature=signature(words),
        why="",
    )


def _standing(paper: Paper, n_words: int) -> Standing:
    """A full text before an abstract before a stub; then what has an id; then the newest; then the fullest."""
    year, month, day = (int(part or 0) for part in _date_of(paper))
    version = _VERSION.search(paper.doi) or _VERSION.search(PurePath(paper.source).stem)
    return (
        _STUB if paper.body_omitted else _ABSTRACT if n_words < _FULL_WORDS else _FULL,
        bool(paper.pmcid or paper.doi or paper.pmid) + 0,
        year,
        (not _REPOSITORY.match(paper.doi)) + 0,
        month,
        day,
        int(version[1]) if version else 0,
        _FORMATS[paper.format],
        n_words,
    )


def _date_of(paper: Paper) -> Sequence[str | int | None]:
    match = _DATE.match(paper.date)
    return match.groups() if match else (paper.year, None, None)


def best_of(files: Sequence[FileRecord]) -> FileRecord:
    """The one to search, whatever their order. Of copies, the one with the shortest path."""
    return min(files, key=_order)


def _order(file: FileRecord) -> tuple[list[int], str, int, str]:
    return [-part for part in file.standing], file.sha256, len(file.origin), file.origin


def parts_of(files: Sequence[FileRecord]) -> list[list[FileRecord]]:
    """The files sorted into papers, each part with its best file first: those that are one hang together, through
    others if need be, and no two of a part are of two papers. A file that may be of several is of the best one."""
    parts: list[list[FileRecord]] = []
    for file in sorted(files, key=_order):
        joined: list[FileRecord] = []
        kept: list[list[FileRecord]] = []
        for part in parts:
            fits = any(why_one(file, each) for each in part)
            if fits and not any(_are_two(a, b) for a in (file, *joined) for b in part):
                joined += part
            else:
                kept.append(part)
        parts = sorted([*kept, sorted([*joined, file], key=_order)], key=lambda part: _order(part[0]))
    return parts


def why_in(file: FileRecord, best: FileRecord, files: Sequence[FileRecord]) -> str:
    """How it is told that a file is of the same paper as the best one: by that, else by another one of these."""
    others = sorted((each for each in files if each.origin != file.origin), key=lambda each: each.origin)
    return next((why for each in (best, *others) if (why := why_one(file, each))), "by other files")


def why_one(one: FileRecord, other: FileRecord) -> str:
    """How it is told that both are of one paper; empty where it is not."""
    if one.sha256 == other.sha256:
        return "the same file"
    if _are_two(one, other):
        return ""
    if shared := shared_id(one, other):
        return f"the same {shared}"
    if one.doi and other.doi and min(one.n_words, other.n_words) < _SAME_TEXT_WORDS:
        return ""
    alike = resemblance(one.signature, other.signature)
    if alike < (_SAME_TEXT_AND_TITLE if _titles_are_one(one, other) else _SAME_TEXT):
        return ""
    return f"nearly the same text ({100 * alike:.0f} % of it)"


def shared_id(one: FileRecord, other: FileRecord) -> str:
    """The kind of id that both go by; empty for none."""
    kinds = {"PMCID": "pmcid", "DOI": "doi", "PMID": "pmid", "paper id": "own_id"}
    return next(
        (name for name, field in kinds.items() if getattr(one, field) and getattr(one, field) == getattr(other, field)),
        "",
    )


def _are_two(one: FileRecord, other: FileRecord) -> bool:
    """Whether two files are of two papers, whatever else they share."""
    if one.sha256 == other.sha256:
        return False
    if any(a and b and a != b for a, b in ((one.pmcid, other.pmcid), (one.pmid, other.pmid))):
        return True  # as PubMed has it: an editorial is printed in several journals
    if shared_id(one, other):
        return _read_otherwise(one, other)
    if not one.doi or not other.doi:
        return False
    return one.doi != other.doi and not (_REPOSITORY.match(one.doi) or _REPOSITORY.match(other.doi))


def _read_otherwise(one: FileRecord, other: FileRecord) -> bool:
    """Whether two files with one id are of two papers: an id may be mistyped, or be that of what a file is about."""
    alike = resemblance(one.signature, other.signature)
    if alike >= _SOME_TEXT:
        return False
    full = one.standing[0] == other.standing[0] == _FULL
    if (full and alike < _NO_TEXT) or bool(_ASIDE.match(one.title)) != bool(_ASIDE.match(other.title)):
        return True
    if not one.title or not other.title or _STUB in (one.standing[0], other.standing[0]):
        return False
    return not _titles_are_one(one, other)


def _titles_are_one(one: FileRecord, other: FileRecord) -> bool:
    if one.title == other.title:
        return bool(one.title)
    return SequenceMatcher(None, one.title, other.title).ratio() >= _SAME_TITLE
