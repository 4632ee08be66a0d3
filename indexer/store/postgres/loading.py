"""Papers into the tables of one server, by COPY: many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from indexer.store.postgres.codes import codes
from indexer.store.postgres.session import Bits, Session, Vector
from indexer.store.postings import PassageTerms
from indexer.store.rows import OF_A_PAPER, PASSAGES, VECTORS, PaperRows, Row

CODES = "codes"
Types = dict[str, dict[str, str]]
"""The type of each column that is written, by its table."""


def types_of(session: Session) -> Types:
    """The types of the columns of all tables, as the server has them."""
    rows = session.execute(
        "SELECT table_name, column_name, udt_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
    )
    found: Types = {}
    for table, column, kind in rows:
        found.setdefault(table, {})[column] = kind
    return found


def load(session: Session, types: Types, papers: Sequence[PaperRows], dim: int) -> dict[int, PassageTerms]:
    """Put the papers' rows in, inside the session's transaction; what their passages are counted by, by row id."""
    keys = _new_ids(session, "papers", len(papers))
    ids = iter(_new_ids(session, PASSAGES, sum(len(rows[PASSAGES]) for rows in papers)))
    of_tables: dict[str, list[Row]] = {table: [] for table in ("papers", *OF_A_PAPER, PASSAGES, VECTORS, CODES)}
    terms: dict[int, PassageTerms] = {}
    for key, rows in zip(keys, papers, strict=True):
        (paper,) = rows["papers"]
        of_tables["papers"].append(paper | {"id": key})
        for table in OF_A_PAPER:
            of_tables[table] += [row | {"paper": key} for row in rows[table]]
        own = {row["id"]: int(next(ids)) for row in rows[PASSAGES]}
        of_tables[PASSAGES] += [row | {"id": own[row["id"]], "paper": key} for row in rows[PASSAGES]]
        of_tables[VECTORS] += [row | {"id": own[row["id"]], "vector": Vector(row["vector"])} for row in rows[VECTORS]]
        of_tables[CODES] += [
            {"id": own[row["id"]], "code": Bits(code)}
            for row, code in zip(rows[VECTORS], codes([row["vector"] for row in rows[VECTORS]], dim), strict=True)
        ]
        embedded = {row["id"] for row in rows[VECTORS]}
        for row in rows[PASSAGES]:
            is_body = row["role"] == "body" or row["id"] in embedded
            terms[own[row["id"]]] = PassageTerms(is_body, paper["title_terms"], row["heading_terms"], row["terms"])
    for table, found in of_tables.items():
        if found:
            columns = types[table]
            session.copy_in(table, columns, ([row[name] for name in columns] for row in found))
    return terms


def _new_ids(session: Session, table: str, n: int) -> list[int]:
    """So many ids of rows that no row has or had."""
    rows: Any = session.execute(
        "SELECT nextval(pg_get_serial_sequence(?, 'id')) FROM generate_series(1, ?)", (table, n)
    )
    return [row_id for (row_id,) in rows]
