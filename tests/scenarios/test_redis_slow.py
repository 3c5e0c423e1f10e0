"""A replica with a slow or silent Redis: writes wait for it, and no lookup does."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chaos.system import Registry, registry, say
from tests.faulty_proxy import FaultyProxy, proxied
from tests.programs import wait_until
from tests.redis_topology import redis_server
from tests.scenarios.system import health_of

SERVICES = 20
DELAY_S = 0.1  # each way
WRITES = 10
LOOKUPS = 100


class Span(NamedTuple):
    """One request: when it was sent, and when it was answered."""

    began: float
    ended: float

    def holds(self, other: Span) -> bool:
        """Whether the other one was sent and answered while this one waited."""
        return self.began < other.began and other.ended < self.ended


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FaultyProxy]:
    with redis_server(tmp_path / "redis") as server, proxied(server.port) as running:
        yield running


@pytest.fixture
def replica(tmp_path: Path, proxy: FaultyProxy) -> Iterator[Registry]:
    with registry(tmp_path, f"redis://127.0.0.1:{proxy.port}") as running:
        for number in range(SERVICES):
            register(running, number)
        yield running


def register(replica: Registry, number: int) -> Span:
    """Register one instance; it must be accepted."""
    began = time.monotonic()
    body = {"service_name": f"service_{number % SERVICES}", "host": "10.0.0.7", "port": 8000 + number}
    replica.ask("POST", "/register", body)
    return Span(began, time.monotonic())


class Writer(threading.Thread):
    """Registers one instance after the other, until told to stop."""

    def __init__(self, replica: Registry, first: int, most: int = 10_000) -> None:
        super().__init__(daemon=True)
        self.writes: list[Span] = []
        self.failed: list[OSError] = []
        self._replica = replica
        self._numbers = range(first, first + most)
        self._ended = threading.Event()

    def run(self) -> None:
        for number in self._numbers:
            if self._ended.is_set():
                return
            try:
                self.writes.append(register(self._replica, number))
            except OSError as error:
                self.failed.append(error)

    def stop(self) -> None:
        self._ended.set()
        self.join(20)


def looked_up(replica: Registry, is_enough: Callable[[], bool]) -> list[Span]:
    """Look services up, one after the other on one connection; each must be found."""
    connection = http.client.HTTPConnection("127.0.0.1", replica.port, timeout=20)
    spans: list[Span] = []
    while len(spans) < LOOKUPS or not is_enough():
        began = time.monotonic()
        connection.request("GET", f"/services/service_{len(spans) % SERVICES}")
        answer = connection.getresponse()
        body = answer.read()
        spans.append(Span(began, time.monotonic()))
        assert answer.status == 200, body
    connection.close()
    return spans


def told(spans: list[Span]) -> str:
    took_ms = [1000 * (span.ended - span.began) for span in spans]
    cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
    return f"p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms, longest {max(took_ms):.2f} ms"


def test_lookups_do_not_wait_for_a_slow_redis(replica: Registry, proxy: FaultyProxy) -> None:
    rows: list[str] = []
    first = SERVICES
    for delay_s in (0.0, DELAY_S):
        proxy.delay_s = delay_s
        writer = Writer(replica, first)
        writer.start()
        wait_until(lambda writing=writer: len(writing.writes) > 0, "writes are taken")  # type: ignore[misc]
        lookups = looked_up(replica, lambda writing=writer: len(writing.writes) > WRITES)  # type: ignore[misc]
        writer.stop()
        first += 20_000
        assert writer.failed == []
        rows.append(f"Redis {1000 * delay_s:.0f} ms away: lookups {told(lookups)}; writes {told(writer.writes)}")
    # Each write during the lookups was overtaken by at least one lookup that was sent after it.
    during = [write for write in writer.writes if lookups[0].began < write.began and write.ended < lookups[-1].ended]
    say("\n".join(rows))
    assert len(during) > WRITES // 2
    assert all(any(write.holds(lookup) for lookup in lookups) for write in during)
    (shard,) = health_of(replica.url)["components"]["store"]["shards"]
    assert (shard["breaker"], shard["breaker_failures"]) == ("closed", 0)


def test_lookups_do_not_wait_for_a_silent_redis(replica: Registry, proxy: FaultyProxy) -> None:
    proxy.stalled = True
    writer = Writer(replica, SERVICES, most=1)
    writer.start()
    wait_until(lambda: waiting(replica) > 0, "the write is on its way")
    lookups = looked_up(replica, lambda: True)
    assert writer.is_alive(), "the write still waits"
    proxy.stalled = False
    writer.join(20)
    assert writer.failed == []
    assert all(writer.writes[0].holds(lookup) for lookup in lookups)


def waiting(replica: Registry) -> int:
    """Return how many writes wait for Redis."""
    (shard,) = health_of(replica.url)["components"]["store"]["shards"]
    number: int = shard["writes_waiting"]
    return number
