"""What a DNS answer costs at every load, ours and others': saturation hides most of it.

Every server has one processor to itself, dnsperf another. The programs are asked in turn, and the median of several
turns is shown. Latency is compared at half of our greatest rate.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import dns_servers
from bench.dns_load import latencies_ms, load, pin_server
from bench.dns_servers import BenchFleet, DnsServerProcess
from bench.machine import unpin
from bench.rows import Figure

FLEET: Final = 111
TURNS: Final = 7
SECONDS: Final = 0.6
# Queries per second; 0 is as many as are answered.
LOADS: Final = (0, 50_000, 10_000, 1_000)
# Ours to that of unbound, at saturation and at each other load.
GOAL_SATURATED: Final = 1.0
GOAL: Final = 1.2
# How much later than unbound's, in milliseconds, the 99th percentile may be.
LATER_MS: Final = 0.1
_UNBOUND: Final = "unbound"


def measure(count: int) -> Sequence[Figure]:
    """Return the figures: processor time for a query at each load, beside each server, and the latency at half load.

    `count` is the number of measurements of other rows, of which this one makes a share.
    """
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("this needs two processors: one for the server, one for dnsperf")
    turns = max(1, TURNS * count // 500)
    fleet = BenchFleet(tuple(f"fleet_service_{n}" for n in range(FLEET)))
    with ExitStack() as stack:
        stack.callback(unpin, set(usable))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        # Processes started from here on inherit the client's processor; the servers are moved.
        os.sched_setaffinity(0, {usable[-1]})
        ours, _ = stack.enter_context(dns_servers.agent(folder, fleet))
        others = [
            stack.enter_context(dns_servers.unbound(folder, fleet)),
            stack.enter_context(dns_servers.dnsmasq(folder, fleet)),
            stack.enter_context(dns_servers.echo(folder)),
            *stack.enter_context(dns_servers.coredns_if_there(folder, fleet)),
        ]
        for server in (ours, *others):
            pin_server(server.pid, usable[0])
        questions = folder / "questions"
        questions.write_text(fleet.questions(), encoding="ascii")
        figures: list[Figure] = []
        rate = 0.0
        for per_s in LOADS:
            cost, reached = _costs([ours, *others], questions, per_s, turns)
            rate = rate or reached
            figures += _beside(per_s, ours, others, cost)
        return [*figures, _latency(ours, others[0], questions, rate / 2, turns)]


def _costs(
    servers: Sequence[DnsServerProcess], questions: Path, per_s: int, turns: int
) -> tuple[dict[str, float], float]:
    """Return the microseconds of processor time for a query at each server, and the rate that the first reached."""
    runs: dict[str, list[float]] = {server.name: [] for server in servers}
    reached: list[float] = []
    for _ in range(turns):
        for server in servers:
            one = load(server, questions, SECONDS, per_s)
            runs[server.name].append(one.cpu_us)
            if server is servers[0]:
                reached.append(one.per_second)
    return {name: statistics.median(costs) for name, costs in runs.items()}, statistics.median(reached)


def _beside(
    per_s: int, ours: DnsServerProcess, others: Sequence[DnsServerProcess], cost: dict[str, float]
) -> Iterator[Figure]:
    """Return a figure for each other server. The goals are about unbound; the others are shown for comparison."""
    where = f"at {per_s:,}/s" if per_s else "at saturation"
    for other in others:
        goal = (GOAL if per_s else GOAL_SATURATED) if other.name == _UNBOUND else float("inf")
        yield Figure(
            f"DNS query {where}, beside {other.name}",
            "us CPU",
            cost[ours.name],
            other.name,
            cost[other.name],
            round(goal * cost[other.name], 2),
        )


def _latency(ours: DnsServerProcess, other: DnsServerProcess, questions: Path, per_s: float, turns: int) -> Figure:
    """Return the 99th percentile of the latency at a rate."""
    worst: dict[str, list[float]] = {ours.name: [], other.name: []}
    for _ in range(turns):
        for server in (ours, other):
            taken = latencies_ms(server, questions, SECONDS, per_s)
            worst[server.name].append(taken[int(len(taken) * 0.99)])
    measured, baseline = statistics.median(worst[ours.name]), statistics.median(worst[other.name])
    return Figure(f"DNS p99 at {per_s:,.0f}/s", "ms", measured, other.name, baseline, round(baseline + LATER_MS, 3))
