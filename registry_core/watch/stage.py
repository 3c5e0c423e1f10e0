"""Collects the parts of a snapshot for a reader: all of it, or as much as it has room for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from registry_core.domain import records
from registry_core.domain.catalog import Lived
from registry_core.domain.records import Instance

# One shared object per combination, so that an absent service costs little more than its name.
_STREAMS: Final = frozenset({records.Protocol.TCP})
_DATAGRAMS: Final = frozenset({records.Protocol.UDP})
_BOTH: Final = _STREAMS | _DATAGRAMS


class Absent(msgspec.Struct, frozen=True, gc=False):
    """A service that exists but is not held: its name, and whether it uses TCP, UDP or both."""

    name: str
    transports: frozenset[records.Protocol]

    def joined_by(self, instance: Instance) -> Absent:
        """Return the service with `instance` added."""
        known = transports_of(instance)
        return self if known <= self.transports else Absent(self.name, _BOTH)


class Rest(msgspec.Struct, frozen=True):
    """The services of a snapshot that were not kept, and the digest of their instances (exclusive or).

    `sizes` are those of the kept services, as far as they have been measured.
    """

    absent: dict[str, Absent] = {}
    digest: int = 0
    sizes: dict[str, int] = {}


class Stage(Protocol):
    """Collects the parts of a snapshot until the last one has arrived."""

    def add(self, instances: Iterable[Lived]) -> None:
        """Add one part."""
        ...

    def taken(self) -> tuple[tuple[Lived, ...], Rest]:
        """Return the kept instances, and a summary of the rest."""
        ...


class Everything:
    """A stage that keeps everything."""

    def __init__(self) -> None:
        self._kept: list[Lived] = []

    def add(self, instances: Iterable[Lived]) -> None:
        self._kept.extend(instances)

    def taken(self) -> tuple[tuple[Lived, ...], Rest]:
        return tuple(self._kept), Rest()


def transports_of(instance: Instance) -> frozenset[records.Protocol]:
    """Return the transport, TCP or UDP, of the instance's protocol."""
    return _DATAGRAMS if instance.protocol is records.Protocol.UDP else _STREAMS


def absent_of(instances: Iterable[Instance]) -> Absent:
    """Return the summary of a service that has these instances, at least one."""
    first, *others = instances
    known = Absent(first.service_name, transports_of(first))
    for instance in others:
        known = known.joined_by(instance)
    return known
