"""Whole systems that judge the cost model: two replicas on Redis, simulated agents, and a real one."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

import msgspec
import uvloop

from bench.load import request
from bench.machine import this_machine
from bench.scale.crowd import octets_of, one_watch, paced, resuming, watches
from bench.scale.fleet_model import MEGA, Fleet
from bench.scale.measured_file import SystemResult
from bench.scale.replica_rows import CREATED, watch_head
from bench.scale.rig import Rig, beat, change, real_agent, rig

MEASURED_S: Final = 60.0
SETTLED_S: Final = 8.0


# Simulated agents send no reports, so each of their heartbeats needs a new connection.
_NEVER_S: Final = 1e9
SYSTEMS: Final = (
    Fleet(instances=10_000, agents=1_000, changes_per_s=10.0, lookups_per_s=100.0, report_s=_NEVER_S),
    Fleet(instances=100_000, agents=2_000, changes_per_s=5.0, lookups_per_s=100.0, report_s=_NEVER_S),
)


def measured_system(fleet: Fleet) -> SystemResult:
    """Run a whole system, and return what it used."""
    with rig() as made:
        date, machine = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()), this_machine()
        found, took_s = uvloop.run(_run(made, fleet))
    # What was planned for one time may have taken a little longer, and that is what was measured.
    slower = took_s / MEASURED_S
    made_fleet = msgspec.structs.replace(
        fleet,
        changes_per_s=fleet.changes_per_s / slower,
        lookups_per_s=fleet.lookups_per_s / slower,
        heartbeat_s=fleet.heartbeat_s * slower,
        changes_kept=fleet.changes_per_s * MEASURED_S,
    )
    return SystemResult(date, machine, made_fleet, found)


async def _run(made: Rig, fleet: Fleet) -> tuple[dict[str, float], float]:
    opening = made.start()
    made.fill(fleet.instances)
    await made.known(opening, fleet.instances)
    # As after any start: a replica that has read a shard that was there, without the holes of one that grew.
    made.stop_all()
    ports = [made.start(), made.start()]
    for port in ports:
        await made.known(port, fleet.instances)
    async with real_agent(made.folder, ports[0]) as agent:
        made.pinned(agent.program.pid)
        await agent.knows(fleet.instances // 10)
        head = await watch_head(made, ports[0])
        crowd = []
        for port in ports:
            first = await one_watch(port, head)
            # The rest has been there before: no machine of a benchmark has room for as many snapshots at once.
            crowd += [first, *await watches(port, fleet.agents // 2 - 1, resuming(head, first.cursor))]
        traffic = _traffic(fleet)
        await asyncio.sleep(SETTLED_S)
        loop = asyncio.get_running_loop()
        before, agent_us, relayed, octets = (
            made.used(),
            agent.cpu_us(),
            agent.relay.sent + agent.relay.got,
            octets_of(crowd),
        )
        began = loop.time()
        sent = await _send(ports, fleet, traffic)
        await asyncio.sleep(max(0.0, began + MEASURED_S - loop.time()))
        took_s, used = loop.time() - began, made.used().since(before)
        found = {
            "replica, processor": sum(used.cpu_us) / len(ports) / took_s / 1e4,
            "replica, memory": (made.memory_mb(0) + made.memory_mb(1)) / 2,
            "replica, traffic": (octets_of(crowd) - octets + sent) / len(ports) / took_s / 1000,
            "Redis master, processor": used.redis_us / took_s / 1e4,
            "Redis master, memory": int(made.redis.info("memory")["used_memory"]) / MEGA,
            "agent, processor": (agent.cpu_us() - agent_us) / took_s / 1e4,
            "agent, memory": agent.memory_mb(),
            "agent, traffic": (agent.relay.sent + agent.relay.got - relayed) / took_s / 1000,
        }
        for watch in crowd:
            watch.close()
        return found, took_s


class Traffic(msgspec.Struct, frozen=True):
    """The requests of agents and clients in the measured time."""

    beats: list[bytes]
    changes: list[bytes]
    lookups: list[bytes]


def _traffic(fleet: Fleet) -> Traffic:
    each, changes = fleet.instances // fleet.agents, round(fleet.changes_per_s * MEASURED_S)
    beats = [beat(agent * each, each) for agent in range(fleet.agents)]
    turn = random.randrange(10_000)
    return Traffic(
        beats * round(MEASURED_S / fleet.heartbeat_s),
        [change(number * fleet.instances // changes, turn) for number in range(changes)],
        [
            request("GET", f"/services/fleet-service-{number % int(fleet.services)}")
            for number in range(round(fleet.lookups_per_s * MEASURED_S))
        ],
    )


async def _send(ports: Sequence[int], fleet: Fleet, traffic: Traffic) -> int:
    """Send the traffic to the replicas in turn; return the octets of requests and answers."""
    count = len(ports)
    sent = await asyncio.gather(
        *(
            part
            for number, port in enumerate(ports)
            for part in (
                paced(port, traffic.beats[number::count], fleet.beats_per_s / count, anew=True),
                paced(port, traffic.changes[number::count], fleet.changes_per_s / count, anew=False, status=CREATED),
                paced(port, traffic.lookups[number::count], fleet.lookups_per_s / count, anew=False),
            )
        )
    )
    return sum(one.octets for one in sent)
