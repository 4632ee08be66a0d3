"""The stages of a request's work, told to whoever listens in this request. Knows nothing of what becomes of them.

Nobody listens on the command line, and a stage costs a fraction of a microsecond then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Literal, get_args

Stage = Literal["encode", "candidates", "score", "rerank", "passages", "generate"]
"""The question's vector; candidates by vector and by words; their scores; a cross-encoder; the passages read and cited;
a model's answer, as long as it is written and sent."""
STAGES: tuple[Stage, ...] = get_args(Stage)

Listener = Callable[[Stage], AbstractContextManager[object]]
"""Gives what is entered when a stage begins, and left when it ends: maybe in another thread, and several at once."""

_UNHEARD = nullcontext()
_listener: ContextVar[Listener | None] = ContextVar("stage_listener", default=None)


def stage(name: Stage) -> AbstractContextManager[object]:
    """A block that is one stage."""
    listener = _listener.get()
    return _UNHEARD if listener is None else listener(name)


def listen(listener: Listener | None) -> None:
    """Tell `listener` of every stage from now on, in this context and in those that are copied from it."""
    _listener.set(listener)
