"""An answer as a message of a chat: Markdown, written piece by piece, and where in it its sources are named.

Knows nothing of the protocols that carry it. Chat front ends read `\\[` as the beginning of a formula, so that brackets
of a paper are character references here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from service.answer import Highlight, Quote
from service.cite import Citation, reader_url
from service.formats.markdown import OTHERS, escaped, link, not_all, said
from service.printable import one_line
from service.replies import Answer, Hit, Statement

MAX_NEAREST = 3
"""Passages that are shown where none answers; the others are further off still."""
_NUMBERS = re.compile(r" ?((?:\[\d+\])*)$")
"""The quotes' numbers at the end of a statement."""
_ESCAPE = re.compile(r"\\(.)")
_BRACKETS = {"[": "&#91;", "]": "&#93;"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the message that names a source: a number, or a link."""

    start: int
    end: int
    """Half-open offsets into the content, in Unicode code points."""
    citation: Citation


class Message:
    """A message as it comes about. Each method gives what it adds to `content`."""

    def __init__(self, base_url: str) -> None:
        """`base_url` is what links to the service's reader begin with, without a slash at the end."""
        self.content = ""
        self.marks: list[Mark] = []
        self.is_whole = False
        self._base_url = base_url
        self._quotes: dict[int, Quote] = {}

    def remark(self, text: str) -> str:
        """A word beside the answer, in italics."""
        return self._block(f"*{escaped(one_line(text))}*")

    def reply(self, text: str) -> str:
        """The whole message, as it stands."""
        self.is_whole = True
        return self._write(text)

    def state(self, statement: Statement) -> str:
        """A sentence of a model, with the numbers of its quotes."""
        begins = not self._quotes
        self._quotes |= {each.n: each for each in statement.quotes}
        numbers = _NUMBERS.search(statement.text)
        assert numbers is not None
        sentence = escaped(one_line(statement.text[: numbers.start()]))
        marked = [self._number(self._quotes[int(n)]) for n in re.findall(r"\d+", numbers[1])]
        return self._block(sentence, " ", *marked) if begins else self._write(" ", sentence, " ", *marked)

    def finish(self, answer: Answer) -> str:
        """What is left of an answer when its statements were given: the quotes or nearest passages, and the sources."""
        self.is_whole = True
        return "".join(self._rest(answer))

    def _rest(self, answer: Answer) -> Iterator[str]:
        yield self._block(f"**{escaped(said(answer))}**")
        if answer.note:
            yield self.remark(answer.note)
        if answer.missing_shards:
            yield self.remark(not_all(answer))
        if not answer.quotes:
            for hit in answer.hits[:MAX_NEAREST]:
                yield self._nearest(hit)
            return
        written = answer.kind == "generated"
        if not written:
            for each in answer.quotes:
                yield self._block("> ", escaped(one_line(each.text)), " ", self._number(each), OTHERS[each.basis])
        yield self._block("**Sources**")
        for each in answer.quotes:
            quoted = f"\n{_indent(each.n)}> {escaped(one_line(each.text))}{OTHERS[each.basis]}" if written else ""
            gap = "\n\n" if written or each.n == 1 else "\n"
            place, _ = self._link(each.citation)  # its number is marked, above
            yield self._write(gap, f"{each.n}. ", place, _paper(each.citation), quoted)

    def _nearest(self, hit: Hit) -> str:
        """A passage that does not answer: its place, and what in it is nearest."""
        marks = hit.highlights or (Highlight(0, len(hit.text)),)
        quoted = " … ".join(one_line(hit.text[mark.start : mark.end]) for mark in marks)
        return self._block(
            f"{hit.rank}. ", self._link(hit.citation), _paper(hit.citation), f"\n{_indent(hit.rank)}> {escaped(quoted)}"
        )

    def _number(self, quote: Quote) -> tuple[str, Citation]:
        return f"[{quote.n}]", quote.citation

    def _link(self, citation: Citation) -> tuple[str, Citation]:
        return link(citation.label, reader_url(self._base_url, citation)), citation

    def _block(self, *parts: str | tuple[str, Citation]) -> str:
        return self._write("\n\n" if self.content else "", *parts)

    def _write(self, *parts: str | tuple[str, Citation]) -> str:
        """Add parts; one with a citation is marked as naming it."""
        began = len(self.content)
        for part in parts:
            text, citation = (part, None) if isinstance(part, str) else part
            start = len(self.content)
            self.content += _ESCAPE.sub(lambda found: _BRACKETS.get(found[1], found[0]), text)
            if citation is not None:
                self.marks.append(Mark(start, len(self.content), citation))
        return self.content[began:]


def _paper(citation: Citation) -> str:
    """`, *Why limpets hold on*, [10.5555/limpets](https://doi.org/10.5555/limpets)`: what is known of it."""
    title = f"*{escaped(one_line(citation.title))}*" if citation.title else ""
    doi = link(citation.doi, citation.links.doi) if citation.doi else ""
    return "".join(f", {each}" for each in (title, doi) if each)


def _indent(n: int) -> str:
    return " " * (len(str(n)) + 2)
