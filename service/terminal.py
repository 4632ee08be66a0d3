"""What a person reads in a terminal: answers, passages, papers, and how a build went.

Results go to stdout, everything else to stderr. What papers say is cleaned of control characters before it is printed;
`put_json` is exact. Knows nothing of commands and settings. rich is imported with the first line that it prints.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from service.printable import clean as clean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from rich.console import Console, OverflowMethod
    from rich.progress import TaskID
    from rich.text import Text

    from indexer.build import BuildReport
    from service.answer import Highlight, Quote
    from service.chat import Reply
    from service.cite import Citation, CitedReference
    from service.evaluate import Evaluation
    from service.reading import Expansion
    from service.replies import (
        Answer,
        Hit,
        Info,
        PaperList,
        PaperReply,
        PaperSummary,
        PassageReply,
        PassageView,
        SearchReply,
        Statement,
        Verdict,
        VerifyReply,
    )

_MAX_WIDTH = 100
"""Columns; longer lines are hard to read."""
_MAX_NAMED = 5
"""How many papers or files of one kind a summary names; `--json` has them all."""
_INDENT = 4
PASSAGE_MARK = "p"
"""Before a passage's number in a conversation, where a number alone is a quote's."""

_SOFT_BREAK = re.compile(r"(?<!\n)\n(?![ \t]*(?:\n|$|[|>#*+-]|\d+[.)]))")
"""A line break inside a paragraph: no blank line, table row, list item or quote begins after it."""
_JSON_CONTROLS = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def put_text(text: str) -> None:
    """What is to be kept in a file, on stdout: UTF-8 with its own line ends, whatever the terminal's are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def put_json(value: DataclassInstance, *, compact: bool = False) -> None:
    """A reply as JSON on stdout, exact, on one line if `compact`. What could steer a terminal is escaped."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    text = json.dumps(asdict(value), ensure_ascii=ascii_only, indent=None if compact else 2)
    sys.stdout.write(_JSON_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")
    sys.stdout.flush()  # a reader that has gone away shows here, not when the interpreter ends


def complain(message: str) -> None:
    """One line on stderr: what went wrong, and the next step."""
    _print(_console(stderr=True), f"loccit: {' '.join(clean(message).split())}")


def note(message: str) -> None:
    """A line on stderr beside the result."""
    _print(_console(stderr=True), clean(message))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on stderr that it takes a moment, as long as it does; on a terminal only."""
    console = _console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


