"""Resolves the host names that a registry or an agent connects to, with limits on time and threads.

The system's resolver blocks for as long as its name servers do, and both asyncio's and uvloop's executors wait
for it at exit. So a few daemon threads call it instead: its callers wait for a limited time, and a dead name server
does not delay the exit. Service lookups never wait for it. An agent has an address book of its own (`agent/hosts/`).
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from registry_core.blocking import Job, NoThread, Threads
from registry_core.domain import names
from registry_core.domain.host_port import ANY_IPV4, ANY_IPV6
from registry_core.domain.registration import MAX_ADDRESSES

TIMEOUT_S: Final = 1.0
# The host of a registration. glibc asks its second name server after 5 s.
REGISTERED_S: Final = 6.0
# How long to wait for a fresh answer when a server's address is already known.
KNOWN_S: Final = 0.25
# The listening address is resolved once, at startup, and the program cannot run without it.
LISTEN_S: Final = 5.0
# Servers whose addresses are remembered, and lookups of them that may run at a time.
MAX_SERVERS: Final = 256
MAX_SERVERS_PENDING: Final = 32

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
# The errors that mean "no such name", not "the name server is away". EAI_NODATA exists in glibc only.
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

AskSystem: TypeAlias = Callable[[str], Iterable[str]]


class NotResolved(socket.gaierror):
    """Raised when a name has no address: `errno` is that of getaddrinfo(3), and the text is for people."""


def _system_addresses(host: str) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def system_addresses(host: str) -> tuple[str, ...]:
    """Return the addresses of `host` from the system's resolver, in its order. Blocks. Raises OSError."""
    return _asked(_system_addresses, host)


def is_no_such_name(error: OSError) -> bool:
    """Return whether an error of the system's resolver says that a name has no address, and not that it cannot tell."""
    return isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME


def _asked(ask: AskSystem, host: str) -> tuple[str, ...]:
    """Return the addresses of `host` from `ask`. Blocks. Raises OSError, whatever goes wrong."""
    try:
        return tuple(ask(host))
    except OSError:
        raise
    except Exception as error:  # an invalid name (an empty or overlong label), or a failing library
        raise OSError(None, "it is not a name that can be looked up") from error


