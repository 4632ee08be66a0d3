"""The log: one record a line on stderr, as text or as JSON, of whatever logs in this process.

No line can be forged: control characters, line ends and marks that turn the writing direction are taken out, or written
as escapes. Libraries speak only when they warn: what some say of every request has its headers in it.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from service.config import LogFormat, LogLevel
from service.printable import clean, one_line

OURS = ("service", "indexer")
"""The loggers that `level` is for."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is worked on in this context; copied into the threads that work on it."""


@contextmanager
def logging_to_stderr(form: LogFormat, level: LogLevel) -> Iterator[None]:
    """Within, the log goes to stderr and nowhere else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    loggers = {root: logging.WARNING} | {logging.getLogger(name): logging.getLevelName(level.upper()) for name in OURS}
    handlers, levels = root.handlers, {each: each.level for each in loggers}
    root.handlers = [handler]
    for each, least in loggers.items():
        each.setLevel(least)
    try:
        yield
    finally:
        root.handlers = handlers
        for each, before in levels.items():
            each.setLevel(before)


def fields(**named: object) -> dict[str, Mapping[str, object]]:
    """`extra` of a record: what it says by name. JSON has these as members; the text says them in its message."""
    return {"fields": named}


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _traceback(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return "".join(traceback.format_exception(record.exc_info[1]))


class _Text(logging.Formatter):
    """`2026-01-31T12:00:00.000Z WARNING [request id] message`, and a traceback in lines of its own below."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        identity = request_id.get()
        line = (
            f"{_time(record)} {record.levelname} {f'[{identity}] ' if identity else ''}{one_line(record.getMessage())}"
        )
        told = _traceback(record)
        # Indented: what an error says cannot look like a record.
        return "\n".join((line, *(f"    {clean(each)}" for each in told.rstrip("\n").split("\n") if told)))


class _Json(logging.Formatter):
    """An object on one line, in ASCII: every character that could be more than itself is an escape."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as an object."""
        said: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if identity := request_id.get():
            said["request_id"] = identity
        said |= getattr(record, "fields", {})
        if told := _traceback(record):
            said["traceback"] = told
        return json.dumps(said, default=str)
