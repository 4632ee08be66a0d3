"""What is looked for in an index, whatever holds it, and how it is told.

Nothing is changed. Each finding names what is wrong and what to do; `mend` does what can be done from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from indexer.embedding import Embedder, PassageText
from indexer.errors import ModelError, SourceError
from indexer.sources import read_bytes
from indexer.store.files import Files
from indexer.store.manifest import Manifest
from indexer.store.packing import unpack_passage
from indexer.store.rows import PASSAGES, stored_rows
from indexer.store.sql import Connection
from indexer.upkeep.rows import what_is_wrong

Check = Literal[
    "folder", "servers", "schema", "prepared", "commits",
    "database", "papers", "full text", "word lists", "vectors", "model", "sources",
]  # fmt: skip
Repair = Literal["", "migrate", "salvage", "vectors", "sweep", "settle"]
"""What `mend` does about a finding; nothing where it is not for the index's rows to say."""

REPAIR = "`loccit doctor --repair`"
N_NAMED = 3
_N_ENCODED = 8
"""Passages that are encoded again, to see whether the model is the one that made the vectors."""
_LEAST_COSINE = 0.97
"""Between a vector as it was made and as it is made now: by 8-bit arithmetic of another machine, 0.99."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    check: Check
    level: Literal["warning", "error"]
    """An error keeps the index from answering rightly; a warning is for whoever looks after it."""
    what: str
    remedy: str
    repair: Repair = ""


@dataclass(slots=True)
class Examination:
    """What was looked at, and what was found."""

    checked: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    papers: int = 0
    passages: int = 0
    generation: int = -1

    @property
    def is_sound(self) -> bool:
        """Whether no error was found."""
        return all(each.level != "error" for each in self.findings)

    def add(self, finding: Finding) -> None:
        """One more."""
        self.findings.append(finding)


def look_at_papers(connection: Connection, manifest: Manifest, found: Examination) -> list[str]:
    """Every paper's passages, vectors and places, held against its text where that is at hand: what is not whole."""
    found.checked.append("papers")
    wrong: list[str] = []
    papers: list[Any] = connection.execute("SELECT id, paper_id FROM papers ORDER BY id").fetchall()
    for paper, paper_id in papers:
        rows = stored_rows(connection, paper)
        found.papers += 1
        found.passages += len(rows[PASSAGES])
        if said := what_is_wrong(rows, manifest.model.dim):
            wrong.append(f"{paper_id} ({said})")
    return wrong


def look_at_sources(connection: Connection, found: Examination) -> None:
    """The papers' files, held against the hashes that were taken when they were indexed."""
    found.checked.append("sources")
    files = Files(connection)
    gone, changed, unreadable = [], [], []
    for origin, _, _ in files.origins():
        record, path = files.at(origin), Path(origin)
        try:
            if not path.exists():
                gone.append(origin)
            elif record is None or sha256(read_bytes(path)).hexdigest() != record.sha256:
                changed.append(origin)
        except (OSError, SourceError) as error:
            unreadable.append(f"{origin} ({error})")
    for names, what, remedy in (
        (gone, "gone", "put them back, or run `loccit index PATH... --prune` to take their papers out"),
        (changed, "changed since they were indexed, or forgotten", "run `loccit index PATH...`"),
        (unreadable, "not readable", "mend them, then run `loccit index PATH...`"),
    ):
        if names:
            found.add(Finding("sources", "warning", f"{len(names)} files are {what}: {named(names)}", remedy))


def look_at_model(
    connection: Connection, manifest: Manifest, load: Callable[[str], Embedder], found: Examination
) -> None:
    """The model's files by their hash, and some passages encoded again."""
    found.checked.append("model")
    try:
        embedder = load(manifest.model.name)
    except ModelError as error:
        found.add(Finding("model", "error", str(error), "put the model back where it was, or name another and rebuild"))
        return
    if embedder.identity != manifest.model:
        what = f"{manifest.model.name} is not the model that the vectors were made with"
        found.add(Finding("model", "error", what, "put that one back, or run `loccit index PATH... --rebuild`"))
        return
    if rows := list(_sample(connection)):
        made = embedder.encode([PassageText(text, ()) for text, _ in rows])
        least = min(
            float(each.passage @ unpack_passage(blob, manifest.model.dim))
            for each, (_, blob) in zip(made, rows, strict=True)
        )
        if least < _LEAST_COSINE:
            what = f"a passage's vector, made again, is not the one that is stored (cosine {least:.3f})"
            found.add(Finding("model", "error", what, "run `loccit index PATH... --rebuild`, and report it as a bug"))


def _sample(connection: Connection) -> Iterator[tuple[str, bytes]]:
    """Some passages' embedded texts and vectors, spread over the index."""
    ids: list[Any] = [row[0] for row in connection.execute("SELECT id FROM vectors ORDER BY id")]
    for row_id in ids[:: max(len(ids) // _N_ENCODED, 1)][:_N_ENCODED]:
        row: Any = connection.execute(
            "SELECT embedded_text, vector FROM passages JOIN vectors USING (id) WHERE id = ?", (row_id,)
        ).fetchone()
        yield row


def named(names: list[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else ""
    return ", ".join(names[:N_NAMED]) + more
