"""Looking after an index: what is wrong is found, what can be is mended, a backup is whole, an old schema is new."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from indexer.build import build
from indexer.errors import IndexBusyError, IndexDamagedError, IndexMismatchError, IndexMissingError, UsageError
from indexer.store import IndexReader, IndexWriter
from indexer.store.embedded.dense import DenseIndex
from indexer.store.embedded.folder import DATABASE, VECTORS
from indexer.store.embedded.schema import SCHEMA_VERSION
from indexer.upkeep import back_up, examine, mend, restore
from tests.conftest import Run
from tests.damage import answers, harms, outcome_of
from tests.databases import opened
from tests.fakes import WordEmbedder
from tests.test_store import CONFIG, write_papers


def load(_: str) -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_papers(tmp_path / "papers")
    build([tmp_path / "papers"], tmp_path / "index", WordEmbedder(), CONFIG)
    return tmp_path / "index"


def execute(index: Path, *statements: str) -> None:
    with closing(opened(index / DATABASE)) as connection:
        for statement in statements:
            connection.execute(statement)


def found(index: Path) -> list[tuple[str, str]]:
    return [(each.check, each.level) for each in examine(index, load).findings]


def indexes(work: Path) -> dict[str, tuple[Path, list[dict[str, Any]]]]:
    """An index that nobody has open, and a copy of one in use, its log beside it; with what each may answer: of the
    log a part may be gone, as after a power cut, and then it is what was committed before."""
    papers, index = work / "papers", work / "closed"
    rights: list[dict[str, Any]] = []
    write_papers(papers, n=8)
    build([papers], index, WordEmbedder(), CONFIG)
    rights.append(answers(index))
    reader = IndexReader(index)
    try:
        for n, paper_id in ((10, ""), (12, "PMC7003")):
            write_papers(papers, n=n)
            build([papers], index, WordEmbedder(), CONFIG)
            rights.append(answers(index))
            if paper_id:
                (papers / "paper03.md").unlink()
                with IndexWriter(index, None) as writer:
                    writer.remove(paper_id)
                    writer.commit()
                rights.append(answers(index))
        shutil.copytree(index, work / "in use")
    finally:
        reader.close()
    assert (work / "in use" / f"{DATABASE}-wal").stat().st_size > 100_000
    assert not (index / f"{DATABASE}-wal").exists()
    return {"closed": (index, rights[-1:]), "in use": (work / "in use", rights)}


@pytest.mark.parametrize("kind", ["closed", "in use"])
def test_a_spoilt_index_answers_rightly_or_says_so(tmp_path: Path, kind: str) -> None:
    """The short form of tests/torture/test_damage.py."""
    index, rights = indexes(tmp_path)[kind]
    outcome = outcome_of(index, tmp_path, harms(index, n_cuts=2, n_flips=7), rights, tmp_path / "papers")
    assert not outcome.wrong
    assert sum(outcome.counts.values()) >= 18


def test_nothing_is_found_in_a_sound_index(index: Path) -> None:
    examination = examine(index, load)
    assert (examination.findings, examination.is_sound) == ([], True)
    assert (examination.papers, examination.passages, examination.generation) == (12, 72, 1)
    assert examination.checked == [
        "folder",
        "database",
        "papers",
        "full text",
        "word lists",
        "vectors",
        "sources",
        "model",
    ]


@pytest.mark.parametrize(
    ("harm", "check"),
    [
        ("UPDATE passages SET text = replace(text, 'The', 'Teh') WHERE id = 5", "papers"),
        ("UPDATE passages SET start = start + 1, end = end + 1 WHERE id = 5", "papers"),
        ("UPDATE passages SET ordinal = 99 WHERE id = 5", "papers"),
        ("DELETE FROM vectors WHERE id = 5", "papers"),
        ("UPDATE vectors SET vector = x'00' WHERE id = 5", "papers"),
        ("UPDATE papers SET sections = '[' WHERE id = 5", "papers"),
        ("INSERT INTO passages_fts (passages_fts) VALUES ('delete-all')", "full text"),
        ("DELETE FROM postings WHERE term = 'bone'", "word lists"),
        ("UPDATE segments SET passages = zeroblob(length(passages))", "word lists"),
        ("INSERT INTO removed_rows VALUES (5)", "word lists"),
    ],
)
def test_rows_that_do_not_agree_are_found_and_mended(index: Path, tmp_path: Path, harm: str, check: str) -> None:
    right = answers(index)
    execute(index, harm)
    examination = examine(index, load)
    assert check in {each.check for each in examination.findings if each.level == "error"}
    mended = mend(index, examination)
    assert len(mended.lost) == (check == "papers")
    if mended.lost:
        assert len(mended.files) == 1
        build([tmp_path / "papers"], index, WordEmbedder(), CONFIG)
    assert examine(index, load).is_sound
    assert answers(index) == right
    assert (index / f"{DATABASE}.unusable").exists()


def test_papers_that_cannot_be_read_are_named_and_come_back(index: Path, tmp_path: Path) -> None:
    """A page of passages is gone: only its papers are lost, and the next build has them again, by their old ids."""
    right = answers(index)
    with closing(opened(index / DATABASE)) as connection:
        page_size = connection.pragma("page_size")
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'passages'").get
        raw = (index / DATABASE).read_bytes()
    child = int.from_bytes(raw[(page - 1) * page_size :][8:12], "big")  # the rightmost leaf: the last papers
    with (index / DATABASE).open("rb+") as file:
        file.seek((child - 1) * page_size + page_size // 2)
        file.write(b"\0" * 100)
    mended = mend(index, examine(index, load))
    assert mended.lost
    assert set(mended.lost) < {f"PMC70{n:02}" for n in range(12)}
    assert [Path(each).name for each in mended.files] == [f"paper{each[-2:]}.md" for each in mended.lost]
    with closing(IndexReader(index)) as reader, reader.snapshot() as snapshot:
        assert snapshot.n_papers() == 12 - len(mended.lost)
    report = build([tmp_path / "papers"], index, WordEmbedder(), CONFIG)
    assert (report.added, report.n_unchanged) == (mended.lost, 12 - len(mended.lost))
    assert answers(index) == right


def test_a_paper_that_an_index_of_its_table_lacks_is_not_lost(index: Path) -> None:
    right = answers(index)
    execute(
        index,
        "DROP INDEX papers_origin",
        "CREATE INDEX papers_origin ON papers (origin) WHERE id <> 5",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, ' WHERE id <> 5', '') WHERE name = 'papers_origin'",
    )
    assert found(index) == [("database", "error")]
    assert not mend(index, examine(index, load)).lost
    assert answers(index) == right


def rows_and_commits(index: Path) -> tuple[int, int, int]:
    """The last row id of passages, the least of those that there are, and how many commits."""
    with closing(opened(index / DATABASE)) as connection:
        return (
            connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'passages'").get or 0,
            connection.execute("SELECT coalesce(min(id), 0) FROM passages").get,
            connection.execute("SELECT count(*) FROM commits").get,
        )


def test_row_ids_are_not_used_again_where_papers_are_lost(index: Path, tmp_path: Path) -> None:
    right = answers(index)
    execute(index, "UPDATE passages SET ordinal = 99 WHERE ordinal = 0 AND paper > 1")
    last, first, n_commits = rows_and_commits(index)
    assert len(mend(index, examine(index, load)).lost) == 11
    build([tmp_path / "papers"], index, WordEmbedder(), CONFIG)
    assert rows_and_commits(index) == (last + 11 * last // 12, first, n_commits + 2)
    assert answers(index) == right


def test_where_the_row_ids_that_were_used_cannot_be_read_no_commit_is_gone_on_from(index: Path) -> None:
    with closing(opened(index / DATABASE)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_sequence'").get
        page_size = connection.pragma("page_size")
    with (index / DATABASE).open("rb+") as file:
        file.seek(page * page_size - 100)
        file.write(b"\1" * 20)
    assert mend(index, examine(index, load)).lost == []
    assert rows_and_commits(index)[2] == 1


def test_the_vectors_file_is_held_against_the_rows(index: Path, tmp_path: Path) -> None:
    (index / VECTORS).unlink()
    assert found(index) == [("vectors", "error")]
    mend(index, examine(index, load))
    assert found(index) == []
    execute(index, "UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE id = 2) WHERE id = 1")
    assert ("vectors", "error") in found(index)
    other = tmp_path / "other"
    build([tmp_path / "papers"], other, WordEmbedder(), CONFIG)
    shutil.copy(index / VECTORS, other / VECTORS)
    assert found(other) == [("vectors", "warning")]


def test_files_of_papers_are_held_against_their_hashes(index: Path, tmp_path: Path) -> None:
    (tmp_path / "papers" / "paper03.md").unlink()
    with (tmp_path / "papers" / "paper04.md").open("a", encoding="utf-8") as file:
        file.write("\nMore.\n")
    examination = examine(index, load)
    assert [(each.check, each.level) for each in examination.findings] == [("sources", "warning")] * 2
    assert ("paper03.md" in examination.findings[0].what, "paper04.md" in examination.findings[1].what) == (True, True)
    assert examination.is_sound


def test_others_write_while_an_index_is_looked_over(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who writes at that moment keeps it waiting for nothing: what takes the right to write is left out."""
    monkeypatch.setattr("indexer.store.embedded.database._BUSY_TIMEOUT_MS", 50)

    def loaded_after_a_commit(_: str) -> WordEmbedder:
        with IndexWriter(index, None) as writer:
            writer.remove("PMC7003")
            assert writer.commit() == 2
        return WordEmbedder()

    assert examine(index, loaded_after_a_commit).findings == []
    with IndexWriter(index, None):
        assert ("full text", "warning") in found(index)
    assert found(index) == []


