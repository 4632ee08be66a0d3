"""The command line: flags to settings, one call of the library, its reply shown. No logic of its own.

Heavy modules are imported in the commands that need them, so that help and errors of usage come at once.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from indexer.errors import LoccitError, NotFoundError, UsageError
from service import terminal

if TYPE_CHECKING:
    from indexer.embedding import Embedder
    from service.config import Settings
    from service.library import Library
    from service.llm import ChatModel
    from service.query import Filters
    from service.replies import Answer, PaperReply, PassageReply, SearchReply, Statement, Waiting

EXIT_FAILED_FILES = 1
EXIT_NOT_AS_CITED = 1
EXIT_NOTHING_FOUND = NotFoundError.exit_code
EXIT_INTERRUPTED = 130
_SWITCH_INTERVAL = 0.0005
"""Seconds: the encoder's threads need the interpreter for a moment every few milliseconds, and should not wait."""

app = typer.Typer(
    name="loccit",
    help="Ask a folder of papers a question; get the passages that answer it, each with the exact place it stands.",
    epilog="Settings: flag > environment (LOCCIT_INDEX, ...) > loccit.toml in the working folder > default. "
    "Exit codes: 0 done, 1 failed, 2 usage, 3 no usable index, 4 nothing found.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `arguments`, else of the process's own; gives the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character still gets the rest
    try:
        code = app(args=given or ["--help"], prog_name="loccit", standalone_mode=False)
    except LoccitError as error:
        terminal.complain(str(error))
        return error.exit_code
    except typer.TyperException as error:
        message = error.format_message().replace("Value error, ", "")  # pydantic's words, not ours
        terminal.complain(f"{message} (see `loccit --help`)")
        return error.exit_code
    if code == EXIT_INTERRUPTED:
        terminal.complain("stopped")
    return int(code or 0)


def _text(given: str) -> str:
    """An argument that is text; bytes of another encoding come from the system as lone surrogates."""
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter("this is not UTF-8 text") from error
    return given


def _show_version(wanted: bool) -> None:
    if wanted:
        from service.config import version

        typer.echo(f"loccit {version()}")
        raise typer.Exit


class Extra(StrEnum):
    """What may be searched beside the papers' bodies."""

    BACK_MATTER = "back_matter"
    REFERENCES = "references"


class Format(StrEnum):
    """How an answer is printed: for people, for programs, or as the papers that it cites."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    BIBTEX = "bibtex"
    RIS = "ris"
    CSL_JSON = "csl-json"


class Generate(StrEnum):
    """Whether a model writes the answer."""

    AUTO = "auto"
    NEVER = "never"
    ALWAYS = "always"


Index = Annotated[
    Path | None, typer.Option("--index", metavar="DIR", help="The index's folder (LOCCIT_INDEX; else .loccit).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, the same as over HTTP: --format json.")]
Printed = Annotated[
    Format | None,
    typer.Option(
        "--format",
        metavar="|".join(Format),
        help="What to print (default: text). bibtex, ris and csl-json list the papers that are cited.",
    ),
]
K = Annotated[int | None, typer.Option("-k", metavar="N", help="How many passages to show.")]
Papers = Annotated[
    list[str] | None,
    typer.Option("--paper", metavar="PAPER_ID", parser=_text, help="Only this paper; may be repeated."),
]
Section = Annotated[
    str,
    typer.Option(metavar="WORDS", parser=_text, help='Only sections titled so ("methods") or numbered so ("3.2").'),
]
YearFrom = Annotated[int, typer.Option(metavar="YEAR", help="Only papers of this year or later.", show_default=False)]
YearTo = Annotated[int, typer.Option(metavar="YEAR", help="Only papers of this year or earlier.", show_default=False)]
Include = Annotated[
    list[Extra] | None,
    typer.Option(metavar="|".join(Extra), help="Search these too, by their words; may be repeated."),
]
Phrase = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", parser=_text, help="Only passages with these words side by side; may be repeated."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="WORDS", parser=_text, help="No passages with these words side by side; may be repeated."),
]
_SYNTAX_HELP = (
    'In it: "required phrase", -excluded, section:methods, year:2018..2020, paper:PAPER_ID. '
    "Put -- before one that begins with a dash."
)
Rerank = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        parser=_text,
        help="Rank the best passages again with this cross-encoder: a folder or hub name (default: none).",
    ),
]

LlmUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        parser=_text,
        help="An OpenAI-compatible endpoint whose model writes answers (default: none; its key: LOCCIT_LLM_KEY).",
    ),
]
LlmModel = Annotated[
    str | None, typer.Option(metavar="NAME", parser=_text, help="The name of the model at that endpoint.")
]


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command("index")
def index_command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Markdown files, or folders of them (default: data)."),
    ] = None,
    index: Index = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make the index anew, also with another model or size.")
    ] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Take out papers whose file is gone from PATH.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Embedding model: a folder or hub name (default: all-MiniLM-L6-v2, bundled)."
        ),
    ] = None,
    max_wordpieces: Annotated[
        int | None,
        typer.Option(metavar="N", help="Aim for passages of at most N of the model's tokens (default: 128)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring the index up to date with Markdown papers. Only what changed is embedded."""
    settings = _settings(index=index, model=model, max_wordpieces=max_wordpieces)
    from indexer.build import build
    from indexer.config import BuildConfig
    from indexer.sources import find_sources

    config = BuildConfig(model=settings.model, max_wordpieces=settings.max_wordpieces)
    given = paths or [Path("data")]
    with terminal.working("loading the model"):
        n_files = len(find_sources(given))  # a path that is not there shows before the model is loaded
        embedder = _embedder(settings, config.model)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with terminal.BuildProgress() as progress:
        report = build(given, settings.index, embedder, config, rebuild=rebuild, prune=prune, progress=progress)
    if as_json:
        terminal.put_json(report)
    else:
        with _opened(settings) if report.without_body else nullcontext() as library:
            bodies = _omitted_bodies(library, report.without_body) if library is not None else {}
        terminal.show_report(report, str(settings.index), bodies)
    if report.failed:
        terminal.complain(f"{len(report.failed)} of {n_files} files failed; the others are in the index")
        raise typer.Exit(EXIT_FAILED_FILES)


@app.command()
def ask(
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUESTION]",
            parser=_text,
            help=f"What you want to know; without one, a conversation: a prompt, or questions on stdin. {_SYNTAX_HELP}",
        ),
    ] = None,
    index: Index = None,
    k: K = None,
    paper: Papers = None,
    section: Section = "",
    year_from: YearFrom = 0,
    year_to: YearTo = 0,
    include: Include = None,
    phrase: Phrase = None,
    exclude: Exclude = None,
    rerank: Rerank = None,
    generate: Annotated[
        Generate,
        typer.Option(
            metavar="|".join(Generate),
            help="Whether the model of --llm-url writes the answer: where one is set, and the papers' own sentences "
            "where it fails; not at all; or an error where it fails.",
        ),
    ] = Generate.AUTO,
    llm_url: LlmUrl = None,
    llm_model: LlmModel = None,
    printed: Printed = None,
    as_json: Json = False,
) -> None:
    """Answer a question with the papers' own sentences. Each comes with the exact place where it stands."""
    chosen = _format(printed, as_json)
    if question is None and chosen not in (Format.TEXT, Format.JSON):
        raise UsageError(f"--format {chosen} wants a question; in a conversation, `:cite {chosen}` gives the same")
    settings = _settings(index=index, k=k, rerank=rerank, llm_url=llm_url, llm_model=llm_model)
    from service.library import DEFAULT_ASK_K

    k = DEFAULT_ASK_K if settings.k is None else settings.k
    filters = _filters(paper, section, year_from, year_to, include, phrase, exclude)
    with _opened(settings, settings.rerank, _chat_model(settings)) as library:
        ask_library = partial(_ask, library, k, generate, chosen)
        if question is None:
            _converse(library, ask_library, filters, k, chosen)
            return
        answer = ask_library(question, filters)
        _show_answer(library, answer, chosen)
    if answer.status == "not_found":
        raise typer.Exit(EXIT_NOTHING_FOUND)


