"""Answers, what a search found, and what became of citations."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from service.printable import clean, sentences_named
from service.terminal.lines import INDENT, MAX_NAMED, console_of, note, print_line, print_wrapped, styled

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from service.answer import Highlight, Quote
    from service.cite import Citation, CitedReference
    from service.reading import Expansion
    from service.replies import Answer, Hit, SearchReply, Statement, Verdict, VerifyReply

PASSAGE_MARK = "p"
"""Before a passage's number in a conversation, where a number alone is a quote's."""


_SOFT_BREAK = re.compile(r"(?<!\n)\n(?![ \t]*(?:\n|$|[|>#*+-]|\d+[.)]))")
"""A line break inside a paragraph: no blank line, table row, list item or quote begins after it."""


def show_statement(statement: Statement) -> None:
    """A sentence that a model wrote, as soon as it holds."""
    print_wrapped(console_of(), styled(clean(statement.text)), indent=0)
    sys.stdout.flush()


def show_answer(answer: Answer, mark: str = "") -> None:
    """The quotes, then the passages, `mark` before their numbers. What a model wrote was shown as it came."""
    console = console_of()
    _note_expansions(answer.expansions)
    if answer.kind == "generated":
        by = f"Written by {answer.model}. Each quote was found in its source; the wording above is the model's:"
        console.print()
        print_wrapped(console, styled(clean(by), style="dim"), indent=0)
    elif answer.status == "not_found":
        nearest = " The nearest passages:" if answer.hits else ""
        print_line(console, f"These papers do not seem to say.{nearest}", "bold")
    elif answer.status == "partial":
        print_line(
            console, f"The papers touch on this. The nearest {'sentences' if answer.quotes else 'passages'}:", "bold"
        )
    for quote in answer.quotes:
        console.print()
        _show_quote(console, quote)
    if answer.note:
        note(f"note: {answer.note}")
    if answer.quotes:
        console.print()
        print_line(console, "Passages", "bold")
    show_each(console, answer.hits, mark)


def _show_quote(console: Console, quote: Quote) -> None:
    """The quote, what leads up to it dim; its place; and whose finding it is, where that is not the paper's own."""
    lead_up, answer = (_SOFT_BREAK.sub(" ", clean(part)).strip() for part in _parted(quote))
    shown = styled("“").append(f"{lead_up} " if lead_up else "", style="dim").append(f"{answer}”")
    print_wrapped(console, shown, lead=f"{f'[{quote.n}]':<{INDENT}}")
    print_wrapped(console, styled(_place_named(quote.citation), style="dim"))
    if quote.basis == "reported":
        print_wrapped(console, styled("reported of others" + (":" if quote.citation.references else ""), style="dim"))
        show_references(console, quote.citation.references[:MAX_NAMED], style="dim")
        if (more := len(quote.citation.references) - MAX_NAMED) > 0:
            print_wrapped(console, styled(f"and {more} more", style="dim"))


def _parted(quote: Quote) -> tuple[str, str]:
    """What leads up to the answer in a quote, and the rest."""
    first = quote.highlights[0]
    at = first.start if first.end == len(quote.text) else 0
    return quote.text[:at], quote.text[at:]


def show_hits(reply: SearchReply) -> None:
    """The passages found."""
    _note_expansions(reply.expansions)
    show_each(console_of(), reply.hits)


def show_each(console: Console, hits: Iterable[Hit], mark: str = "") -> None:
    """Each hit: its rank, `mark` before it, its place, its text."""
    for hit in hits:
        citation = hit.citation
        console.print()
        print_wrapped(
            console, styled(clean(citation.label), style="bold"), lead=f"{f'{mark}{hit.rank}':>2}".ljust(3) + " "
        )
        if citation.title:
            print_wrapped(console, styled(clean(citation.title), style="italic"))
        print_wrapped(console, passage_text(console, hit.text, hit.highlights))
        print_line(console, f"{' ' * INDENT}{citation.span}  {hit.passage_id}", "dim")
        if citation.url:
            print_line(console, " " * INDENT + citation.url, "dim")


def _note_expansions(expansions: Sequence[Expansion]) -> None:
    """What short forms and names in the question were taken to mean too, and by which paper."""
    for each in expansions:
        note(f"{clean(each.term)}: also {clean(each.expansion)} (by {clean(each.source)})")


def passage_text(console: Console, text: str, highlights: Sequence[Highlight]) -> Text:
    """The passage, its best sentences bold where there is bold, between marks where there is not."""
    flowing = _SOFT_BREAK.sub(" ", clean(text))
    if console.color_system is None:
        for each in sorted(highlights, key=lambda each: -each.start):
            flowing = f"{flowing[: each.start]}»{flowing[each.start : each.end]}«{flowing[each.end :]}"
        return styled(flowing)
    shown = styled(flowing)
    for each in highlights:
        shown.stylize("bold", each.start, each.end)
    return shown


def show_references(console: Console, references: Iterable[CitedReference], style: str = "") -> None:
    """Entries of reference lists, by their numbers."""
    for each in references:
        doi = f" https://doi.org/{each.doi}" if each.doi and each.doi not in each.text else ""
        print_wrapped(console, styled(clean(f"[{each.number}] {' '.join(each.text.split())}{doi}"), style=style))


def show_verdicts(reply: VerifyReply) -> None:
    """A line a citation: what became of it, and where it stands; then, where that is not as cited, why."""
    console = console_of()
    for verdict in reply.verdicts:
        print_line(console, f"{verdict.status.replace('_', ' '):<16}{_place_named(verdict.citation)}{_now(verdict)}")
        if verdict.now is not None or verdict.status != "ok":
            print_line(console, f"{'':<16}{verdict.reason}", "dim")


def _now(verdict: Verdict) -> str:
    now = verdict.now
    if now is None:
        return ""
    said = "now at" if verdict.status != "changed" else "most like it:"
    section = f", §{now.section[-1]}" if now.section else ""
    paragraph = f", ¶{now.paragraph}" if now.paragraph else ""
    return f"; {said} {now.span}{section}{paragraph}"


def _place_named(citation: Citation) -> str:
    place = ", ".join(filter(None, (citation.label or citation.paper_id, sentences_named(citation.sentences))))
    return clean(f"{place} ({citation.span})")
