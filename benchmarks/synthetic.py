"""Large indexes for measuring growth: a real one's sentences put together anew, with vectors that lie as real ones do.

    python benchmarks/synthetic.py REAL_INDEX --work DIR --sizes 10000,100000 [--anew]

Makes `DIR/synthetic-N` for each size, and `DIR/synthetic-N.json` beside it with what it took; one that is there and was
made with the same model stays, unless it is to be made anew. A passage is made of two to six sentences of a real
passage and one of its 50 nearest neighbours. Its vector lies somewhere between theirs, each sentence's beside its own,
all with a little noise. One passage in ten has a word that no other has. Papers have 100 to 200 passages, two levels of
sections, a title, and the short forms that they define. The same seed gives the same papers, whatever the size.

Papers go through `IndexWriter.put` in batches, as a build's do; nothing is encoded. Memory does not grow with the size.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
from processes import folder_mb

from indexer.abbreviations import find_abbreviations
from indexer.embedding import PassageVectors, unit
from indexer.errors import IndexStateError
from indexer.papers import Block, Paper, Passage, Section, Sentence
from indexer.store import IndexReader, IndexWriter, Manifest, StoredPassage

SEED = 2026
N_NEIGHBOURS = 50
NOISE = 0.15
"""The length of the noise that is added to a unit vector."""
N_SENTENCES = (2, 6)
PAPER_PASSAGES = (100, 200)
SECTION_PASSAGES = 9
SUBSECTIONS = 3
YEARS = (2000, 2025)
RARE_SHARE = 0.1
CHECKPOINT_PASSAGES = 1000
WORDPIECES_PER_WORD = 1.3

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Real:
    """The body paragraphs of an index."""

    manifest: Manifest
    titles: list[str]
    """Of its papers."""
    headings: list[str]
    """Of its sections, without their numbers."""
    vectors: Vectors
    """(n, dim), a passage each."""
    neighbours: Rows
    """(n, at most 50): each passage's nearest others."""
    sentences: list[str]
    """Of all passages, in order, without citation markers."""
    sentence_vectors: Vectors
    """(m, dim)"""
    first: list[int]
    """(n + 1): where each passage's sentences begin among all."""


@dataclass(frozen=True, slots=True)
class Made:
    """A synthetic paper, ready to be stored."""

    paper: Paper
    passages: list[Passage]
    vectors: dict[str, PassageVectors]


def read_real(index: Path) -> Real:
    """The index's paragraphs, with the nearest neighbours of each."""
    headings: dict[str, None] = {}
    passages, vectors, sentences, counts = [], [], [], [0]
    with IndexReader(index).snapshot() as snapshot:
        papers = snapshot.papers()
        for paper in papers:
            known = snapshot.vectors_of(paper.paper_id)
            for stored in snapshot.passages_of(paper.paper_id):
                passage = stored.passage
                if passage.role != "body" or passage.kind != "paragraph" or passage.embedded_text not in known:
                    continue
                found = known[passage.embedded_text]
                texts = _sentences(stored)
                kept = [n for n in range(min(len(texts), len(found.sentences))) if texts[n]]
                if not kept:
                    continue
                passages.append(found.passage)
                sentences += [texts[n] for n in kept]
                vectors.append(found.sentences[kept])
                counts.append(len(kept))
                headings.update(dict.fromkeys(title.lstrip("0123456789. ") for title in passage.section))
        manifest = snapshot.manifest
    if len(passages) < 2:
        raise SystemExit(f"{index} has no two paragraphs to put together")
    titles = [paper.title for paper in papers if paper.title]
    matrix = np.stack(passages)
    return Real(
        manifest,
        titles or ["Untitled"],
        [heading for heading in headings if heading] or ["Results"],
        matrix,
        nearest_others(matrix, N_NEIGHBOURS),
        sentences,
        np.concatenate(vectors),
        list(accumulate(counts)),
    )


def nearest_others(vectors: Vectors, n: int) -> Rows:
    """(rows, n): the rows nearest to each by inner product, without itself; fewer where there are no more."""
    n = min(n, len(vectors) - 1)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    _, found = flat.search(vectors, n + 1)
    return np.array([[other for other in near if other != row][:n] for row, near in enumerate(found)])


def make_papers(real: Real, size: int, seed: int = SEED, number: int = 0) -> Iterator[Made]:
    """Papers with `size` passages in all, from that number on; the last may be short."""
    n_made = 0
    while n_made < size:
        made = make_paper(real, number, size - n_made, seed)
        yield made
        n_made += len(made.passages)
        number += 1


