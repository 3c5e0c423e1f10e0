"""Looks up one host name: in hosts(5), then at the forwarder's resolvers, and at last with the system's resolver.

The forwarder's resolvers are asked in parallel, each for a moment only, so that a silent one costs less than a second
where libc waits for five. A name is completed as libc completes it. A name without a dot is one of this machine or
its containers: the resolvers of resolv.conf are asked for it, whatever the rules for foreign names are. libc is asked
where this finds nothing, since it may know other sources (nsswitch.conf(5)), and for the agent's own zone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from agent.hosts.found import ANY_TTL_S, NO_ADDRESSES, UNANSWERED, FoundAddresses, by_family
from agent.hosts.machine_files import LocalNames, MachineFiles
from dns.codec import Name, Rcode, Type
from dns.foreign import ForeignReply
from dns.foreign_addresses import reply_addresses
from dns.name_limits import fits
from dns.record_data import name_of
from dns.resolver_client import Unanswered
from dns.search_list import SearchList
from registry_core.blocking import Threads
from registry_core.resolution import is_no_such_name, system_addresses
from registry_core.shortages import socket_shortage

# libc waits twice for 5 s for each name server. Its answer may be late, but the next lookup must not wait for ever.
SYSTEM_S: Final = 15.0
# Lookups that ask a name server at a time; each has a few sockets, or a thread.
MAX_LOOKUPS: Final = 32
MAX_THREADS: Final = 32
# Once one family has addresses, the other has this long: some name servers ignore questions for AAAA.
OTHER_FAMILY_S: Final = 1.0
_LOCALHOST: Final = FoundAddresses(("127.0.0.1",), ("::1",))

Ask = Callable[[Name, int], Awaitable[ForeignReply | Unanswered]]
AskSystem = Callable[[str], tuple[str, ...]]


class HostLookup:
    """Looks names up: those with a dot with `ask`, those without with `ask_here`, and what is left with `ask_system`.

    `zone` is the one that this agent answers. At most `most` lookups ask at a time, and the others wait for their turn;
    what this machine's files know waits for nobody.
    """

    def __init__(
        self,
        ask: Ask,
        ask_here: Ask,
        *,
        zone: str,
        files: MachineFiles | None = None,
        ask_system: AskSystem = system_addresses,
        most: int = MAX_LOOKUPS,
    ) -> None:
        self._ask = ask
        self._ask_here = ask_here
        self._zone = zone.rstrip(".").lower()
        self._local = LocalNames(files)
        self._ask_system = ask_system
        self._system = Threads("resolve", MAX_THREADS)
        self._turns = asyncio.Semaphore(most)

    async def look_up(self, host: str) -> FoundAddresses:
        """Return the addresses of `host`. Never raises; bounded in time."""
        known = await self._local.know(host.rstrip("."))
        if known.addresses:
            return by_family(known.addresses)
        plain = host.rstrip(".").lower()
        if plain == "localhost" or plain.endswith(".localhost"):  # RFC 6761 section 6.3
            return _LOCALHOST
        async with self._turns:
            return await self._asked(host, known.search)

    async def _asked(self, host: str, search: SearchList) -> FoundAddresses:
        """Ask the resolvers, and libc where they find nothing."""
        plain = host.rstrip(".").lower()
        found = UNANSWERED
        if plain != self._zone and not plain.endswith(f".{self._zone}"):
            found = await self._resolved(host, search)
        if found.addresses:
            return found
        by_system = await self._by_system(host)
        return by_system if by_system.addresses or by_system.is_whole else found

    async def _resolved(self, host: str, search: SearchList) -> FoundAddresses:
        """Ask for the completions of a name, one after the other, until one has addresses or nobody answers."""
        ask = self._ask if "." in host.rstrip(".") else self._ask_here
        is_certain = True
        for completion in search.completions(host):
            if not _is_question(completion):
                continue
            found, is_silent = await addresses_from(partial(ask, name_of(completion)))
            if found.addresses:
                return found
            is_certain &= found.is_whole
            if is_silent:  # as in libc: the next name would only wait for the same servers
                break
        return NO_ADDRESSES if is_certain else UNANSWERED

    async def _by_system(self, host: str) -> FoundAddresses:
        try:
            return by_family(await self._system.run(partial(self._ask_system, host), timeout_s=SYSTEM_S))
        except OSError as error:
            # Without a free descriptor libc says that there is no such name.
            return NO_ADDRESSES if is_no_such_name(error) and not socket_shortage() else UNANSWERED


async def addresses_from(ask: Callable[[int], Awaitable[ForeignReply | Unanswered]]) -> tuple[FoundAddresses, bool]:
    """Ask for both families at once. Return what was found, and whether a resolver was silent."""
    tasks = [asyncio.ensure_future(ask(qtype)) for qtype in (Type.A, Type.AAAA)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        has_some = any(_answered(task, qtype) for task, qtype in zip(tasks, (Type.A, Type.AAAA), strict=True))
        await asyncio.wait(tasks, timeout=OTHER_FAMILY_S if has_some else None)
        ipv4, ipv6 = (_answered(task, qtype) for task, qtype in zip(tasks, (Type.A, Type.AAAA), strict=True))
        replies = [task.result() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    ttls = [
        mark.ttl_s for reply in replies if isinstance(reply, ForeignReply) for mark in reply.marks if not mark.section
    ]
    is_silent = any(isinstance(reply, Unanswered) and not reply.heard for reply in replies)
    return FoundAddresses(ipv4, ipv6, float(min(ttls, default=ANY_TTL_S))), is_silent


def _answered(task: asyncio.Future[ForeignReply | Unanswered], qtype: int) -> tuple[str, ...] | None:
    """Return the addresses in the answer of a task; None without an answer."""
    reply = task.result() if task.done() else None
    if not isinstance(reply, ForeignReply) or reply.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return None
    return reply_addresses(reply, qtype)


def _is_question(name: str) -> bool:
    return name.isascii() and fits(tuple(label.encode() for label in name.split(".")))
