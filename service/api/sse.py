"""Events of a synchronous iterator, sent as they come or waited for. Knows not what they say, nor the forms of errors.

Each step runs in a worker thread. A client that goes away closes the iterator, at its next step at the latest, and so
does a request that is cancelled.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Callable, Generator
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, get_cancelled_exc_class, to_thread
from fastapi import Request
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT
from starlette.types import Receive, Scope, Send

from indexer.errors import LoccitError, OverloadError
from service.access.turns import end_turn

MEDIA_TYPE = "text/event-stream"
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""Proxies are to pass events on as they come."""
_QUIET_S = 10.0
"""Proxies cut connections that say nothing for longer, mostly from 30 s on."""
_PAUSE_S = 0.05

_Event = TypeVar("_Event")
Events = Generator[_Event, None, None]


async def step(events: Events[_Event], limiter: CapacityLimiter | None = None) -> _Event | None:
    """The next event, worked out in a thread; None after the last. Cancelled, it closes the iterator."""
    try:
        return await to_thread.run_sync(next, events, None, limiter=limiter)
    except get_cancelled_exc_class():
        await close(events)
        raise


async def last(events: Events[_Event], http: Request, writers: CapacityLimiter) -> _Event | None:
    """The last of the events that come after a first step, each waited for as one of the `writers`.

    None where there are none, and where the client goes away meanwhile. The iterator is closed, whatever happens.
    """
    found: _Event | None = None
    try:
        let_write(http, writers)
        while not await http.is_disconnected():
            event = await step(events, writers)
            if event is None:
                return found
            found = event
        return None
    finally:
        await close(events)


def let_write(http: Request, writers: CapacityLimiter) -> None:
    """Leave the turn of a search to others. Raises OverloadError where too many answers are being written already."""
    if writers.available_tokens < 1:
        raise OverloadError(f"{writers.borrowed_tokens} answers are being written already: try again when one is done")
    end_turn(http.scope)


async def admit(events: Events[_Event], http: Request, writers: CapacityLimiter) -> None:
    """The same before events are sent as they come; the iterator is closed where that is refused."""
    try:
        let_write(http, writers)
    except OverloadError:
        await close(events)
        raise


async def close(events: Events[_Event]) -> None:
    """Close the iterator, whether or not the request was cancelled."""
    with CancelScope(shield=True):
        await to_thread.run_sync(_close, events)


def _close(events: Events[_Event]) -> None:
    while inspect.getgeneratorstate(events) == inspect.GEN_RUNNING:  # a step that asyncio no longer waits for
        time.sleep(_PAUSE_S)
    events.close()


class EventStream(StreamingResponse):
    """The events from `first` on; a known failure among them is the last one."""

    def __init__(
        self,
        first: _Event,
        events: Events[_Event],
        written: Callable[[_Event], bytes],
        failed: Callable[[LoccitError], bytes],
        limiter: CapacityLimiter,
    ) -> None:
        """`written` gives an event as it is sent, empty for one that is not, and `failed` a failure."""

        async def frames() -> AsyncIterator[bytes]:
            event: _Event | None = first
            spoken = 0.0
            try:
                while event is not None:
                    frame = written(event)
                    if frame or time.monotonic() - spoken > _QUIET_S:
                        spoken = time.monotonic()
                        yield frame or KEEPALIVE_COMMENT
                    event = await step(events, limiter)
            except LoccitError as error:
                yield failed(error)

        super().__init__(frames(), media_type=MEDIA_TYPE, headers=_HEADERS)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, and let go of them whatever happens."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await close(self._events)