def make_paper(real: Real, number: int, most: int, seed: int = SEED) -> Made:
    """The paper of that number, with at most `most` passages."""
    random = np.random.default_rng([seed, number])
    n = min(most, int(random.integers(PAPER_PASSAGES[0], PAPER_PASSAGES[1] + 1)))
    ones = random.integers(len(real.vectors), size=n)
    others = real.neighbours[ones, random.integers(real.neighbours.shape[1], size=n)]
    share = random.random((n, 1), dtype=np.float32)
    vectors = perturbed((1 - share) * real.vectors[ones] + share * real.vectors[others], random)
    picked = [_pick(real, one, other, random) for one, other in zip(ones, others, strict=True)]
    sentence_vectors = perturbed(real.sentence_vectors[np.concatenate(picked)], random)
    paragraphs = [[real.sentences[row] for row in rows] for rows in picked]
    for at in np.flatnonzero(random.random(n) < RARE_SHARE):
        words = paragraphs[at][0].split(" ")
        paragraphs[at][0] = " ".join([words[0], _rare_word(random), *words[1:]])
    paper, passages = _written(real, number, paragraphs, random)
    ends = list(accumulate(map(len, picked), initial=0))
    return Made(
        paper,
        passages,
        {
            passage.passage_id: PassageVectors(vector, sentence_vectors[start:end])
            for passage, vector, (start, end) in zip(passages, vectors, pairwise(ends), strict=True)
        },
    )


def perturbed(vectors: Vectors, random: np.random.Generator) -> Vectors:
    """The vectors with noise of length 0.15 or so, of unit length again."""
    noise = random.standard_normal(vectors.shape, dtype=np.float32)
    moved = vectors + noise * np.float32(NOISE / np.sqrt(vectors.shape[1]))
    return unit(moved)


def build(real: Real, folder: Path, size: int, seed: int = SEED) -> dict[str, float]:
    """Make the index in an empty folder; passages, papers, megabytes, and seconds of making, put, commit and close."""
    spent = dict.fromkeys(("make_s", "put_s", "commit_s", "close_s"), 0.0)
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        spent[name] += now - clock
        clock = now

    n_papers = n_passages = n_waiting = 0
    watched: dict[int, Made] = {}
    with IndexWriter(folder, real.manifest) as writer:
        for made in make_papers(real, size, seed):
            abbreviations = find_abbreviations(made.paper)
            lap("make_s")
            origin = str(folder.absolute() / made.paper.source)
            writer.put(made.paper, origin, made.passages, made.vectors, {}, abbreviations)
            lap("put_s")
            n_papers += 1
            n_passages += len(made.passages)
            n_waiting += len(made.passages)
            watched[min(n_papers, 2)] = made  # the first, and the last
            if n_waiting >= CHECKPOINT_PASSAGES:
                writer.checkpoint()
                n_waiting = 0
                _say_progress(n_passages, size)
                lap("commit_s")
        writer.commit()
        lap("commit_s")
    lap("close_s")
    check(folder, list(watched.values()), n_passages)
    return {"passages": n_passages, "papers": n_papers, "folder_mb": folder_mb(folder), **spent}


def check(folder: Path, made: list[Made], n_passages: int) -> None:
    """Whether the index holds so many passages, and those of these papers stand where they say."""
    with IndexReader(folder).snapshot() as snapshot:
        assert snapshot.n_passages() == n_passages
        for each in made:
            stored = snapshot.passages_of(each.paper.paper_id)
            assert [one.passage for one in stored] == each.passages
            for passage in each.passages:
                assert each.paper.text[passage.start : passage.end] == passage.text
                texts = [each.paper.text[one.start : one.end] for one in passage.sentences]
                assert " ".join(texts) == passage.text


def is_current(folder: Path, manifest: Manifest) -> bool:
    """Whether the index in the folder can be read and was made with the same model and settings."""
    try:
        with IndexReader(folder).snapshot() as snapshot:
            return snapshot.manifest == manifest
    except IndexStateError:
        return False


def _sentences(stored: StoredPassage) -> list[str]:
    """The texts of a passage's sentences on one line each, their citation markers left out."""
    start, text = stored.passage.start, stored.passage.text
    texts = []
    for each in stored.passage.sentences:
        at, pieces = each.start, []
        for marker_start, marker_end, _ in stored.markers:
            if at <= marker_start and marker_end <= each.end:
                pieces.append(text[at - start : marker_start - start])
                at = marker_end
        pieces.append(text[at - start : each.end - start])
        texts.append(" ".join("".join(pieces).split()))
    return texts


def _pick(real: Real, one: int, other: int, random: np.random.Generator) -> Rows:
    """Rows of some of both passages' sentences, in any order."""
    pool = [row for passage in (one, other) for row in range(real.first[passage], real.first[passage + 1])]
    return random.permutation(pool)[: random.integers(N_SENTENCES[0], N_SENTENCES[1] + 1)]


