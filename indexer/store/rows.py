"""Papers as rows of the tables that every engine has. Knows nothing of transactions."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from indexer.chunking import sentence_texts
from indexer.embedding import PassageVectors
from indexer.papers import CONTENT_KINDS, Abbreviation, AliasGroup, Marker, Paper, Passage
from indexer.store.packing import SENTENCE_BREAK, pack, pack_text, pack_words
from indexer.store.sql import Connection, marks, value
from indexer.terms import terms

_PART = 1_000
"""Rows that are asked for at once."""

Row = dict[str, Any]
PaperRows = dict[str, list[Row]]
"""A paper's rows by their table. A passage's `id` tells which vectors are its own, and nothing else."""

PASSAGES, VECTORS = "passages", "vectors"
TABLES = ("papers", "kept_texts", "reference_entries", PASSAGES, VECTORS, "abbreviations", "aliases")
"""Those that hold papers, in the order in which rows may be put in."""
OF_A_PAPER = ("kept_texts", "reference_entries", "abbreviations", "aliases")
"""Those whose rows name their paper, beside the passages."""


def rows_of(
    paper: Paper,
    origin: str,
    passages: Sequence[Passage],
    vectors: Mapping[str, PassageVectors],
    left_out: Mapping[str, int],
    abbreviations: Sequence[Abbreviation],
    aliases: Sequence[AliasGroup],
) -> PaperRows:
    """A new paper's rows. `vectors` are by passage id; not every passage has one."""
    markers, numbers = _markers_by_passage(paper, passages), _numbers_by_path(paper)
    sentences = sentence_texts(paper, passages)
    of_passages = [
        {"id": n, **_passage_row(passage, inside, numbers[passage.section], sentences[passage.passage_id])}
        for n, (passage, inside) in enumerate(zip(passages, markers, strict=True))
    ]
    return {
        "papers": [_paper_row(paper, origin, left_out)],
        "kept_texts": [] if paper.format == "markdown" else [{"text": pack_text(paper.text)}],
        "reference_entries": [{"number": n, **asdict(entry)} for n, entry in enumerate(paper.references)],
        PASSAGES: of_passages,
        VECTORS: [_vector_row(row, vectors[row["passage_id"]]) for row in of_passages if row["passage_id"] in vectors],
        "abbreviations": [_abbreviation_row(n, each) for n, each in enumerate(abbreviations)],
        "aliases": _alias_rows(aliases),
    }


def stored_rows(connection: Connection, paper: int, passages: list[Row] | None = None) -> PaperRows:
    """A stored paper's rows, by its key; its passages as they are given, where they were found otherwise."""
    found = {"papers": read_rows(connection, "SELECT * FROM papers WHERE id = ?", paper)}
    for table in OF_A_PAPER:
        is_without = table == "kept_texts" and all(row["format"] == "markdown" for row in found["papers"])
        found[table] = [] if is_without else read_rows(connection, f"SELECT * FROM {table} WHERE paper = ?", paper)
    if passages is None:
        passages = read_rows(connection, "SELECT * FROM passages WHERE paper = ? ORDER BY ordinal", paper)
    found[PASSAGES] = passages
    ids = [passage["id"] for passage in passages]
    parts = (ids[at : at + _PART] for at in range(0, len(ids), _PART))
    found[VECTORS] = [
        row
        for part in parts
        for row in read_rows(
            connection,
            f"SELECT id, vector, sentences, words FROM {VECTORS} WHERE id IN ({marks(part)}) ORDER BY id",
            *part,
        )
    ]
    return found


def read_rows(connection: Connection, statement: str, *values: int | str) -> list[Row]:
    """The rows that a statement gives, by the names of their columns."""
    cursor = connection.execute(statement, values)
    rows: list[Row] = []
    names: list[str] = []
    for row in cursor:
        names = names or [str(column[0]) for column in cursor.description or ()]
        rows.append(dict(zip(names, row, strict=True)))
    return rows


def insert_paper(connection: Connection, rows: PaperRows) -> int:
    """Put a paper's rows into the tables; gives its key. Its passages get ids of their own."""
    (paper,) = rows["papers"]
    key = _insert(connection, "papers", paper)
    for table in OF_A_PAPER:
        _insert_all(connection, table, rows[table], key)
    ids = {row["id"]: _insert(connection, PASSAGES, row | {"paper": key}) for row in rows[PASSAGES]}
    connection.executemany(
        "INSERT INTO vectors (id, vector, sentences, words) VALUES (?, ?, ?, ?)",
        [(ids[row["id"]], row["vector"], row["sentences"], row["words"]) for row in rows[VECTORS]],
    )
    return key


def _insert(connection: Connection, table: str, row: Row) -> int:
    """Put in a row under an id of the database's own, which it gives."""
    columns = [name for name in row if name != "id"]
    statement = _insertion(table, columns)
    return int(value(connection, f"{statement} RETURNING id", [row[name] for name in columns]))


