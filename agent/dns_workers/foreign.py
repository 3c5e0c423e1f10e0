"""Names of others in a DNS worker: its agent is asked, which forwards for all its processes.

So there is one memory of foreign answers, one opinion of each resolver, and one eye for questions that
come back, whichever process they come back to.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Final

from agent.dns_workers.wire import Foreign, Forwarded, post
from dns.codec import Query

# Questions that wait for the agent. It answers at once when too many wait for others; this is for when it
# answers nothing at all.
MAX_WAITING: Final = 4096


class Relay:
    """What a worker's responder forwards with."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    def answer(self, query: Query, message: bytes, size: int) -> asyncio.Future[bytes]:
        """Return what will be the answer; cancelled when there will be none. The agent reads `message` itself."""
        del query
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= MAX_WAITING:
            answer.cancel()
        else:
            number = next(self._numbers)
            self._waiting[number] = answer
            post(self._writer, Foreign(number, message, size))
        return answer

    def take(self, forwarded: Forwarded) -> None:
        """Take the agent's word on one question."""
        waiting = self._waiting.pop(forwarded.number)
        if forwarded.answer is None:
            waiting.cancel()
        else:
            waiting.set_result(forwarded.answer)

    def close(self) -> None:
        """Give up what waits."""
        for waiting in self._waiting.values():
            waiting.cancel()
        self._waiting.clear()