def _rare_word(random: np.random.Generator) -> str:
    """A word that no language has: one in 10^11 such."""
    syllables = zip(random.choice(list("bdfgklmnprstvz"), 6), random.choice(list("aeiou"), 6), strict=True)
    return "".join(consonant + vowel for consonant, vowel in syllables)


def _written(
    real: Real, number: int, paragraphs: list[list[str]], random: np.random.Generator
) -> tuple[Paper, list[Passage]]:
    """The paragraphs under headings, a passage each."""
    paper_id = f"SYNTH{number:07}"
    begin, end = (real.titles[row].split() for row in random.integers(len(real.titles), size=2))
    title = " ".join([*begin[: len(begin) // 2 + 1], *end[len(end) // 2 :]])
    year = int(random.integers(YEARS[0], YEARS[1] + 1))
    pieces = [f"# {title}\n\n"]
    at = len(pieces[0])
    sections = [Section(title, "", -1, 0, 0, "body")]
    blocks = [Block("metadata", 0, at - 2, 0, 0)]
    passages: list[Passage] = []

    def write(text: str) -> int:
        """Put the text at the end, an empty line after it; where it begins."""
        nonlocal at
        start = at
        pieces.append(f"{text}\n\n")
        at += len(text) + 2
        return start

    def open_section(label: str, parent: int) -> None:
        heading = f"{label}. {real.headings[random.integers(len(real.headings))]}"
        level = sections[parent].level + 1
        start = write(f"{'#' * (level + 1)} {heading}")
        sections.append(Section(heading, label, parent, level, start, "body"))
        blocks.append(Block("heading", start, at - 2, len(sections) - 1, 0))

    top = 0
    for ordinal, texts in enumerate(paragraphs):
        part, paragraph = divmod(ordinal, SECTION_PASSAGES)
        if paragraph == 0:
            chapter, subsection = divmod(part, SUBSECTIONS)
            if subsection == 0:
                open_section(str(chapter + 1), 0)
                top = len(sections) - 1
            open_section(f"{chapter + 1}.{subsection + 1}", top)
        text = " ".join(texts)
        start = write(text)
        blocks.append(Block("paragraph", start, at - 2, len(sections) - 1, paragraph + 1))
        starts = accumulate((len(each) + 1 for each in texts[:-1]), initial=start)
        n_wordpieces = round(WORDPIECES_PER_WORD * len(text.split())) + 2
        passages.append(
            Passage(
                passage_id=f"{paper_id}:{hashlib.sha256(f'{ordinal} {text}'.encode()).hexdigest()[:16]}",
                paper_id=paper_id,
                ordinal=ordinal,
                start=start,
                end=at - 2,
                text=text,
                kind="paragraph",
                role="body",
                section=(sections[top].title, sections[-1].title),
                section_number=sections[-1].number,
                sentences=tuple(
                    Sentence(begins, begins + len(each), paragraph + 1, n)
                    for n, (begins, each) in enumerate(zip(starts, texts, strict=True), start=1)
                ),
                embedded_text=text,
                n_wordpieces=n_wordpieces,
                n_tokens=n_wordpieces,
            )
        )
    text = "".join(pieces)
    paper = Paper(
        paper_id=paper_id,
        source=f"{paper_id}.md",
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
        title=title,
        authors=("Synthesis, A.",),
        pmcid="",
        doi="",
        pmid="",
        journal="",
        date=str(year),
        year=year,
        licence="",
        url="",
        sections=tuple(sections),
        blocks=tuple(blocks),
        references=(),
        markers=(),
        entities=(),
        body_omitted="",
    )
    return paper, passages


def _say_progress(n_passages: int, size: int) -> None:
    if n_passages * 10 // size > (n_passages - CHECKPOINT_PASSAGES) * 10 // size:
        sys.stderr.write(f"synthetic-{size}: {n_passages:,} passages\n")


def main(index: Path, work: Path, sizes: list[int], *, anew: bool = False) -> list[dict[str, float]]:
    """What each size took, made now or before."""
    with IndexReader(index).snapshot() as snapshot:
        manifest = snapshot.manifest
    real = None
    found = []
    for size in sizes:
        folder, notes = work / f"synthetic-{size}", work / f"synthetic-{size}.json"
        if anew or not (notes.exists() and is_current(folder, manifest)):
            notes.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            real = real or read_real(index)
            notes.write_text(json.dumps(build(real, folder, size)), encoding="utf-8")
        found.append(json.loads(notes.read_text(encoding="utf-8")))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, metavar="REAL_INDEX")
    parser.add_argument("--work", type=Path, default=Path(".bench"))
    parser.add_argument("--sizes", default="10000")
    parser.add_argument("--anew", action="store_true")
    args = parser.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")]
    sys.stdout.write(json.dumps(main(args.index, args.work, sizes, anew=args.anew)))
