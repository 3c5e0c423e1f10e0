"""The rows about replicas and Redis: each constant is a difference between what was used with and without something.

Replicas are called by their number: 0 takes the writes, 1 only follows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, TypeAlias

import msgspec

from bench.load import flood, request
from bench.scale.constants import PACES, at_pace
from bench.scale.crowd import SimulatedWatch, ack, octets_of, one_watch, resuming, watches
from bench.scale.meter import IDLE_S, ROUNDS, SETTLED_S, beyond, idle_share, middle_idle
from bench.scale.rig import Rig, Used, beat, change, real_agent
from bench.usage import report_of
from registry_core.watch.limits import SYNC_EVERY_S

ConstantValues: TypeAlias = dict[str, float]

FILLED: Final = 10_000
MEASURED: Final = 40_000  # instances whose memory is measured
BATCH: Final = 100
BATCHES_PER_S: Final = 40.0
LOADED_S: Final = 2.0  # how long a round sends requests
KEPT_CHANGES: Final = 6_000
WATCHERS: Final = 500
FOLLOWED: Final = 80
FOLLOWED_PER_S: Final = 20.0
LIVES: Final = 3
JOINS: Final = 24
PAIRS: Final = 20
MEGA: Final = 1024 * 1024
CREATED: Final = b"201"
_TURNS: Final = random.Random(1)


async def measured(rig: Rig) -> dict[str, ConstantValues]:
    """Return the constants of replicas and Redis by row."""
    rows: dict[str, ConstantValues] = {}
    first = rig.start()
    rig.start(REGISTRY_STORE="memory:")
    await asyncio.sleep(2)
    empty, empty_mb = await middle_idle(rig), rig.memory_mb(0)
    rig.stop(1)
    rows["idle"] = {
        "replica.idle_us": empty.cpu_us[1],
        "replica.shard_us": max(0.0, empty.cpu_us[0] - empty.cpu_us[1]),
        "redis.idle_us": empty.redis_us,
    }
    rig.fill(FILLED)
    await rig.known(first, FILLED)
    alone = await _batches(rig, first), await _changes(rig, first)
    second = rig.start()
    await rig.known(second, FILLED)
    await asyncio.sleep(2)
    rows["beats"] = await _beats(rig, first, alone[0])
    rows["changes"] = {**_compared(alone[1], await _changes(rig, first)), **await _kept_changes(rig, first)}
    head = await watch_head(rig, second)
    rows["watchers"], crowd = await _watchers(rig, first, second, head)
    rows["acks"] = await _acks(rig, second, crowd)
    for watch in crowd:
        watch.close()
    await asyncio.sleep(1)
    rows["joins"] = await _joins(rig, second, head)
    rows["lookups"] = await _lookups(rig, second)
    rows["memory"] = await _memory(rig, empty_mb)
    return rows


# -- writes


async def _batches(rig: Rig, port: int) -> tuple[Used, float]:
    """Return what a batch of heartbeats uses, and its octets. A round renews each instance once, so that none hides."""
    requests = [beat(number, BATCH) for number in range(0, FILLED, BATCH)]
    used, sent = await beyond(rig, port, lambda _: requests, BATCHES_PER_S, settled_s=SETTLED_S)
    return used, sent.octets / sent.requests


async def _beats(rig: Rig, port: int, alone: tuple[Used, float]) -> ConstantValues:
    """Return the constants of heartbeats: two sizes of requests tell a request from its instances."""
    both, batch_octets = await _batches(rig, port)
    slow, fast = PACES["replica.beat_us"]
    singles = {}
    octets = 0.0
    for per_s in (slow, fast):
        requests = [beat(number, 1) for number in range(round(per_s * LOADED_S))]
        used, sent = await beyond(rig, port, _always(requests), per_s)
        singles[per_s], octets = used.cpu_us[0], sent.octets / sent.requests
    requests = [beat(number, 1) for number in range(round(slow * LOADED_S))]
    anew, _ = await beyond(rig, port, _always(requests), slow, anew=True)
    instance = max(0.0, (both.cpu_us[0] - singles[slow]) / (BATCH - 1))
    per_instance = (batch_octets - octets) / (BATCH - 1)
    return {
        at_pace("replica.beat_us", slow): max(0.0, singles[slow] - instance),
        at_pace("replica.beat_us", fast): max(0.0, singles[fast] - instance),
        "replica.beat_instance_us": instance,
        "replica.connection_us": max(0.0, anew.cpu_us[0] - singles[slow]),
        "replica.renewal_us": both.cpu_us[1] / BATCH,
        "redis.renewal_us": alone[0].redis_us / BATCH,
        "redis.renewal_read_us": max(0.0, both.redis_us - alone[0].redis_us) / BATCH,
        "redis.octets_renewal": alone[0].redis_octets / BATCH,
        "redis.octets_renewal_read": max(0.0, both.redis_octets - alone[0].redis_octets) / BATCH,
        "octets.beat": octets - per_instance,
        "octets.beat_instance": per_instance,
    }


def _always(requests: Sequence[bytes]) -> Callable[[int], Sequence[bytes]]:
    return lambda _: requests


def _changed(count: int) -> Callable[[int], Sequence[bytes]]:
    """Return so many changes of as many instances, other ones in each round."""

    def requests(_: int) -> Sequence[bytes]:
        turn = _TURNS.randrange(10_000)
        return [change(number * FILLED // count, turn) for number in range(count)]

    return requests


async def _changes(rig: Rig, port: int) -> dict[float, tuple[Used, float]]:
    """Return what a registration uses, and its octets, by pace."""
    found = {}
    for per_s in PACES["replica.register_us"]:
        used, sent = await beyond(rig, port, _changed(round(per_s * LOADED_S)), per_s, status=CREATED)
        found[per_s] = used, sent.octets / sent.requests
    return found


def _compared(alone: dict[float, tuple[Used, float]], both: dict[float, tuple[Used, float]]) -> ConstantValues:
    values: ConstantValues = {}
    for per_s, (used, octets) in both.items():
        single, _ = alone[per_s]
        values |= {
            at_pace("replica.register_us", per_s): used.cpu_us[0],
            at_pace("replica.change_us", per_s): used.cpu_us[1],
            at_pace("redis.change_us", per_s): single.redis_us,
            at_pace("redis.change_read_us", per_s): max(0.0, used.redis_us - single.redis_us),
            "redis.octets_change": single.redis_octets,
            "redis.octets_change_read": max(0.0, used.redis_octets - single.redis_octets),
            "octets.register": octets,
        }
    return values


async def _kept_changes(rig: Rig, port: int) -> ConstantValues:
    """Return what a change takes in memory for as long as it is kept."""
    before, before_mb = rig.used(), rig.memory_mb(1)
    await flood(port, [change(number % FILLED, 20_000) for number in range(KEPT_CHANGES)], 32, CREATED)
    await asyncio.sleep(2)
    return {
        "replica.memory_change": max(0.0, (rig.memory_mb(1) - before_mb) * MEGA / KEPT_CHANGES),
        "redis.memory_change": (rig.used().redis_bytes - before.redis_bytes) / KEPT_CHANGES,
    }


# -- watches


async def watch_head(rig: Rig, port: int) -> bytes:
    """Return the head with which a real agent asks for its watch."""
    async with real_agent(rig.folder, port) as agent:
        await agent.knows(1)
        return agent.relay.watch_head


async def _watchers(rig: Rig, first: int, second: int, head: bytes) -> tuple[ConstantValues, list[SimulatedWatch]]:
    unwatched, _ = await beyond(rig, first, _changed(FOLLOWED), FOLLOWED_PER_S, status=CREATED)
    quiet, before_mb = await middle_idle(rig), rig.memory_mb(1)
    crowd = [await one_watch(second, head)]
    crowd += await watches(second, WATCHERS - 1, resuming(head, crowd[0].cursor))
    await asyncio.sleep(SYNC_EVERY_S)
    taken_mb, octets = rig.memory_mb(1) - before_mb, octets_of(crowd)
    living = await middle_idle(rig, SYNC_EVERY_S, LIVES)
    life_octets = (octets_of(crowd) - octets) / (LIVES * WATCHERS)
    octets, began = octets_of(crowd), asyncio.get_running_loop().time()
    used, sent = await beyond(rig, first, _changed(FOLLOWED), FOLLOWED_PER_S, status=CREATED)
    lives = (asyncio.get_running_loop().time() - began) / SYNC_EVERY_S
    values = {
        "replica.life_us": max(0.0, living.cpu_us[1] - quiet.cpu_us[1]) * SYNC_EVERY_S / WATCHERS,
        "replica.deliver_us": max(0.0, used.cpu_us[1] - unwatched.cpu_us[1]) / WATCHERS,
        "replica.memory_watcher": max(0.0, taken_mb * MEGA / WATCHERS),
        "octets.life": life_octets,
        "octets.change": (octets_of(crowd) - octets - lives * life_octets * WATCHERS) / (sent.requests * WATCHERS),
    }
    return values, crowd


async def _joins(rig: Rig, port: int, head: bytes) -> ConstantValues:
    """Return what a reader costs that joins: alone, together with others, and resuming, without a snapshot."""
    loop = asyncio.get_running_loop()

    async def joined(count: int, with_head: bytes) -> tuple[float, int]:
        """Return what so many readers use who come together, and the octets of one."""
        found: list[float] = []
        octets = 0
        for _ in range(ROUNDS):
            quiet = await idle_share(rig, IDLE_S / 2)
            before, began = rig.used(), loop.time()
            crowd = await watches(port, count, with_head, count)
            await asyncio.sleep(0.5)
            found.append(rig.used().since(before).cpu_us[1] - quiet.cpu_us[1] * (loop.time() - began))
            octets = crowd[0].octets
            for watch in crowd:
                watch.close()
            await asyncio.sleep(0.5)
        return median(found), octets

    last = await one_watch(port, head)
    last.close()
    again_us, again_octets = await joined(JOINS, resuming(head, last.cursor))
    alone_us, octets = await joined(1, head)
    together_us, _ = await joined(JOINS, head)
    join_us = max(0.0, again_us / JOINS)
    sent_us = max(0.0, (together_us - alone_us - (JOINS - 1) * join_us) / ((JOINS - 1) * FILLED))
    return {
        "replica.join_us": join_us,
        "replica.join_instance_us": sent_us,
        "replica.encode_us": max(0.0, (alone_us - join_us) / FILLED - sent_us),
        "octets.snapshot": (octets - again_octets) / FILLED,
    }


async def _acks(rig: Rig, port: int, crowd: Sequence[SimulatedWatch]) -> ConstantValues:
    def reports(count: int) -> Sequence[bytes]:
        bodies = (
            {"watcher": watch.watcher.decode(), "cursor": "", "report": report_of(number % len(crowd), PAIRS)}
            for number in range(count)
            for watch in (crowd[number % len(crowd)],)
        )
        return [request("POST", "/watch/ack", msgspec.json.encode(body)) for body in bodies]

    def acks(count: int) -> Sequence[bytes]:
        return [ack(crowd[number % len(crowd)]) for number in range(count)]

    values = await _at_paces(rig, port, "replica.ack_us", "octets.ack", acks)
    return {**values, **await _at_paces(rig, port, "replica.report_us", "octets.report", reports)}


async def _lookups(rig: Rig, port: int) -> ConstantValues:
    def lookups(count: int) -> Sequence[bytes]:
        return [request("GET", f"/services/fleet-service-{number * 7 % 1000}") for number in range(count)]

    return await _at_paces(rig, port, "replica.lookup_us", "octets.lookup", lookups)


async def _at_paces(
    rig: Rig, port: int, name: str, octets: str, requests: Callable[[int], Sequence[bytes]]
) -> ConstantValues:
    """Return what a request costs replica 1 at each pace, and its octets."""
    values: ConstantValues = {}
    for per_s in PACES[name]:
        used, sent = await beyond(rig, port, _always(requests(round(per_s * LOADED_S))), per_s)
        values[at_pace(name, per_s)] = used.cpu_us[1]
        values[octets] = sent.octets / sent.requests
    return values


async def _memory(rig: Rig, empty_mb: float) -> ConstantValues:
    """Return the memory of a replica that starts with many instances, which leaves no holes in it."""
    before, overhead = rig.used().redis_bytes, int(rig.redis.info("memory")["used_memory_overhead"])
    added = MEASURED - rig.filled
    rig.fill(MEASURED)
    stored = rig.used().redis_bytes - before
    port = rig.start()
    await rig.known(port, MEASURED)
    await asyncio.sleep(2)
    return {
        "replica.memory": empty_mb,
        "replica.memory_instance": (rig.memory_mb(2) - empty_mb) * MEGA / MEASURED,
        "redis.memory": overhead / MEGA,
        "redis.memory_instance": stored / added,
    }
