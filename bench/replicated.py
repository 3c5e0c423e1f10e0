"""Measures writes that a second Redis must hold before the acknowledgement, at one registry replica on one processor.

A Redis master, its replica and the load share the other processor. The baselines are a bare aiohttp web app that
answers the same bytes on the registry's processor, and Redis alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from typing import Final

import uvloop
from redis import Redis

from bench.load import HttpLoad, flood, request, steady
from bench.machine import pin
from bench.middle import Middle, cpu_s, middle, redis_pids, register, registration
from bench.rows import Figure, Result, Row, spread
from cli.slo.levels import REGISTRATION_MS

IN_FLIGHT: Final = 64
BEATS: Final = 100
STEADY_PER_S: Final = 500
WARM_UP: Final = 2_000
REPEATS: Final = 3
CREATED: Final = b"201"


def measure(count: int) -> Sequence[Result]:
    """Return the rows. The number of requests grows with `count`."""
    writes = max(2_000, 20 * count)
    with middle() as running:
        return uvloop.run(_measured(running, writes))


async def _measured(running: Middle, writes: int) -> list[Result]:
    numbers = iter(range(10_000_000))

    def registrations(count: int) -> list[bytes]:
        return [register(next(numbers)) for _ in range(count)]

    await flood(running.port, registrations(WARM_UP), IN_FLIGHT, CREATED)
    bare_port, bare = running.bare(201, json.dumps({"status": "registered", **registration(1)}).encode())
    pin([running.registry.pid, bare.pid], beside=redis_pids(running.shard))
    # In turns, keeping the best: other activity on the machine only makes either of them slower.
    ours = theirs = 0.0
    ours_us = theirs_us = math.inf
    for _ in range(REPEATS):
        before, bare_before = cpu_s(running.registry.pid), cpu_s(bare.pid)
        ours = max(ours, (await flood(running.port, registrations(writes), IN_FLIGHT, CREATED)).per_s)
        theirs = max(theirs, (await flood(bare_port, registrations(writes), IN_FLIGHT, CREATED)).per_s)
        ours_us = min(ours_us, (cpu_s(running.registry.pid) - before) * 1e6 / writes)
        theirs_us = min(theirs_us, (cpu_s(bare.pid) - bare_before) * 1e6 / writes)
    beats, bare_beats = 0.0, 0.0
    for _ in range(REPEATS):
        # Made before: to encode a batch takes the load as long as to have it renewed takes Redis, beside which it runs.
        batches = list(_beats(writes // 10))
        beats = max(beats, (await flood(running.port, batches, 8)).per_s * BEATS)
        bare_beats = max(bare_beats, (await flood(bare_port, batches, 8, CREATED)).per_s * BEATS)
    paced: HttpLoad = await steady(running.port, registrations(STEADY_PER_S * 5), STEADY_PER_S, CREATED)
    alone = _alone(running, STEADY_PER_S * 2)
    return [
        Figure(
            f"registrations over HTTP with WAIT 1, {IN_FLIGHT} in flight",
            "1/s",
            ours,
            "a bare aiohttp web app on the same processor that answers the same bytes",
            theirs,
            5_000,
            at_least=True,
        ),
        Figure(
            "processor time of the registry for each of them",
            "us",
            ours_us,
            "the same web app; other programs on the machine move this less than the rate",
            theirs_us,
            200,
        ),
        Figure(
            f"heartbeats with WAIT 1, {BEATS} in each request",
            "1/s",
            beats,
            "the same web app, which keeps nothing",
            bare_beats,
            60_000,
            at_least=True,
        ),
        Row(
            f"registration at a steady {STEADY_PER_S}/s",
            spread(paced.samples_ns),
            "Redis alone: SET and WAIT 1, one after another",
            spread(alone),
            REGISTRATION_MS[2],
        ),
    ]


def _beats(count: int) -> Iterator[bytes]:
    """Yield requests with heartbeats of the instances registered first."""
    for number in range(count):
        first = number * BEATS % WARM_UP
        named = [registration(one) for one in range(first, first + BEATS)]
        instances = [{"service_name": each["service_name"], "instance_id": each["instance_id"]} for each in named]
        yield request("POST", "/heartbeat", json.dumps({"instances": instances}).encode())


def _alone(running: Middle, count: int) -> list[int]:
    samples = []
    with Redis(port=running.shard.nodes[0].port) as client:
        for number in range(count):
            began = time.perf_counter_ns()
            client.set(f"bench:{number % 100}", b"x" * 300)
            client.wait(1, 1000)
            samples.append(time.perf_counter_ns() - began)
    return samples