def _ask(library: Library, k: int, generate: Generate, chosen: Format, question: str, filters: Filters) -> Answer:
    with closing(library.ask_stream(question, k=k, filters=filters, generate=generate.value)) as events:
        return _answered(events, show=chosen is Format.TEXT)


def _show_answer(library: Library, answer: Answer, chosen: Format, *, conversing: bool = False) -> None:
    if conversing and chosen is Format.JSON:
        terminal.put_json(answer, compact=True)
    elif chosen is not Format.TEXT:
        _put(answer, chosen)
        if chosen not in (Format.JSON, Format.MARKDOWN) and not answer.quotes:
            terminal.complain("these papers do not seem to say: nothing is cited")
    else:
        terminal.show_answer(answer, terminal.PASSAGE_MARK if conversing else "")
        terminal.note_bodies(_omitted_bodies(library, (hit.citation.paper_id for hit in answer.hits)))


def _converse(
    library: Library, ask: Callable[[str, Filters], Answer], filters: Filters, k: int, chosen: Format
) -> None:
    """Ask and show what lines on stdin say. The model is loaded while the first one is typed."""
    from concurrent.futures import ThreadPoolExecutor

    from service import chat, prompt
    from service.replies import Answer

    def show(reply: chat.Reply) -> None:
        if isinstance(reply, Answer):
            _show_answer(library, reply, chosen, conversing=True)
        elif chosen is Format.JSON and not isinstance(reply, chat.Note):
            terminal.put_json(reply, compact=True)
        else:
            terminal.show_reply(reply)

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(library.warm)

        def ready() -> None:
            with nullcontext() if loading.done() else terminal.working("loading the model"):
                loading.result()

        prompt.converse(chat.Conversation(library, ask, filters, k), show, ready)


