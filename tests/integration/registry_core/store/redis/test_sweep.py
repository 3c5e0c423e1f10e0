"""Sweeps of a shard that is too large for one script: in parts, with one result."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from registry_core.store.redis import sweeper as sweeping_module
from registry_core.store.redis.queue import WriteQueue
from registry_core.store.redis.scripts import ScriptName
from tests.integration.redis_stores import asked, running_store
from tests.redis_topology import RedisServer, redis_server
from tests.samples import claim

FLEET = 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping_module, "EXTENDED_AT_ONCE", 3)
    monkeypatch.setattr(sweeping_module, "SWEPT_AT_ONCE", 3)


async def leases(client: Redis) -> dict[bytes, int]:
    found: Any = await client.zrange("test:leases", 0, -1, withscores=True)
    return {field: int(score) for field, score in found}


async def shift(client: Redis, by_ms: int, swept_by_ms: int) -> dict[bytes, int]:
    """Move every lease to before the last sweep, each a little more than the one before; and both into the past."""
    moved = {
        field: at + by_ms - 50_000 - 7 * number for number, (field, at) in enumerate((await leases(client)).items())
    }
    await client.zadd("test:leases", dict(moved))
    swept: Any = await client.hget("test:meta", "swept")
    await client.hset("test:meta", "swept", str(int(swept) + swept_by_ms))
    return moved


@pytest.mark.parametrize(
    ("gap_s", "given_s", "behind_s"),
    [
        (40, 80, 10),  # twice the gap
        (1000, None, 0),  # until now, and no further
        (-1000, -1000, 50),  # times ahead move along
        (-40, 0, 10),  # a time that does not lie ahead may be a newer heartbeat
    ],
)
async def test_every_lease_is_extended_by_the_gap_except_those_renewed_meanwhile(
    gap_s: int, given_s: int | None, behind_s: int, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_store(server) as (store, _), asked(server) as client:
        for number in range(FLEET):
            await store.register(claim(port=8000 + number))
        before = await shift(client, -gap_s * 1000, -gap_s * 1000)
        call, heard, censuses = WriteQueue.call, f"ip-intel/10.0.0.7:{8000 + 11}".encode(), 0

        async def interrupted(queue: WriteQueue, name: ScriptName, *arguments: str | bytes) -> list[bytes]:
            nonlocal censuses
            result = await call(queue, name, *arguments)
            if name is ScriptName.CENSUS:
                censuses += 1
                if censuses == 1:
                    await call(queue, ScriptName.RENEW, heard, "")
            return result

        monkeypatch.setattr(WriteQueue, "call", interrupted)
        report = await store.sweep()
        after = await leases(client)
        given = {after[field] - before[field] for field in before if field != heard}
        others = [at for field, at in after.items() if field != heard]
        assert (censuses > FLEET // 3) == (given_s != 0)
        if given_s is None:
            assert len(set(others)) == 1, "all of them now"
        else:
            assert len(given) == 1, "the same for all"
            assert 0 <= given.pop() - given_s * 1000 < 10_000
        assert after[heard] - max(others) > behind_s * 1000 - 1_000, "it was renewed just now"
        assert report.amnesty_s == pytest.approx(max(gap_s, 0), abs=5)
        assert (report.expired, report.suspected) == ((), ())
        assert await client.hget("test:meta", "amnesty") is None
        assert (await store.sweep()).amnesty_s == 0


async def test_a_mass_expiry_counts_as_one_sweep_whatever_the_number_of_its_parts(server: RedisServer) -> None:
    async with running_store(server) as (store, feed), asked(server) as client:
        await asyncio.gather(*(store.register(claim(port=8000 + number)) for number in range(FLEET)))
        await shift(client, -100_000, 0)
        report = await store.sweep()
        assert len(report.suspected) == FLEET
        assert all(instance.suspect for instance in feed.catalog)
        assert await client.zcard("test:suspects") == FLEET


async def test_instances_that_expire_in_parts_are_counted_as_one_expiry(server: RedisServer) -> None:
    async with running_store(server) as (store, feed), asked(server) as client:
        await asyncio.gather(*(store.register(claim(port=8000 + number)) for number in range(FLEET)))
        old: Any = await client.zrange("test:leases", 0, 4, withscores=True)
        await client.zadd("test:leases", {field: score - 100_000 for field, score in old})
        report = await store.sweep()
        assert len(report.expired) == 5
        assert len(feed.catalog) == FLEET - 5
        expiries: Any = await client.hget("test:meta", "expiries")
        assert expiries.endswith(b",5]]")
