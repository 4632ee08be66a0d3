"""Lines from whoever asks: typed in a terminal, with editing and a history over sessions, or piped.

Reads lines, hands them to a conversation and its replies on; knows nothing of either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from io import TextIOWrapper
from pathlib import Path

from platformdirs import user_state_path

from indexer.durable import make_folder, write_whole
from indexer.errors import LoccitError, UsageError
from service import terminal
from service.chat import Conversation, Reply

MAX_HISTORY = 1_000
"""Lines that are kept from session to session."""
_PROMPT = "> "


def converse(conversation: Conversation, show: Callable[[Reply], None], ready: Callable[[], object]) -> None:
    """Read lines and show what the conversation has for each, until it ends or they do.

    A known failure is a line on stderr. Ctrl-C gives up a line that is typed, and ends all where lines are piped.
    `ready` is called before a line is answered, and what it raises comes through. Raises UsageError for a pipe without
    a line.
    """
    typed = sys.stdin is not None and sys.stdin.isatty()
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # one line that is not text does not end the others
    with _history() if typed else nullcontext():
        n_lines = _converse(conversation, show, ready, typed)
    if not n_lines and not typed:
        raise UsageError('no question: run `loccit ask "..."`, or give questions on stdin, one a line')


def _converse(
    conversation: Conversation, show: Callable[[Reply], None], ready: Callable[[], object], typed: bool
) -> int:
    """The same; gives how many lines had something in them."""
    n_lines = 0
    said: str | None = "Ask a question; :help lists the commands, Ctrl-D ends." if typed else None
    while not conversation.ended:
        try:
            if said is not None:
                terminal.note(said)
            said = ""  # Ctrl-C while a line is typed: the next prompt has a line of its own
            line = _read(typed)
            if line is None:
                break
            said = "stopped"
            n_lines += not line.isspace() and line != ""
            ready()
            _answer(conversation, line, show)
            said = None
        except KeyboardInterrupt:
            if not typed:
                raise
    return n_lines


def _answer(conversation: Conversation, line: str, show: Callable[[Reply], None]) -> None:
    try:
        for reply in conversation.say(line):
            show(reply)
    except LoccitError as error:
        terminal.complain(str(error))


def _read(typed: bool) -> str | None:
    """The next line; None after the last. Its prompt is on stdout only where the line editor has it there."""
    if typed and sys.stdout.isatty():
        try:
            return input(_PROMPT)
        except EOFError:
            line = ""
    else:
        if typed:
            sys.stderr.write(_PROMPT)
            sys.stderr.flush()
        line = sys.stdin.readline() if sys.stdin is not None else ""
    if typed and not line:
        terminal.note("")
    return line or None


def history_file() -> Path:
    """Where typed lines are kept. It may not be there yet, or not to be read or written."""
    return user_state_path("loccit") / "history"


def read_history(path: Path) -> list[str]:
    """The lines kept in `path`, the oldest first; none where there is no such file. Raises OSError."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.split("\n") if line][-MAX_HISTORY:]


def add_history(path: Path, lines: Sequence[str]) -> None:
    """Keep these lines too, for their user's eyes only, and the newest ones if they are too many. Raises OSError."""
    flat = [" ".join(line.split()) for line in lines]
    kept = [*read_history(path), *flat][-MAX_HISTORY:]  # with what another conversation has added meanwhile
    make_folder(path.parent)
    write_whole(path, "".join(f"{line}\n" for line in kept).encode(errors="replace"), mode=0o600)


@contextmanager
def _history() -> Iterator[None]:
    """The line editor's history, with that of earlier sessions; kept afterwards. Without an editor, or a file that can
    be read and written, there is none."""
    try:
        import readline
    except ImportError:
        yield
        return
    path = history_file()
    with suppress(OSError):
        for line in read_history(path):
            readline.add_history(line)
    n_before = readline.get_current_history_length()
    try:
        yield
    finally:
        added = range(n_before + 1, readline.get_current_history_length() + 1)
        with suppress(OSError):
            add_history(path, [line for n in added if (line := readline.get_history_item(n))])