@app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", parser=_text, help=f"Words or a question. {_SYNTAX_HELP}")],
    index: Index = None,
    k: K = None,
    paper: Papers = None,
    section: Section = "",
    year_from: YearFrom = 0,
    year_to: YearTo = 0,
    include: Include = None,
    phrase: Phrase = None,
    exclude: Exclude = None,
    max_tokens: Annotated[
        int,
        typer.Option(metavar="N", help="Stop before the passages have more tokens (cl100k_base).", show_default=False),
    ] = 0,
    cursor: Annotated[
        str, typer.Option(metavar="CURSOR", help="Go on after an earlier search, with the cursor that it gave.")
    ] = "",
    rerank: Rerank = None,
    printed: Printed = None,
    as_json: Json = False,
) -> None:
    """Find the passages that fit a query best."""
    chosen = _format(printed, as_json)
    settings = _settings(index=index, k=k, rerank=rerank)
    from service.query import DEFAULT_K, Query

    filters = _filters(paper, section, year_from, year_to, include, phrase, exclude)
    request = Query(query, DEFAULT_K if settings.k is None else settings.k, filters, max_tokens, cursor)
    with _opened(settings, settings.rerank) as library:
        with terminal.working("reading"):
            reply = library.search(request)
        if chosen is not Format.TEXT:
            _put(reply, chosen)
        else:
            terminal.show_hits(reply)
            terminal.note_bodies(_omitted_bodies(library, (hit.citation.paper_id for hit in reply.hits)))
            if reply.next_cursor:
                terminal.note(f"more: --cursor {reply.next_cursor}")
    if not reply.hits:
        terminal.complain("no passage fits: use other words, or fewer filters")
        raise typer.Exit(EXIT_NOTHING_FOUND)


@app.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="PASSAGE_ID|PAPER_ID", parser=_text, help="What to show.")],
    index: Index = None,
    context: Annotated[int, typer.Option(metavar="N", help="Passages to show on either side of the passage.")] = 0,
    as_json: Json = False,
) -> None:
    """Show a passage, or a paper's record and outline."""
    from service.replies import PaperReply

    with _opened(_settings(index=index)) as library:
        reply = _passage_or_paper(library, id_, context)
    if as_json:
        terminal.put_json(reply)
    elif isinstance(reply, PaperReply):
        terminal.show_paper(reply)
    else:
        terminal.show_passage(reply)


@app.command()
def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `ask --json` or `search --json` printed; - for standard input.")
    ],
    index: Index = None,
    as_json: Json = False,
) -> None:
    """Check citations against the papers' files. One that is not as cited gives exit code 1."""
    settings = _settings(index=index)
    from service.claims import read_claims

    claims = read_claims(_json(file))
    with _opened(settings) as library, terminal.working("reading"):
        reply = library.verify(claims)
    if as_json:
        terminal.put_json(reply)
    else:
        terminal.show_verdicts(reply)
    if reply.status != "ok":
        raise typer.Exit(EXIT_NOT_AS_CITED)