class BuildProgress:
    """A progress bar on stderr: papers, passages, tokens per second. Silent where there is no terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = _console(stderr=True)
        self._bar = Progress(
            TextColumn("indexing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("papers, {task.fields[passages]:,} passages, {task.fields[speed]:,.0f} tokens/s"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None
        self._n_passages = self._n_tokens = 0

    def __enter__(self) -> BuildProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, n_files: int) -> None:
        """The files were found."""
        self._task = self._bar.add_task("", total=n_files, passages=0, speed=0)

    def advanced(self, n_papers: int, n_passages: int, n_wordpieces: int) -> None:
        """So many more papers are through, passages and wordpieces embedded."""
        if self._task is None:
            return
        self._n_passages += n_passages
        self._n_tokens += n_wordpieces
        seconds = self._bar.tasks[0].elapsed or 0
        speed = self._n_tokens / seconds if seconds else 0
        self._bar.update(self._task, advance=n_papers, passages=self._n_passages, speed=speed)


def show_report(report: BuildReport, index: str, bodies: Mapping[str, str]) -> None:
    """What a build did. `bodies` says where the full text of papers without one can be had."""
    done = {
        "added": len(report.added),
        "updated": len(report.updated),
        "moved": len(report.moved),
        "unchanged": report.n_unchanged,
        "removed": len(report.removed),
        "failed": len(report.failed),
    }
    by_words = report.n_passages - report.n_embedded - report.n_reused
    speed = f" at {report.n_wordpieces / report.seconds:,.0f} tokens/s" if report.n_embedded else ""
    rows = [("papers", ", ".join(f"{n:,} {what}" for what, n in done.items() if n) or "none")]
    if report.n_passages:
        passages = f"{report.n_passages:,}: {report.n_embedded:,} embedded{speed}, {report.n_reused:,} reused"
        rows.append(("passages", passages + (f", {by_words:,} found by words alone" if by_words else "")))
    if report.left_out:
        counts = ", ".join(f"{kind.replace('_', ' ')} {n:,}" for kind, n in report.left_out.items())
        rows.append(("left out", f"{counts} (characters that stand in no passage)"))
    rows += [("removed", name) for name in _first(report.removed)]
    rows += [
        ("vanished", f"{name}: its file is gone; run again with --prune to take it out")
        for name in _first(report.vanished)
    ]
    rows += [("no body", _without_body(name, bodies.get(name, ""))) for name in _first(report.without_body)]
    rows += [
        ("empty", f"{name}: its file gave no passage, so that no search finds it")
        for name in _first([name for name in report.empty if name not in report.without_body])
    ]
    rows += [("failed", f"{each.source}: {each.reason}") for each in report.failed]
    rows.append(("index", f"{index}, generation {report.generation}, {report.seconds:.1f} s"))
    _rows(_console(), rows)


def show_statement(statement: Statement) -> None:
    """A sentence that a model wrote, as soon as it holds."""
    _wrapped(_console(), _text(clean(statement.text)), indent=0)
    sys.stdout.flush()


def show_answer(answer: Answer, mark: str = "") -> None:
    """The quotes, then the passages, `mark` before their numbers. What a model wrote was shown as it came."""
    console = _console()
    _note_expansions(answer.expansions)
    if answer.kind == "generated":
        by = f"Written by {answer.model}. Each quote was found in its source; the wording above is the model's:"
        console.print()
        _wrapped(console, _text(clean(by), style="dim"), indent=0)
    elif answer.status == "not_found":
        nearest = " The nearest passages:" if answer.hits else ""
        _print(console, f"These papers do not seem to say.{nearest}", "bold")
    elif answer.status == "partial":
        _print(console, "The papers touch on this. The nearest sentences:", "bold")
    for quote in answer.quotes:
        console.print()
        _show_quote(console, quote)
    if answer.note:
        note(f"note: {answer.note}")
    if answer.quotes:
        console.print()
        _print(console, "Passages", "bold")
    _show_hits(console, answer.hits, mark)


def _show_quote(console: Console, quote: Quote) -> None:
    """The quote, what leads up to it dim; its place; and whose finding it is, where that is not the paper's own."""
    lead_up, answer = (" ".join(clean(part).split()) for part in _parted(quote))
    shown = _text("“").append(f"{lead_up} " if lead_up else "", style="dim").append(f"{answer}”")
    _wrapped(console, shown, lead=f"{f'[{quote.n}]':<{_INDENT}}")
    _wrapped(console, _text(_place_named(quote.citation), style="dim"))
    if quote.basis == "reported":
        _wrapped(console, _text("reported of others" + (":" if quote.citation.references else ""), style="dim"))
        _show_references(console, quote.citation.references[:_MAX_NAMED], style="dim")
        if (more := len(quote.citation.references) - _MAX_NAMED) > 0:
            _wrapped(console, _text(f"and {more} more", style="dim"))


def _parted(quote: Quote) -> tuple[str, str]:
    """What leads up to the answer in a quote, and the rest."""
    first = quote.highlights[0]
    at = first.start if first.end == len(quote.text) else 0
    return quote.text[:at], quote.text[at:]


def show_hits(reply: SearchReply) -> None:
    """The passages found."""
    _note_expansions(reply.expansions)
    _show_hits(_console(), reply.hits)


def show_reply(reply: Reply) -> None:
    """What a conversation has for a line."""
    from service.chat import Asked, Cited, Note, References
    from service.replies import Answer, PaperReply, PassageReply

    console = _console()
    match reply:
        case Note():
            note(reply.text)
        case Answer():
            show_answer(reply, PASSAGE_MARK)
        case PaperReply():
            show_paper(reply)
        case PassageReply():
            show_passage(reply)
            links = reply.passage.citation.links
            for link in (links.doi, f"{links.reader} (of `loccit serve`)"):
                if link and link != reply.passage.citation.url:
                    _print(console, link, "dim")
        case References():
            _print(console, f"{reply.label} cites", "bold")
            _show_references(console, reply.references)
        case Cited():
            for line in reply.text.splitlines():
                _print(console, line)
        case Asked():
            for n, asked in enumerate(reply.questions, start=1):
                _wrapped(console, _text(clean(asked.said)), lead=f"{n:>2}  ")
                if asked.how:
                    _wrapped(console, _text(clean(f"read as: {asked.text}"), style="dim"))
        case _:
            _show_hits(console, reply.hits, PASSAGE_MARK)


def _note_expansions(expansions: Sequence[Expansion]) -> None:
    """What short forms and names in the question were taken to mean too, and by which paper."""
    for each in expansions:
        note(f"{clean(each.term)}: also {clean(each.expansion)} (by {clean(each.source)})")


