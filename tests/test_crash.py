"""Nothing is lost: the short forms of `make torture`, and states of disk, clock and folders that are no crash."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from indexer import durable
from indexer.build import BuildReport, build
from indexer.config import BuildConfig
from indexer.embedding import PassageText, PassageVectors
from indexer.errors import IndexBusyError, IndexMissingError, IndexNotWritableError, SourceError
from service.library import Library
from service.query import Query
from tests.torture.crash.holdings import AT_REST, embedder, held, replies
from tests.torture.crash.operations import OPERATIONS
from tests.torture.crash.running import ROOT, killed, require_compiler, swept
from tests.torture.crash.shim import compiled, environment
from tests.torture.crash.world import World

CONFIG = BuildConfig(model="words", max_wordpieces=64)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Some papers, without an index."""
    made = World(tmp_path / "world")
    for number in range(5):
        made.write(number, 0)
    return made


def run(world: World, index: Path | None = None) -> BuildReport:
    return build([world.papers], index or world.index, embedder(), CONFIG)


def test_a_fault_at_some_calls_of_every_operation(tmp_path: Path) -> None:
    faults = ["torn", "enospc", "lose-some"]
    sweeps = swept(tmp_path, *OPERATIONS, "--sample", "1", "--seeds", "1", "--faults", *faults)
    assert [failure for sweep in sweeps for failure in sweep["failures"]] == []
    assert [sweep["operation"] for sweep in sweeps] == list(OPERATIONS)
    assert all(sweep["runs"] == dict.fromkeys(faults, 1) for sweep in sweeps)
    for kind in ("create", "write", "fsync", "rename"):
        assert all(sweep["points"].get(kind) for sweep in sweeps if sweep["operation"] != "export"), kind


POWER = """
import os, sys
from pathlib import Path
from tests.torture.crash.shim import Shim
root = Path(sys.argv[1])
below = root / "below"
below.mkdir()
(below / "lasting").write_bytes(b"one")
Shim.loaded().arm("lose", int(sys.argv[2]), below=below, grave=root, seed=0)

def write(name, text, lasts):
    with open(below / name, "wb", buffering=0) as file:
        file.write(text)
        if lasts:
            os.fsync(file.fileno())

def sync():
    folder = os.open(below, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)

write("lasting", b"two", lasts=True)
write("lasting", b"three", lasts=False)
write("named", b"x", lasts=True)
sync()
write("unnamed", b"y", lasts=True)
write("moved", b"z", lasts=True)
os.rename(below / "moved", below / "named")
os.unlink(below / "lasting")
os.mkdir(below / "folder")
if sys.argv[3] == "sync":
    sync()
write("end", b"", lasts=False)
"""


