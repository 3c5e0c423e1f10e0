"""Host names to addresses, for all that a registry or an agent connects to: bounded in time and in threads.

The system's resolver blocks for as long as its name servers like, and both the loop's executor and uvloop's
wait for it when the process ends. So it is asked in daemon threads, a few at a time: a name that cannot be
resolved in time counts as not resolvable, and a dead name server holds up no exit. No lookup waits for any of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from registry_core.domain import names
from registry_core.domain.registration import MAX_ADDRESSES

TIMEOUT_S: Final = 1.0
MAX_PENDING: Final = 8
# Servers whose addresses are remembered, and questions about them that are under way at a time.
MAX_SERVERS: Final = 256
MAX_SERVERS_PENDING: Final = 32

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
# What says that there is no such name, and not that the name server is away. EAI_NODATA is glibc's own.
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

AskSystem: TypeAlias = Callable[[str], Iterable[str]]


def _system_addresses(host: str) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class _ThreadedLookup:
    """One question, asked by `ask` in a daemon thread. Tasks of any loop may wait for its answer."""

    def __init__(self, ask: AskSystem, host: str, ended: Callable[[], None] = lambda: None) -> None:
        """`ended` is called in the thread, before anybody has the answer."""
        self.began = time.monotonic()
        self.answer: tuple[str, ...] | OSError | None = None  # None: there is none yet
        self._ask, self._host, self._ended = ask, host, ended
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        threading.Thread(target=self._work, name=f"resolve {host}", daemon=True).start()

    def _work(self) -> None:
        answer: tuple[str, ...] | OSError = OSError("it cannot be looked up")
        try:
            answer = tuple(self._ask(self._host))
        except OSError as error:
            answer = error
        except UnicodeError as error:  # no name at all: an empty label, or one that is too long
            answer = OSError(None, str(error))
        finally:
            self._ended()
            self.answer = answer
            for loop, told in tuple(self._waiting):
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(_tell, told)

    async def wait(self, most_s: float) -> tuple[str, ...] | OSError | None:
        """Return the answer, or None when there is none within `most_s`."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        self._waiting.append((loop, told))
        # In this order: an answer that came just before the list was read again is seen here.
        if self.answer is None and most_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(most_s):
                    await told
        return self.answer


def _tell(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)


class Resolver:
    """Finds the addresses of registered hosts with `ask`, which may block and may raise OSError or UnicodeError."""

    def __init__(self, ask: AskSystem = _system_addresses, *, timeout_s: float = TIMEOUT_S) -> None:
        self._ask = ask
        self._timeout_s = timeout_s
        self._pending = threading.BoundedSemaphore(MAX_PENDING)

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host`, sorted; none when they cannot be had in time."""
        address = names.canonical_ip(host)
        if address is not None:
            return (address,)
        # When all threads hang on a dead name server, a registration does without; it never queues.
        if not self._pending.acquire(blocking=False):
            return ()
        answer = await _ThreadedLookup(self._ask, host, self._pending.release).wait(self._timeout_s)
        return usable(answer) if isinstance(answer, tuple) else ()


def usable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return those that a registration may hold: sorted, so that the same answer is the same record."""
    found = map(names.canonical_ip, addresses)
    good = {address for address in found if address is not None and not names.is_of_nobody(address)}
    return tuple(sorted(good)[:MAX_ADDRESSES])


class HostResolver(AbstractResolver):
    """Resolves for HTTP sessions, as aiohttp wants it, and for checks."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver if resolver is not None else Resolver()
        # Whoever comes beyond the number of threads waits here for its turn, and is not turned away.
        self._turns = asyncio.Semaphore(MAX_PENDING)

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host`; none when they cannot be had in time."""
        async with self._turns:
            return await self._resolver.resolve(host)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return where `host` and `port` are, as aiohttp wants it. Raises OSError when nowhere."""
        found = []
        for address in await self.addresses(host):
            kind = _FAMILIES[ipaddress.ip_address(address).version]
            if family in (socket.AF_UNSPEC, kind):
                found.append(
                    ResolveResult(
                        hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
                    )
                )
        if not found:
            raise OSError(None, f"{host} has no address that could be found in time")
        return found

    async def close(self) -> None:
        """Do nothing: its threads end by themselves."""


class ServerAddresses:
    """Finds the addresses of servers that are connected to again and again.

    A name is asked for at each connection, since a server may have moved; its last known addresses do while the
    name server says nothing. One question about a name is under way at a time for all that ask, and it is
    waited for until `timeout_s` after it was asked: a silent name server costs that once, and not each connection.
    """

    def __init__(self, ask: AskSystem = _system_addresses, *, timeout_s: float = TIMEOUT_S) -> None:
        self._ask = ask
        self._timeout_s = timeout_s
        self._lookups: dict[str, _ThreadedLookup] = {}
        self._known: dict[str, tuple[str, ...]] = {}

    async def find(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host`, in the order in which they are to be tried (RFC 6724).

        Raises OSError when there is no such name, or nobody says where it is and it was never known.
        """
        if names.ip_address(host) is not None:
            return (host,)
        lookup = self._under_way(host)
        if lookup is None:
            answer: tuple[str, ...] | OSError | None = None
        else:
            answer = await lookup.wait(lookup.began + self._timeout_s - time.monotonic())
        match answer:
            case OSError(errno=number) if number in _NO_SUCH_NAME:
                self._known.pop(host, None)
                raise answer
            case tuple() if answer:
                self._remember(host, answer)
                return answer
        known = self._known.get(host)
        if known is not None:
            return known
        if isinstance(answer, OSError):
            raise answer
        raise socket.gaierror(socket.EAI_AGAIN, "its name is not resolved: no name server answers")

    def _under_way(self, host: str) -> _ThreadedLookup | None:
        """Return the question about `host` that is under way, or a new one; None when there are too many."""
        for name, lookup in list(self._lookups.items()):
            if lookup.answer is not None:
                del self._lookups[name]
                if isinstance(lookup.answer, tuple) and lookup.answer:
                    self._remember(name, lookup.answer)  # it may have come too late for those who had asked
        if host not in self._lookups:
            if len(self._lookups) >= MAX_SERVERS_PENDING:
                return None
            self._lookups[host] = _ThreadedLookup(self._ask, host)
        return self._lookups[host]

    def _remember(self, host: str, addresses: tuple[str, ...]) -> None:
        # Sentinels may name servers for ever: the one that was not asked for longest is forgotten.
        self._known.pop(host, None)
        while len(self._known) >= MAX_SERVERS:
            del self._known[next(iter(self._known))]
        self._known[host] = addresses
