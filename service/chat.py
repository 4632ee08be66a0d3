"""A conversation: a line as it is typed -> what to show for it.

It holds what the next line may go back to: the questions, the last answer with its numbers, the papers that it is
limited to. Neither reads nor prints; what a question's words go back to is `followup`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal, get_args

from indexer.errors import UsageError
from service.answer import Quote
from service.cite import Citation, CitedReference
from service.followup import ALONE, Resolved, alone, follow_up
from service.library import Library
from service.query import Filters, Query
from service.replies import Answer, Hit, PaperReply, PassageReply, SearchReply

Ask = Callable[[str, Filters], Answer]
"""Answers a question from the passages that the filters leave."""
Style = Literal["text", "markdown", "bibtex", "ris", "csl-json"]
STYLES: tuple[Style, ...] = get_args(Style)

_COMMAND = ":"
_NUMBER = re.compile(r"\[?(p?)(\d{1,6})\]?", re.ASCII | re.IGNORECASE)
_ALIKE = 0.4
"""Of a name that is no command and the one that is suggested: difflib's ratio."""


@dataclass(frozen=True, slots=True)
class Note:
    """A word beside the results."""

    text: str


@dataclass(frozen=True, slots=True)
class References:
    """The entries of a paper's own reference list that a cited text names."""

    label: str
    references: tuple[CitedReference, ...]


@dataclass(frozen=True, slots=True)
class Cited:
    """Citations, as text of some style."""

    style: Style
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of a conversation, from the first on."""

    questions: tuple[Resolved, ...]


Reply = Note | Answer | SearchReply | PassageReply | PaperReply | References | Cited | Asked


@dataclass(frozen=True, slots=True)
class _Answered:
    """The last answer: what the numbers that the reader sees stand for."""

    query: Query
    quotes: tuple[Quote, ...]
    hits: tuple[Hit, ...]
    cursor: str | None
    """Where the ranking goes on; None after its end."""


class Conversation:
    """Questions to a library, one after another. Not safe to use from several threads."""

    def __init__(self, library: Library, ask: Ask, filters: Filters, k: int) -> None:
        self.ended = False
        self._library = library
        self._ask = ask
        self._begun_with = self._filters = filters
        self._k = k
        self._asked: list[Resolved] = []
        self._last: Resolved | None = None
        self._answered: _Answered | None = None

    def say(self, line: str) -> Iterator[Reply]:
        """What to show for a line, a question or a command, each as soon as it is there. Raises LoccitError.

        After an error, or when it is given up halfway, the conversation goes on from where it was.
        """
        line = line.strip()
        if line.startswith(_COMMAND):
            name, *rest = line[1:].split(maxsplit=1) or [""]
            yield from self._command(name, "".join(rest))
        elif line.startswith(ALONE):
            yield from self._new(line[1:].strip())
        elif line:
            yield from self._put(follow_up(line, self._last))

    def _command(self, name: str, rest: str) -> Iterator[Reply]:
        if command := COMMANDS.get(name.lower()):
            yield from command.run(self, rest)
            return
        nearest = get_close_matches(name.lower(), COMMANDS, 1, _ALIKE)
        meant = f"did you mean `:{nearest[0]}`? " if nearest else ""
        raise UsageError(f"`:{name}` is no command: {meant}`:help` lists them")

    def _put(self, asked: Resolved) -> Iterator[Reply]:
        if asked.how:
            yield Note(asked.note)
        query = Query(asked.text, self._k, self._filters)  # one that cannot be asked does not count
        self._asked.append(asked)
        self._last = asked
        answer = self._ask(asked.text, self._filters)
        n = len(answer.hits)
        more = query.next_cursor(n, answer.generation, self._library.reranker) if n == self._k else None
        self._answered = _Answered(query, answer.quotes, answer.hits, more)
        yield answer

    def _new(self, rest: str) -> Iterator[Reply]:
        if rest:
            yield from self._put(alone(rest))
        else:
            self._last = None
            yield Note("the next question is read alone")

    def _again(self, rest: str) -> Iterator[Reply]:
        if not self._asked:
            raise UsageError("nothing has been asked yet")
        numbered = dict(enumerate(self._asked, start=1))
        match = _NUMBER.fullmatch(rest or str(len(numbered)))
        asked = numbered.get(int(match[2])) if match and not match[1] else None
        if asked is None:
            raise UsageError(f"there is no question {rest!r}: `:history` numbers them, 1 to {len(numbered)}")
        if not asked.how:
            yield Note(f"asked again: “{asked.text}”")
        yield from self._put(asked)

    def _history(self, _: str) -> Iterator[Reply]:
        yield Asked(tuple(self._asked)) if self._asked else Note("nothing has been asked yet")

    def _more(self, _: str) -> Iterator[Reply]:
        last = self._answer()
        hits: tuple[Hit, ...] = ()
        if last.cursor is not None:
            try:
                reply = self._library.search(replace(last.query, cursor=last.cursor))
            except UsageError as error:  # all of the query but the cursor has been asked before
                raise UsageError("the index has changed since you asked: `:again` asks anew") from error
            hits = reply.hits
            self._answered = replace(last, hits=(*last.hits, *hits), cursor=reply.next_cursor)
        yield reply if hits else Note("there are no more passages")

    def _open(self, rest: str) -> Iterator[Reply]:
        found = self._numbered(rest, "open")
        if isinstance(found, Quote):
            found = next(hit for hit in self._answer().hits if _holds(hit.citation, found.citation))
        yield self._library.passage(found.passage_id, context=1)

    def _paper(self, rest: str) -> Iterator[Reply]:
        yield self._library.paper(self._paper_id(rest))

    def _refs(self, rest: str) -> Iterator[Reply]:
        citation = self._numbered(rest, "refs").citation
        named = References(citation.label, citation.references)
        yield named if named.references else Note(f"{rest} names no entry of its paper's reference list")

    def _cite(self, rest: str) -> Iterator[Reply]:
        *names, last = rest.split() or ["text"]
        style = next((each for each in STYLES if each == last.lower()), None)
        if style is None:
            names.append(last)
        for name in names:
            if not _NUMBER.fullmatch(name):
                raise UsageError(f"{name!r} is no number and no style: there are {', '.join(STYLES)}")
        found = [self._numbered(name, "cite") for name in names] or self._answer().quotes
        if not found:
            raise UsageError("the last answer quotes nothing: cite a passage, as `:cite p1`")
        yield _cited([each.citation for each in found], style or "text")

    def _in(self, rest: str) -> Iterator[Reply]:
        papers = [self._library.paper(self._paper_id(name)).paper for name in rest.split()]
        named = tuple(dict.fromkeys(paper.paper_id for paper in papers))
        self._filters = replace(self._begun_with, paper_ids=named or self._begun_with.paper_ids)
        limit = ", ".join(self._filters.paper_ids)
        yield Note(f"searching only {limit}" if limit else "searching all papers")

    def _help(self, _: str) -> Iterator[Reply]:
        width = max(len(command.usage) for command in COMMANDS.values())
        listed = "\n".join(f"{each.usage:<{width}}  {each.help}" for each in COMMANDS.values())
        yield Note(f"{_HELP}\n\n{listed}")

    def _quit(self, _: str) -> Iterator[Reply]:
        self.ended = True
        yield from ()

    def _answer(self) -> _Answered:
        if self._answered is None:
            raise UsageError("there is no answer yet: ask a question first")
        return self._answered

    def _paper_id(self, name: str) -> str:
        """The paper that the number's quote or passage is from; else the name is an id."""
        return self._numbered(name, "paper").citation.paper_id if not name or _NUMBER.fullmatch(name) else name

    def _numbered(self, name: str, command: str) -> Quote | Hit:
        """The quote `2` or the passage `p2` of the last answer."""
        match = _NUMBER.fullmatch(name)
        if match is None:
            raise UsageError(f"`{COMMANDS[command].usage}` takes a quote's number, as 2, or a passage's, as p2")
        last = self._answer()
        listed: tuple[Quote | Hit, ...] = last.hits if match[1] else last.quotes
        at = int(match[2])
        if not 1 <= at <= len(listed):
            what, prefix = ("passage", "p") if match[1] else ("quote", "")
            there = f"{prefix}1 to {prefix}{len(listed)}" if listed else f"no {what}s"
            raise UsageError(f"there is no {what} {name!r}: the last answer has {there}")
        return listed[at - 1]