class Resolver:
    """Resolves registered hosts with `ask`, which may block and may raise OSError or UnicodeError.

    A name's last known addresses are used while the name server is silent, and an answer that comes too late serves
    the next registration of that host.
    """

    def __init__(self, ask: AskSystem = _system_addresses, *, timeout_s: float = REGISTERED_S) -> None:
        self._hosts = ServerAddresses(ask, timeout_s=timeout_s)

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host`, sorted; none when it does not resolve in time."""
        address = names.canonical_ip(host)
        if address is not None:
            return (address,)
        # When all threads hang on a dead name server, a registration goes on without addresses; it never queues.
        try:
            return usable(await self._hosts.find(host))
        except OSError:
            return ()


async def addresses_to_listen_on(host: str) -> tuple[str, ...]:
    """Return the addresses of `host`, which is an address or a name of this machine.

    `::` is every address of both families, each a socket of its own: a socket for both would show IPv4 clients as
    ::ffff:a.b.c.d. A family that this machine lacks is left out. Raises OSError when `host` has no address, or does
    not resolve in time.
    """
    if host == ANY_IPV6:
        found: tuple[str, ...] = (ANY_IPV4, ANY_IPV6)
    elif names.ip_address(host) is not None or "%" in host:  # an address with a scope, too
        return (host,)
    else:
        found = await Threads("resolve", 1).run(partial(_asked, _system_addresses, host), timeout_s=LISTEN_S)
    # Without IPv6, 'localhost' may still have ::1 in /etc/hosts. When nothing can be bound, the caller learns why.
    return tuple(address for address in dict.fromkeys(found) if can_be_bound(address)) or found


def can_be_bound(address: str) -> bool:
    """Return whether this machine has the address, and its family."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def usable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses that a registration may hold, sorted so that equal answers give equal records.

    Those of loopback count only when there are no others, and so do link-local ones: Debian's hosts file gives a
    machine's own name a loopback address besides the real one.
    """
    found = map(names.canonical_ip, addresses)
    good = {address for address in found if address is not None and names.address_problem(address) is None}
    widest = names.widest_reach(good)
    return tuple(sorted(address for address in good if names.reach_of(address) is widest)[:MAX_ADDRESSES])


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an IP address. Raises ValueError when it is not one."""
    return _FAMILIES[ipaddress.ip_address(address).version]


def for_aiohttp(host: str, addresses: Iterable[str], port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """Return `addresses` in aiohttp's form. Raises OSError when there are none of that family."""
    found = []
    for address in addresses:
        kind = family_of(address)
        if family in (socket.AF_UNSPEC, kind):
            found.append(
                ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            )
    if not found:
        raise OSError(None, f"{host} has no address that could be found in time")
    return found


class ServerAddresses:
    """Finds the addresses of servers that the program connects to repeatedly.

    A name is looked up for each connection, since a server may have moved; the last known addresses are used while
    the name server does not answer. All callers share one lookup of a name at a time, and wait for it until
    `timeout_s` after it started, or KNOWN_S when an address is known already: a silent name server costs that once,
    not for each connection. A later answer serves the next connection.
    """

    def __init__(self, ask: AskSystem = _system_addresses, *, timeout_s: float = TIMEOUT_S) -> None:
        self._ask = ask
        self._timeout_s = timeout_s
        self._threads = Threads("resolve server", MAX_SERVERS_PENDING)
        self._lookups: dict[str, Job[tuple[str, ...]]] = {}
        self._known: dict[str, tuple[str, ...]] = {}

    async def find(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host`, in the order in which to try them (RFC 6724).

        Raises OSError when there is no such name, or when no name server answers and no address was ever known.
        """
        if names.ip_address(host) is not None:
            return (host,)
        lookup = self._under_way(host)
        if lookup is not None:
            patience_s = min(self._timeout_s, KNOWN_S) if host in self._known else self._timeout_s
            await lookup.wait(lookup.began + patience_s - time.monotonic())
        answer = _answer(lookup)
        match answer:
            case OSError() if is_no_such_name(answer):
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
        raise NotResolved(socket.EAI_AGAIN, "its name is not resolved: no name server answers")

    def _under_way(self, host: str) -> Job[tuple[str, ...]] | None:
        """Return the running lookup of `host`, or a new one; None when no lookup can start now."""
        for name, lookup in list(self._lookups.items()):
            if lookup.done:
                del self._lookups[name]
                answer = _answer(lookup)
                if isinstance(answer, tuple) and answer:
                    self._remember(name, answer)  # it may have come too late for its callers
        if host not in self._lookups:
            try:
                self._lookups[host] = self._threads.begin(partial(_asked, self._ask, host))
            except NoThread:
                return None
        return self._lookups[host]

    def _remember(self, host: str, addresses: tuple[str, ...]) -> None:
        # Sentinels may keep naming new servers: the least recently used one is forgotten.
        self._known.pop(host, None)
        while len(self._known) >= MAX_SERVERS:
            del self._known[next(iter(self._known))]
        self._known[host] = addresses


class ServerResolver(AbstractResolver):
    """Resolves, for aiohttp, the few servers that a program keeps talking to.

    While the name server does not answer, a server's last known addresses are used.
    """

    def __init__(self, servers: ServerAddresses | None = None) -> None:
        self._servers = servers if servers is not None else ServerAddresses()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host` and `port` in aiohttp's form. Raises OSError when there are none."""
        return for_aiohttp(host, await self._servers.find(host), port, family)

    async def close(self) -> None:
        """Do nothing: the threads end by themselves."""


def _answer(lookup: Job[tuple[str, ...]] | None) -> tuple[str, ...] | OSError | None:
    """Return the answer or the error; None when there is neither yet."""
    if lookup is None or not lookup.done:
        return None
    try:
        return lookup.result()
    except OSError as error:
        return error