@app.command()
def papers(index: Index = None, as_json: Json = False) -> None:
    """List the papers in the index."""
    from service.replies import PaperList

    with _opened(_settings(index=index)) as library:
        page = library.papers()
        found = list(page.papers)
        while page.next_cursor:
            page = library.papers(cursor=page.next_cursor)
            found += page.papers
    listed = PaperList(tuple(found), page.total, None)
    if as_json:
        terminal.put_json(listed)
    else:
        terminal.show_papers(listed)


@dataclass(frozen=True, slots=True)
class Removal:
    """What `remove` did."""

    removed: tuple[str, ...]
    generation: int


@app.command()
def remove(
    paper_ids: Annotated[
        list[str], typer.Argument(metavar="PAPER_ID...", parser=_text, help="As `loccit papers` lists them.")
    ],
    index: Index = None,
    as_json: Json = False,
) -> None:
    """Take papers out of the index. All of those named or none; their files stay as they are."""
    settings = _settings(index=index)
    from indexer.store import IndexWriter

    named = tuple(dict.fromkeys(paper_ids))
    with IndexWriter(settings.index, None) as writer:
        for paper_id in named:
            writer.remove(paper_id)
        done = Removal(named, writer.commit())
    if as_json:
        terminal.put_json(done)
    else:
        typer.echo(f"removed {', '.join(terminal.clean(name) for name in named)} (generation {done.generation})")


@app.command()
def info(index: Index = None, as_json: Json = False) -> None:
    """Say what the index holds, and which model it was made with."""
    with _opened(_settings(index=index)) as library:
        facts = library.info()
    if as_json:
        terminal.put_json(facts)
    else:
        terminal.show_info(facts)


@app.command("eval")
def eval_command(
    sets: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Question sets: questions.jsonl, or queries.jsonl and qrels."),
    ],
    index: Index = None,
    ablate: Annotated[bool, typer.Option("--ablate", help="Also without each part of the ranking.")] = False,
    run: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rankings to FILE, as a TREC run.")] = None,
    rerank: Rerank = None,
    as_json: Json = False,
) -> None:
    """Score the index on question sets whose answers are known. The index must hold their papers."""
    settings = _settings(index=index, rerank=rerank)
    from service.evaluate import Evaluations, evaluate, load_questions

    if run is not None and len(sets) > 1:
        raise UsageError(f"--run takes the rankings of one question set, and {len(sets)} are named")
    loaded = [load_questions(folder) for folder in sets]
    lines: list[str] = []
    with _opened(settings, settings.rerank) as library, terminal.working("asking"):
        done = [
            each for questions in loaded for each in evaluate(library, questions, ablate=ablate, on_run=lines.append)
        ]
    if run is not None:
        run.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if as_json:
        terminal.put_json(Evaluations(tuple(done)))
    else:
        terminal.show_evaluations(done)


@app.command()
def serve(
    index: Index = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on; 0 for a free one (default: 8000).")] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many processes answer, each with the index in memory.")
    ] = 1,
    rerank: Rerank = None,
    llm_url: LlmUrl = None,
    llm_model: LlmModel = None,
) -> None:
    """Serve the index over HTTP until stopped with Ctrl-C."""
    settings = _settings(index=index, host=host, port=port, rerank=rerank, llm_url=llm_url, llm_model=llm_model)
    _keep_numpy_to_one_thread()
    from service import api
    from service.workers import Workers

    if workers > 1 and not hasattr(socket, "SO_REUSEPORT"):
        raise UsageError("this system cannot share a port between processes: leave out --workers")
    with (
        _opened(settings, settings.rerank, _chat_model(settings)) as library,
        _bound(settings, workers) as listener,
    ):
        with terminal.working("loading the model"):
            library.warm()
        shared = settings.model_copy(update={"port": listener.getsockname()[1]})
        with Workers(workers - 1, partial(_serve_shared, shared)):
            terminal.note(f"serving {settings.index} at {api.url(listener)} (OpenAPI: /openapi.json); Ctrl-C stops")
            api.serve(library, listener)


def _bound(settings: Settings, workers: int) -> socket.socket:
    from service import api

    if workers == 1:
        return api.bind(settings.host, settings.port)
    # Bound alone first: a shared port would be shared with any other server as well.
    with api.bind(settings.host, settings.port) as alone:
        port = alone.getsockname()[1]
    return api.bind(settings.host, port, shared=True)


