"""The rows about replicas and Redis: each constant is a difference between what was used with and without something.

Requests come at a pace that leaves a replica mostly idle, as most are: near saturation work is gathered, and cheaper.
Replicas are called by their number: 0 takes the writes, 1 only follows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from statistics import mean
from typing import Final

import msgspec

from bench.load import flood, request
from bench.scale.crowd import SimulatedWatch, ack, octets_of, one_watch, paced, watches
from bench.scale.meter import SETTLED_S, beyond, idle_share
from bench.scale.rig import Rig, Used, beat, change, real_agent
from bench.usage import report_of
from registry_core.watch.limits import SYNC_EVERY_S

Values = dict[str, float]

FILLED: Final = 10_000
MEASURED: Final = 40_000  # instances whose memory is measured
BATCH: Final = 50
BATCHES_PER_S: Final = 20.0
SINGLES_PER_S: Final = 150.0
SINGLES: Final = 1_500
CHANGES: Final = 400
CHANGES_PER_S: Final = 40.0
KEPT_CHANGES: Final = 6_000
WATCHERS: Final = 500
FOLLOWED: Final = 200
FOLLOWED_PER_S: Final = 20.0
LIVES: Final = 4
JOINS: Final = 24
ALONE: Final = 3
LOOKUPS: Final = 4_000
LOOKUPS_PER_S: Final = 1_000.0
ACKS: Final = 2_000
ACKS_PER_S: Final = 400.0
PAIRS: Final = 20
MEGA: Final = 1024 * 1024
CREATED: Final = b"201"


async def measured(rig: Rig) -> dict[str, Values]:
    """Return the constants of replicas and Redis by row."""
    rows: dict[str, Values] = {}
    first = rig.start()
    await asyncio.sleep(2)
    empty = await idle_share(rig)
    empty_mb, redis_empty = rig.memory_mb(0), rig.used().redis_bytes
    rows["idle"] = {"replica.idle_us": empty.cpu_us[0], "redis.idle_us": empty.redis_us}
    rig.fill(FILLED)
    await rig.known(first, FILLED)
    alone = await _writes(rig, first)
    second = rig.start()
    await rig.known(second, FILLED)
    both = await _writes(rig, first)
    rows["beats"], rows["changes"] = _beats(alone, both), _changes(alone, both)
    rows["changes"] |= await _kept_changes(rig, first)
    rows["watchers"], crowd = await _watchers(rig, first, second, rows["changes"]["replica.change_us"])
    rows["acks"] = await _acks(rig, second, crowd)
    head = await watch_head(rig, second)
    for watch in crowd:
        watch.close()
    await asyncio.sleep(1)
    rows["joins"] = await _joins(rig, second, head)
    rows["lookups"] = await _lookups(rig, second)
    rows["memory"] = await _memory(rig, empty_mb, redis_empty)
    return rows


# -- writes


class Writes(msgspec.Struct, frozen=True):
    """What the same writes used: batches of heartbeats, single ones on kept and on new connections, changes."""

    batches: Used
    singles: Used
    anew: Used
    changes: Used
    octets: tuple[float, float, float]  # of one batch, one single heartbeat, one change


async def _writes(rig: Rig, port: int) -> Writes:
    numbers = range(0, FILLED, BATCH)
    await paced(port, [beat(0, BATCH)] * 20, BATCHES_PER_S, anew=False)  # warms up
    quiet = await idle_share(rig)
    # Each instance is renewed once, so that no renewal hides another one of the same instance.
    batches, sent = await beyond(
        rig, quiet, port, [beat(n, BATCH) for n in numbers], BATCHES_PER_S, settled_s=SETTLED_S
    )
    one_by_one = [beat(n, 1) for n in range(SINGLES)]
    singles, sent_one = await beyond(rig, quiet, port, one_by_one, SINGLES_PER_S, settled_s=SETTLED_S)
    anew, _ = await beyond(rig, quiet, port, one_by_one, SINGLES_PER_S, anew=True, settled_s=SETTLED_S)
    turn = random.randrange(10_000)
    requests = [change(number, turn) for number in range(CHANGES)]
    changed, sent_changes = await beyond(rig, quiet, port, requests, CHANGES_PER_S, status=CREATED)
    return Writes(
        batches,
        singles,
        anew,
        changed,
        (sent.octets / sent.requests, sent_one.octets / sent_one.requests, sent_changes.octets / CHANGES),
    )


def _beats(alone: Writes, both: Writes) -> Values:
    """Return the constants of heartbeats: two sizes of requests tell a request from its instances."""
    in_batches = FILLED
    each_batch, each_single = both.batches.cpu_us[0] / (FILLED / BATCH), both.singles.cpu_us[0] / SINGLES
    instance = (each_batch - each_single) / (BATCH - 1)
    per_instance = (both.octets[0] - both.octets[1]) / (BATCH - 1)
    return {
        "replica.beat_us": each_single - instance,
        "replica.beat_instance_us": instance,
        "replica.connection_us": (both.anew.cpu_us[0] - both.singles.cpu_us[0]) / SINGLES,
        "replica.renewal_us": both.batches.cpu_us[1] / in_batches,
        "redis.renewal_us": alone.batches.redis_us / in_batches,
        "redis.renewal_read_us": max(0.0, (both.batches.redis_us - alone.batches.redis_us) / in_batches),
        "redis.octets_renewal": alone.batches.redis_octets / in_batches,
        "redis.octets_renewal_read": max(0.0, (both.batches.redis_octets - alone.batches.redis_octets) / in_batches),
        "octets.beat": both.octets[1] - per_instance,
        "octets.beat_instance": per_instance,
    }


def _changes(alone: Writes, both: Writes) -> Values:
    return {
        "replica.register_us": both.changes.cpu_us[0] / CHANGES,
        "replica.change_us": both.changes.cpu_us[1] / CHANGES,
        "redis.change_us": alone.changes.redis_us / CHANGES,
        "redis.change_read_us": max(0.0, (both.changes.redis_us - alone.changes.redis_us) / CHANGES),
        "redis.octets_change": alone.changes.redis_octets / CHANGES,
        "redis.octets_change_read": max(0.0, (both.changes.redis_octets - alone.changes.redis_octets) / CHANGES),
        "octets.register": both.octets[2],
    }


async def _kept_changes(rig: Rig, port: int) -> Values:
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


async def _watchers(rig: Rig, first: int, second: int, change_us: float) -> tuple[Values, list[SimulatedWatch]]:
    quiet, before_mb = await idle_share(rig), rig.memory_mb(1)
    crowd = await watches(second, WATCHERS, await watch_head(rig, second))
    await asyncio.sleep(SYNC_EVERY_S)
    taken_mb, octets = rig.memory_mb(1) - before_mb, octets_of(crowd)
    seconds = LIVES * SYNC_EVERY_S
    living = await idle_share(rig, seconds)
    lives = LIVES * WATCHERS
    life_octets = (octets_of(crowd) - octets) / lives
    octets = octets_of(crowd)
    turn = random.randrange(10_000)
    requests = [change(number, turn) for number in range(FOLLOWED)]
    used, _ = await beyond(rig, living, first, requests, FOLLOWED_PER_S, status=CREATED)
    taken_s = FOLLOWED / FOLLOWED_PER_S + 1.0
    changed_octets = octets_of(crowd) - octets - life_octets * WATCHERS * taken_s / SYNC_EVERY_S
    values = {
        "replica.life_us": max(0.0, (living.cpu_us[1] - quiet.cpu_us[1]) * seconds / lives),
        "replica.deliver_us": (used.cpu_us[1] - FOLLOWED * change_us) / (FOLLOWED * WATCHERS),
        "replica.memory_watcher": max(0.0, taken_mb * MEGA / WATCHERS),
        "octets.life": life_octets,
        "octets.change": changed_octets / (FOLLOWED * WATCHERS),
    }
    return values, crowd


async def _joins(rig: Rig, port: int, head: bytes) -> Values:
    """Return what a reader costs that joins: alone, together with others, and resuming, without a snapshot."""
    quiet = await idle_share(rig)
    loop = asyncio.get_running_loop()

    async def joined(count: int, with_head: bytes) -> tuple[float, list[SimulatedWatch]]:
        before, began = rig.used(), loop.time()
        crowd = await watches(port, count, with_head, count)
        await asyncio.sleep(0.5)
        used = rig.used().since(before).cpu_us[1] - quiet.cpu_us[1] * (loop.time() - began)
        for watch in crowd:
            watch.close()
        await asyncio.sleep(0.5)
        return used, crowd

    alone: list[float] = []
    octets: list[int] = []
    for _ in range(ALONE):
        used, (watch,) = await joined(1, head)
        alone.append(used)
        octets.append(watch.octets)
    together, _ = await joined(JOINS, head)
    last = await one_watch(port, head)
    last.close()
    resuming, crowd = await joined(JOINS, head.replace(b"cursor=", b"cursor=" + last.cursor, 1))
    resumed = octets_of(crowd) / JOINS
    join_us = resuming / JOINS
    sent_us = max(0.0, (together - mean(alone) - (JOINS - 1) * join_us) / ((JOINS - 1) * FILLED))
    return {
        "replica.join_us": join_us,
        "replica.join_instance_us": sent_us,
        "replica.encode_us": max(0.0, (mean(alone) - join_us) / FILLED - sent_us),
        "octets.snapshot": (mean(octets) - resumed) / FILLED,
    }


async def _acks(rig: Rig, port: int, crowd: Sequence[SimulatedWatch]) -> Values:
    quiet = await idle_share(rig)
    acks = [ack(crowd[number % len(crowd)]) for number in range(ACKS)]
    acked, sent = await beyond(rig, quiet, port, acks, ACKS_PER_S)
    bodies = [
        {
            "watcher": crowd[number % len(crowd)].watcher.decode(),
            "cursor": "",
            "report": report_of(number % len(crowd), PAIRS),
        }
        for number in range(ACKS)
    ]
    reports = [request("POST", "/watch/ack", msgspec.json.encode(body)) for body in bodies]
    reported, sent_reports = await beyond(rig, quiet, port, reports, ACKS_PER_S)
    return {
        "replica.ack_us": acked.cpu_us[1] / ACKS,
        "replica.report_us": reported.cpu_us[1] / ACKS,
        "octets.ack": sent.octets / ACKS,
        "octets.report": sent_reports.octets / ACKS,
    }


# -- lookups and memory


async def _lookups(rig: Rig, port: int) -> Values:
    quiet = await idle_share(rig)
    asked = [request("GET", f"/services/fleet-service-{number % 1000}") for number in range(LOOKUPS)]
    used, sent = await beyond(rig, quiet, port, asked, LOOKUPS_PER_S)
    return {"replica.lookup_us": used.cpu_us[1] / LOOKUPS, "octets.lookup": sent.octets / LOOKUPS}


async def _memory(rig: Rig, empty_mb: float, redis_empty: float) -> Values:
    """Return the memory of a replica that starts with many instances, which leaves no holes in it."""
    before = rig.used().redis_bytes
    added = MEASURED - rig.filled
    rig.fill(MEASURED)
    stored = rig.used().redis_bytes - before
    port = rig.start()
    await rig.known(port, MEASURED)
    await asyncio.sleep(2)
    return {
        "replica.memory": empty_mb,
        "replica.memory_instance": (rig.memory_mb(2) - empty_mb) * MEGA / MEASURED,
        "redis.memory": redis_empty / MEGA,
        "redis.memory_instance": stored / added,
    }
