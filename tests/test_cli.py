"""The command line: what is printed where, and every exit code."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from openai.types.chat import ChatCompletionFunctionToolParam
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from indexer import errors
from indexer.store import IndexWriter
from service.api import create_app
from service.cli import app
from service.library import Library
from service.replies import Highlight
from service.terminal import clean
from service.terminal.answers import passage_text
from service.terminal.lines import console_of
from tests.conftest import Run
from tests.corpus import KETTLES, LIMPETS
from tests.databases import opened

pytestmark = pytest.mark.model

Loccit = Callable[..., Run]

ROOT = Path(__file__).parents[1]
QUESTION = "why do limpets lose their grip in warm water?"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = [(name, parameter) for name, command in COMMANDS.items() for parameter in command.params]


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    """A copy of the index, to spoil."""
    return Path(shutil.copytree(built, tmp_path / "copied"))


def in_a_process(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """The command on its own, its output piped."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCCIT_", "NO_COLOR"))}
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from service.cli import main; sys.exit(main())", *map(str, arguments)],
        cwd=cwd,
        env=inherited | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # A shell starts its background jobs with Ctrl-C ignored, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


# Help


def test_help_loads_nothing_heavy(workdir: Path) -> None:
    heavy = ["torch", "sentence_transformers", "transformers", "faiss", "fastapi", "uvicorn", "numpy", "tiktoken"]
    heavy += ["openai", "anyio", "httpx", "httpcore", "httpx2", "mcp"]
    script = (
        f"import sys; from service.cli import main; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=workdir, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_commands() -> None:
    assert " ".join(COMMANDS) == (
        "index fetch ask search show verify papers remove info doctor backup restore copy shards eval serve tools mcp "
        "keys"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(loccit: Loccit, command: str) -> None:
    assert COMMANDS[command].help.rstrip().endswith(".")
    run = loccit(command, "--help")
    assert (run.code, run.err) == (0, "")
    assert COMMANDS[command].help.split(".")[0].split("\n")[0][:40] in run.out


@pytest.mark.parametrize(("command", "parameter"), OPTIONS, ids=[f"{name}-{each.name}" for name, each in OPTIONS])
def test_each_option_has_help(command: str, parameter: typer.main.TyperOption) -> None:
    assert parameter.help


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_in_the_readme(command: str) -> None:
    assert f"loccit {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_no_command_is_help(loccit: Loccit) -> None:
    assert loccit() == loccit("--help")
    assert loccit("-h").out.startswith("Usage: loccit [OPTIONS] COMMAND")


def test_version(loccit: Loccit) -> None:
    assert re.fullmatch(r"loccit \S+\n", loccit("--version").out)


# Asking and searching


def test_ask_for_people(loccit: Loccit, built: Path) -> None:
    run = loccit("ask", QUESTION, "--index", built, "-k", "2")
    start = LIMPETS.index("Grip fell by half")
    end = LIMPETS.index("\n\n## 4. Acknow")
    quoted, passages = run.out.split("\nPassages\n")
    assert run.code == 0
    assert "\x1b" not in run.out
    assert " ".join(quoted.split()).startswith(
        "[1] “Grip fell by half when the water warmed from twelve to twenty degrees Celsius, because the mucus film "
        "lost its stiffness [1,2]. Limpets that were shaded by weed kept three quarters of their grip. No animal of "
        "any size held on above twenty-eight degrees.” "
        f"Marsh et al. 2021, §3.2 Grip and Temperature, ¶2, sentences 1, 2, 3 (limpets.md:{start}-{end}) "
        "reported of others: [1] Quill A, Tern B. The adhesion of limpets, measured at last. J Shore Life. "
    )
    first = passages.split("\n 2  ")[0]
    assert first.splitlines()[1] == " 1  Marsh et al. 2021, §3.2 Grip and Temperature, ¶2"
    assert "»Grip fell by half when the water warmed" in first
    assert "stiffness [1,2].« Limpets" in first
    place = re.search(r"^    limpets\.md:(\d+)-(\d+)  (PMC9000001:[0-9a-f]{16})$", first, re.MULTILINE)
    assert place is not None
    assert LIMPETS[int(place[1]) : int(place[2])].endswith("above twenty-eight degrees.")
    assert "    https://doi.org/10.5555/limpets.2021.7" in first.splitlines()
    assert max(map(len, run.out.splitlines())) <= 100


def test_ask_says_when_papers_do_not(loccit: Loccit, built: Path) -> None:
    run = loccit("ask", "who composed the Goldberg Variations?", "--index", built, "-k", "1")
    assert run.code == 4
    assert run.out.startswith("These papers do not seem to say. The nearest passages:\n\n 1  ")


def test_a_found_paper_without_its_body_is_noted(loccit: Loccit, built: Path) -> None:
    run = loccit("search", "volcanic ash bands in glacier ice", "--index", built, "-k", "1")
    assert run.out.startswith("\n 1  Vik 2015, §Abstract, ¶1\n")
    assert run.err.splitlines()[0] == (
        "note: the full text of PMC9000004 is not in its file: "
        "run `loccit fetch PMC9000004`, or get it from https://papers.example.org/PMC9000004/full.md, and index that"
    )


def test_search_goes_on_with_its_cursor(loccit: Loccit, built: Path) -> None:
    first = loccit("search", QUESTION, "--index", built, "-k", "1")
    cursor = re.search(r"^more: --cursor (\S+)$", first.err, re.MULTILINE)
    assert cursor is not None
    second = loccit("search", QUESTION, "--index", built, "-k", "1", "--cursor", cursor[1])
    assert first.out.startswith("\n 1  ")
    assert second.out.startswith("\n 2  ")


def test_nothing_found(loccit: Loccit, built: Path) -> None:
    run = loccit("search", QUESTION, "--index", built, "--section", "no such section")
    assert (run.code, run.out) == (4, "")
    assert run.err == "loccit: no passage fits: use other words, or fewer filters\n"


def test_json_is_exact_and_alone_on_stdout(loccit: Loccit, built: Path, corpus: Path) -> None:
    run = loccit("search", QUESTION, "--index", built, "--json", "-k", "3")
    reply = json.loads(run.out)
    assert run.err == ""
    for hit in reply["hits"]:
        raw = (corpus / hit["citation"]["source"]).read_bytes()
        assert raw.decode()[hit["citation"]["start"] : hit["citation"]["end"]] == hit["text"]
        assert hashlib.sha256(raw).hexdigest() == hit["citation"]["source_sha256"]


@pytest.mark.parametrize("command", ["ask", "search"])
def test_json_is_a_format(loccit: Loccit, built: Path, command: str) -> None:
    def printed(*flags: str) -> dict[str, object]:
        reply: dict[str, object] = json.loads(loccit(command, QUESTION, "--index", built, *flags).out)
        return reply | {"took_ms": 0}

    assert printed("--format", "json") == printed("--json") == printed("--json", "--format", "json")
    plain = loccit(command, QUESTION, "--index", built)
    assert loccit(command, QUESTION, "--index", built, "--format", "text") == plain


@pytest.mark.parametrize("command", ["ask", "search"])
@pytest.mark.parametrize(
    ("style", "begins", "says"),
    [
        (
            "bibtex",
            "@article{marsh2021limpets,\n",
            "  title = {Why limpets hold on: grip and temperature in a tidal pool},",
        ),
        ("ris", "TY  - JOUR\r\nID  - marsh2021limpets\r\nAU  - Marsh, Ada\r\n", "limpets.md:"),
        ("csl-json", '[\n  {\n    "id": "marsh2021limpets",\n', '"DOI": "10.5555/limpets.2021.7"'),
        ("markdown", "", "[Marsh et al. 2021, §3.2 Grip and Temperature, ¶2](https://doi.org/10.5555/limpets.2021.7)"),
    ],
)
def test_the_cited_papers_in_a_format(
    loccit: Loccit, built: Path, command: str, style: str, begins: str, says: str
) -> None:
    run = loccit(command, QUESTION, "--index", built, "--format", style)
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith(begins)
    assert says in run.out
    assert run.out.count("marsh2021limpets") == (style != "markdown")


def test_a_format_is_utf_8_with_its_own_line_ends(workdir: Path, built: Path) -> None:
    process = in_a_process(
        "search", QUESTION, "--index", built, "-k", "1", "--format", "ris", cwd=workdir, PYTHONIOENCODING="ascii"
    )
    assert process.stdout is not None
    with process:
        said = process.stdout.buffer.read()  # type: ignore[attr-defined]
    assert "§3.2. Grip and Temperature, ¶2" in said.decode()
    assert said.count(b"\n") == said.count(b"\r\n") > 10


@pytest.mark.parametrize(("style", "out"), [("bibtex", ""), ("ris", ""), ("csl-json", "[]\n")])
def test_an_answer_that_cites_nothing_says_so(loccit: Loccit, built: Path, style: str, out: str) -> None:
    run = loccit("ask", "who composed the Goldberg Variations?", "--index", built, "--format", style)
    assert (run.code, run.out) == (4, out)
    assert run.err == "loccit: these papers do not seem to say: nothing is cited\n"


def test_two_formats_at_once(loccit: Loccit, built: Path) -> None:
    run = loccit("ask", QUESTION, "--index", built, "--json", "--format", "ris")
    assert (run.code, run.out) == (2, "")
    assert run.err == "loccit: --json and --format ris are two formats: leave one of them out\n"


def test_filters(loccit: Loccit, built: Path) -> None:
    def sources(*flags: str) -> set[str]:
        found = json.loads(loccit("search", "growth and grip", "--index", built, "--json", *flags).out)["hits"]
        return {hit["citation"]["source"] for hit in found}

    assert sources("--paper", "PMC9000004", "--paper", "kettle_notes") == {"glaciers.markdown", "kettle notes.md"}
    assert sources("--year-from", "2019", "--year-to", "2019") == {"stone/lichens.md"}
    assert sources("--section", "3.2") == {"limpets.md"}
    assert sources("--section", "funding", "--include", "back_matter") == {"stone/lichens.md"}
    assert sources("--phrase", "frost stays", "--phrase", "slate") == {"stone/lichens.md"}
    assert sources("--phrase", "millimetre", "--exclude", "growth", "--exclude", "calipers") == {"kettle notes.md"}
    assert sources("--phrase", "did so in") == {"kettle notes.md"}


def test_syntax_in_a_query_says_the_same_as_flags(loccit: Loccit, built: Path) -> None:
    def found(*arguments: str) -> list[str]:
        hits = json.loads(loccit(*arguments).out)["hits"]
        return [hit["passage_id"] for hit in hits]

    where = ("--index", str(built), "--json")
    plain = found(
        "search", *where, "shell grip", "--exclude", "calipers", "--exclude", "by weed", "--year-from", "2019"
    )
    assert len(plain) == 4
    typed = '-"by weed" shell grip year:2019..'
    assert found("search", *where, 'shell grip -calipers year:2019.. -"by weed"') == plain
    assert found("search", *where, "--", f"-calipers {typed}") == plain
    assert found("ask", *where, "--", f"-calipers {typed}") == plain
    assert found("search", *where, "shell", "--phrase", "longer shells") == found(
        "search", *where, "shell section:size"
    )
    assert found("ask", *where, QUESTION, "--phrase", "lose their grip") == []


@pytest.mark.parametrize("command", ["ask", "search"])
def test_the_help_says_how_a_query_reads(loccit: Loccit, command: str) -> None:
    said = " ".join(loccit(command, "--help").out.split())
    assert '"required phrase", -excluded, section:methods, year:2018..2020, paper:PAPER_ID' in said


def test_k_from_the_settings(loccit: Loccit, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCCIT_INDEX", str(built))
    monkeypatch.setenv("LOCCIT_K", "1")
    assert [len(json.loads(loccit(command, QUESTION, "--json").out)["hits"]) for command in ("ask", "search")] == [1, 1]
    assert len(json.loads(loccit("ask", QUESTION, "--json", "-k", "3").out)["hits"]) == 3


# Looking things up


def test_show_a_passage(loccit: Loccit, built: Path, library: Library) -> None:
    ids = library.paper("PMC9000001").passage_ids
    run = loccit("show", ids[2], "--index", built, "--context", "1")
    assert run.out.splitlines()[0] == "Marsh et al. 2021, §3.1 Body Size, ¶1"
    assert "\n  > Longer shells held harder." in run.out
    assert [run.out.index(passage_id) for passage_id in ids[1:4]] == sorted(map(run.out.index, ids[1:4]))
    assert ids[0] not in run.out


def test_show_a_paper(loccit: Loccit, built: Path) -> None:
    run = loccit("show", "PMC9000001", "--index", built)
    assert "ids         DOI 10.5555/limpets.2021.7, PMCID PMC9000001" in run.out.splitlines()
    assert "  3.2. Grip and Temperature" in run.out.splitlines()
    assert "references  2" in run.out.splitlines()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("PMC1", "loccit: no paper 'PMC1' in this index: `loccit papers` lists those that are\n"),
        (
            "PMC9000001:0123456789abcdef",
            "loccit: no passage 'PMC9000001:0123456789abcdef' in this index: its paper may have changed since; "
            "search for it again\n",
        ),
    ],
)
def test_show_what_is_not_there(loccit: Loccit, built: Path, given: str, said: str) -> None:
    assert loccit("show", given, "--index", built) == Run(4, "", said)


def test_papers(loccit: Loccit, built: Path) -> None:
    assert loccit("papers", "--index", built).out.splitlines() == [
        "10.5555_lichen.2019.3  2019      3  Fournier, Carole & Ibsen, Dag: "
        "Lichens on churchyard stone: a century of slow growth",
        "PMC9000001             2021      6  Ada Marsh et al.: "
        "Why limpets hold on: grip and temperature in a tidal pool",
        "PMC9000004             2015      1  Runa Vik: Ice that remembers: layers of ash in a small glacier",
        "kettle_notes                     1  Notes on descaling a kettle",
    ]


def test_papers_beyond_one_page(loccit: Loccit, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loccit("papers", "--index", built, "--json").out
    page = Library.papers
    monkeypatch.setattr(Library, "papers", lambda self, cursor="": page(self, cursor=cursor, limit=3))
    assert loccit("papers", "--index", built, "--json").out == whole
    assert len(json.loads(whole)["papers"]) == json.loads(whole)["total"] == 4


def test_info(loccit: Loccit, built: Path) -> None:
    facts = json.loads(loccit("info", "--index", built, "--json").out)
    assert (facts["n_papers"], facts["generation"], facts["model"], facts["dim"]) == (4, 1, "all-MiniLM-L6-v2", 384)
    assert facts["model_weights_sha256"] in loccit("info", "--index", built).out


def test_remove_takes_all_or_none(loccit: Loccit, copied: Path) -> None:
    assert loccit("remove", "PMC9000004", "PMC1", "--index", copied).code == 4
    assert json.loads(loccit("info", "--index", copied, "--json").out)["n_papers"] == 4
    run = loccit("remove", "PMC9000004", "kettle_notes", "PMC9000004", "--index", copied, "--json")
    assert json.loads(run.out) == {"removed": ["PMC9000004", "kettle_notes"], "generation": 2}
    left = json.loads(loccit("papers", "--index", copied, "--json").out)["papers"]
    assert [paper["paper_id"] for paper in left] == ["10.5555_lichen.2019.3", "PMC9000001"]


# Indexing


@pytest.fixture
def papers(corpus: Path, workdir: Path) -> Path:
    """A copy of the papers in `data`, the folder that is indexed by default."""
    return Path(shutil.copytree(corpus, workdir / "data"))


def test_index_says_what_it_did(loccit: Loccit, papers: Path) -> None:
    first = loccit("index")
    rows = dict(re.findall(r"^(\w+(?: \w+)?)  +(.*)$", first.out, re.MULTILINE))
    assert (first.code, first.err) == (0, "")
    assert rows["papers"] == "4 added"
    assert re.fullmatch(r"11: 8 embedded at [\d,]+ tokens/s, 0 reused, 3 found by words alone", rows["passages"])
    assert rows["no body"] == (
        "the full text of PMC9000004 is not in its file: "
        "run `loccit fetch PMC9000004`, or get it from https://papers.example.org/PMC9000004/full.md, and index that"
    )
    assert re.fullmatch(r"\.loccit, generation 1, [\d.]+ s", rows["index"])
    assert "metadata" in rows["left out"]
    again = json.loads(loccit("index", "--json").out)
    assert (again["n_unchanged"], again["n_embedded"], again["added"], again["generation"]) == (4, 0, [], 1)


def test_what_is_left_out_is_counted_whole(loccit: Loccit, papers: Path) -> None:
    report = json.loads(loccit("index", "--json").out)
    hits = json.loads(loccit("papers", "--json").out)["papers"]
    inked = sum(len("".join(path.read_text(encoding="utf-8").split())) for path in papers.rglob("*.*"))
    covered = 0
    for paper in hits:
        for passage_id in json.loads(loccit("show", paper["paper_id"], "--json").out)["passage_ids"]:
            text = json.loads(loccit("show", passage_id, "--json").out)["passage"]["text"]
            covered += len("".join(text.split()))
    assert covered + sum(report["left_out"].values()) == inked


def test_a_vanished_file_and_prune(loccit: Loccit, papers: Path) -> None:
    loccit("index")
    (papers / "limpets.md").unlink()
    assert "vanished  PMC9000001: its file is gone; run again with --prune to take it out" in loccit("index").out
    assert "removed  PMC9000001" in loccit("index", "--prune").out
    assert "PMC9000001" not in loccit("papers").out


def test_an_edited_paper_reuses_its_other_passages(loccit: Loccit, papers: Path) -> None:
    loccit("index")
    edited = LIMPETS.replace("Longer shells held harder.", "Longer shells held much harder.")
    (papers / "limpets.md").write_text(edited, encoding="utf-8")
    report = json.loads(loccit("index", "--json").out)
    assert (report["updated"], report["n_embedded"], report["n_reused"]) == (["PMC9000001"], 1, 3)


def test_bad_files_do_not_stop_the_rest(loccit: Loccit, papers: Path) -> None:
    (papers / "again.md").write_text(LIMPETS + "\nOne more line.\n", encoding="utf-8")
    (papers / "binary.md").write_bytes(b"\x7fELF\0\0\0")
    (papers / "empty.md").write_text("", encoding="utf-8")
    (papers / "latin.md").write_bytes("# Gr\xfc\xdfe\n\nAus K\xf6ln.\n".encode("latin-1"))
    (papers / "blank.md").write_text(" \n\t\n", encoding="utf-8")
    with (papers / "vast.md").open("wb") as file:
        file.truncate(100_000_000)
    run = loccit("index", "--json")
    failed = {each["source"]: each["reason"] for each in json.loads(run.out)["failed"]}
    assert run.code == 1
    assert run.err == "loccit: 5 of 10 files failed; the others are in the index\n"
    assert failed.keys() == {"binary.md", "blank.md", "empty.md", "latin.md", "vast.md"}
    assert failed["binary.md"] == "the file is binary, not Markdown text"
    assert failed["empty.md"].startswith("the file is empty")
    assert failed["blank.md"].startswith("the file is empty")
    assert failed["latin.md"].startswith("the file is not UTF-8: byte 0xfc in line 1 (offset 4); convert it")
    assert failed["vast.md"].startswith("the file has 100 MB, and one paper may have 50")
    assert len(json.loads(loccit("papers", "--json").out)["papers"]) == 4
    assert "failed  binary.md: the file is binary, not Markdown text" in loccit("index").out


def test_a_text_without_headings_is_a_paper(loccit: Loccit, workdir: Path) -> None:
    (workdir / "plain.md").write_text(KETTLES.split("\n", 2)[2], encoding="utf-8")
    assert loccit("index", "plain.md").code == 0
    hit = json.loads(loccit("search", "limescale in a kettle", "--json").out)["hits"][0]
    assert (hit["citation"]["paper_id"], hit["citation"]["section"]) == ("plain", [])


# Errors


def spoil(index: Path, statement: str, *values: str) -> None:
    connection = opened(index / "index.sqlite")
    connection.execute(statement, values)
    connection.close()


def of_another_model(index: Path) -> None:
    connection = opened(index / "index.sqlite")
    (manifest,) = connection.execute("SELECT value FROM meta WHERE key = 'manifest'").fetchone()
    connection.close()
    changed = re.sub(r'"weights_sha256": "[0-9a-f]+"', f'"weights_sha256": "{"0" * 64}"', manifest)
    spoil(index, "UPDATE meta SET value = ? WHERE key = 'manifest'", changed)


def of_another_schema(index: Path) -> None:
    spoil(index, "PRAGMA user_version = 99")


def half_copied(index: Path) -> None:
    with (index / "index.sqlite").open("rb+") as file:
        file.truncate((index / "index.sqlite").stat().st_size // 2)


def without_its_database(index: Path) -> None:
    (index / "index.sqlite").unlink()


def with_an_empty_database(index: Path) -> None:
    (index / "index.sqlite").write_bytes(b"")


def overwritten(index: Path) -> None:
    (index / "index.sqlite").write_bytes(b"not a database at all " * 100)


def of_another_program(index: Path) -> None:
    spoil(index, "PRAGMA application_id = 7")


def gone(index: Path) -> None:
    shutil.rmtree(index)


@pytest.mark.parametrize("command", ["ask", "index"])
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (of_another_model, "weights"),
        (of_another_schema, "has schema version 99, this loccit reads"),
        (half_copied, "malformed"),
        (without_its_database, "index.sqlite is missing, though vectors.faiss is there"),
        (with_an_empty_database, "index.sqlite is empty"),
        (overwritten, "not a database"),
        (of_another_program, "is not a loccit index"),
        (gone, "there is no index in"),
    ],
)
def test_an_index_that_cannot_serve(
    loccit: Loccit, copied: Path, corpus: Path, harm: Callable[[Path], None], said: str, command: str
) -> None:
    harm(copied)
    if harm is gone and command == "index":
        return  # that makes a new one
    run = loccit(command, QUESTION if command == "ask" else corpus, "--index", copied)
    assert (run.code, run.out) == (3, "")
    assert re.fullmatch(r"loccit: .+\n", run.err)
    assert said in run.err
    assert re.search(r"`loccit index PATH\.\.\.|copy the whole folder|name another folder|install", run.err)


def test_a_damaged_vector_file_is_made_anew(loccit: Loccit, built: Path, copied: Path) -> None:
    (copied / "vectors.faiss").write_bytes((copied / "vectors.faiss").read_bytes()[:100])
    replies = [json.loads(loccit("search", QUESTION, "--index", index, "--json").out) for index in (built, copied)]
    assert replies[0]["hits"] == replies[1]["hits"]


def test_an_index_of_another_size_is_not_mixed_up(loccit: Loccit, copied: Path, corpus: Path) -> None:
    run = loccit("index", corpus, "--index", copied, "--max-wordpieces", "32")
    assert run.code == 3
    assert "the index was made with" in run.err
    assert "--rebuild" in run.err
    assert loccit("index", corpus, "--index", copied, "--max-wordpieces", "32", "--rebuild").code == 0
    assert json.loads(loccit("info", "--index", copied, "--json").out)["passage_wordpieces"] == 32


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("index", "nowhere"), 1, "nowhere does not exist: name a paper's Markdown or JATS file, or a folder"),
        (
            ("index", "hollow"),
            1,
            "hollow holds no papers in Markdown (.md, .markdown) or JATS XML (.xml, .nxml): name a folder",
        ),
        (
            ("index", "other"),
            1,
            "other holds no papers in Markdown (.md, .markdown) or JATS XML (.xml, .nxml): name a folder",
        ),
        (("index", "one.md", "--index", "one.md/below"), 1, "one.md/below takes no files"),
        (("index", "one.md", "--max-wordpieces", "3"), 2, "max_wordpieces is 3: it must be at least 16"),
        (("index", "one.md", "--max-wordpieces", "x"), 2, "'--max-wordpieces'"),
        (("index", "one.md", "--nonsense"), 2, "--nonsense"),
        (("ask", "x"), 3, "there is no index in .loccit: run `loccit index PATH... --index .loccit`"),
        (("serve",), 3, "there is no index in .loccit"),
        (("info",), 3, "there is no index in .loccit"),
        (("remove", "x"), 3, "there is no index in .loccit"),
        (("ask",), 3, "there is no index in .loccit"),
        (("search",), 2, "Missing argument 'QUERY'"),
        (("frobnicate",), 2, "No such command 'frobnicate'"),
        (("search", "x", "--include", "all"), 2, "'all' is not one of 'back_matter', 'references'"),
        (("search", "x\udcff"), 2, "this is not UTF-8 text"),
        (("serve", "--port", "99999"), 2, "--port is 99999"),
    ],
)
def test_commands_that_fail(loccit: Loccit, workdir: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    (workdir / "hollow").mkdir()
    (workdir / "other").mkdir()
    (workdir / "other" / "paper.pdf").write_bytes(b"%PDF")
    (workdir / "one.md").write_text(KETTLES, encoding="utf-8")
    run = loccit(*arguments)
    assert (run.code, run.out) == (code, "")
    assert re.fullmatch(r"loccit: .+\n", run.err)
    assert said in run.err
    assert not (workdir / ".loccit").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("search", ""), 2, "the query is empty"),
        (("ask", "  "), 2, "the query is empty"),
        (("search", "x" * 100_000), 2, "the query has 100,000 characters, and 4,000 are the most: shorten it"),
        (("search", "x", "-k", "0"), 2, "k is 0: ask for 1 to 200 passages"),
        (("ask", "x", "-k", "10000"), 2, "k is 10000: ask for 1 to 200 passages"),
        (("search", "x", "--paper", "PMC1"), 4, "no paper 'PMC1' in this index: `loccit papers` lists those that are"),
        (("search", "x", "--year-from", "99"), 2, "year_from is 99"),
        (("ask", "x year:99"), 2, "`year:99` (character 3 of the query) names no year: write year:2020"),
        (("search", "x section:a", "--section", "b"), 2, "`section:` in the query asks for 'a'"),
        (("ask", "section:methods"), 2, "the query only says where to look"),
        (("search", "x", "--phrase", "…"), 2, "the phrase '…' says nothing to look for"),
        (("search", "x", "--exclude", "y" * 501), 2, "exclude has 501 characters, and 500 are the most"),
        (("search", "x", "--max-tokens", "-1"), 2, "max_tokens is -1"),
        (("search", "x", "--cursor", "stale"), 2, "the cursor"),
        (("show", "PMC9000001:0", "--context", "99"), 2, "context is 99: ask for 0 to 20 passages on either side"),
    ],
)
def test_requests_that_are_refused(
    loccit: Loccit, built: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    run = loccit(*arguments, "--index", built)
    assert (run.code, run.out) == (code, "")
    assert re.fullmatch(r"loccit: .+\n", run.err)
    assert said in run.err


def test_a_setting_that_is_none(loccit: Loccit, workdir: Path) -> None:
    (workdir / "loccit.toml").write_text("indx = 'x'\n", encoding="utf-8")
    run = loccit("info")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("loccit: loccit.toml sets `indx`, which is no setting: there are index, ")


def test_a_second_writer_is_told_at_once(loccit: Loccit, copied: Path, corpus: Path) -> None:
    with IndexWriter(copied, None):
        runs = [loccit("index", corpus, "--index", copied), loccit("remove", "PMC9000004", "--index", copied)]
    for run in runs:
        assert (run.code, run.out) == (1, "")
        assert "another process is writing" in run.err


def test_an_index_that_lost_its_last_paper(loccit: Loccit, copied: Path) -> None:
    for paper in json.loads(loccit("papers", "--index", copied, "--json").out)["papers"]:
        loccit("remove", paper["paper_id"], "--index", copied)
    run = loccit("ask", QUESTION, "--index", copied)
    assert (run.code, run.out) == (3, "")
    assert "holds no papers yet" in run.err


EXIT_CODES = {
    "LoccitError": 1,
    "UsageError": 2,
    "ConfigError": 2,
    "NotFoundError": 4,
    "SourceError": 1,
    "ModelError": 1,
    "GenerationError": 1,
    "AccessError": 1,
    "KeyNeededError": 1,
    "MisdirectedError": 1,
    "OverloadError": 1,
    "RateError": 1,
    "IndexStateError": 3,
    "IndexMissingError": 3,
    "IndexMismatchError": 3,
    "IndexDamagedError": 3,
    "IndexBusyError": 1,
    "IndexNotWritableError": 1,
    "IndexUnreachableError": 3,
}


@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_each_error_has_its_exit_code(loccit: Loccit, monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise getattr(errors, name)("what failed,\nand the \x1b[31mnext step")

    monkeypatch.setattr(Library, "open", fail)
    assert loccit("info") == Run(code, "", "loccit: what failed, and the \ufffd[31mnext step\n")


# The terminal


def test_escape_sequences_of_a_paper_stay_off_the_terminal(loccit: Loccit, workdir: Path) -> None:
    evil = "\x1b]0;owned\x07 \x1b[2J \x9b31m \u202eback\u202c"
    text = f"# Title {evil}\n\n**Authors:** Eve {evil}\n\n## Part {evil}\n\nThe kettle boils dry {evil} at noon.\n"
    (workdir / "evil.md").write_text(text, encoding="utf-8")
    outputs = [
        loccit(*arguments)
        for arguments in (
            ("index", "evil.md"),
            ("ask", "when does the kettle boil dry?"),
            ("search", "kettle"),
            ("papers",),
            ("show", "evil"),
        )
    ]
    for run in outputs:
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", run.out + run.err)
    printed = loccit("search", "kettle", "--json").out
    hit = json.loads(printed)["hits"][0]
    assert hit["text"] == text[hit["citation"]["start"] : hit["citation"]["end"]]
    assert evil in hit["text"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", printed)


def test_clean_keeps_offsets() -> None:
    raw = "a\tb\r\nc\x1b[1m\u2028d\ud800é𝛼\n"
    assert clean(raw) == "a b \nc\ufffd[1m d\ufffdé𝛼\n"
    assert len(clean(raw)) == len(raw)


def test_best_sentences_are_bold_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = (Highlight(0, 4), Highlight(10, 16))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = passage_text(console_of(), "One. Two.\nThree.", marks)
    assert (shown.plain, [(span.start, span.end, span.style) for span in shown.spans]) == (
        "One. Two. Three.",
        [(0, 4, "bold"), (10, 16, "bold")],
    )
    monkeypatch.delenv("FORCE_COLOR")
    assert passage_text(console_of(), "One. Two.\nThree.", marks).plain == "»One.« Two. »Three.«"


def test_lists_and_tables_keep_their_lines() -> None:
    text = "Text that\ngoes on.\n\n- one\n- two\n| a | b |\n|---|---|\n\n1. first\r\nand more"
    assert passage_text(console_of(), text, ()).plain == (
        "Text that goes on.\n\n- one\n- two\n| a | b |\n|---|---|\n\n1. first  and more"
    )


def test_a_reader_that_goes_away(built: Path, workdir: Path) -> None:
    for arguments in (("papers", "--json"), ("show", "PMC9000001")):
        process = in_a_process(*arguments, "--index", built, cwd=workdir)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()
        process.wait(60)


@pytest.fixture(params=["1", "2"])
def service(built: Path, workdir: Path, request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`loccit serve` on a free port, one process or two, and its URL."""
    process = in_a_process("serve", "--index", built, "--port", "0", "--workers", request.param, cwd=workdir)
    assert process.stderr is not None
    line = process.stderr.readline()
    match = re.search(r"at (http://127\.0\.0\.1:\d+) ", line)
    assert match is not None, line + process.stderr.read()
    yield process, match[1]
    process.kill()
    process.communicate()


def test_serve_answers_until_interrupted(
    service: tuple[subprocess.Popen[str], str], built: Path, loccit: Loccit
) -> None:
    process, url = service
    with urllib.request.urlopen(f"{url}/readyz", timeout=30) as reply:
        assert json.load(reply) == {"status": "ready", "missing_shards": []}
    body = json.dumps({"query": QUESTION, "k": 1}).encode()
    headers = {"content-type": "application/json", "x-request-id": "mine"}
    request = urllib.request.Request(f"{url}/v1/search", body, headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        hit = json.load(reply)["hits"][0]
    assert hit["citation"]["label"] == "Marsh et al. 2021, §3.2 Grip and Temperature, ¶2"
    port = url.rsplit(":", 1)[1]
    taken = loccit("serve", "--index", built, "--port", port)
    assert (taken.code, taken.out) == (1, "")
    assert taken.err == (
        f"loccit: cannot listen on 127.0.0.1 port {port}: Address already in use; "
        "choose another with --host or --port\n"
    )
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert re.fullmatch(r"\S+Z INFO \[mine\] POST /v1/search 200 [\d.]+ ms 127\.0\.0\.1\nloccit: stopped\n", err), err


@pytest.mark.parametrize("service", ["2"], indirect=True)
def test_a_worker_that_ends_is_replaced(service: tuple[subprocess.Popen[str], str]) -> None:
    process, url = service

    def workers() -> set[int]:
        return {
            int(path.name)
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and f" {process.pid} " in _read(path / "stat") and b"spawn_main" in _bytes(path)
        }

    def until(condition: Callable[[], bool]) -> None:
        for _ in range(300):
            if condition():
                return
            time.sleep(0.1)
        process.kill()
        raise AssertionError(workers(), process.communicate()[1])

    if not Path("/proc/self/stat").exists():
        pytest.skip("there is no /proc to see processes in")
    until(lambda: len(workers()) == 1)
    (first,) = workers()
    os.kill(first, signal.SIGKILL)
    until(lambda: len(workers() - {first}) == 1)
    for _ in range(8):  # connections are dealt out
        with urllib.request.urlopen(f"{url}/readyz", timeout=30) as reply:
            assert json.load(reply) == {"status": "ready", "missing_shards": []}
    (second,) = workers()
    process.kill()  # not even a chance to tell it
    process.wait(30)
    until(lambda: not Path(f"/proc/{second}").exists())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _bytes(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_host_that_is_not_ours(loccit: Loccit, built: Path) -> None:
    run = loccit("serve", "--index", built, "--host", "no.such.host.invalid", "--allow-anonymous")
    assert run.code == 1
    assert run.err.startswith("loccit: cannot listen on no.such.host.invalid port 8000: ")


def test_control_c(loccit: Loccit, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Library, "ask_stream", interrupted)
    assert loccit("ask", QUESTION, "--index", built) == Run(130, "", "loccit: stopped\n")


def test_the_port_is_free_again_after_a_failed_start(loccit: Loccit, copied: Path) -> None:
    of_another_model(copied)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert loccit("serve", "--index", copied, "--port", str(port)).code == 3
    with socket.create_server(("127.0.0.1", port)):
        pass


# Tools


def objects_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object that the schema describes."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for each in schema.values():
            yield from objects_in(each)


def test_tools_for_openai_fit_its_strict_mode(loccit: Loccit, library: Library) -> None:
    run = loccit("tools")
    assert (run, run.code) == (loccit("tools", "--format", "openai"), 0)
    tools = json.loads(run.out)
    assert TypeAdapter(list[ChatCompletionFunctionToolParam]).validate_python(tools) == tools
    functions = {each["function"]["name"]: each["function"] for each in tools}
    assert list(functions) == ["search", "ask", "list_papers", "show_paper", "show_passage"]
    for each in functions.values():
        assert each["strict"] is True
        found = list(objects_in(each["parameters"]))
        assert found
        for described in found:
            assert described["additionalProperties"] is False
            assert described["required"] == list(described["properties"])
        assert not {"$ref", "default", "title", "examples", "maxLength", "anyOf"} & set(
            re.findall(r'"([^"]+)":', run.out)
        )
    assert functions["search"]["description"].endswith("(POST /v1/search)")
    assert functions["show_paper"]["description"].endswith("(GET /v1/papers/{paper_id})")
    assert functions["search"]["parameters"]["properties"]["k"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 200,
        "description": "The most passages to give. Default: 10.",
    }
    filters = dict.fromkeys(functions["search"]["parameters"]["properties"]["filters"]["required"])
    filters |= {name: [] for name in ("paper_ids", "include", "phrases", "exclude")}
    arguments = {"k": 2, "filters": filters | {"section": "", "year_from": 0, "year_to": 0}}
    more = {
        "search": {"query": QUESTION, "max_tokens": 0, "cursor": ""},
        "ask": {"question": QUESTION, "generate": "auto"},
    }
    with TestClient(create_app(library)) as client:
        for name, given in more.items():
            assert (arguments | given).keys() == functions[name]["parameters"]["properties"].keys()
            assert client.post(f"/v1/{name}", json=arguments | given).status_code == 200


def test_tools_for_anthropic(loccit: Loccit) -> None:
    tools = {each["name"]: each for each in json.loads(loccit("tools", "--format", "anthropic").out)}
    assert {tuple(each) for each in tools.values()} == {("name", "description", "input_schema")}
    search = tools["search"]["input_schema"]
    assert (search["type"], search["required"]) == ("object", ["query"])
    assert search["properties"]["k"]["default"] == 10
    assert tools["show_passage"]["input_schema"]["required"] == ["passage_id"]
    assert tools["list_papers"]["input_schema"]["properties"]["sort"]["enum"][0] == "paper_id"


@pytest.mark.parametrize("form", ["openai", "anthropic"])
def test_tools_are_json_schema(loccit: Loccit, form: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="it comes with the mcp package")
    for each in json.loads(loccit("tools", "--format", form).out):
        schema = each["input_schema"] if form == "anthropic" else each["function"]["parameters"]
        jsonschema.Draft202012Validator.check_schema(schema)


def test_tools_of_another_form(loccit: Loccit) -> None:
    run = loccit("tools", "--format", "gemini")
    assert (run.code, run.out) == (2, "")
    assert "'openai', 'anthropic'" in run.err