@pytest.mark.parametrize(
    ("sync", "at", "stands"),
    [
        ("", 19, {"lasting": b"two", "named": b"x"}),
        ("sync", 20, {"named": b"z", "unnamed": b"y", "folder": None}),
    ],
)
def test_a_power_cut_loses_what_no_fsync_made_last(
    tmp_path: Path, sync: str, at: int, stands: dict[str, bytes | None]
) -> None:
    """The shim itself: of writes what was not fsynced, of names what their folder's fsync did not come after."""
    require_compiler()
    env = {**environment(compiled(tmp_path)), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", POWER, str(tmp_path), str(at), sync], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    below = tmp_path / "below"
    assert {path.name: path.read_bytes() if path.is_file() else None for path in below.iterdir()} == stands


def test_some_kills_at_random_moments(tmp_path: Path) -> None:
    done = killed(tmp_path, "--kills", "15", "--life", "0.3")
    assert (done["unreadable"], done["lost"], done["wrong"], done["reader_errors"]) == ([], [], [], [])
    assert done["kills"] == 15
    assert done["citations"] > 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte; skips where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not _mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)):
        pytest.skip("no disk can be mounted here: only root may")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _mounted(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_a_disk_that_fills_up_leaves_the_old_generation(world: World, small_disk: Path) -> None:
    index = small_disk / "index"
    assert run(world, index).generation == 1
    before, answers = held(index), replies(index)
    for number in range(10, 200):
        world.write(number, 0)
    with pytest.raises(IndexNotWritableError, match=f"{index}.*full.*free space"):
        run(world, index)
    assert (held(index), replies(index)) == (before, answers)
    for number in range(10, 200):
        (world.papers / f"paper{number}.md").unlink()
    world.write(5, 0)
    assert run(world, index).added == ["PMC7005"]
    assert {path.name for path in index.iterdir()} == AT_REST


def test_a_folder_that_takes_no_files_is_named(world: World, small_disk: Path) -> None:
    index = small_disk / "index"
    run(world, index)
    before = replies(index)
    assert _mounted("-o", "remount,ro", str(small_disk))
    world.write(0, 1)
    with pytest.raises(IndexNotWritableError, match=f"{index} takes no files"):
        run(world, index)
    with pytest.raises(IndexNotWritableError, match=f"{small_disk / 'new'} takes no files"):
        run(world, small_disk / "new")
    assert replies(index) == before
    assert _mounted("-o", "remount,rw", str(small_disk))
    assert run(world, index).updated == ["PMC7000"]


def test_papers_that_vanish_while_they_are_indexed(world: World) -> None:
    """What was read is stored; what was not is told; nothing that was there before is lost."""
    run(world)
    world.write(5, 0)
    world.write(6, 0)

    def read_once(path: Path) -> bytes:
        shutil.rmtree(world.papers, ignore_errors=True)
        raise SourceError(f"{path} cannot be read: it is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexer.build.run.read_bytes", read_once)
        report = run(world)
    assert (len(report.failed), report.removed, report.added) == (7, [], [])
    with pytest.raises(SourceError, match="papers"):
        run(world)
    with closing(Library.open(world.index, load=lambda _: embedder())) as library:
        assert library.info().n_papers == 5


def test_papers_that_vanish_while_they_are_embedded(world: World) -> None:
    class Slow(type(embedder())):  # type: ignore[misc]
        def encode(
            self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
        ) -> list[PassageVectors]:
            shutil.rmtree(world.papers, ignore_errors=True)
            return super().encode(passages, on_progress)

    report = build([world.papers], world.index, Slow("all-MiniLM-L6-v2", 32, 256), CONFIG)
    assert (len(report.added), report.failed) == (5, [])
    assert len(replies(world.index)) > 0


CLOCK = """
import sys
from pathlib import Path
from tests.torture.crash.operations import index, without_a_model
from tests.torture.crash.shim import Shim
from tests.torture.crash.world import World
import time
without_a_model()
world, shim, now = World(Path(sys.argv[1])), Shim.loaded(), time.time()
world.write(0, 0)
assert index(world) == 0
for version, years in ((1, -3), (2, 5), (3, -30)):
    shim.set_clock(years * 365 * 86400)
    assert abs(time.time() - now - years * 365 * 86400) < 60
    world.write(0, version)
    assert index(world) == 0
"""


def test_a_clock_that_is_set_back_changes_no_order(tmp_path: Path) -> None:
    require_compiler()
    world = World(tmp_path / "world")
    env = {name: value for name, value in environment(compiled(tmp_path)).items() if not name.startswith("LOCCIT_")}
    command = [sys.executable, "-c", CLOCK, str(world.root)]
    done = subprocess.run(command, cwd=ROOT, env={**env, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    with closing(Library.open(world.index, load=lambda _: embedder())) as library:
        reply = library.search(Query("what mattered most in year 3", 1))
    assert reply.generation == 4
    assert "in year 3" in reply.hits[0].text


def test_an_index_that_is_deleted_under_a_reader(world: World) -> None:
    run(world)
    with closing(Library.open(world.index, load=lambda _: embedder())) as library:
        before = library.search(Query("limpets", 3)).hits
        shutil.rmtree(world.index)
        with pytest.raises(IndexMissingError, match=f"no index in {world.index}"):
            library.search(Query("limpets", 3))
        run(world)
        assert library.search(Query("limpets", 3)).hits == before


def _build(root: Path, begin: object, name: str) -> None:
    world = World(root)
    begin.wait()  # type: ignore[attr-defined]
    try:
        run(world)
    except IndexBusyError:
        (root / f"{name}.busy").touch()


def test_two_writers_at_once(world: World) -> None:
    """One writes; the other is told so, or comes after it. The index is that of one run."""
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(2)
    writers = [context.Process(target=_build, args=(world.root, begin, name)) for name in "ab"]
    for each in writers:
        each.start()
    for each in writers:
        each.join(60)
    assert [each.exitcode for each in writers] == [0, 0]
    assert len(list(world.root.glob("*.busy"))) <= 1
    run(world, world.root / "alone")
    assert held(world.index) == held(world.root / "alone")


def test_a_file_is_written_whole_and_to_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fsynced before it has its name, and its folder after that; folders above that are new, too."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        done.append("fsync " + os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")).rpartition(".")[2])  # noqa: PTH115, PTH119
        fsync(descriptor)

    def replaced(path: Path, target: Path) -> Path:
        done.append(f"rename {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    durable.make_folder(tmp_path / "a" / "b")
    durable.write_whole(tmp_path / "a" / "b" / "c", b"one ", b"two")
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"one two"
    assert done == ["fsync a", f"fsync {tmp_path.name}", "fsync part", "rename c", "fsync b"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    durable.write_whole(path, b"old")

    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        durable.write_whole(path, b"new")
    assert ([each.name for each in tmp_path.iterdir()], path.read_bytes()) == (["c"], b"old")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES])
def test_an_unreadable_index_that_cannot_be_set_aside(
    world: World, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(world)
    (world.index / "index.sqlite").write_bytes(b"no database " * 1000)

    def refused(path: Path, target: Path) -> Path:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        with pytest.raises(IndexNotWritableError, match=f"{world.index} takes no files.*{os.strerror(number)}"):
            build([world.papers], world.index, embedder(), CONFIG, rebuild=True)
    assert len(build([world.papers], world.index, embedder(), CONFIG, rebuild=True).added) == 5


@pytest.mark.parametrize("name", ["index.sqlite", "a[1].xml", ".history"])
def test_what_a_killed_writer_left_is_swept_away(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    others = {name, f".{name}.mine", f"{name}.12345678.part", ".other.12345678.part"}
    for each in (*others, f".{name}.12345678.part", f".{name}.12345678.part-journal"):
        (tmp_path / each).touch()
    durable.sweep(path)
    assert {each.name for each in tmp_path.iterdir()} == others
    with durable.beside(path) as part:
        for ending in ("", "-journal", "-wal"):
            part.with_name(part.name + ending).touch()
    assert {each.name for each in tmp_path.iterdir()} == others