def show_verdicts(reply: VerifyReply) -> None:
    """A line a citation: what became of it, and where it stands; then, where that is not as cited, why."""
    console = _console()
    for verdict in reply.verdicts:
        _print(console, f"{verdict.status.replace('_', ' '):<16}{_place_named(verdict.citation)}{_now(verdict)}")
        if verdict.now is not None or verdict.status != "ok":
            _print(console, f"{'':<16}{verdict.reason}", "dim")


def _now(verdict: Verdict) -> str:
    now = verdict.now
    if now is None:
        return ""
    said = "now at" if verdict.status != "changed" else "most like it:"
    section = f", §{now.section[-1]}" if now.section else ""
    paragraph = f", ¶{now.paragraph}" if now.paragraph else ""
    return f"; {said} {_span(now)}{section}{paragraph}"


def show_passage(reply: PassageReply) -> None:
    """A passage among its neighbours."""
    console = _console()
    citation = reply.passage.citation
    _print(console, citation.label, "bold")
    _print(console, citation.title)
    for view in (*reply.before, reply.passage, *reply.after):
        console.print()
        own = view is reply.passage
        _wrapped(console, _passage_text(console, view.text, ()), lead="  > " if own else "")
        _print(console, " " * _INDENT + _where(view), "dim")
    if citation.references:
        console.print()
        _print(console, "It cites", "bold")
        _show_references(console, citation.references)
    if citation.url:
        console.print()
        _print(console, citation.url, "dim")


def _show_references(console: Console, references: Iterable[CitedReference], style: str = "") -> None:
    for each in references:
        doi = f" https://doi.org/{each.doi}" if each.doi and each.doi not in each.text else ""
        _wrapped(console, _text(clean(f"[{each.number}] {' '.join(each.text.split())}{doi}"), style=style))


def show_paper(reply: PaperReply) -> None:
    """A paper's record and outline."""
    console = _console()
    paper = reply.paper
    _wrapped(console, _text(clean(paper.title), style="bold"), indent=0)
    ids = (("DOI", paper.doi), ("PMID", paper.pmid), ("PMCID", paper.pmcid))
    left_out = ", ".join(f"{kind.replace('_', ' ')} {n:,}" for kind, n in reply.left_out.items())
    rows = [
        ("id", paper.paper_id),
        ("authors", ", ".join(paper.authors)),
        ("journal", paper.journal),
        ("date", paper.date or str(paper.year or "")),
        ("ids", ", ".join(f"{name} {value}" for name, value in ids if value)),
        ("licence", paper.licence),
        ("url", paper.url),
        ("file", paper.source),
        ("passages", f"{paper.n_passages:,}"),
        ("references", f"{len(reply.references):,}"),
        ("left out", f"{left_out} (characters that stand in no passage)" if left_out else ""),
        ("no body", _without_body("", paper.body_omitted) if paper.body_omitted else ""),
    ]
    _rows(console, [(name, value) for name, value in rows if value])
    if reply.sections:
        console.print()
    for section in reply.sections:
        _print(console, "  " * (section.level - 1) + section.title, "" if section.role == "body" else "dim")


def show_papers(papers: PaperList) -> None:
    """A line a paper: id, year, passages, authors, title; cut at a terminal's edge only."""
    console = _console()
    width = max((len(paper.paper_id) for paper in papers.papers), default=0)
    for paper in papers.papers:
        line = f"{paper.paper_id:<{width}}  {paper.year or '':>4}  {paper.n_passages:>5}  {_titled(paper)}"
        overflow: OverflowMethod = "ellipsis" if console.is_terminal else "ignore"
        console.print(_text(clean(line)), no_wrap=True, overflow=overflow, crop=console.is_terminal)


def show_info(info: Info) -> None:
    """What an index is and holds."""
    rows = {
        "index": info.folder,
        "generation": f"{info.generation}",
        "papers": f"{info.n_papers:,}",
        "passages": f"{info.n_passages:,}, {info.n_vectors:,} of them embedded",
        "model": f"{info.model} ({info.dim} dimensions, {info.pooling} pooling)",
        "weights": f"SHA-256 {info.model_weights_sha256}",
        "computed in": f"{info.precision} (cosine to sentence-transformers {info.cosine:.4f})",
        "vectors": f"in {info.dense_lists:,} lists, {info.dense_lists_searched:,} of them searched (recall@10 "
        f"{info.dense_recall:.3f})"
        if info.dense_lists
        else "all compared",
        "passage size": f"up to {info.passage_wordpieces} wordpieces, where the model reads {info.max_wordpieces}",
    }
    _rows(_console(), rows.items())


