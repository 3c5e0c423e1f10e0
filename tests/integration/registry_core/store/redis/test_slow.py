"""A Redis that is slow, too slow, or silent: what the breaker does, and which writes it delays."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from registry_core.domain.breaker import BreakerState, BreakerTerms
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.sharding import shard_of
from registry_core.errors import StoreUnavailable
from registry_core.ports.clock import Clock, SystemClock
from registry_core.store.redis.store import RedisStore
from registry_core.store.redis.url import ServerAddress
from registry_core.store.redis.watcher import MasterWatcher
from registry_core.store.redis.writes import DEFAULT_TERMS, QueueTerms
from tests.contract.harness import RecordingFeed
from tests.faulty_proxy import FaultyProxy, proxied
from tests.programs import eventually
from tests.redis_topology import RedisServer, redis_server
from tests.samples import claim

BREAKER = BreakerTerms()
# Operations have less time than usual, so that three of them do not take a quarter of a minute.
QUICK = QueueTerms(operation_s=1.0, retries_s=(0.2,))
TOO_SLOW_S = 1.5  # each way
# Nothing fails within a test: a wait for a silent shard is always too long.
PATIENT = QueueTerms(operation_s=120.0)


class LeapingClock(SystemClock):
    """The clock of this machine, which can be set forward."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultyProxy]:
    with proxied(server.port) as running:
        yield running


@contextlib.asynccontextmanager
async def running_store(
    *ports: int, terms: QueueTerms = DEFAULT_TERMS, clock: Clock | None = None
) -> AsyncIterator[tuple[RedisStore, RecordingFeed]]:
    """Run a store with a shard at each port: `a`, `b`, ..."""
    feed = RecordingFeed()
    store = RedisStore(
        [
            MasterWatcher(name, nodes=[ServerAddress("127.0.0.1", port)])
            for name, port in zip("abc", ports, strict=False)
        ],
        prefix="test",
        replicas=0,
        terms=LeaseTerms(),
        clock=clock if clock is not None else SystemClock(),
        random=random.Random(1),
        queue_terms=terms,
    )
    await store.start(feed)
    try:
        yield store, feed
    finally:
        async with asyncio.timeout(20):
            await store.close()


class Heard:
    """Everything that a server is sent, in its own words (MONITOR)."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._said = b""

    async def listen(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            self._said += data

    async def has(self, word: str) -> bool:
        """Return whether any command so far contained that word."""
        await asyncio.to_thread(self._server.ask, "ECHO", end := f"until-{len(self._said)}")
        await eventually(lambda: end.encode() in self._said, "everything was heard")
        return word.encode() in self._said


@contextlib.asynccontextmanager
async def heard(server: RedisServer) -> AsyncIterator[Heard]:
    """Listen to what any client sends to a server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"MONITOR\r\n")
    everything = Heard(server)
    listening = asyncio.ensure_future(everything.listen(reader))
    try:
        yield everything
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        writer.transport.abort()


def state(store: RedisStore, shard: int = 0) -> BreakerState:
    return store.shards()[shard].breaker


async def test_a_server_that_is_too_slow_opens_the_breaker_and_is_tried_again_later(
    server: RedisServer, proxy: FaultyProxy
) -> None:
    clock = LeapingClock()
    async with (
        running_store(proxy.port, terms=QUICK, clock=clock) as (store, feed),
        heard(server) as everything,
    ):
        await store.register(claim("seen"))
        proxy.delay_s = TOO_SLOW_S
        for failures in range(BREAKER.failures):
            assert state(store) is BreakerState.CLOSED, f"{failures} failures are not enough"
            with pytest.raises(StoreUnavailable):
                await store.register(claim("too-slow"))
        assert state(store) is BreakerState.OPEN

        proxy.delay_s = 0.0  # it has recovered, and nothing tries it yet
        await eventually(lambda: not store.shards()[0].problem, "its master is known again")
        for left_s in (BREAKER.open_s, 1.0):
            clock.ahead_s = BREAKER.open_s - left_s
            with pytest.raises(StoreUnavailable, match="circuit breaker of shard") as refused:
                await store.register(claim("while-open"))
            assert 1.0 <= refused.value.retry_after_s <= left_s
        assert not await everything.has("while-open")
        assert feed.catalog.names() == ["seen"], "lookups return what is known"

        clock.ahead_s = BREAKER.open_s
        assert state(store) is BreakerState.HALF_OPEN
        await store.register(claim("trial", port=9000))
        assert await everything.has("trial"), "the first one is tried, and commands are seen"
        assert state(store) is BreakerState.HALF_OPEN, "one success is not enough"
        refused_then = 0
        with pytest.raises(StoreUnavailable):
            await store.register(claim("while-half-open"))
        assert not await everything.has("while-half-open")
        while state(store) is BreakerState.HALF_OPEN:
            try:
                await store.register(claim("trial", port=9001 + refused_then))
            except StoreUnavailable:
                refused_then += 1
        assert 0 < refused_then < 10, "one of ten or so is tried"
        for number in range(20):
            await store.register(claim("afterwards", port=9100 + number))


