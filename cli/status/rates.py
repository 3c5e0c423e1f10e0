"""Rates between two looks at a deployment: requests a second of each replica. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from cli.table import aligned
from cli.terminal import printable

KINDS: Final = ("lookups", "writes", "refused", "failed")


class DeploymentLook(NamedTuple):
    """What `/deployment` said, and when that was, in seconds of a clock that only goes forward."""

    at_s: float
    said: Mapping[str, Any]


class ReplicaRates(NamedTuple):
    """One replica: requests a second by kind; None where nothing is known to compare with, as after a restart."""

    replica: str
    rates: Mapping[str, float | None]
    cpu_percent: float | None
    watchers: int
    status: str


def replica_rates(before: DeploymentLook | None, now: DeploymentLook) -> list[ReplicaRates]:
    """Return the rates of each replica between two looks; a replica that restarted in between has none."""
    known = {one["id"]: one for one in before.said["replicas"]} if before is not None else {}
    took_s = now.at_s - before.at_s if before is not None else 0.0
    return [
        ReplicaRates(
            one["url"] or one["id"],
            {kind: _rate(known.get(one["id"]), one, kind, took_s) for kind in KINDS},
            one["cpu_percent"],
            one["watchers"],
            one["status"],
        )
        for one in now.said["replicas"]
    ]


def _rate(before: Mapping[str, Any] | None, now: Mapping[str, Any], kind: str, took_s: float) -> float | None:
    if before is None or took_s <= 0:
        return None
    change = int(now["requests"][kind]) - int(before["requests"][kind])
    return change / took_s if change >= 0 else None


def rate_lines(replicas: Sequence[ReplicaRates], silent: Sequence[str]) -> list[str]:
    """Return a table: a line for each replica, and their sum."""
    rows: list[tuple[str, ...]] = [
        ("REPLICA", "LOOKUPS/S", "WRITES/S", "REFUSED/S", "FAILED/S", "CPU %", "WATCHES", "HEALTH")
    ]
    for one in replicas:
        cpu = "-" if one.cpu_percent is None else f"{one.cpu_percent:.0f}"
        rates = [shown_rate(one.rates[kind]) for kind in KINDS]
        rows.append((one.replica, *rates, cpu, str(one.watchers), one.status))
    rows += [(url, *["-"] * (len(KINDS) + 2), "silent") for url in silent]
    sums = [_sum([one.rates[kind] for one in replicas]) for kind in KINDS]
    rows.append(("all", *map(shown_rate, sums), "", str(sum(one.watchers for one in replicas)), ""))
    return aligned([[printable(cell) for cell in row] for row in rows], right=range(1, len(KINDS) + 3))


def shown_rate(rate: float | None) -> str:
    """Return a rate for people; `-` when it is not known."""
    if rate is None:
        return "-"
    return f"{rate:,.0f}" if rate >= 10 or rate == 0 else f"{rate:.1f}"


def _sum(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
