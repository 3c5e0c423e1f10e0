"""Resolves the SRV names of the registry, and keeps the addresses up to date.

An answer is valid for its TTL. While DNS does not answer, or has no records, the last known addresses stay: "I
cannot ask" is not "there is no registry".
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import msgspec
import structlog

from agent.registries.addresses import (
    AddressSource,
    SrvName,
    SrvRecord,
    addresses,
    names_to_check,
    read_source,
    srv_records,
)
from dns.codec import Name, Rcode, Type
from dns.foreign import ForeignReply, lifetime_s
from dns.resolver_client import Unanswered
from registry_core.domain.backoff import Backoff, Jitter
from registry_core.domain.host_port import host_port
from registry_core.domain.selection import Random
from registry_core.upstreams.pool import Upstreams

# A TTL is limited to this range, in seconds.
TTL_LEAST_S: Final = 5.0
TTL_MOST_S: Final = 3600.0
# The retry while there is no answer.
RETRY: Final = Backoff(1.0, 30.0, jitter=Jitter.HALF)

Ask = Callable[[Name, int], Awaitable[ForeignReply | Unanswered]]
_log = structlog.get_logger(component="agent.upstreams")


class SrvReport(msgspec.Struct, frozen=True, kw_only=True):
    """One SRV name, as `/self` shows it."""

    name: str
    targets: list[str]
    problem: str


class RegistryLookup:
    """Resolves the SRV names among `texts`, the addresses of REGISTRY_URL, into `upstreams`."""

    def __init__(self, texts: Iterable[str], upstreams: Upstreams, ask: Ask, random: Random) -> None:
        self.upstreams = upstreams
        self._ask = ask
        self._random = random
        self._seed = secrets.token_bytes(16)
        self._sources: tuple[AddressSource, ...] = ()
        self._found: dict[SrvName, tuple[SrvRecord, ...]] = {}
        self._problems: dict[SrvName, str] = {}
        self._changed = asyncio.Event()
        self._expect: Callable[[Mapping[str, str]], None] = lambda _: None
        self.use(texts)

    def expect_with(self, expect: Callable[[Mapping[str, str]], None]) -> None:
        """Tell `expect` from now on which names the certificates of the hosts must have."""
        self._expect = expect
        self._deliver()

    def use(self, texts: Iterable[str]) -> None:
        """Replace the addresses; names that stay keep their results."""
        self._sources = tuple(map(read_source, texts))
        names = self._names()
        self._found = {name: self._found.get(name, ()) for name in names}
        self._problems = {name: self._problems.get(name, "") for name in names}
        self._deliver()
        self._changed.set()

    async def run(self) -> None:
        """Resolve all names whenever their TTL ends, until cancelled."""
        while True:
            self._changed.clear()
            names = self._names()
            if not names:
                await self._changed.wait()
                continue
            async with asyncio.TaskGroup() as group:
                keeping = [group.create_task(self._keep(name)) for name in names]
                await self._changed.wait()
                for task in keeping:
                    task.cancel()

    def report(self) -> list[SrvReport]:
        """Return the state of each name."""
        return [
            SrvReport(
                name=str(name),
                targets=[host_port(one.target, one.port) for one in self._found.get(name, ())],
                problem=self._problems.get(name, ""),
            )
            for name in self._names()
        ]

    def _names(self) -> tuple[SrvName, ...]:
        return tuple(dict.fromkeys(source for source in self._sources if isinstance(source, SrvName)))

    def _deliver(self) -> None:
        self._expect(names_to_check(self._sources, self._found))
        self.upstreams.replace(addresses(self._sources, self._found, self._seed))

    async def _keep(self, name: SrvName) -> None:
        failures = 0
        while True:
            try:
                ttl_s, problem = await self._look_up(name)
            except Exception:  # noqa: BLE001 - the top of the loop: the last known addresses stay
                _log.exception("registry_lookup_failed", name=str(name))
                ttl_s, problem = 0.0, "the lookup failed; see the agent's log"
            if name not in self._found:
                return  # the settings dropped it before the answer came
            if problem and problem != self._problems.get(name):
                _log.warning("registry_not_found", name=str(name), because=problem, kept=len(self._found[name]))
            self._problems[name] = problem
            failures = failures + 1 if problem else 0
            draw = self._random.random()
            if problem:
                wait_s = RETRY.wait_s(failures, draw)
            else:
                # A random delay, so that agents that asked together drift apart.
                wait_s = min(max(ttl_s, TTL_LEAST_S), TTL_MOST_S) * (1 + draw / 10)
            await asyncio.sleep(wait_s)

    async def _look_up(self, name: SrvName) -> tuple[float, str]:
        """Resolve once. Return the seconds that the answer is valid, and the problem with it, or an empty text."""
        reply = await self._ask(name.name, Type.SRV)
        if isinstance(reply, Unanswered):
            return 0.0, "no resolver answers"
        records = tuple(srv_records(reply))
        if not records:
            missing = reply.rcode == Rcode.NXDOMAIN
            return 0.0, "there is no such name" if missing else "it has no usable SRV records"
        known = self._found.get(name)
        if known is not None and set(records) != set(known):
            self._found[name] = records
            _log.info("registry_found", name=str(name), targets=[host_port(one.target, one.port) for one in records])
            self._deliver()
        return float(lifetime_s(reply, Type.SRV)), ""
