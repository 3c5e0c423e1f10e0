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
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from registry_core.blocking import Job, NoThread, Threads
from registry_core.domain import names
from registry_core.domain.registration import MAX_ADDRESSES

TIMEOUT_S: Final = 1.0
MAX_PENDING: Final = 8
# How long the answer for a server whose address is known is waited for.
KNOWN_S: Final = 0.25
# Where to listen is asked for once, at the start, and there is nothing to be done without an answer.
LISTEN_S: Final = 5.0
# Servers whose addresses are remembered, and questions about them that are under way at a time.
MAX_SERVERS: Final = 256
MAX_SERVERS_PENDING: Final = 32

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
# What says that there is no such name, and not that the name server is away. EAI_NODATA is glibc's own.
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

AskSystem: TypeAlias = Callable[[str], Iterable[str]]


def _system_addresses(host: str) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _asked(ask: AskSystem, host: str) -> tuple[str, ...]:
    """Return what `ask` says of `host`. Blocks. Raises OSError, whatever goes wrong."""
    try:
        return tuple(ask(host))
    except OSError:
        raise
    except Exception as error:  # a name that is none (an empty label, one that is too long), or a library at its end
        raise OSError(None, f"it cannot be looked up: {error}") from error


class Resolver:
    """Finds the addresses of registered hosts with `ask`, which may block and may raise OSError or UnicodeError."""

    def __init__(self, ask: AskSystem = _system_addresses, *, timeout_s: float = TIMEOUT_S) -> None:
        self._ask = ask
        self._timeout_s = timeout_s
        self._threads = Threads("resolve", MAX_PENDING)

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host`, sorted; none when they cannot be had in time."""
        address = names.canonical_ip(host)
        if address is not None:
            return (address,)
        # When all threads hang on a dead name server, a registration does without; it never queues.
        with contextlib.suppress(OSError):
            return usable(await self._threads.run(partial(_asked, self._ask, host), timeout_s=self._timeout_s))
        return ()


async def addresses_to_listen_on(host: str) -> tuple[str, ...]:
    """Return the addresses that `host`, an address or a name of this machine, stands for.

    Raises OSError when it stands for none, or nobody says so in time.
    """
    if names.ip_address(host) is not None or "%" in host:  # one with a scope is an address, too
        return (host,)
    return await Threads("resolve", 1).run(partial(_asked, _system_addresses, host), timeout_s=LISTEN_S)


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
        return _resolved(host, await self.addresses(host), port, family)

    async def close(self) -> None:
        """Do nothing: its threads end by themselves."""


def _resolved(host: str, addresses: Iterable[str], port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """Return `addresses` as aiohttp wants them. Raises OSError when there are none of that family."""
    found = []
    for address in addresses:
        kind = _FAMILIES[ipaddress.ip_address(address).version]
        if family in (socket.AF_UNSPEC, kind):
            found.append(
                ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            )
    if not found:
        raise OSError(None, f"{host} has no address that could be found in time")
    return found


class ServerAddresses:
    """Finds the addresses of servers that are connected to again and again.

    A name is asked for at each connection, since a server may have moved; its last known addresses do while the
    name server says nothing. One question about a name is under way at a time for all that ask, and it is
    waited for until `timeout_s` after it was asked, or KNOWN_S where there is an address already: a silent name
    server costs that once, and not each connection. An answer that comes later counts for the next connection.
    """

    def __init__(self, ask: AskSystem = _system_addresses, *, timeout_s: float = TIMEOUT_S) -> None:
        self._ask = ask
        self._timeout_s = timeout_s
        self._threads = Threads("resolve server", MAX_SERVERS_PENDING)
        self._lookups: dict[str, Job[tuple[str, ...]]] = {}
        self._known: dict[str, tuple[str, ...]] = {}

    async def find(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host`, in the order in which they are to be tried (RFC 6724).

        Raises OSError when there is no such name, or nobody says where it is and it was never known.
        """
        if names.ip_address(host) is not None:
            return (host,)
        lookup = self._under_way(host)
        if lookup is not None:
            patience_s = min(self._timeout_s, KNOWN_S) if host in self._known else self._timeout_s
            await lookup.wait(lookup.began + patience_s - time.monotonic())
        answer = _answer(lookup)
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

    def _under_way(self, host: str) -> Job[tuple[str, ...]] | None:
        """Return the question about `host` that is under way, or a new one; None when none can be asked now."""
        for name, lookup in list(self._lookups.items()):
            if lookup.done:
                del self._lookups[name]
                answer = _answer(lookup)
                if isinstance(answer, tuple) and answer:
                    self._remember(name, answer)  # it may have come too late for those who had asked
        if host not in self._lookups:
            try:
                self._lookups[host] = self._threads.begin(partial(_asked, self._ask, host))
            except NoThread:
                return None
        return self._lookups[host]

    def _remember(self, host: str, addresses: tuple[str, ...]) -> None:
        # Sentinels may name servers for ever: the one that was not asked for longest is forgotten.
        self._known.pop(host, None)
        while len(self._known) >= MAX_SERVERS:
            del self._known[next(iter(self._known))]
        self._known[host] = addresses


class ServerResolver(AbstractResolver):
    """Resolves the few servers that a program goes on speaking to, as aiohttp wants it.

    A server is found where it was last while the name server says nothing.
    """

    def __init__(self, servers: ServerAddresses | None = None) -> None:
        self._servers = servers if servers is not None else ServerAddresses()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return where `host` and `port` are, as aiohttp wants it. Raises OSError when nowhere."""
        return _resolved(host, await self._servers.find(host), port, family)

    async def close(self) -> None:
        """Do nothing: its threads end by themselves."""


def _answer(lookup: Job[tuple[str, ...]] | None) -> tuple[str, ...] | OSError | None:
    """Return what was answered; None when nothing was, yet."""
    if lookup is None or not lookup.done:
        return None
    try:
        return lookup.result()
    except OSError as error:
        return error