def _insert_all(connection: Connection, table: str, rows: Sequence[Row], paper: int) -> None:
    """Put in rows under their paper's key."""
    if rows:
        columns = [name for name in rows[0] if name != "paper"]
        values = [[paper, *(row[name] for name in columns)] for row in rows]
        connection.executemany(_insertion(table, ["paper", *columns]), values)


def _insertion(table: str, columns: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({marks(columns)})"


def _vector_row(passage: Row, vectors: PassageVectors) -> Row:
    vector, sentences = pack(vectors)
    return {"id": passage["id"], "vector": vector, "sentences": sentences, "words": pack_words(passage["terms"])}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _paper_row(paper: Paper, origin: str, left_out: Mapping[str, int]) -> Row:
    return {
        "paper_id": paper.paper_id,
        "source": paper.source,
        "origin": origin,
        "sha256": paper.sha256,
        "title": paper.title,
        "authors": _json(paper.authors),
        "pmcid": paper.pmcid,
        "doi": paper.doi,
        "pmid": paper.pmid,
        "journal": paper.journal,
        "date": paper.date,
        "year": paper.year,
        "licence": paper.licence,
        "url": paper.url,
        "body_omitted": paper.body_omitted,
        "format": paper.format,
        "notices": " ".join(paper.notices),
        "sections": _json(
            [
                {
                    "title": each.title,
                    "number": each.number,
                    "level": each.level,
                    "start": each.start,
                    "role": each.role,
                }
                for each in paper.sections[1:]
            ]
        ),
        "entities": _json([asdict(entity) for entity in paper.entities]),
        "kept": _json(_kept(paper)),
        "left_out": _json(dict(left_out)),
        "title_terms": " ".join(terms(paper.title)),
    }


def _kept(paper: Paper) -> dict[str, int]:
    """Non-blank characters of what the paper's passages are made of, by kind of block."""
    kept: Counter[str] = Counter()
    for block in paper.blocks:
        if block.kind in CONTENT_KINDS:
            kept[block.kind] += sum(map(len, paper.text[block.start : block.end].split()))
    return dict(kept)


def _abbreviation_row(number: int, each: Abbreviation) -> Row:
    names = {"short_terms": " ".join(terms(each.short)), "long_terms": " ".join(terms(each.long))}
    return {"number": number, **asdict(each), **names}


def _alias_rows(aliases: Sequence[AliasGroup]) -> list[Row]:
    return [
        {
            "thing": thing,
            "number": n,
            "name": name,
            "identifier": each.identifier,
            "name_terms": " ".join(terms(name)),
        }
        for thing, each in enumerate(aliases)
        for n, name in enumerate(each.names)
    ]


def _passage_terms(passage: Passage, sentences: Sequence[str]) -> str:
    """The terms of each sentence in its line; last of a table, those of the caption and header that it is read with."""
    found = [terms(sentence) for sentence in sentences]
    if passage.kind == "table":
        whole = terms(passage.embedded_text)
        found.append(whole[: len(whole) - sum(map(len, found))])
    return SENTENCE_BREAK.join(map(" ".join, found))


def _markers_by_passage(paper: Paper, passages: Sequence[Passage]) -> list[list[Marker]]:
    """For each passage, the paper's markers that stand whole in it."""
    starts = [marker.start for marker in paper.markers]
    spans = [(bisect_left(starts, passage.start), bisect_left(starts, passage.end)) for passage in passages]
    return [
        [marker for marker in paper.markers[first:last] if marker.end <= passage.end]
        for passage, (first, last) in zip(passages, spans, strict=True)
    ]


def _numbers_by_path(paper: Paper) -> dict[tuple[str, ...], str]:
    """For each section, by its titles: the numbers on its path, each between blanks (` 3 3.2 `)."""
    numbers: list[str] = []
    for section in paper.sections:
        above = numbers[section.parent] if section.parent >= 0 else ""
        numbers.append(f"{above or ' '}{section.number} " if section.number else above)
    return {paper.section_path(n): path for n, path in enumerate(numbers)}


@lru_cache(maxsize=1 << 8)
def _heading_terms(section: tuple[str, ...]) -> str:
    return " ".join(terms("\n".join(section)))


def _passage_row(passage: Passage, markers: Sequence[Marker], section_numbers: str, sentences: Sequence[str]) -> Row:
    return {
        "passage_id": passage.passage_id,
        "ordinal": passage.ordinal,
        "start": passage.start,
        "end": passage.end,
        "text": passage.text,
        "kind": passage.kind,
        "role": passage.role,
        "section": _json(passage.section),
        "section_number": passage.section_number,
        "section_numbers": section_numbers,
        "sentences": _json([(each.start, each.end, each.paragraph, each.number) for each in passage.sentences]),
        "markers": _json([(marker.start, marker.end, marker.references) for marker in markers]),
        "embedded_text": passage.embedded_text,
        "n_wordpieces": passage.n_wordpieces,
        "n_tokens": passage.n_tokens,
        "heading_terms": _heading_terms(passage.section),
        "terms": _passage_terms(passage, sentences),
    }
