"""Small records for tests, and what hypothesis makes of them."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from registry_core.domain.catalog import Lived
from registry_core.domain.records import Instance, Registration, Status


class FakeClock:
    """Clocks that move only when told to. The wall clock may be set apart from the other."""

    def __init__(self, wall: float = 1_764_000_000.0) -> None:
        self._monotonic_s = 1000.0
        self._wall_s = wall

    def monotonic(self) -> float:
        return self._monotonic_s

    def wall(self) -> float:
        return self._wall_s

    def pass_time(self, seconds: float) -> None:
        """Let both clocks run."""
        self._monotonic_s += seconds
        self._wall_s += seconds

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, as an administrator or NTP does."""
        self._wall_s += seconds


def claim(service_name: str = "ip_intel", host: str = "10.0.0.7", port: int = 8034, **more: Any) -> Registration:
    """Return a claim; the id is the default one, host:port, unless given."""
    more.setdefault("instance_id", f"{host}:{port}")
    return Registration(service_name=service_name, host=host, port=port, **more)


def instance(service_name: str = "ip_intel", host: str = "10.0.0.7", port: int = 8034, **more: Any) -> Instance:
    """Return an instance; id host:port and address `host` unless given."""
    more.setdefault("instance_id", f"{host}:{port}")
    more.setdefault("addresses", (host,))
    return Instance(service_name=service_name, host=host, port=port, **more)


def lived(record: Instance, heartbeat_at: float = 1.0) -> Lived:
    """Return `record` with a heartbeat."""
    return Lived(record, heartbeat_at)


SERVICE_NAMES = ("ip_intel", "osint-service", "billing")


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    """Return one of a few dozen instances, so that names, ids and addresses meet often."""
    host = f"10.0.0.{draw(st.integers(1, 4))}"
    port = draw(st.integers(8000, 8002))
    return instance(
        draw(st.sampled_from(SERVICE_NAMES)),
        host,
        port,
        instance_id=draw(st.sampled_from(("a", "b", "c", f"{host}:{port}"))),
        status=draw(st.sampled_from(list(Status))),
        weight=draw(st.integers(1, 100)),
        tags=tuple(sorted(draw(st.sets(st.sampled_from(("canary", "blue", "eu")))))),
        version=draw(st.sampled_from(("", "1.4.2", "1.4.20", "2.0.0-rc.1"))),
        zone=draw(st.sampled_from(("", "z1", "z2"))),
        metadata=draw(st.dictionaries(st.sampled_from("kl"), st.integers(0, 1), max_size=2)),
        suspect=draw(st.booleans()),
    )


def with_status(record: Instance, status: Status) -> Instance:
    """Return `record` with another status."""
    return msgspec.structs.replace(record, status=status)
