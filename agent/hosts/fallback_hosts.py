"""Keeps the addresses of the fallback's host names up to date."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Final

from agent.hosts.book import HostAddresses

LOCATE_EVERY_S: Final = 60.0


class FallbackHosts:
    """Looks up the names that `hosts` gives, and passes their addresses to `located`."""

    def __init__(
        self,
        book: HostAddresses,
        hosts: Callable[[], Collection[str]],
        located: Callable[[Mapping[str, tuple[str, ...]]], None],
    ) -> None:
        self._book = book
        self._hosts = hosts
        self._located = located
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Look the names up now, because there are others."""
        self._changed.set()

    async def run(self) -> None:
        """Look the names up periodically, until cancelled."""
        while True:
            self._changed.clear()
            hosts = tuple(self._hosts())
            if hosts:
                found = await asyncio.gather(*map(self._book.addresses, hosts))
                self._located(dict(zip(hosts, found, strict=True)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOCATE_EVERY_S if hosts else None):
                    await self._changed.wait()
