"""What a conversation has for a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.printable import clean
from service.terminal.answers import PASSAGE_MARK, show_answer, show_each, show_references
from service.terminal.lines import console_of, note, note_missing, print_line, print_wrapped, styled
from service.terminal.papers import show_paper, show_passage

if TYPE_CHECKING:
    from service.chat import Reply


def show_reply(reply: Reply) -> None:
    """What a conversation has for a line."""
    from service.chat import Asked, Cited, Note, References
    from service.replies import Answer, PaperReply, PassageReply

    console = console_of()
    match reply:
        case Note():
            note(reply.text)
        case Answer():
            show_answer(reply, PASSAGE_MARK)
            note_missing(reply.missing_shards)
        case PaperReply():
            show_paper(reply)
        case PassageReply():
            show_passage(reply)
            links = reply.passage.citation.links
            for link in (links.doi, f"{links.reader} (of `loccit serve`)"):
                if link and link != reply.passage.citation.url:
                    print_line(console, link, "dim")
        case References():
            print_line(console, f"{reply.label} cites", "bold")
            show_references(console, reply.references)
        case Cited():
            for line in reply.text.splitlines():
                print_line(console, line)
        case Asked():
            for n, asked in enumerate(reply.questions, start=1):
                print_wrapped(console, styled(clean(asked.said)), lead=f"{n:>2}  ")
                if asked.how:
                    print_wrapped(console, styled(clean(f"read as: {asked.text}"), style="dim"))
        case _:
            show_each(console, reply.hits, PASSAGE_MARK)
            note_missing(reply.missing_shards)
