"""How many requests are worked on at once, how many wait, and for how long; the rest is refused, while that is cheap.

More at once than there are processors would only slow one another down, and a queue without an end makes every client
wait for replies that those before have given up on. A turn begins once the whole request is there and ends with the
first byte of its reply, so that neither a slow sender nor a slow reader has one; nor has one who waits for a model.

Honestly about time: a thread that works in Python cannot be stopped. A request that waited too long is never begun, and
nor is one whose client has left. One that takes too long is answered with an error in time, but what it began goes on,
and keeps its turn until it ends: no more than so many are ever at work, whatever they do.
"""

from __future__ import annotations

import asyncio

from anyio import CancelScope, CapacityLimiter, WouldBlock, move_on_after
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from indexer.errors import OverloadError
from service.access.guard import PROBES, STATIC
from service.access.policy import Policy, Refuse

MAX_WAIT_S = 5.0
"""For a turn. A reader goes away after some ten seconds, and the work has to be done too."""
FREE = frozenset({*PROBES, "/metrics", "/signin", "/signout"})
"""What is answered at once, however busy the service is."""


class Turn:
    """A request's turn, from when it was given until the reply begins."""

    def __init__(self, turns: CapacityLimiter) -> None:
        self._turns = turns
        self._timer: asyncio.TimerHandle | None = None
        self._is_held = False
        self.late: asyncio.Task[None] | None = None
        """Tells the client that the reply does not come in time."""

    async def take(self) -> bool:
        """Wait for it; False where it does not come in time."""
        with move_on_after(MAX_WAIT_S):
            await self._turns.acquire_on_behalf_of(self)
            self._is_held = True
        return self._is_held

    def take_at_once(self) -> bool:
        """Take it if there is one."""
        try:
            self._turns.acquire_on_behalf_of_nowait(self)
        except WouldBlock:
            return False
        self._is_held = True
        return True

    def end_by(self, timer: asyncio.TimerHandle) -> None:
        """The timer that goes off unless the turn ends before."""
        self._timer = timer

    def end(self) -> None:
        """Leave it to the next one. May be called again."""
        if self._timer is not None:
            self._timer.cancel()
        if self._is_held:
            self._is_held = False
            self._turns.release_on_behalf_of(self)


class Turns:
    """Passes each request on when it is its turn, and refuses what comes when too many wait."""

    def __init__(self, app: ASGIApp, *, turns: CapacityLimiter, policy: Policy, refuse: Refuse) -> None:
        """`turns` has as many tokens as requests may be at work."""
        self._app = app
        self._turns = turns
        self._max_waiting = policy.max_waiting
        self._timeout_s = policy.request_timeout_s
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its body read, or refuse it."""
        if scope["type"] != "http" or scope["path"] in FREE or scope["path"].startswith(STATIC):
            await self._app(scope, receive, send)
            return
        turn = Turn(self._turns)
        try:
            if not turn.take_at_once():
                first = await receive()  # the body
                if not await self._waited(turn):
                    await self._refused(scope, send, "the service has more to do than it can: try again in a moment")
                    return
                if await _has_left(receive):
                    return
                receive = _after(first, receive)
            await self._worked(turn, scope, receive, send)
        finally:
            turn.end()

    async def _waited(self, turn: Turn) -> bool:
        if self._turns.statistics().tasks_waiting >= self._max_waiting:
            return False
        return await turn.take()

    async def _worked(self, turn: Turn, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()

        def too_late() -> None:
            said = f"this took longer than {self._timeout_s:g} s: ask for less, or try again when less is going on"
            turn.late = loop.create_task(self._refused(scope, send, said))

        async def sent(message: Message) -> None:
            if turn.late is not None:
                return  # the client was told
            if message["type"] == "http.response.start":
                turn.end()
            await send(message)

        turn.end_by(loop.call_later(self._timeout_s, too_late))
        scope.setdefault("state", {})["turn"] = turn
        try:
            await self._app(scope, receive, sent)
        finally:
            if turn.late is not None:
                await turn.late

    async def _refused(self, scope: Scope, send: Send, why: str) -> None:
        await self._refuse(Request(scope), OverloadError(why))(scope, _nothing, send)


def end_turn(scope: Scope) -> None:
    """Leave the turn to others: from here on the request waits for someone else, and takes its own time."""
    turn = scope.get("state", {}).get("turn")
    if isinstance(turn, Turn):
        turn.end()


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


async def _has_left(receive: Receive) -> bool:
    """Whether the client has gone: looks, and does not wait."""
    with CancelScope() as looking:
        looking.cancel()
        message = await receive()
        return bool(message["type"] == "http.disconnect")
    return False


def _after(first: Message, receive: Receive) -> Receive:
    """Gives the message that was read already, and then what comes."""
    left: list[Message] = [first]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again
