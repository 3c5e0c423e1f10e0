"""Half of a fleet dies at once: the guard holds it first, then the budget paces it; no service empties in one sweep."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Final

from tests.chaos.asking import Target
from tests.chaos.fleet import FAST, agent, asking, ready
from tests.chaos.system import Outcome, Registry, registry
from tests.programs import wait_until
from tests.redis_topology import redis_server
from tests.scenarios.system import get_json

LIVING: Final = [f"service_{number}" for number in range(10)]
PAIRS: Final = ["pair_0", "pair_1"]  # both instances of each are among the dead
DYING: Final = [LIVING[:6] + PAIRS, PAIRS]
HOLD_S: Final = 5.0
BUDGET: Final = 20  # a minute: the whole shard, since the minimum budget exceeds a tenth of so small a shard
# Log lines are written after a sweep.
LATE_S: Final = 1.0


def half_of_the_instances_die(folder: Path, seed: int) -> Outcome:
    """Kill the agents of half of the instances; the rest of each service is always found."""
    settings = FAST.replica(REGISTRY_GUARD_HOLD=str(HOLD_S), REGISTRY_GUARD_BUDGET="100")
    beat_s = FAST.heartbeat_s
    with (
        redis_server(folder / "redis") as redis,
        registry(folder, redis.url, "replica", settings) as replica,
        agent(folder, "living", LIVING, "127.77.1.1", urls=[replica.url], heartbeat_s=beat_s) as living,
        agent(folder, "dying-0", DYING[0], "127.77.1.2", urls=[replica.url], heartbeat_s=beat_s) as first,
        agent(folder, "dying-1", DYING[1], "127.77.1.3", urls=[replica.url], heartbeat_s=beat_s) as second,
    ):
        ready([living, first, second])
        wait_until(lambda: len(replica.instances()) == BUDGET, "all are registered")
        before = Counter(replica.instances().values())
        targets = [Target(at, living.services) for at in (replica.url, living.url, str(living.dns_port))]
        with asking(folder, targets, seed) as result:
            died_at = time.time()
            for each in (first, second):
                each.program.process.kill()
            wait_until(
                lambda: _suspects(replica) == BUDGET // 2, "all of the dead are suspect, and served", timeout_s=20
            )
            wait_until(lambda: len(replica.instances()) == len(LIVING), "the dead are gone", timeout_s=60)
        shown = sorted(replica.instances().values())
        lost = [name for name in LIVING if name not in shown]
        result.acknowledged = dict.fromkeys(before, "")
        sweeps = _sweeps(folder / "replica.log")
        held_s, took_s = sweeps[0][0] - died_at, sweeps[-1][0] - sweeps[0][0]
        what = f"half of {BUDGET} instances died; held for {held_s:.1f} s, then gone within {took_s:.1f} s"
        return Outcome(what, result, lost, _broken(before, sweeps, held_s))


def _suspects(replica: Registry) -> int:
    return sum(instance["suspect"] for instance in get_json(f"{replica.url}/catalog")["instances"])


def _sweeps(log: Path) -> list[tuple[float, list[str]]]:
    """Return every sweep that removed instances: its time, and their services."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    return [
        (datetime.fromisoformat(line["timestamp"]).timestamp(), _services(line["details"]["instances"]))
        for line in lines
        if line["event"] == "instances expired"
    ]


def _services(instances: list[str]) -> list[str]:
    return [instance.partition("/")[0].replace("-", "_") for instance in instances]


def _broken(before: Counter[str], sweeps: list[tuple[float, list[str]]], held_s: float) -> list[str]:
    broken: list[str] = []
    left, gone, first_at = before.copy(), 0, sweeps[0][0]
    if held_s < FAST.ttl_s + HOLD_S:
        broken.append(f"the first expired after {held_s:.1f} s")
    for at, services in sweeps:
        for service, count in Counter(services).items():
            if count == left[service] > 1:
                broken.append(f"{service} lost all {count} instances in one sweep")
        left.subtract(services)
        gone += len(services)
        if gone > 1 + BUDGET * (at - first_at + LATE_S) / 60:
            broken.append(f"{gone} were gone within {at - first_at:.1f} s")
    return broken
