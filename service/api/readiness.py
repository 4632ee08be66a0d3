"""Whether a search is answered, tried for whoever asks: that asks for no key, and must not keep the service busy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from anyio import CapacityLimiter, to_thread

_REST = 3.0
"""Times as long as a try took is none made after it: however many ask, they take a quarter of one processor."""
_MAX_REST_S = 1.0
"""The first try loads the model."""


class Readiness:
    """One try at a time. Who asks meanwhile waits for the next one, together with all others: each gets the answer of
    one that began after they asked."""

    def __init__(self, probe: Callable[[], tuple[str, ...]], limiter: CapacityLimiter) -> None:
        """`probe` raises where a search would not be answered; it gives the servers that have no part in it."""
        self._probe = probe
        self._limiter = limiter
        self._turn = asyncio.Lock()
        self._rests_until = 0.0
        self._next: asyncio.Task[tuple[str, ...]] | None = None

    async def check(self) -> tuple[str, ...]:
        """What the try gives. Raises what it raises."""
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._try())
            self._next.add_done_callback(_looked_at)
        return await asyncio.shield(self._next)

    async def _try(self) -> tuple[str, ...]:
        now = asyncio.get_running_loop().time
        async with self._turn:
            await asyncio.sleep(self._rests_until - now())
            self._next = None
            began = now()
            try:
                return await to_thread.run_sync(self._probe, limiter=self._limiter)
            finally:
                self._rests_until = now() + min(_REST * (now() - began), _MAX_REST_S)


def _looked_at(task: asyncio.Task[tuple[str, ...]]) -> None:
    """Nobody may be left who waits for it."""
    if not task.cancelled():
        task.exception()
