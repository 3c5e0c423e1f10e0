"""Measures service levels that no other row has: lookups and heartbeats at a steady rate, and lookups without a pause.

One replica on one processor; Redis and the load share the other. The baseline is a bare aiohttp web app that answers
the same number of bytes on the registry's processor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Final

import uvloop

from bench.load import flood, request, steady
from bench.machine import pin, unpin
from bench.middle import Middle, middle, redis_pids, register, registration
from bench.rows import Figure, Result, Row, spread
from cli.slo.levels import HEARTBEAT_MS, LOOKUP_MS, LOOKUPS_PER_S

STEADY_PER_S: Final = 500
FLEET: Final = 1_000
IN_FLIGHT: Final = 64
CREATED: Final = b"201"


def measure(count: int) -> Sequence[Result]:
    """Return the rows. The number of requests grows with `count`."""
    with middle(REGISTRY_LIMIT_LOOKUP="off", REGISTRY_LIMIT_REGISTER="off") as running:
        before = os.sched_getaffinity(0)
        try:
            return uvloop.run(_measured(running, max(1_000, 5 * count)))
        finally:
            unpin(before)


async def _measured(running: Middle, count: int) -> list[Result]:
    await flood(running.port, [register(number) for number in range(FLEET)], IN_FLIGHT, CREATED)
    instances = [registration(number) for number in range(FLEET)]
    lookups = [_lookup(str(instances[number % FLEET]["service_name"])) for number in range(count)]
    beats = [_beat(instances[number % FLEET]) for number in range(count)]
    bare_port, bare = running.bare(200, b"x" * 400)
    pin([running.registry.pid, bare.pid], beside=redis_pids(running.shard))
    looked_up = await steady(running.port, lookups, STEADY_PER_S)
    bare_paced = await steady(bare_port, lookups, STEADY_PER_S)
    renewed = await steady(running.port, beats, STEADY_PER_S)
    most = (await flood(running.port, lookups * 4, IN_FLIGHT)).per_s
    bare_most = (await flood(bare_port, lookups * 4, IN_FLIGHT)).per_s
    against = "a bare aiohttp web app on the same processor"
    bare_spread = spread(bare_paced.samples_ns)
    lookup = f"lookup at a steady {STEADY_PER_S}/s"
    heartbeat = f"heartbeat at a steady {STEADY_PER_S}/s"
    return [
        Row(lookup, spread(looked_up.samples_ns), against, bare_spread, LOOKUP_MS[2]),
        Row(heartbeat, spread(renewed.samples_ns), against, bare_spread, HEARTBEAT_MS[2]),
        Figure(
            f"lookups sustained by one replica on one processor, {IN_FLIGHT} in flight",
            "1/s",
            most,
            against,
            bare_most,
            # A deployment has more than one; five share it by turns.
            LOOKUPS_PER_S / 5,
            at_least=True,
        ),
    ]


def _lookup(service: str) -> bytes:
    return request("GET", f"/services/{service}")


def _beat(instance: dict[str, object]) -> bytes:
    named = {"service_name": instance["service_name"], "instance_id": instance["instance_id"]}
    return request("POST", "/heartbeat", json.dumps(named).encode())