def _serve_shared(settings: Settings) -> None:
    """Another process of `serve`."""
    from service import api

    with (
        _opened(settings, settings.rerank, _chat_model(settings)) as library,
        api.bind(settings.host, settings.port, shared=True) as listener,
    ):
        library.warm()
        api.serve(library, listener)


def _settings(**flags: object) -> Settings:
    from service.config import load_settings

    return load_settings(**flags)


def _embedder(settings: Settings, name: str, threads: int | None = None) -> Embedder:
    """The model called `name`. Says so if it has to be exported first."""
    from indexer.embedding import load_embedder

    def say() -> None:
        terminal.note(f"preparing the model {name}: once, some twenty seconds")

    return load_embedder(name, threads=threads, precision=settings.precision, on_export=say)


def _keep_numpy_to_one_thread() -> None:
    """Before it is imported: its threads wait for one another, spinning, and double what a search costs."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextmanager
def _opened(settings: Settings, rerank: str = "", llm: ChatModel | None = None) -> Iterator[Library]:
    _keep_numpy_to_one_thread()
    from service.library import Library

    with terminal.working("loading the re-ranker") if rerank else nullcontext():
        load = partial(_embedder, settings, threads=1)
        library = Library.open(
            settings.index, load=load, rerank=rerank, llm=llm, prompt_tokens=settings.llm_prompt_tokens
        )
    try:
        yield library
    finally:
        library.close()


def _format(printed: Format | None, as_json: bool) -> Format:
    if as_json and printed not in (None, Format.JSON):
        raise UsageError(f"--json and --format {printed} are two formats: leave one of them out")
    return Format.JSON if as_json else printed or Format.TEXT


def _put(reply: Answer | SearchReply, chosen: Format) -> None:
    """The reply on stdout, in a format for programs."""
    if chosen is Format.JSON:
        terminal.put_json(reply)
        return
    from service.formats import Style, render

    terminal.put_text(render(reply, cast("Style", chosen.value)))


def _chat_model(settings: Settings) -> ChatModel | None:
    """The model that writes answers, if one is configured."""
    if not settings.llm_url:
        return None
    from service.llm import ChatModel

    return ChatModel(settings.llm_url, settings.llm_model, settings.llm_key, settings.llm_timeout_s)


def _answered(events: Iterator[Statement | Waiting | Answer], *, show: bool) -> Answer:
    """The answer, its statements shown as they come."""
    from service.replies import Answer, Statement, Waiting

    while True:
        with terminal.working("reading"):
            event = next(event for event in events if not isinstance(event, Waiting))
        if isinstance(event, Answer):
            return event
        if show and isinstance(event, Statement):
            terminal.show_statement(event)


def _filters(
    paper_ids: Sequence[str] | None,
    section: str,
    year_from: int,
    year_to: int,
    include: Sequence[Extra] | None,
    phrases: Sequence[str] | None,
    exclude: Sequence[str] | None,
) -> Filters:
    from service.query import Filters

    return Filters(
        tuple(paper_ids or ()),
        section,
        year_from,
        year_to,
        tuple(each.value for each in include or ()),
        tuple(phrases or ()),
        tuple(exclude or ()),
    )


def _json(file: Path) -> object:
    """The JSON in a file, or on standard input. Raises UsageError."""
    name = "standard input" if file == Path("-") else str(file)
    try:
        return json.loads(sys.stdin.buffer.read() if file == Path("-") else file.read_bytes())
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from error


def _omitted_bodies(library: Library, paper_ids: Iterable[str]) -> dict[str, str]:
    """Of these papers, those whose file leaves the full text out, and where that can be had."""
    found: dict[str, str] = {}
    for paper_id in dict.fromkeys(paper_ids):
        with suppress(NotFoundError):  # taken out by another process since it was found
            found[paper_id] = library.paper(paper_id).paper.body_omitted
    return {paper_id: url for paper_id, url in found.items() if url}


def _passage_or_paper(library: Library, id_: str, context: int) -> PassageReply | PaperReply:
    """The passage of that id, else the paper."""
    try:
        return library.passage(id_, context=context)
    except NotFoundError as error:
        try:
            return library.paper(id_)
        except NotFoundError as neither:
            raise (error if ":" in id_ else neither) from None
