"""Every paper at hand, of every kind: none crashes, none loses a character, no caption is a section."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from indexer.abbreviations import find_abbreviations
from indexer.aliases import find_aliases
from indexer.chunking import chunk, left_out
from indexer.config import BuildConfig
from indexer.markdown import parse_markdown
from indexer.papers import CONTENT_KINDS, Paper, Passage
from tests.golden import cases

LIMIT = 256
_WORD = re.compile(r"\w+|[^\w\s]")
_CAPTION = re.compile(
    r"(?:(?:supplementa\w+|suppl?\.|extended data|supporting|appendix|additional|online) )?"
    r"(?:tables?|tab\.|fig(?:ure)?s?\.?|scheme) ?"
    r"(?:S|A|ED)?\d{1,3}[a-h]?(?P<behind>\W*$|\s*[.:|–—].*|\s+\S.*)",
    re.IGNORECASE,
)
"""`Table 1.`, `FIGURE 2`, `Extended Data Fig. 1 | Loss`, `Table S1 Means`."""


def count(texts: Sequence[str]) -> list[int]:
    return [2 + len(_WORD.findall(text)) for text in texts]


def is_caption(title: str) -> bool:
    match = _CAPTION.fullmatch(title)
    return match is not None and not match["behind"].strip()[:1].islower()


def check(text: str, name: str) -> tuple[Paper, list[Passage]]:
    """Read a paper to its passages, and find every character of it in one of them or among what was left out."""
    paper = parse_markdown(text, source=name, sha256="")
    passages = chunk(paper, BuildConfig(), count, LIMIT)
    blank = [ord(character) for character in set(text) if character.isspace()]
    ink = ~np.isin(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32), np.array(blank, dtype=np.uint32))
    for passage in passages:
        assert text[passage.start : passage.end] == passage.text, name
        assert passage.n_wordpieces <= LIMIT, name
        ink[passage.start : passage.end] = False
    out: Counter[str] = Counter()
    for block in paper.blocks:
        if n := int(ink[block.start : block.end].sum()):
            assert block.kind not in CONTENT_KINDS, (name, text[block.start : block.end])
            out[block.kind] += n
        ink[block.start : block.end] = False
    assert not ink.any(), (name, text[int(ink.argmax()) :][:80])
    assert dict(out) == left_out(paper, passages), name
    assert [title for section in paper.sections if is_caption(title := section.title)] == [], name
    assert [title for passage in passages for title in passage.section if is_caption(title)] == [], name
    return paper, passages


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.stem)
def test_golden_kinds(path: Path) -> None:
    """A file of each kind, as it is, with other newlines and with a byte order mark in front."""
    text = path.read_bytes().decode()
    paper, passages = check(text, path.name)
    assert passages
    for abbreviation in find_abbreviations(paper):
        assert text[abbreviation.short_start : abbreviation.short_end].startswith(abbreviation.short)
    assert all(len(group.names) > 1 for group in find_aliases(paper))
    plain = text.replace("\r\n", "\n")
    for other in (plain, plain.replace("\n", "\r\n"), plain.replace("\n", "\r"), "\ufeff" + text.lstrip("\ufeff")):
        read, cut = check(other, path.name)
        assert [section.title for section in read.sections] == [section.title for section in paper.sections]
        assert [(block.kind, block.section) for block in read.blocks if block.kind != "markup"] == [
            (block.kind, block.section) for block in paper.blocks if block.kind != "markup"
        ]
        assert [" ".join(each.embedded_text.split()) for each in cut] == [
            " ".join(each.embedded_text.split()) for each in passages
        ]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "n_files"),
    [("papers/markdown", 200), ("eval/covidqa/papers", 46), ("eval/qasper10/papers", 10), ("seed", 1)],
)
def test_papers(shared: Path, folder: str, n_files: int) -> None:
    paths = sorted((shared / folder).glob("*.md"))
    assert len(paths) == n_files
    for path in paths:
        paper, passages = check(path.read_bytes().decode(), path.name)
        assert paper.title, path.name
        assert passages, path.name


@pytest.mark.shared
@pytest.mark.parametrize("name", ["deep-rules", "knowledge-graph-review", "meta-review"])
def test_manuscripts_in_files(shared: Path, name: str) -> None:
    """Each file of a Manubot manuscript, and all of them as one paper: every work cited has its entry."""
    texts = [path.read_bytes().decode() for path in sorted((shared / "papers/manubot" / name).glob("*.md"))]
    assert len(texts) > 3
    for text in texts:
        check(text, name)
    front = f"---\ntitle: {name.title()}\nauthors:\n- name: Mara Quill\n  orcid: 0000-0001\nlang: en-US\n---\n"
    whole = "\n\n".join([front, *texts])
    paper, passages = check(whole, name)
    assert (paper.title, paper.authors) == (name.title(), ("Mara Quill",))
    marked = {n for marker in paper.markers for n in marker.references}
    assert marked == set(range(len(paper.references)))
    cited = set(re.findall(r"[\[ ]-?@((?:doi|pmid|pmcid|arxiv):[^\s;,\]]+)", whole))
    assert cited <= {entry.key for entry in paper.references}
    assert not any(passage.text.startswith(("{", "<small>")) for passage in passages)  # template code
