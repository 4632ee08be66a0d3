"""A conversation: which questions go on from the last one, what each command gives, and a real terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from indexer.errors import UsageError
from indexer.store import IndexWriter
from service import prompt
from service.cite import Citation
from service.followup import Resolved, alone, follow_up, going_on
from service.library import Library
from service.query import MAX_QUERY_CHARACTERS, Query
from service.syntax import overridden
from tests.conftest import Run
from tests.corpus import LIMPETS

ROOT = Path(__file__).parents[1]
QUESTION = "why do limpets lose their grip in warm water?"
BONE = "how do AGEs affect bone quality?"

Piped = Callable[..., Run]


# Which questions go on from the last one


@pytest.mark.parametrize(
    ("question", "how"),
    [
        ("and in men?", "and"),
        ("And its treatment?", "And"),
        ("or in mice?", "or"),
        ("but why?", "but"),
        ("what about type 1 diabetes?", "what about"),
        ("How about PMC123?", "How about"),
        ("why?", "why"),
        ("how long?", "how long"),
        ("how so?", "how so?"),
        ("what is that?", "what is that?"),
        ("does it also affect osteoclasts?", "it"),
        ("is it reversible?", "it"),
        ("how long does it take?", "it"),
        ("who discovered it?", "it"),
        ("what is the size of it?", "it"),
        ("what causes its spread?", "its"),
        ("what are their effects on bone?", "their"),
        ("what happens when they are heated?", "they"),
        ("which drugs inhibit them?", "them"),
        ("are these effects reversible?", "these"),
        ("how do cells behave under these conditions?", "these"),
        ("does exercise help with this?", "this"),
        ("do those studies agree?", "those"),
        ("is that true in mice?", "that"),
        ("what causes that?", "that"),
        ("is there evidence that it helps?", "it"),
        ("does it bind to RAGE?", "it"),
    ],
)
def test_a_question_that_goes_on(question: str, how: str) -> None:
    assert going_on(question) == how
    assert follow_up(question, alone(BONE)) == Resolved(f"{BONE} {question}", how, question, BONE)


@pytest.mark.parametrize(
    "question",
    [
        BONE,
        "bone mass",
        "42",
        "?",
        "ANDROGENS in men",
        "AND gates and OR gates",
        "OR for fracture in diabetes",
        "IT in hospitals",
        "ITS2 sequencing",
        "what is RAGE and where is it expressed?",
        "how does the virus change its shape?",
        "who is at risk when health workers fail to wash their hands?",
        "what percentage of newborns were infected from their mother?",
        "if bone is loaded, does it get stronger?",
        "is it possible to reverse bone loss?",
        "how long does it take for bone to heal?",
        "why is it that bone gets brittle?",
        "what does it mean for a pandemic to have an alert level of 6?",
        "what helps when it comes to bone loss?",
        "does vitamin D help those with osteoporosis?",
        "how does PCR compare to that of antigen tests?",
        "which protein is the one that binds RAGE?",
        "what evidence is there that vitamin D helps?",
        "how many cases were there this year?",
        "whales and what they eat",
    ],
)
def test_a_question_that_stands_alone(question: str) -> None:
    assert going_on(question) == ""
    assert follow_up(question, alone("what are limpets?")) == alone(question)


def test_the_first_question_is_asked_alone() -> None:
    assert follow_up("and in men?", None) == alone("and in men?")


def test_a_chain_is_read_with_its_beginning_and_the_last_question() -> None:
    chain = [alone(BONE)]
    for question in ("and in men?", "why?", "is it reversible?"):
        chain.append(follow_up(question, chain[-1]))
    assert [each.text for each in chain[1:]] == [
        f"{BONE} and in men?",
        f"{BONE} and in men? why?",
        f"{BONE} why? is it reversible?",
    ]


def test_a_chain_fits_a_query() -> None:
    first = follow_up("and " + "y" * 1_500, alone("x" * 2_000))
    second = follow_up("and " + "z" * 1_500, first)
    assert second.text == "x" * 2_000 + " and " + "z" * 1_500  # what lies between gives way
    third = follow_up("and " + "z" * 3_000, second)
    assert third == alone("and " + "z" * 3_000)
    assert max(len(each.text) for each in (first, second, third)) <= MAX_QUERY_CHARACTERS


@pytest.mark.parametrize(
    ("last", "question", "text"),
    [
        ('"bone mass" -mice section:methods', "and in men?", '"bone mass" -mice section:methods and in men?'),
        ("bone section:methods year:2018..", "and section:results?", "bone year:2018.. and section:results?"),
        ("bone paper:PMC1 paper:PMC2", "and paper:PMC3 cartilage?", "bone and paper:PMC3 cartilage?"),
        ("bone -mice -rats", "and in mice?", "bone -rats and in mice?"),
        ('bone -"in vitro" loss', "and in vitro?", "bone loss and in vitro?"),
    ],
)
def test_syntax_comes_along_unless_it_is_said_anew(last: str, question: str, text: str) -> None:
    assert follow_up(question, alone(last)).text == text
    assert Query(text).text == text


def test_syntax_is_no_word_of_a_question() -> None:
    assert going_on("bone") == ""
    assert follow_up("section:methods and in men?", alone("bone")).how == "and"
    with pytest.raises(UsageError, match=r"names no year"):
        follow_up("and year:20?", alone("bone"))
    assert overridden("what -its is", "bone") == "what -its is"


@pytest.mark.shared
def test_real_questions_stand_alone(shared: Path) -> None:
    lines = (shared / "eval/covidqa/questions.jsonl").read_text(encoding="utf-8").splitlines()
    found = [how for line in lines if (how := going_on(json.loads(line)["question"]))]
    # Asked of a paper in hand: each of these says "this review", "these vaccines", "it" of what came before.
    assert len(lines) == 695
    assert len(found) == 44
    assert {how for how in found if len(how.split()) == 1} == {"this", "these", "it", "they"}


# A conversation through a pipe


@pytest.fixture
def piped(loccit: Piped, built: Path, monkeypatch: pytest.MonkeyPatch) -> Piped:
    """`loccit ask` with these lines on stdin."""

    def run(lines: Sequence[str] | bytes, *arguments: str | Path, index: Path = built) -> Run:
        given = lines if isinstance(lines, bytes) else "".join(f"{line}\n" for line in lines).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        return loccit("ask", *arguments, "--index", index)

    return run


@pytest.mark.model
def test_questions_line_by_line(piped: Piped, loccit: Piped, built: Path) -> None:
    run = piped([QUESTION, "", "how fast do lichens grow?"], "-k", "2")
    alone_ = [loccit("ask", each, "-k", "2", "--index", built) for each in (QUESTION, "how fast do lichens grow?")]
    unmarked = re.sub(r"^p(\d) ", r" \1 ", run.out, flags=re.MULTILINE)
    assert (run.code, unmarked, run.err) == (0, "".join(each.out for each in alone_), "")
    assert re.findall(r"^p\d ", run.out, re.MULTILINE) == ["p1 ", "p2 ", "p1 ", "p2 "]


@pytest.mark.model
def test_json_lines(piped: Piped, built: Path) -> None:
    run = piped([QUESTION, ":help", ":open 1", "year:20 x", "and in cold water?"], "--json", "-k", "1")
    answer, opened, second = map(json.loads, run.out.splitlines())
    assert run.code == 0
    assert answer["question"] == QUESTION
    assert opened["passage"]["passage_id"] == answer["hits"][0]["passage_id"]
    assert second["question"] == f"{QUESTION} and in cold water?"
    assert ":open N" in run.err
    assert "names no year" in run.err


@pytest.mark.model
def test_a_follow_up_is_shown_and_can_be_asked_alone(piped: Piped) -> None:
    lines = [QUESTION, "and in cold water?", "!and in cold water?", ":new and of lichens?", ":new", "and why?"]
    run = piped(lines, "--json")
    asked = [json.loads(line)["question"] for line in run.out.splitlines()]
    assert asked == [QUESTION, f"{QUESTION} and in cold water?", "and in cold water?", "and of lichens?", "and why?"]
    assert run.err.splitlines() == [
        f"read with your last question: “{QUESTION} and in cold water?” (! before a question asks it alone)",
        "the next question is read alone",
    ]


@pytest.mark.model
def test_open(piped: Piped, loccit: Piped, built: Path) -> None:
    answer = json.loads(loccit("ask", QUESTION, "-k", "3", "--index", built, "--json").out)
    for number, passage_id in (
        ("1", answer["hits"][0]["passage_id"]),
        ("[1]", answer["hits"][0]["passage_id"]),
        ("p2", answer["hits"][1]["passage_id"]),
    ):
        shown = loccit("show", passage_id, "--context", "1", "--index", built).out
        run = piped([QUESTION, f":open {number}"], "-k", "3")
        at = run.out.index(shown)
        links = run.out[at + len(shown) :].splitlines()
        assert re.fullmatch(
            r"/papers/PMC9000001\?start=\d+&end=\d+&of=[0-9a-f]{12}#cited \(of `loccit serve`\)", links[-1]
        )
    doi = "https://doi.org/10.5555/limpets.2021.7"
    assert run.out.count(doi) == 3 + 1  # of each passage, and of the one that is opened once


@pytest.mark.model
def test_more_goes_on_to_the_end(piped: Piped, library: Library) -> None:
    every = library.search(Query(QUESTION, 200)).hits
    run = piped([QUESTION, *[":more"] * len(every), ":open p3"], "-k", "2", "--json")
    answer, *pages, opened = map(json.loads, run.out.splitlines())
    ids = [hit["passage_id"] for page in (answer, *pages) for hit in page["hits"]]
    assert ids == [hit.passage_id for hit in every]
    assert [hit["rank"] for page in pages for hit in page["hits"]] == list(range(3, len(every) + 1))
    assert set(run.err.splitlines()) == {"there are no more passages"}
    assert opened["passage"]["passage_id"] == ids[2]
    assert "p3  " in piped([QUESTION, ":more"], "-k", "2").out


@pytest.mark.model
def test_paper(piped: Piped, loccit: Piped, built: Path) -> None:
    shown = loccit("show", "PMC9000001", "--index", built).out
    for name in ("1", "p1", "PMC9000001"):
        assert piped([QUESTION, f":paper {name}"]).out.endswith(shown)
    assert piped([":paper PMC9000001"]).out == shown


@pytest.mark.model
def test_refs(piped: Piped) -> None:
    run = piped([QUESTION, ":refs 1", ":refs p2"], "-k", "2")
    cited = run.out[run.out.index("Marsh et al. 2021, §3.2 Grip and Temperature, ¶2 cites\n") :]
    assert [line[:13] for line in cited.splitlines() if line.startswith("    [")] == ["    [1] Quill", "    [2] Brack"]
    assert run.err == "p2 names no entry of its paper's reference list\n"


@pytest.mark.model
def test_cite(piped: Piped, monkeypatch: pytest.MonkeyPatch) -> None:
    start, end = LIMPETS.index("Grip fell by half"), LIMPETS.index("\n\n## 4. Acknow")
    place = f"Marsh et al. 2021, §3.2 Grip and Temperature, ¶2 (limpets.md:{start}-{end})\n"
    assert piped([QUESTION, ":cite 1"]).out.endswith(place)
    assert piped([QUESTION, ":cite 1 text"]).out.endswith(place)

    run = piped(["who composed the Goldberg Variations?", ":cite", ":cite p1"], "-k", "1")
    assert "loccit: the last answer quotes nothing: cite a passage, as `:cite p1`" in run.err.splitlines()
    assert re.search(r"\.(md|markdown):\d+-\d+\)\n$", run.out)

    def export(citations: Sequence[Citation], style: str) -> str:
        return "\n\n".join(f"{style} of {each.paper_id}\x1b[31m" for each in citations) + "\n"

    formats = ModuleType("service.formats")
    monkeypatch.setattr(formats, "export", export, raising=False)
    monkeypatch.setitem(sys.modules, "service.formats", formats)
    assert piped([QUESTION, ":cite 1 BibTeX"]).out.endswith("\nbibtex of PMC9000001\ufffd[31m\n")
    run = piped([QUESTION, ":cite ris", ":cite 1 p1 ris"], "--json")
    answer, every, two = map(json.loads, run.out.splitlines())
    assert every["text"].split("\x1b[31m")[:-1] == [
        ("\n\n" if n else "") + f"ris of {each['citation']['paper_id']}" for n, each in enumerate(answer["quotes"])
    ]
    assert two == {"style": "ris", "text": "ris of PMC9000001\x1b[31m\n\nris of PMC9000001\x1b[31m\n"}


@pytest.mark.model
def test_in_limits_the_conversation(piped: Piped) -> None:
    lines = [QUESTION, ":in PMC9000004", QUESTION, ":in p1 PMC9000001", QUESTION, ":in", QUESTION]
    run = piped(lines, "--json")
    papers = [{hit["citation"]["paper_id"] for hit in json.loads(line)["hits"]} for line in run.out.splitlines()]
    assert papers[1:3] == [{"PMC9000004"}, {"PMC9000004", "PMC9000001"}]
    assert papers[0] == papers[3] > papers[2]
    assert run.err.splitlines() == [
        "searching only PMC9000004",
        "searching only PMC9000004, PMC9000001",
        "searching all papers",
    ]


@pytest.mark.model
def test_options_hold_for_the_conversation(piped: Piped) -> None:
    run = piped([QUESTION, ":in PMC9000004", ":in", "and of lichens?"], "--json", "--paper", "PMC9000001", "-k", "1")
    hits = [json.loads(line)["hits"] for line in run.out.splitlines()]
    assert [[hit["citation"]["paper_id"] for hit in each] for each in hits] == [["PMC9000001"], ["PMC9000001"]]
    assert run.err.splitlines()[:2] == ["searching only PMC9000004", "searching only PMC9000001"]


@pytest.mark.model
def test_history_and_again(piped: Piped) -> None:
    lines = [":history", ":again", QUESTION, "and in cold water?", ":again 1", ":again 2", ":again", ":history"]
    run = piped(lines, "-k", "1")
    assert run.out.endswith(
        f" 1  {QUESTION}\n"
        f" 2  and in cold water?\n    read as: {QUESTION} and in cold water?\n"
        f" 3  {QUESTION}\n"
        f" 4  and in cold water?\n    read as: {QUESTION} and in cold water?\n"
        f" 5  and in cold water?\n    read as: {QUESTION} and in cold water?\n"
    )
    with_last = f"read with your last question: “{QUESTION} and in cold water?” (! before a question asks it alone)"
    assert run.err.splitlines() == [
        "nothing has been asked yet",
        "loccit: nothing has been asked yet",
        with_last,
        f"asked again: “{QUESTION}”",
        with_last,
        with_last,
    ]


@pytest.mark.model
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (":opne 1", "`:opne` is no command: did you mean `:open`? `:help` lists them"),
        (":xyzzy", "`:xyzzy` is no command: `:help` lists them"),
        (":", "`:` is no command: `:help` lists them"),
        (":open", "`:open N` takes a quote's number, as 2, or a passage's, as p2"),
        (":open 1 2", "`:open N` takes a quote's number"),
        (":open 9", "there is no quote '9': the last answer has 1 to "),
        (":open p9", "there is no passage 'p9': the last answer has p1 to p2"),
        (":open 0", "there is no quote '0'"),
        (":paper PMC1", "no paper 'PMC1' in this index"),
        (":in PMC1", "no paper 'PMC1' in this index"),
        (":cite 1 bibtx", "'bibtx' is no number and no style: there are text, markdown, bibtex, ris, csl-json"),
        (":cite 9", "there is no quote '9'"),
        (":again 7", "there is no question '7': `:history` numbers them, 1 to 1"),
        (f":again {'9' * 5000}", "there is no question"),
        ("section:methods", "the query only says where to look"),
        ("x" * 4_001, "the query has 4,001 characters"),
        ("paper:PMC1 x", "no paper 'PMC1' in this index"),
    ],
)
def test_an_error_is_a_line_and_the_conversation_goes_on(piped: Piped, line: str, said: str) -> None:
    run = piped([QUESTION, line, ":paper PMC9000001", ":quit", QUESTION], "-k", "2")
    assert run.code == 0
    assert re.fullmatch(r"loccit: .+\n", run.err)
    assert said in run.err
    assert "authors     Ada Marsh" in run.out
    assert run.out.count("Passages") == 1


@pytest.mark.model
@pytest.mark.parametrize("line", [":open 1", ":more", ":cite", ":refs p1", ":in 1"])
def test_before_the_first_answer(piped: Piped, line: str) -> None:
    assert piped([line]) == Run(0, "", "loccit: there is no answer yet: ask a question first\n")


@pytest.mark.model
def test_a_line_that_is_no_text(piped: Piped) -> None:
    run = piped(b"caf\xe9?\n" + QUESTION.encode() + b"\n", "-k", "1")
    assert run.code == 0
    assert "loccit: query is not text" in run.err
    assert run.out.count("Passages") == 1


@pytest.mark.model
@pytest.mark.parametrize("lines", [b"", b"\n  \n"])
def test_no_question(piped: Piped, lines: bytes) -> None:
    run = piped(lines)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("loccit: no question: ")


@pytest.mark.model
def test_no_stdin(loccit: Piped, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert loccit("ask", "--index", built).code == 2


@pytest.mark.model
def test_an_index_that_cannot_answer_ends_it(piped: Piped, loccit: Piped, built: Path, tmp_path: Path) -> None:
    assert piped([QUESTION], index=tmp_path / "nowhere").code == 3
    emptied = Path(shutil.copytree(built, tmp_path / "emptied"))
    for paper in json.loads(loccit("papers", "--index", emptied, "--json").out)["papers"]:
        loccit("remove", paper["paper_id"], "--index", emptied)
    run = piped([QUESTION], index=emptied)
    assert (run.code, run.out) == (3, "")
    assert "holds no papers yet" in run.err


@pytest.mark.model
def test_an_index_that_changes_meanwhile(
    piped: Piped, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Path(shutil.copytree(built, tmp_path / "copied"))
    paper = Library.paper

    def removed_first(library: Library, paper_id: str) -> object:
        with IndexWriter(copied, None) as writer:
            writer.remove("PMC9000001")
            writer.commit()
        return paper(library, paper_id)

    monkeypatch.setattr(Library, "paper", removed_first)
    lines = [QUESTION, ":paper PMC9000004", ":more", ":open 1", ":again"]
    run = piped(lines, "-k", "2", "--json", index=copied)
    gone = [line for line in run.err.splitlines() if line.startswith("loccit: ")]
    assert run.code == 0
    assert gone[0] == "loccit: the index has changed since you asked: `:again` asks anew"
    assert gone[1].startswith("loccit: no passage 'PMC9000001:")
    assert "PMC9000001" not in json.loads(run.out.splitlines()[-1])["hits"][0]["passage_id"]


# In a terminal


class Terminal(io.StringIO):
    """Lines that are typed."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for what programs keep."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.mark.model
