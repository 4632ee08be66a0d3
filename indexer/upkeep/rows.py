"""The rows of an index, paper by paper: which tables hold them, and whether they agree with one another."""

from __future__ import annotations

import json
from contextlib import closing
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np

from indexer.errors import IndexDamagedError, SourceError
from indexer.sources import read_bytes
from indexer.store import postings
from indexer.store.embedded.database import Connection
from indexer.store.embedded.schema import scratch
from indexer.store.packing import unpack_passage, unpack_sentences, unpack_text
from indexer.store.rows import PASSAGES, VECTORS, PaperRows, Row

_JSON = ("sections", "entities", "kept", "left_out", "authors")
_BATCH = 5_000
"""Passages whose word lists are made at once."""


def what_is_wrong(rows: PaperRows, dim: int) -> str:
    """What of the paper's rows does not fit the rest, or its text; empty where all of it does."""
    (paper,), passages, vectors = rows["papers"], rows[PASSAGES], rows[VECTORS]
    if [row["ordinal"] for row in passages] != list(range(len(passages))):
        return "passages are missing"
    if {row["id"] for row in passages if row["role"] == "body"} != {row["id"] for row in vectors}:
        return "vectors are missing"
    for row in vectors:
        try:
            whole, sentences = unpack_passage(row["vector"], dim), unpack_sentences(row["sentences"], dim)
        except IndexDamagedError:
            return "a vector is none of the model's"
        if not np.isfinite(whole).all() or not np.isfinite(sentences).all():
            return "a vector is none of the model's"
    try:
        for name in _JSON:
            json.loads(paper[name])
        text = _text_of(paper, rows["kept_texts"])
    except (ValueError, IndexDamagedError) as error:
        return f"what is kept of it cannot be read: {error}"
    for row in passages:
        if row["end"] - row["start"] != len(row["text"]) or (
            text is not None and text[row["start"] : row["end"]] != row["text"]
        ):
            return f"passage {row['passage_id']} is not what its text has there"
    return ""


def _text_of(paper: Row, kept: list[Row]) -> str | None:
    """The text that the paper's offsets count in; None where its file is not as it was indexed.

    Raises ValueError, IndexDamagedError.
    """
    if kept:
        return unpack_text(kept[0]["text"])
    try:
        raw = read_bytes(Path(paper["origin"]))
    except (OSError, SourceError):
        return None
    return raw.decode() if sha256(raw).hexdigest() == paper["sha256"] else None


def word_lists_agree(connection: Connection) -> bool:
    """Whether the word lists are those of the passages: each batch's are made anew, and all of them summed up."""
    wanted, rows = 0, postings.read_terms(connection)
    while batch := dict(islice(rows, _BATCH)):
        with closing(scratch()) as made:
            postings.write(made, batch)
            wanted += postings.digest(made)
    return wanted % postings.DIGEST_RANGE == postings.digest(connection)


def write_word_lists(connection: Connection) -> None:
    """Make the word lists of the passages, where there are none."""
    rows = postings.read_terms(connection)
    while batch := dict(islice(rows, _BATCH)):
        postings.write(connection, batch)
