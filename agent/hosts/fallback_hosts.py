"""Keeps the addresses of the fallback's host names up to date."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Final

from agent.hosts.book import HostAddresses

LOCATE_EVERY_S: Final = 60.0
# While a name has no address: at first, and then twice as long each time, since there may be no such name. The book
# does not wait for an answer that is late, but has it for the next caller.
LOCATE_AGAIN_S: Final = 5.0


class FallbackHosts:
    """Looks up the names that `hosts` gives, and passes their addresses to `located`."""

    def __init__(
        self,
        book: HostAddresses,
        hosts: Callable[[], Collection[str]],
        located: Callable[[Mapping[str, tuple[str, ...]]], None],
        *,
        every_s: float = LOCATE_EVERY_S,
        again_s: float = LOCATE_AGAIN_S,
    ) -> None:
        self._book = book
        self._hosts = hosts
        self._located = located
        self._every_s = every_s
        self._again_s = again_s
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Look the names up now, because there are others."""
        self._changed.set()

    async def run(self) -> None:
        """Look the names up periodically, until cancelled."""
        again_s = self._again_s
        while True:
            self._changed.clear()
            hosts = tuple(self._hosts())
            wait_s = None
            if hosts:
                found = await asyncio.gather(*map(self._book.addresses, hosts))
                self._located(dict(zip(hosts, found, strict=True)))
                wait_s = self._every_s if all(found) else min(again_s, self._every_s)
                again_s = self._again_s if all(found) else 2 * wait_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
                    again_s = self._again_s