async def test_a_server_that_is_still_too_slow_is_left_alone_for_as_long_again(
    proxy: FaultyProxy,
) -> None:
    clock = LeapingClock()
    async with running_store(proxy.port, terms=QUICK, clock=clock) as (store, _):
        proxy.stalled = True
        tries = [store.register(claim("silent", port=8000 + n)) for n in range(BREAKER.failures)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert all(isinstance(result, StoreUnavailable) for result in results)
        clock.ahead_s = BREAKER.open_s
        assert state(store) is BreakerState.HALF_OPEN
        with pytest.raises(StoreUnavailable):
            await store.register(claim("silent"))
        assert state(store) is BreakerState.OPEN


async def test_a_server_that_is_merely_slow_does_not_open_the_breaker(proxy: FaultyProxy) -> None:
    async with running_store(proxy.port) as (store, feed):
        proxy.delay_s = 0.1
        for number in range(BREAKER.failures + 2):
            await store.register(claim(f"slow-{number}", port=8000 + number))
        report = store.shards()[0]
        assert (report.breaker, report.breaker_failures) == (BreakerState.CLOSED, 0)
        assert len(feed.catalog) == BREAKER.failures + 2


async def test_a_write_survives_a_stall_shorter_than_its_timeout(proxy: FaultyProxy) -> None:
    async with running_store(proxy.port) as (store, feed):
        proxy.stalled = True
        pending = asyncio.ensure_future(store.register(claim("patient")))
        await eventually(lambda: bool(store.shards()[0].problem), "the silence is noticed")
        assert not pending.done()
        proxy.stalled = False
        # Not whether it was created: the first try may have stored it when its answer was lost.
        assert (await pending).instance.service_name == "patient"
        assert feed.catalog.names() == ["patient"]
        assert store.shards()[0].breaker_failures == 0


async def test_a_silent_shard_delays_no_other_services(server: RedisServer, proxy: FaultyProxy, tmp_path: Path) -> None:
    names = {shard_of(f"name-{n}", ["a", "b"]): f"name-{n}" for n in range(20)}
    with redis_server(tmp_path / "other") as other:
        async with running_store(other.port, proxy.port, terms=PATIENT) as (store, feed):
            mine, theirs = names[0], names[1]
            proxy.stalled = True
            pending = asyncio.ensure_future(store.register(claim(theirs)))
            await asyncio.sleep(0)
            for number in range(100):
                await store.register(claim(mine, port=8100 + number))
            assert not pending.done(), "it still waits, and nothing waited for it"
            assert len(feed.catalog) == 100
            assert state(store, 0) is BreakerState.CLOSED
            proxy.stalled = False
            # Not whether it was created: the first try may have stored it when its answer was lost.
            assert (await pending).instance.service_name == theirs


async def test_a_silent_shard_does_not_stop_leases_of_another_from_expiring(proxy: FaultyProxy, tmp_path: Path) -> None:
    names = {shard_of(f"name-{n}", ["a", "b"]): f"name-{n}" for n in range(20)}
    with redis_server(tmp_path / "other") as other:
        async with running_store(other.port, proxy.port, terms=PATIENT) as (store, feed), asyncio.timeout(20):
            await store.register(claim(names[0]))
            await store.sweep()
            proxy.stalled = True
            # As if no heartbeat had come for longer than a lease.
            await asyncio.to_thread(other.ask, "ZADD", "test:leases", "1", f"{names[0]}/10.0.0.7:8034")
            for _ in range(2):
                report = await store.sweep()
                assert [name for name, _ in report.unswept] == ["b"]
            assert feed.catalog.names() == []
            proxy.stalled = False
            await eventually(lambda: not store.shards()[1].problem, "the other one is back")
