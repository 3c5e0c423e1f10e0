"""The rows about agents: real ones, at a real replica."""

from __future__ import annotations

import asyncio
import os
import random
import re
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

from bench import dns_servers
from bench.dns_load import dnsperf, pin_server
from bench.dns_servers import BenchFleet
from bench.machine import cpu_us
from bench.scale.constants import PACES, at_pace
from bench.scale.crowd import paced
from bench.scale.meter import ROUNDS
from bench.scale.replica_rows import CREATED, FILLED, MEGA, ConstantValues
from bench.scale.rig import RealAgent, Rig, change, real_agent
from registry_core.watch.limits import SYNC_EVERY_S

QUIET_S: Final = 2.0
CHANGES: Final = 100
CHANGES_PER_S: Final = 20.0
# Of a fleet of this many services an agent with this setting holds few.
FEW_SERVICES: Final = "20"
QUERIES_S: Final = 5.0
SERVICES: Final = 100
_COMPLETED: Final = re.compile(r"Queries completed:\s+(\d+)")


async def measured(rig: Rig) -> ConstantValues:
    """Return the constants of an agent. `rig` has no replica yet."""
    port = rig.start()
    empty_us, empty_mb = await _started(rig, port, 0)
    rig.fill(FILLED)
    await rig.known(port, FILLED)
    full_us, full_mb = await _started(rig, port, FILLED // 10)
    async with real_agent(rig.folder, port) as agent:
        rig.pinned(agent.program.pid)
        await agent.knows(FILLED // 10)
        await asyncio.sleep(QUIET_S)
        quiet_us = await _idle_us(agent)
        held_us = await _changes_us(port, agent, quiet_us)
    async with real_agent(rig.folder, port, AGENT_VIEW_SERVICES=FEW_SERVICES) as agent:
        rig.pinned(agent.program.pid)
        await agent.knows(FILLED // 10)
        await asyncio.sleep(QUIET_S)
        absent_us = await _changes_us(port, agent, quiet_us)
    return {
        "agent.idle_us": quiet_us,
        "agent.change_us": held_us,
        "agent.change_absent_us": absent_us,
        "agent.join_us": max(0.0, full_us - empty_us) / FILLED,
        "agent.memory": empty_mb,
        "agent.memory_instance": (full_mb - empty_mb) * MEGA / FILLED,
    }


async def _started(rig: Rig, port: int, services: int) -> tuple[float, float]:
    """Return the processor time (us) and the memory (MB) of an agent that has just read so many services."""
    used: list[float] = []
    taken: list[float] = []
    for _ in range(ROUNDS):
        async with real_agent(rig.folder, port) as agent:
            rig.pinned(agent.program.pid)
            await agent.knows(services)
            await asyncio.sleep(QUIET_S)
            used.append(agent.cpu_us())
            taken.append(agent.memory_mb())
    return median(used), median(taken)


async def _idle_us(agent: RealAgent) -> float:
    found: list[float] = []
    for _ in range(ROUNDS):
        before = agent.cpu_us()
        await asyncio.sleep(SYNC_EVERY_S)
        found.append((agent.cpu_us() - before) / SYNC_EVERY_S)
    return median(found)


async def _changes_us(port: int, agent: RealAgent, quiet_us: float) -> float:
    """Return what one change costs the agent. All services change in turn, so it holds few of them in a large fleet."""
    loop = asyncio.get_running_loop()
    found: list[float] = []
    for _ in range(ROUNDS):
        turn, step = random.randrange(10_000), FILLED // CHANGES
        before, began = agent.cpu_us(), loop.time()
        await paced(port, [change(n * step, turn) for n in range(CHANGES)], CHANGES_PER_S, anew=False, status=CREATED)
        await asyncio.sleep(0.5)
        found.append((agent.cpu_us() - before - quiet_us * (loop.time() - began)) / CHANGES)
    return max(0.0, median(found))


def measured_dns() -> ConstantValues:
    """Return what a DNS query costs an agent at two rates."""
    with tempfile.TemporaryDirectory(prefix="vertice-scale-") as name:
        folder, fleet = Path(name), BenchFleet(tuple(f"fleet_service_{n}" for n in range(SERVICES)))
        questions = folder / "questions"
        questions.write_text(fleet.questions(), encoding="ascii")
        with dns_servers.agent(folder, fleet) as (server, _):
            pin_server(server.pid, min(os.sched_getaffinity(0)))
            found = {}
            for per_s in map(int, PACES["agent.query_us"]):
                before = cpu_us(server.pid)
                out = dnsperf(server, questions, QUERIES_S, "-Q", str(per_s))
                answered = _COMPLETED.search(out)
                assert answered is not None, out
                found[at_pace("agent.query_us", per_s)] = (cpu_us(server.pid) - before) / int(answered[1])
            return found
