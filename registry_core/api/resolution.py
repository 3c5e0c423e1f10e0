"""Resolves the host name of a registration that brought no addresses. Best effort, never for a lookup.

The system's resolver blocks, for as long as it likes. It runs in daemon threads of our own: the
loop's executor waits for its threads at exit, and a dead name server must not hold up an exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Final

from registry_core.domain import names
from registry_core.domain.registration import MAX_ADDRESSES

TIMEOUT_S: Final = 1.0
MAX_PENDING: Final = 8


def _system_addresses(host: str) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class Resolver:
    """Finds addresses with `lookup`, which may block and may raise OSError or UnicodeError."""

    def __init__(
        self, lookup: Callable[[str], Iterable[str]] = _system_addresses, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._lookup = lookup
        self._timeout_s = timeout_s
        self._pending = threading.BoundedSemaphore(MAX_PENDING)

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host`, sorted; none when they cannot be had in time."""
        address = names.ip_address(host)
        if address is not None:
            return (address.compressed,)
        # When all threads hang on a dead name server, a registration does without; it never queues.
        if not self._pending.acquire(blocking=False):
            return ()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[tuple[str, ...]] = loop.create_future()

        def deliver(addresses: tuple[str, ...]) -> None:
            if not found.done():
                found.set_result(addresses)

        def work() -> None:
            addresses: tuple[str, ...] = ()
            try:
                with contextlib.suppress(OSError, UnicodeError):
                    addresses = usable(self._lookup(host))
            finally:
                self._pending.release()
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(deliver, addresses)

        threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await found
        except TimeoutError:
            return ()


def usable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return those that a registration may hold: sorted, so that the same answer is the same record."""
    parsed = (names.ip_address(address) for address in addresses)
    good = {p.compressed for p in parsed if p is not None and not p.is_unspecified and not p.is_multicast}
    return tuple(sorted(good)[:MAX_ADDRESSES])