def _holds(passage: Citation, quote: Citation) -> bool:
    return passage.paper_id == quote.paper_id and passage.start <= quote.start and quote.end <= passage.end


def _cited(citations: list[Citation], style: Style) -> Cited:
    if style == "text":
        return Cited(style, "\n".join(f"{each.label} ({each.span})" for each in citations))
    from service.formats import export

    return Cited(style, export(citations, style))


@dataclass(frozen=True, slots=True)
class Command:
    """A line that begins with a colon."""

    usage: str
    help: str
    run: Callable[[Conversation, str], Iterator[Reply]]


COMMANDS = {
    "open": Command(":open N", "the passage of a quote, with its neighbours and links", Conversation._open),
    "more": Command(":more", "the next passages for the last question", Conversation._more),
    "paper": Command(":paper N|PAPER_ID", "a paper's record and outline", Conversation._paper),
    "cite": Command(":cite [N...] [STYLE]", f"cite quotes (default: all), as {', '.join(STYLES)}", Conversation._cite),
    "refs": Command(":refs N", "the entries of the paper's reference list that a quote names", Conversation._refs),
    "in": Command(":in [N|PAPER_ID...]", "search only these papers; without any, lift that", Conversation._in),
    "new": Command(":new [QUESTION]", "ask it alone, whatever was asked before; also !QUESTION", Conversation._new),
    "history": Command(":history", "the questions of this conversation", Conversation._history),
    "again": Command(":again [N]", "ask the last question again, or that of this number", Conversation._again),
    "help": Command(":help", "this", Conversation._help),
    "quit": Command(":quit", "end the conversation; also Ctrl-D", Conversation._quit),
}
"""By name."""

_HELP = """\
Ask a question, in words. "and in men?" and "are these effects reversible?" are read with the question before them.
In it: "required phrase", -excluded, section:methods, year:2018..2020, paper:PAPER_ID.
N is the number of a quote, as 2, or of a passage, as p2."""