def test_another_model_is_found(index: Path) -> None:
    class Other(WordEmbedder):
        def encode_query(self, text: str) -> Any:
            return super().encode_query(f"{text} other")

        encode = WordEmbedder.encode

    examination = examine(index, lambda _: Other())
    assert examination.is_sound or [each.check for each in examination.findings] == ["model"]


def test_leftovers_are_swept_and_kept_files_are_named(index: Path) -> None:
    (index / f".{DATABASE}.123.part").write_bytes(b"half")
    (index / f"{DATABASE}.unusable").write_bytes(b"old")
    assert found(index) == [("folder", "warning")] * 2
    mend(index, examine(index, load))
    assert (found(index), (index / f".{DATABASE}.123.part").exists()) == ([("folder", "warning")], False)


def test_where_there_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(IndexMissingError):
        examine(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_manifest_that_cannot_be_read_changes_nothing(index: Path) -> None:
    execute(index, "DELETE FROM meta")
    before = (index / DATABASE).read_bytes()
    with pytest.raises(IndexDamagedError, match="nothing was changed"):
        mend(index, examine(index, load))
    assert (index / DATABASE).read_bytes() == before


def test_an_index_of_which_no_paper_can_be_read_is_not_made_an_empty_one(index: Path) -> None:
    execute(index, "UPDATE passages SET text = text || ' and more'")
    before = (index / DATABASE).read_bytes()
    with pytest.raises(IndexDamagedError, match="none of its 12 papers can be read whole; nothing was changed"):
        mend(index, examine(index, load))
    assert (index / DATABASE).read_bytes() == before
    assert sorted(each.name for each in index.iterdir()) == sorted([DATABASE, VECTORS, "writer.lock"])


def make_old(index: Path) -> None:
    """As loccit 0.1 made it: schema 6, no checksums."""
    with closing(opened(index / DATABASE)) as connection:
        connection.execute("VACUUM INTO ?", (f"{(index / 'old').absolute().as_uri()}?reserve=0",))
    (index / "old").replace(index / DATABASE)
    raw = bytearray((index / DATABASE).read_bytes())
    raw[60:64] = (6).to_bytes(4, "big")  # user_version
    (index / DATABASE).write_bytes(raw)


def test_an_older_schema_is_brought_up_and_kept(index: Path, tmp_path: Path) -> None:
    right = answers(index)
    make_old(index)
    old = (index / DATABASE).read_bytes()
    with pytest.raises(IndexMismatchError, match="doctor --repair"):
        IndexReader(index)
    with pytest.raises(IndexMismatchError, match="doctor --repair"):
        build([tmp_path / "papers"], index, WordEmbedder(), CONFIG)
    assert found(index) == [("schema", "error")]
    mended = mend(index, examine(index, load))
    assert "version 6" in mended.done[0]
    assert (index / f"{DATABASE}.schema-6").read_bytes() == old
    assert [each for each in found(index) if each[1] == "error"] == []
    assert answers(index) == right
    assert build([tmp_path / "papers"], index, WordEmbedder(), CONFIG).n_unchanged == 12


@pytest.mark.parametrize("version", [5, SCHEMA_VERSION + 1])
def test_no_way_from_a_schema_is_said(index: Path, version: int) -> None:
    execute(index, f"PRAGMA user_version = {version}")
    examination = examine(index, load)
    assert [(each.check, each.repair) for each in examination.findings] == [("schema", "")]
    assert not mend(index, examination).done
    assert not examine(index, load).is_sound


def test_a_backup_is_whole_while_others_write(index: Path, tmp_path: Path) -> None:
    """Its papers are those of one commit, whatever is committed meanwhile."""
    stop = threading.Event()

    def write() -> None:
        for seed in range(1, 100):
            if stop.is_set():
                return
            write_papers(tmp_path / "papers", n=8 + seed % 5, seed=seed)
            build([tmp_path / "papers"], index, WordEmbedder(), CONFIG, prune=True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(5):
            made = back_up(index, tmp_path / f"backup{n}")
            examination = examine(tmp_path / f"backup{n}")
            assert examination.is_sound
            assert {each.check for each in examination.findings} <= {"sources"}
            assert (examination.generation, examination.papers) == (made.generation, made.papers)
    finally:
        stop.set()
        writer.join()


def test_a_backup_is_put_back(index: Path, tmp_path: Path) -> None:
    right = answers(index)
    made = back_up(index, tmp_path / "backup")
    assert (made.papers, made.passages) == (12, 72)
    reader = IndexReader(index)
    with IndexWriter(index, None) as writer:
        writer.remove("PMC7003")
        writer.commit()
    with pytest.raises(UsageError, match="--replace"):
        restore(tmp_path / "backup", index)
    restore(tmp_path / "backup", index, replace=True)
    with reader.snapshot() as snapshot:
        assert snapshot.n_papers() == 12  # an open reader goes on with it
    reader.close()
    assert answers(index) == right
    assert (index / f"{DATABASE}.replaced").exists()
    restore(tmp_path / "backup", tmp_path / "elsewhere" / "index")
    assert answers(tmp_path / "elsewhere" / "index") == right


def test_an_older_backup_does_not_slow_readers_down(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors are made to fit once, not at every search: what was at hand is of a later commit of the same line."""
    back_up(index, tmp_path / "backup")
    with IndexWriter(index, None) as writer:
        writer.remove("PMC7003")
        writer.commit()
    with closing(IndexReader(index)) as reader:
        restore(tmp_path / "backup", index, replace=True)
        with reader.snapshot() as snapshot:
            assert snapshot.n_papers() == 12
        made: list[DenseIndex] = []
        caught_up = DenseIndex.caught_up
        monkeypatch.setattr(DenseIndex, "caught_up", lambda *args: made.append(caught_up(*args)) or made[-1])
        for _ in range(3):
            with reader.snapshot() as snapshot:
                assert snapshot.counts()["vectors"] == 60
    assert made == []


def test_a_backup_of_a_newer_loccit_replaces_nothing(index: Path, tmp_path: Path) -> None:
    right = answers(index)
    backup = tmp_path / "backup"
    back_up(index, backup)
    with closing(opened(backup / DATABASE)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    record = json.loads((backup / "backup.json").read_text(encoding="utf-8"))
    record["sha256"][DATABASE] = sha256((backup / DATABASE).read_bytes()).hexdigest()
    (backup / "backup.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(IndexMismatchError, match="install the loccit that made it"):
        restore(backup, index, replace=True)
    assert answers(index) == right


def test_each_index_that_was_replaced_is_kept(index: Path, tmp_path: Path) -> None:
    """Who puts the wrong backup back, and then the right one, still has what was there at first."""
    back_up(index, tmp_path / "backup")
    with IndexWriter(index, None) as writer:
        writer.remove("PMC7003")
        writer.commit()
    before = (index / DATABASE).read_bytes()
    restore(tmp_path / "backup", index, replace=True)
    restore(tmp_path / "backup", index, replace=True)
    assert (index / f"{DATABASE}.replaced").read_bytes() == before
    assert (index / f"{DATABASE}.2.replaced").exists()


def test_a_journal_that_a_reader_holds_up_is_not_lost(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed while a search went on stands in the journal alone: it is not put aside from its database."""
    monkeypatch.setattr("indexer.store.embedded.database._BUSY_TIMEOUT_MS", 50)
    back_up(index, tmp_path / "backup")
    with closing(IndexReader(index)) as reader, reader.snapshot():
        write_papers(tmp_path / "papers", n=14)
        build([tmp_path / "papers"], index, WordEmbedder(), CONFIG)
        right = answers(index)
        before = sorted(path.name for path in index.iterdir())
        with pytest.raises(IndexBusyError, match="is being read"):
            restore(tmp_path / "backup", index, replace=True)
        assert (sorted(path.name for path in index.iterdir()), answers(index)) == (before, right)
    restore(tmp_path / "backup", index, replace=True)
    with closing(IndexReader(index)) as reader, reader.snapshot() as snapshot:
        assert snapshot.n_papers() == 12


def test_a_backup_that_is_not_whole_is_not_put_back(index: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(index, backup)
    with pytest.raises(UsageError, match="empty folder"):
        back_up(index, backup)
    raw = (backup / DATABASE).read_bytes()
    (backup / DATABASE).write_bytes(raw[:-1] + b"x")
    with pytest.raises(IndexDamagedError, match="not what was backed up"):
        restore(backup, tmp_path / "new")
    (backup / "backup.json").write_text("{}", encoding="utf-8")
    with pytest.raises(IndexDamagedError, match="cannot be read"):
        restore(backup, tmp_path / "new")
    (backup / "backup.json").unlink()
    with pytest.raises(UsageError, match="not a whole one"):
        restore(backup, tmp_path / "new")
    assert not (tmp_path / "new" / DATABASE).exists()


def test_a_backup_of_a_newer_schema_is_not_put_in_the_place_of_an_index(index: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(index, backup)
    execute(backup, f"PRAGMA user_version = {SCHEMA_VERSION + 1}", "PRAGMA wal_checkpoint(TRUNCATE)")
    record = json.loads((backup / "backup.json").read_text(encoding="utf-8"))
    record["sha256"][DATABASE] = hashlib.sha256((backup / DATABASE).read_bytes()).hexdigest()
    (backup / "backup.json").write_text(json.dumps(record), encoding="utf-8")
    before = (index / DATABASE).read_bytes()
    with pytest.raises(IndexMismatchError, match=f"schema version {SCHEMA_VERSION + 1}"):
        restore(backup, index, replace=True)
    assert (index / DATABASE).read_bytes() == before
    assert not (index / f"{DATABASE}.replaced").exists()


def test_a_damaged_index_has_no_backup(index: Path, tmp_path: Path) -> None:
    raw = bytearray((index / DATABASE).read_bytes())
    raw[len(raw) // 2] ^= 1
    (index / DATABASE).write_bytes(raw)
    with pytest.raises(IndexDamagedError):
        back_up(index, tmp_path / "backup")
    assert not (tmp_path / "backup" / "backup.json").exists()


def test_nothing_is_mended_while_another_writes(index: Path) -> None:
    (index / VECTORS).unlink()
    examination = examine(index, load)
    with IndexWriter(index, None), pytest.raises(IndexBusyError):
        mend(index, examination)


@pytest.fixture
def loccit(index: Path, monkeypatch: pytest.MonkeyPatch, loccit: Callable[..., Run]) -> Callable[..., Run]:
    """The command, on the index of invented words."""
    monkeypatch.setattr("service.cli.upkeep.embedder_of", lambda *_, **__: WordEmbedder())
    return lambda *arguments: loccit(*arguments, "--index", str(index))


def test_the_commands(index: Path, tmp_path: Path, loccit: Callable[..., Run]) -> None:
    assert loccit("doctor").code == 0
    os.remove(index / VECTORS)  # noqa: PTH107
    ill = loccit("doctor", "--json")
    assert (ill.code, json.loads(ill.out)["sound"]) == (1, False)
    assert loccit("doctor", "--repair").code == 0
    told = loccit("doctor")
    assert (told.code, "is sound: 12 papers, 72 passages" in told.out) == (0, True)
    assert loccit("backup", str(tmp_path / "backup")).code == 0
    assert loccit("restore", str(tmp_path / "backup")).code == 2
    assert loccit("restore", str(tmp_path / "backup"), "--replace").code == 0
    assert json.loads(loccit("doctor", "--json").out)["papers"] == 12


def test_papers_of_markdown_need_no_text_that_was_kept_of_others(index: Path) -> None:
    right = answers(index)
    with closing(opened(index / DATABASE)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'kept_texts'").get
        page_size = connection.pragma("page_size")
    with (index / DATABASE).open("rb+") as file:
        file.seek(page * page_size - 100)
        file.write(b"\1" * 20)
    assert not examine(index, load).is_sound
    assert mend(index, examine(index, load)).lost == []
    assert answers(index) == right
