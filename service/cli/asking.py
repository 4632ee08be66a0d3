"""Commands that ask: ask, search, show, verify."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from indexer.errors import NotFoundError, UsageError
from service import terminal
from service.cli.opening import chat_model_of, omitted_bodies, opened, settings_of
from service.cli.options import (
    SYNTAX_HELP,
    Exclude,
    Format,
    Generate,
    Include,
    Index,
    Json,
    K,
    LlmModel,
    LlmUrl,
    Papers,
    Phrase,
    Printed,
    Rerank,
    Section,
    YearFrom,
    YearTo,
    filters_of,
    format_of,
    utf8,
)

if TYPE_CHECKING:
    from service.library import Library
    from service.query import Filters
    from service.replies import Answer, PaperReply, PassageReply, SearchReply, Statement, Waiting

EXIT_NOT_AS_CITED = 1
EXIT_NOTHING_FOUND = NotFoundError.exit_code


def ask(
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUESTION]",
            parser=utf8,
            help=f"What you want to know; without one, a conversation: a prompt, or questions on stdin. {SYNTAX_HELP}",
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
    chosen = format_of(printed, as_json)
    if question is None and chosen not in (Format.TEXT, Format.JSON):
        raise UsageError(f"--format {chosen} wants a question; in a conversation, `:cite {chosen}` gives the same")
    settings = settings_of(index=index, k=k, rerank=rerank, llm_url=llm_url, llm_model=llm_model)
    from service.library import DEFAULT_ASK_K

    k = DEFAULT_ASK_K if settings.k is None else settings.k
    filters = filters_of(paper, section, year_from, year_to, include, phrase, exclude)
    with opened(settings, settings.rerank, chat_model_of(settings)) as library:
        ask_library = partial(_ask, library, k, generate, chosen)
        if question is None:
            _converse(library, ask_library, filters, k, chosen)
            return
        answer = ask_library(question, filters)
        _show_answer(library, answer, chosen)
        terminal.note_missing(answer.missing_shards)
    if answer.status == "not_found":
        raise typer.Exit(EXIT_NOTHING_FOUND)


def _ask(library: Library, k: int, generate: Generate, chosen: Format, question: str, filters: Filters) -> Answer:
    with closing(library.ask_stream(question, k=k, filters=filters, generate=generate.value)) as events:
        return _answered(events, show=chosen is Format.TEXT)


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


def _show_answer(library: Library, answer: Answer, chosen: Format, *, conversing: bool = False) -> None:
    if conversing and chosen is Format.JSON:
        terminal.put_json(answer, compact=True)
    elif chosen is not Format.TEXT:
        _put(answer, chosen)
        if chosen not in (Format.JSON, Format.MARKDOWN) and not answer.quotes:
            terminal.complain("these papers do not seem to say: nothing is cited")
    else:
        terminal.show_answer(answer, terminal.PASSAGE_MARK if conversing else "")
        terminal.note_bodies(omitted_bodies(library, (hit.citation.paper_id for hit in answer.hits)))


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
            terminal.note_missing(reply.missing_shards)
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


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", parser=utf8, help=f"Words or a question. {SYNTAX_HELP}")],
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
    chosen = format_of(printed, as_json)
    settings = settings_of(index=index, k=k, rerank=rerank)
    from service.query import DEFAULT_K, Query

    filters = filters_of(paper, section, year_from, year_to, include, phrase, exclude)
    request = Query(query, DEFAULT_K if settings.k is None else settings.k, filters, max_tokens, cursor)
    with opened(settings, settings.rerank) as library:
        with terminal.working("reading"):
            reply = library.search(request)
        if chosen is not Format.TEXT:
            _put(reply, chosen)
        else:
            terminal.show_hits(reply)
            terminal.note_bodies(omitted_bodies(library, (hit.citation.paper_id for hit in reply.hits)))
            if reply.next_cursor:
                terminal.note(f"more: --cursor {reply.next_cursor}")
    terminal.note_missing(reply.missing_shards)
    if not reply.hits:
        terminal.complain("no passage fits: use other words, or fewer filters")
        raise typer.Exit(EXIT_NOTHING_FOUND)


def _put(reply: Answer | SearchReply, chosen: Format) -> None:
    """The reply on stdout, in a format for programs."""
    if chosen is Format.JSON:
        terminal.put_json(reply)
        return
    from service.formats import Style, render

    terminal.put_text(render(reply, cast("Style", chosen.value)))


def show(
    id_: Annotated[str, typer.Argument(metavar="PASSAGE_ID|PAPER_ID", parser=utf8, help="What to show.")],
    index: Index = None,
    context: Annotated[int, typer.Option(metavar="N", help="Passages to show on either side of the passage.")] = 0,
    source: Annotated[
        bool, typer.Option("--source", help="Print the text that the offsets of the paper's citations count in.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a passage, or a paper's record and outline, or its text."""
    from service.replies import PaperReply

    with opened(settings_of(index=index)) as library:
        if source:
            _show_source(library, id_, as_json)
            return
        reply = _passage_or_paper(library, id_, context)
    if as_json:
        terminal.put_json(reply)
    elif isinstance(reply, PaperReply):
        terminal.show_paper(reply)
    else:
        terminal.show_passage(reply)


def _show_source(library: Library, paper_id: str, as_json: bool) -> None:
    text = library.source(paper_id)
    if as_json:
        terminal.put_json(text)
    else:
        terminal.put_text(terminal.clean(text.text) if sys.stdout.isatty() else text.text)


def _passage_or_paper(library: Library, id_: str, context: int) -> PassageReply | PaperReply:
    """The passage of that id, else the paper."""
    try:
        return library.passage(id_, context=context)
    except NotFoundError as error:
        try:
            return library.paper(id_)
        except NotFoundError as neither:
            raise (error if ":" in id_ else neither) from None


def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `ask --json` or `search --json` printed; - for standard input.")
    ],
    index: Index = None,
    as_json: Json = False,
) -> None:
    """Check citations against the papers' files. One that is not as cited gives exit code 1."""
    settings = settings_of(index=index)
    from service.verify import read_claims

    claims = read_claims(_json(file))
    with opened(settings) as library, terminal.working("reading"):
        reply = library.verify(claims)
    if as_json:
        terminal.put_json(reply)
    else:
        terminal.show_verdicts(reply)
    terminal.note_missing(reply.missing_shards)
    if reply.status != "ok":
        raise typer.Exit(EXIT_NOT_AS_CITED)


def _json(file: Path) -> object:
    """The JSON in a file, or on standard input. Raises UsageError."""
    name = "standard input" if file == Path("-") else str(file)
    try:
        return json.loads(sys.stdin.buffer.read() if file == Path("-") else file.read_bytes())
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from error
