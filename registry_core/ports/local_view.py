"""The view that an agent's interfaces (DNS, localhost HTTP) answer from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from registry_core.domain import records
from registry_core.domain.records import Instance, Service


class LocalView(Protocol):
    """The view that an agent's interfaces (DNS, localhost HTTP) answer from. In memory; no method waits."""

    def find(self, name: str) -> Service | None:
        """Return the service of that name, in either spelling, and note that it was asked for.

        It includes this agent's own instances. A static service answers for a name that nothing else has. None also
        when `lacks` is true.
        """
        ...

    def lacks(self, name: str) -> bool:
        """Whether the service exists but is not held, because the fleet is larger than the view may be."""
        ...

    def fetch(self, name: str) -> asyncio.Future[None] | None:
        """Start to fetch a lacking service; the future resolves, to None, when `find` may have it.

        None: the service is not lacking, or no replica can be asked now. The wait on the future is bounded.
        """
        ...

    def labels(self) -> Collection[str]:
        """Return the labels of all services, including lacking ones."""
        ...

    def transports(self, label: str) -> frozenset[records.Protocol]:
        """Return TCP, UDP or both: how clients reach the service. Empty for an unknown service."""
        ...

    @property
    def holds_all(self) -> bool:
        """Whether no service is lacking."""
        ...

    def by_short(self, short: str) -> Instance | None:
        """Return the instance whose short id is `short`, or None."""
        ...

    def by_ip(self, ip: str) -> tuple[Instance, ...]:
        """Return the registered instances with this IP address, in its canonical spelling."""
        ...

    @property
    def complete(self) -> bool:
        """Whether a missing name is certain not to exist.

        False until everything has been read once, and while the registry is warming. A missing name
        is then unknown, and the answer is "cannot tell" (SERVFAIL, 503), never "no" (NXDOMAIN, 404).
        """
        ...

    def has_drained(self, instance: Instance) -> bool:
        """Whether an instance has drained for long enough to leave even SRV answers, which name it with weight 0."""
        ...

    def age_s(self) -> float:
        """Seconds since the registry last confirmed the view; 0 while its watch is live."""
        ...

    def subscribe(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Have `listener` called, at once and in order, with the labels of services that changed.

        The empty set means that `complete` or the freshness class changed, so every earlier answer may
        be wrong.
        """
        ...
