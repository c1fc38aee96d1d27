"""News for browsers that listen: server-sent events, told from any thread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

# A comment is sent so often that a browser that is gone is noticed [s].
_BEAT_S = 1.0


class Hub:
    """Tells every browser that listens.

    Args:
        news: what to tell, as it is when it is told; what a slow browser has missed is not told again.
        ended: whether the program ends.
    """

    def __init__(self, news: Callable[[], dict[str, Any]], ended: Callable[[], bool]) -> None:
        self._news = news
        self._ended = ended
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listening: set[asyncio.Event] = set()

    def tell(self) -> None:
        """Something is new; may be called by any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake)

    async def listen(self) -> AsyncIterator[bytes]:
        """The events for one browser, until the program ends."""
        self._loop = asyncio.get_running_loop()
        event = asyncio.Event()
        self._listening.add(event)
        try:
            yield self._event()
            while not self._ended():
                try:
                    await asyncio.wait_for(event.wait(), _BEAT_S)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                event.clear()
                yield self._event()
            yield b"event: end\ndata: {}\n\n"
        finally:
            self._listening.discard(event)

    def _wake(self) -> None:
        for event in self._listening:
            event.set()

    def _event(self) -> bytes:
        return f"data: {json.dumps(self._news())}\n\n".encode()
