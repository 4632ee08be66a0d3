"""What is done to an index while faults happen: the commands themselves, with an embedder that needs no model."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import indexer.build.embed
import indexer.embedding
import indexer.fetch.plan
import indexer.fetch.run
import indexer.sources
import service.cli.indexing
import service.library
from indexer.embedding.cache import exported, ready
from indexer.embedding.export import Record, Traits, versions
from indexer.embedding.models import file_sha256
from indexer.fetch.client import Limits
from indexer.fetch.files import held_at, keep
from indexer.provenance import Provenance
from indexer.store import IndexWriter, Snapshot
from indexer.store.embedded.database import open_database
from indexer.store.embedded.folder import DATABASE
from indexer.store.embedded.schema import OLDEST_SCHEMA
from indexer.upkeep.backup import RECORD
from service.cli import main
from tests.fetch_server import jats, serving
from tests.torture.crash.holdings import digest, embedder, held
from tests.torture.crash.world import World

BATCH_WORDPIECES = 50
"""A paper or two a commit, or what changed of them."""
_LIMITS = Limits(interval_s=0, first_wait_s=0.01, tries=2)
FETCHED = ("PMC101", "PMC102")
BEFORE = jats("PMC101", body="<sec><title>Results</title><p>What it said before it was corrected.</p></sec>")


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that a fault may happen in."""

    prepare: Callable[[World], None]
    """What there is before."""
    run: Callable[[World], int]
    """The command, and its exit code."""
    resume: Callable[[World], int]
    """What the user does next."""
    faults: Callable[[World], Iterator[str]] = field(default=lambda world: iter(()))
    """What is wrong beside the index, right after the fault."""


def index(world: World, options: Sequence[str] = ()) -> int:
    """Index the papers."""
    return main(["index", str(world.papers), "--index", str(world.index), *options])


def fetch(world: World) -> int:
    """Fetch two papers, of which an older text of one is there, and index them."""
    return main(["fetch", *FETCHED, "--to", str(world.papers), "--index", str(world.index)])


def remove(world: World) -> int:
    """Take two papers out, unless they are."""
    return main(["remove", "PMC7000", "PMC7003", "--index", str(world.index)])


def backup(world: World) -> int:
    """Copy the index; a copy that is there and not whole is thrown away before."""
    folder = world.root / "kept"
    if folder.exists() and not (folder / RECORD).exists():
        shutil.rmtree(folder)
    return 0 if folder.exists() else main(["backup", str(folder), "--index", str(world.index)])


def restore(world: World) -> int:
    """Put the copy in the place of the index, which has changed since."""
    return main(["restore", str(world.root / "kept"), "--index", str(world.index), "--replace"])


def doctor(world: World) -> int:
    """Mend what the index's rows can."""
    return main(["doctor", "--repair", "--index", str(world.index)])


def watch(world: World) -> int:
    """Two files change while they are watched; what could not be done is tried once more."""

    def changes(paths: object, *, leave_out: Path) -> Iterator[frozenset[Path] | None]:
        yield None
        yield frozenset({world.papers / "paper01.md", world.papers / "paper09.md"})
        yield frozenset()
        raise KeyboardInterrupt

    indexer.sources.changes = changes
    service.cli.indexing._RETRY_S = 0
    return index(world, ["--watch"])


def export(world: World) -> int:
    """Make an exported model ready."""
    with exported(world.root / "models" / "key", _exported):
        return 0


def _exported(folder: Path) -> Record:
    for name in ("model.onnx", "tokenizer.json"):
        (folder / name).write_bytes(name.encode() * 100)
    hashes = {name: file_sha256(folder / name) for name in ("model.onnx", "tokenizer.json")}
    record = Record("fp32", "", "fp32", 32, "mean", 256, Traits("", "", False), hashes, {}, versions())
    record.save(folder)
    return record


def _nothing(world: World) -> None:
    for number in range(5):
        world.write(number, 0)


def _indexed(world: World) -> None:
    _nothing(world)
    assert index(world) == 0


def _changed(world: World) -> None:
    """Two papers changed, one gone, one moved, one new."""
    _indexed(world)
    world.write(0, 1)
    world.write(1, 1)
    (world.papers / "paper02.md").unlink()
    (world.papers / "paper03.md").replace(world.papers / "moved.md")
    world.write(5, 0)


def _damaged(world: World) -> None:
    """An index that cannot be read, with the log that its writer left."""
    _indexed(world)
    for name in ("index.sqlite", "index.sqlite-wal"):
        (world.index / name).write_bytes(b"no database " * 1000)