def show_evaluations(evaluations: Sequence[Evaluation]) -> None:
    """A table a question set: a row a ranking, each metric with its 95 % interval."""
    console = _console()
    for name in dict.fromkeys(each.set for each in evaluations):
        rows = [each for each in evaluations if each.set == name]
        _print(console, f"{clean(name)}, {rows[0].metrics[0].n if rows[0].metrics else 0} questions", "bold")
        for each in rows:
            _print(console, f"  {each.ranking}")
            for metric in each.metrics:
                interval = f"{metric.low:.3f} to {metric.high:.3f}"
                _print(console, f"    {metric.name:<17} {metric.mean:.3f}  ({interval}, n {metric.n:,})")


def note_bodies(bodies: Mapping[str, str]) -> None:
    """Say that found papers have no full text here, and the next step."""
    for paper_id, url in list(bodies.items())[:_MAX_NAMED]:
        note(f"note: {_without_body(paper_id, url)}")


def _without_body(paper_id: str, url: str) -> str:
    of = f"of {paper_id} " if paper_id else ""
    return f"the full text {of}is not in its file: get it from {url or 'its publisher'}, and index that"


def _show_hits(console: Console, hits: Iterable[Hit], mark: str = "") -> None:
    for hit in hits:
        citation = hit.citation
        console.print()
        _wrapped(console, _text(clean(citation.label), style="bold"), lead=f"{f'{mark}{hit.rank}':>2}".ljust(3) + " ")
        if citation.title:
            _wrapped(console, _text(clean(citation.title), style="italic"))
        _wrapped(console, _passage_text(console, hit.text, hit.highlights))
        _print(console, f"{' ' * _INDENT}{_span(citation)}  {hit.passage_id}", "dim")
        if citation.url:
            _print(console, " " * _INDENT + citation.url, "dim")


def _passage_text(console: Console, text: str, highlights: Sequence[Highlight]) -> Text:
    """The passage, its best sentences bold where there is bold, between marks where there is not."""
    flowing = _SOFT_BREAK.sub(" ", clean(text))
    if console.color_system is None:
        for each in sorted(highlights, key=lambda each: -each.start):
            flowing = f"{flowing[: each.start]}»{flowing[each.start : each.end]}«{flowing[each.end :]}"
        return _text(flowing)
    shown = _text(flowing)
    for each in highlights:
        shown.stylize("bold", each.start, each.end)
    return shown


def _place_named(citation: Citation) -> str:
    numbers = ", ".join(map(str, citation.sentences))
    sentence = f", sentence{'s' * (len(citation.sentences) > 1)} {numbers}" if numbers else ""
    return clean(f"{citation.label or citation.paper_id}{sentence} ({_span(citation)})")


def _span(citation: Citation) -> str:
    return f"{citation.source}:{citation.start}-{citation.end}"


def _where(view: PassageView) -> str:
    return f"{view.citation.label}  {_span(view.citation)}  {view.passage_id}"


def _titled(paper: PaperSummary) -> str:
    authors = f"{paper.authors[0]} et al." if len(paper.authors) > 2 else " & ".join(paper.authors)
    return ": ".join(filter(None, (authors, paper.title)))


def _first(names: Sequence[str]) -> list[str]:
    """The first few, and how many more there are."""
    more = len(names) - _MAX_NAMED
    return [*names[:_MAX_NAMED], *([f"and {more:,} more"] if more > 0 else [])]


def _text(content: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(content, style)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    console.width = min(console.width, _MAX_WIDTH)
    return console


def _print(console: Console, line: str, style: str = "") -> None:
    """One line, never broken: paths, ids and links stay whole."""
    console.print(_text(clean(line), style=style), soft_wrap=True)


def _wrapped(console: Console, text: Text, *, indent: int = _INDENT, lead: str = "") -> None:
    """The text in lines that fit the terminal, indented; `lead` stands in the first line's margin."""
    for line in text.wrap(console, max(console.width - indent, 20)):
        line.rstrip()
        console.print(_text(f"{lead:<{indent}}" if line else lead.rstrip()).append_text(line), soft_wrap=True)
        lead = ""


def _rows(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Names and values, aligned."""
    listed = list(rows)
    width = max(len(name) for name, _ in listed) + 2
    for name, value in listed:
        console.print(_text(f"{name:<{width}}", style="dim").append(clean(value), style="not dim"), soft_wrap=True)
