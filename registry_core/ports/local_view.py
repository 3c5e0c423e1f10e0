"""What the faces of an agent (DNS, localhost HTTP) answer from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from registry_core.domain import records
from registry_core.domain.catalog import Catalog
from registry_core.domain.records import Instance, Service


class StaticServices(Protocol):
    """What is said of services outside of the registry: in the environment, in a file."""

    def find(self, name: str) -> Service | None:
        """Return the service of that name, in either spelling of '_' and '-', or None."""
        ...

    def by_short(self, short: str) -> Instance | None:
        """Return the instance whose short id is `short`, or None."""
        ...


class LocalView(Protocol):
    """What the faces of an agent (DNS, localhost HTTP) answer from. In memory; nothing of it waits."""

    @property
    def catalog(self) -> Catalog:
        """All that is held. The same object for ever; it changes in place."""
        ...

    def find(self, name: str) -> Service | None:
        """Return the service of that name, in either spelling, and take note that it was asked for.

        What is said of it elsewhere, when the catalogue does not have it. None also for one that `lacks` names.
        """
        ...

    def lacks(self, name: str) -> bool:
        """Whether there is such a service, and it is not held: the fleet is larger than the view may be."""
        ...

    def fetch(self, name: str) -> asyncio.Future[None] | None:
        """Begin to read a service that is lacking; the future ends, without a word, when `find` may have it.

        None: it is not lacking, or nobody can be asked now. What the future is waited for is bounded.
        """
        ...

    def labels(self) -> Collection[str]:
        """Return the labels of all services, also of those that are lacking."""
        ...

    def transports(self, label: str) -> frozenset[records.Protocol]:
        """Return TCP, UDP or both: what the service is reached by. Nothing for what there is not."""
        ...

    @property
    def holds_all(self) -> bool:
        """Whether no service is lacking."""
        ...

    @property
    def static_services(self) -> StaticServices:
        """What is said elsewhere of services that the catalogue does not have; nothing while it is complete."""
        ...

    @property
    def complete(self) -> bool:
        """Whether a name that is missing is known not to exist.

        False until everything has been read once, and while the registry is warming: a missing name
        is then unknown, and the answer says "cannot tell" (SERVFAIL, 503), never "no" (NXDOMAIN, 404).
        """
        ...

    def age_s(self) -> float:
        """Seconds since the registry last confirmed the view; 0 while its watch is live."""
        ...

    def subscribe(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Have `listener` called, at once and in order, with the labels of services that changed.

        The empty set says that `complete` or the freshness class changed, so that every answer made
        before may be wrong.
        """
        ...