def _ill(world: World) -> None:
    """An index of a table, of which the table has all the rows, has a page that is not what was written."""
    _indexed(world)
    path = world.index / DATABASE
    with closing(open_database(path)) as connection:
        page: int = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'passages_paper'").get
        page_size: int = connection.pragma("page_size")
    raw = bytearray(path.read_bytes())
    raw[page * page_size - page_size // 4] ^= 1
    path.write_bytes(raw)


def _old(world: World) -> None:
    """An index of an older schema, as it was: without checksums."""
    _indexed(world)
    path, old = world.index / DATABASE, world.root / "old"
    with closing(open_database(path)) as connection:
        connection.execute("VACUUM INTO ?", (f"{old.absolute().as_uri()}?reserve=0",))
    raw = bytearray(old.read_bytes())
    raw[60:64] = OLDEST_SCHEMA.to_bytes(4, "big")  # https://www.sqlite.org/fileformat.html: the user version
    path.write_bytes(raw)
    old.unlink()


def _about_to_change(world: World) -> None:
    _indexed(world)
    world.write(1, 1)
    world.write(9, 0)


def _backed_up(world: World) -> None:
    _indexed(world)
    assert backup(world) == 0
    world.write(0, 1)
    assert index(world) == 0


def _faults_of_backup(world: World) -> Iterator[str]:
    """A copy that says it is whole is."""
    if (world.root / "kept" / RECORD).exists() and held(world.root / "kept") != held(world.index):
        yield "half a backup passes for a whole one"


def _fetched_before(world: World) -> None:
    _nothing(world)
    put_before(world)
    assert index(world) == 0


def put_before(world: World) -> None:
    """Have an older text of a paper there, as if it had been fetched."""
    known = Provenance("https://example.org/1", "2026-01-01T00:00:00Z", _sha256(BEFORE), "CC BY", (), '"0"', "")
    keep(world.papers / "PMC101.xml", BEFORE, known)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def faults_of_fetched(world: World) -> Iterator[str]:
    """A text is whole or not there; what was fetched never passes for the user's own."""
    for pmcid in FETCHED:
        path = world.papers / f"{pmcid}.xml"
        whole = [jats(pmcid), None if pmcid == "PMC102" else BEFORE]
        if (path.read_bytes() if path.exists() else None) not in whole:
            yield f"{path.name} is neither the old text nor the new one"
        if path.exists() and (state := held_at(path).state) != "fetched":
            yield f"{path.name} passes for {state}"


def _faults_of_exported(world: World) -> Iterator[str]:
    folder = world.root / "models" / "key"
    if folder.exists() and (record := ready(folder)) is not None and len(record.sha256) != 2:
        yield "half an export passes for ready"


_prune = functools.partial(index, options=("--prune",))
_rebuild = functools.partial(index, options=("--rebuild",))

OPERATIONS = {
    "index": Operation(_nothing, index, index),
    "reindex": Operation(_changed, _prune, _prune),
    "remove": Operation(_indexed, remove, remove),
    "rebuild": Operation(_changed, _rebuild, _prune),
    "replace": Operation(_damaged, _rebuild, _rebuild),
    "watch": Operation(_about_to_change, watch, _prune),
    "fetch": Operation(_fetched_before, fetch, fetch, faults_of_fetched),
    "backup": Operation(_indexed, backup, backup, _faults_of_backup),
    "restore": Operation(_backed_up, restore, restore),
    "repair": Operation(_ill, doctor, doctor),
    "migrate": Operation(_old, doctor, doctor),
    "export": Operation(lambda world: None, export, export, _faults_of_exported),
}


@contextmanager
def sources(folder: Path) -> Iterator[dict[str, str]]:
    """A process that plays the services that papers are fetched from; and the settings that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", f"from tests.torture.crash import operations; operations.serve({str(folder)!r})"]
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    with subprocess.Popen(command, env=plain, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            url, trusted = running.stdout.readline().split()
            yield {
                "SSL_CERT_FILE": trusted,
                "LOCCIT_PMC_URL": f"{url}/s3",
                "LOCCIT_EUROPEPMC_URL": f"{url}/europepmc/webservices/rest",
                "LOCCIT_TOMESPHERE_URL": f"{url}/tomesphere",
            }
        finally:
            running.communicate()


def serve(folder: str) -> None:
    """Serve papers until standard input closes."""
    with serving(Path(folder)) as (services, trusted):
        for pmcid in FETCHED:
            services.in_pmc(pmcid)
        print(services.url, trusted, flush=True)  # noqa: T201
        sys.stdin.read()


def without_a_model() -> None:
    """Have the commands of this process embed without a model, commit often, and not wait between requests."""
    indexer.embedding.load_embedder = lambda name, **options: embedder()
    service.library.load_embedder = lambda name, **options: embedder()
    indexer.build.embed._BATCH_WORDPIECES = BATCH_WORDPIECES
    indexer.fetch.run.fetch = functools.partial(indexer.fetch.run.fetch, limits=_LIMITS)
    indexer.fetch.plan.now_utc = lambda: datetime(2026, 9, 30, tzinfo=UTC)


def commits_told(tell: Callable[[str], None], said: Callable[[Snapshot], str] = digest) -> None:
    """Have every commit of this process told, by what is said of what it committed, once it has returned."""
    commit = IndexWriter.commit

    def told(writer: IndexWriter) -> int:
        before, generation = writer._generation, commit(writer)
        if generation != before:
            tell(said(writer.view()))
        return generation

    IndexWriter.commit = told
