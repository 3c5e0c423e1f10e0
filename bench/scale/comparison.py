"""Compares whole systems that were measured with what the cost model says of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from bench.scale.fleet_model import Deployed, Fleet, costs
from bench.scale.measured_file import SystemResult

LAYOUT: Final = Deployed(replicas=2)
WITHIN: Final = 0.2


class Comparison(msgspec.Struct, frozen=True):
    """One figure of a whole system: what the model says and what was measured, in `unit`."""

    what: str
    unit: str
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        return self.predicted / self.measured if self.measured else float("inf")

    @property
    def met(self) -> bool:
        return abs(self.ratio - 1.0) <= WITHIN


UNITS: Final = {
    "replica, processor": "% of a core",
    "replica, memory": "MB",
    "replica, traffic": "kB/s",
    "Redis master, processor": "% of a core",
    "Redis master, memory": "MB",
    "agent, processor": "% of a core",
    "agent, memory": "MB",
    "agent, traffic": "kB/s",
}


def predicted(fleet: Fleet, constants: Mapping[str, float]) -> dict[str, float]:
    """Return what the model says of the figures of a whole system."""
    used = costs(fleet, LAYOUT, constants)
    share = used.agent
    # The real one has no service of its own.
    watched = share.octets["changes"] + share.octets["signs of life"]
    return {
        "replica, processor": used.replica.cores * 100,
        "replica, memory": used.replica.memory_mb,
        "replica, traffic": used.replica.octets_per_s / 1000,
        "Redis master, processor": used.redis.cores * 100,
        "Redis master, memory": used.redis.memory_mb,
        "agent, processor": (share.cores - share.cpu["DNS"] / 1e6) * 100,
        "agent, memory": share.memory_mb,
        "agent, traffic": watched / 1000,
    }


def compared(result: SystemResult, constants: Mapping[str, float]) -> list[Comparison]:
    """Return each figure as predicted and as measured."""
    told = predicted(result.fleet, constants)
    return [Comparison(what, unit, told[what], result.measured[what]) for what, unit in UNITS.items()]
