"""Small records for tests, and hypothesis strategies for them."""

from __future__ import annotations

import itertools
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from registry_core.domain.breaker import BreakerState
from registry_core.domain.catalog import Lived
from registry_core.domain.host_port import host_port
from registry_core.domain.records import Instance, Registration, Status
from registry_core.ports.reports import ShardReport


class FakeClock:
    """Clocks that move only when told to. The wall clock can be set separately."""

    def __init__(self, wall: float = 1_764_000_000.0) -> None:
        self._monotonic_s = 1000.0
        self._wall_s = wall

    def monotonic(self) -> float:
        return self._monotonic_s

    def wall(self) -> float:
        return self._wall_s

    def pass_time(self, seconds: float) -> None:
        """Advance both clocks."""
        self._monotonic_s += seconds
        self._wall_s += seconds

    def step_wall(self, seconds: float) -> None:
        """Step only the wall clock, as an administrator or NTP does."""
        self._wall_s += seconds


# Hosts of each kind, with their known addresses: containers are known by name.
HOSTS: Final = {"10.0.0.7": ("10.0.0.7",), "2001:db8::7": ("2001:db8::7",), "ip-intel-1": ("10.0.1.7", "2001:db8::1:7")}


def claim(service_name: str = "ip_intel", host: str = "10.0.0.7", port: int = 8034, **more: Any) -> Registration:
    """Return a claim; its id defaults to host:port."""
    more.setdefault("instance_id", host_port(host, port))
    return Registration(service_name=service_name, host=host, port=port, **more)


def instance(service_name: str = "ip_intel", host: str = "10.0.0.7", port: int = 8034, **more: Any) -> Instance:
    """Return an instance; its id defaults to host:port, its addresses to those of its host."""
    more.setdefault("instance_id", host_port(host, port))
    more.setdefault("addresses", HOSTS.get(host, (host,)))
    return Instance(service_name=service_name, host=host, port=port, **more)


def lived(record: Instance, heartbeat_at: float = 1.0) -> Lived:
    """Return `record` with a heartbeat."""
    return Lived(record, heartbeat_at)


SERVICE_NAMES = ("ip_intel", "osint-service", "billing")


# Created once, since creating one takes longer than drawing from it.
_SERVICE_NAMES: Final = st.sampled_from(SERVICE_NAMES)
_HOSTS: Final = st.sampled_from(("10.0.0.1", *HOSTS))
_PORTS: Final = st.integers(8000, 8002)
_IDS: Final = st.sampled_from(("a", "b", "c", None))
_TAGS: Final = st.sampled_from(
    [tags for count in range(4) for tags in itertools.combinations(("blue", "canary", "eu"), count)]
)
_METADATA: Final = st.sampled_from(
    [
        {key: value for key, value in zip("kl", values, strict=True) if value is not None}
        for values in itertools.product((None, 0, 1), repeat=2)
    ]
)
_MORE: Final = st.fixed_dictionaries(
    {
        "status": st.sampled_from(Status),
        "weight": st.integers(1, 100),
        "tags": _TAGS,
        "version": st.sampled_from(("", "1.4.2", "1.4.20", "2.0.0-rc.1")),
        "zone": st.sampled_from(("", "z1", "z2")),
        "metadata": _METADATA.map(dict),
        "suspect": st.booleans(),
    }
)


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    """Return one of a few dozen instances, so that names, ids and addresses often collide."""
    service_name, host, port, instance_id = draw(_SERVICE_NAMES), draw(_HOSTS), draw(_PORTS), draw(_IDS)
    return instance(service_name, host, port, instance_id=instance_id or host_port(host, port), **draw(_MORE))


def with_status(record: Instance, status: Status) -> Instance:
    """Return `record` with another status."""
    return msgspec.structs.replace(record, status=status)


def shard_report(shard: str = "a", **more: Any) -> ShardReport:
    """Return the report of a shard that is well, unless `more` says otherwise."""
    well = ShardReport(
        shard=shard,
        master="10.0.0.9:6379",
        problem="",
        epoch="e1",
        revision=7,
        age_s=0.5,
        writes_waiting=0,
        breaker=BreakerState.CLOSED,
        breaker_failures=0,
        last_failure="",
        last_failure_at=None,
        not_closed_s=0.0,
        latency_ms=0.4,
        connection_pool=None,
    )
    return msgspec.structs.replace(well, **more)