def test_control_c_stops_the_work_alone(
    loccit: Piped, built: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Library.ask_stream

    def interrupted(library: Library, question: str, **options: object) -> object:
        if question == QUESTION:
            raise KeyboardInterrupt
        return ask(library, question, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Library, "ask_stream", interrupted)
    monkeypatch.setattr(sys, "stdin", Terminal(f"{QUESTION}\nand in cold water?\n"))
    run = loccit("ask", "--index", built, "--json")
    assert run.code == 0
    assert json.loads(run.out)["question"] == f"{QUESTION} and in cold water?"
    first, stopped, second, last = run.err.split("> ")[0], *run.err.split("> ")[1:]
    assert first == "Ask a question; :help lists the commands, Ctrl-D ends.\n"
    assert stopped == "stopped\n"
    assert second.startswith("read with your last question: ")
    assert last == "\n"


@pytest.mark.model
def test_control_c_ends_a_pipe(piped: Piped, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Library, "ask_stream", interrupted)
    assert piped([QUESTION, QUESTION]) == Run(130, "", "loccit: stopped\n")


def own_terminal() -> None:
    """Make the standard input this process's terminal, so that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@pytest.mark.model
def test_a_real_terminal(built: Path, models: Path, state: Path, workdir: Path, embedder: object) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from service.cli import main; sys.exit(main())", "ask", "--index", built],
        cwd=workdir,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=own_terminal,
    )
    os.close(slave)
    seen = ""

    def until(said: str) -> str:
        """What comes up to these words."""
        nonlocal seen
        deadline = time.monotonic() + 30
        while said not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([master], [], [], 0.1)[0]:
                seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", os.read(master, 65536).decode())
        before, _, seen = seen.partition(said)
        return before

    try:
        until("\n> ")
        os.write(master, f"{QUESTION}\n".encode())
        assert "[1] “Grip fell by half" in until("\np1  ")
        until("\n> ")
        os.write(master, b":open 1\n")
        assert re.search("  > The foot let go .*Grip fell by half", until("(of `loccit serve`)"), re.DOTALL)
        until("\n> ")
        os.write(master, b"a line that is given up")
        until("given up")
        os.write(master, b"\x03")
        while not select.select([master], [], [], 2)[0]:  # CPython's line editor may miss a signal before it waits
            os.write(master, b"\x03")
        until("\n> ")
        os.write(master, b":history\n")
        assert until("\n> ") == f":history\n 1  {QUESTION}"
        os.write(master, b"\x04")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    kept = state / "loccit" / "history"
    assert kept.read_text(encoding="utf-8").splitlines() == [QUESTION, ":open 1", ":history"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


# The lines that are kept


def test_history_is_kept_from_session_to_session(tmp_path: Path) -> None:
    path = tmp_path / "state" / "loccit" / "history"
    assert prompt.read_history(path) == []
    prompt.add_history(path, ["one", "two\nlines", "caf\udce9"])
    path.chmod(0o644)
    prompt.add_history(path, ["three"])
    assert prompt.read_history(path) == ["one", "two lines", "caf?", "three"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["history"]


def test_history_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "history"
    prompt.add_history(path, [str(n) for n in range(900)])
    prompt.add_history(path, [str(n) for n in range(900, 1_500)])
    assert path.read_text(encoding="utf-8").splitlines() == [str(n) for n in range(500, 1_500)]


@pytest.mark.model
def test_no_history_is_no_failure(loccit: Piped, built: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (state / "loccit" / "history").mkdir(parents=True)  # is there and cannot be read
    monkeypatch.setattr(sys, "stdin", Terminal(":paper PMC9000001\n"))
    assert loccit("ask", "--index", built).code == 0
    shutil.rmtree(state)
    state.write_text("no folder", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", Terminal(":paper PMC9000001\n"))
    assert loccit("ask", "--index", built).code == 0
    monkeypatch.setitem(sys.modules, "readline", None)
    monkeypatch.setattr(sys, "stdin", Terminal(":paper PMC9000001\n"))
    assert loccit("ask", "--index", built).code == 0


@pytest.mark.model
def test_a_pipe_leaves_no_history(piped: Piped, state: Path) -> None:
    assert piped([QUESTION]).code == 0
    assert not state.exists()
