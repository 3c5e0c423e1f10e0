"""Measures what the audit log costs: registrations at a registry with one, and at the same registry without.

Both registries write to the same Redis, one after the other in turns, so that whatever else runs on the machine slows
either of them down.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import uvloop

from bench.load import flood
from bench.machine import pin
from bench.middle import Middle, cpu_s, middle, redis_pids, register, registry_on
from bench.rows import Figure, Result

IN_FLIGHT: Final = 64
WARM_UP: Final = 1_000
TURNS: Final = 9
CREATED: Final = b"201"
# Of a registration without an audit.
GOAL: Final = 1.05


def measure(count: int) -> Sequence[Result]:
    """Return the rows. The number of registrations grows with `count`."""
    writes = max(2_000, 8 * count)
    with middle() as running, ExitStack() as stack:
        port, audited = stack.enter_context(
            registry_on(running.shard, running.folder, REGISTRY_AUDIT=str(running.folder / "audit"))
        )
        pin([running.registry.pid, audited.pid], beside=redis_pids(running.shard))
        return uvloop.run(_measured(running, port, audited.pid, writes))


async def _measured(running: Middle, port: int, pid: int, writes: int) -> list[Result]:
    numbers = iter(range(10_000_000))
    registries = {"with": (port, pid), "without": (running.port, running.registry.pid)}
    spent: dict[str, list[float]] = {"with": [], "without": []}
    rates = {"with": 0.0, "without": 0.0}
    for where, _ in registries.values():
        await flood(where, [register(next(numbers)) for _ in range(WARM_UP)], IN_FLIGHT, CREATED)
    for turn in range(TURNS):
        for which in ("with", "without") if turn % 2 else ("without", "with"):
            where, process = registries[which]
            requests = [register(next(numbers)) for _ in range(writes)]
            before = cpu_s(process)
            rates[which] = max(rates[which], (await flood(where, requests, IN_FLIGHT, CREATED)).per_s)
            spent[which].append((cpu_s(process) - before) * 1e6 / writes)
    ours, theirs = statistics.median(spent["with"]), statistics.median(spent["without"])
    return [
        Figure(
            "processor time of a registration with an audit log",
            "us",
            ours,
            "the same registry without one, in turns",
            theirs,
            theirs * GOAL if math.isfinite(theirs) else 0.0,
        ),
        Figure(
            f"registrations with an audit log, {IN_FLIGHT} in flight",
            "1/s",
            rates["with"],
            "the same registry without one, in turns",
            rates["without"],
            rates["without"] / GOAL,
            at_least=True,
        ),
    ]
