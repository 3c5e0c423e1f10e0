"""The speed of the DNS face: queries per second and processor time per query, ours and others', in one run.

Every server has one processor to itself, dnsperf another. The programs are measured in turn, several times, and the
best run of each is shown, since other activity on the machine only slows a run down.
Run as `python -m bench.dns`; it exits with 1 when a goal was missed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench import dns_servers
from bench.dns_load import DnsLoad, best, latencies_ms, load, pin_server
from bench.dns_servers import ZONE, BenchFleet, DnsServerProcess
from bench.machine import this_machine
from bench.run import RESULTS
from cli.dev.plan_builder import read_plan
from cli.table import aligned

FLEET: Final = 111
CHANGES_PER_S: Final = 100
RANDOM_NAMES: Final = 300_000
ECHO: Final = "a bare blocking Python echo"
OURS, CHANGING, RANDOM = "our agent", f"our agent, {CHANGES_PER_S} changes/s", "our agent, random names"

# The servers whose latency is measured at half load; the echo shows the machine's share of it.
WAITED_FOR: Final = (OURS, ECHO, "unbound")


class DnsLatency(msgspec.Struct, frozen=True):
    """The latency of queries, in milliseconds."""

    p50_ms: float
    p99_ms: float
    most_ms: float


class Goal(msgspec.Struct, frozen=True):
    """A goal and the measured value. Met when `value` is within `bound`."""

    name: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{self.name}: {self.value:.2f} (goal {sign} {self.bound:g}) {'met' if self.met else 'MISSED'}"


def goals(rows: dict[str, DnsLoad], p99_ms: float) -> list[Goal]:
    """Return the goals with the measured values."""
    ours = rows[OURS]
    return [
        Goal("CPU per query, as a multiple of the echo's", ours.cpu_us / rows[ECHO].cpu_us, 1.0),
        Goal("CPU per query, as a multiple of unbound's", ours.cpu_us / rows["unbound"].cpu_us, 1.0),
        Goal("CPU per query, as a multiple of dnsmasq's", ours.cpu_us / rows["dnsmasq"].cpu_us, 0.8),
        Goal(
            f"queries/s under {CHANGES_PER_S} changes/s, as a share of those without changes",
            rows[CHANGING].per_second / ours.per_second,
            0.9,
            at_least=True,
        ),
        Goal("p99 at half load, ms", p99_ms, 1.0),
    ]


def table(rows: dict[str, DnsLoad]) -> str:
    """Return the rows as a table for people."""
    ours = rows[OURS].cpu_us
    head = ("", "queries/s", "CPU us/query", "ours/theirs", "lost")
    lines = [
        (name, f"{row.per_second:,.0f}", f"{row.cpu_us:.2f}", f"{ours / row.cpu_us:.2f}", str(row.lost))
        for name, row in rows.items()
    ]
    return "\n".join(aligned([head, *lines], right=range(1, len(head))))


@contextmanager
def changes(url: str, fleet: BenchFleet) -> Iterator[None]:
    """Change the weight of one service after another, CHANGES_PER_S times a second."""
    stop = threading.Event()
    made = [0]

    def change() -> None:
        begun = time.monotonic()
        while not stop.is_set():
            number = made[0]
            dns_servers.register(url, fleet, number % len(fleet.names), 2 + number // len(fleet.names) % 50)
            made[0] += 1
            stop.wait(begun + made[0] / CHANGES_PER_S - time.monotonic())

    thread = threading.Thread(target=change)
    begun = time.monotonic()
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        print(f"  {made[0] / (time.monotonic() - begun):.0f} changes/s were made")


def measure(fleet: BenchFleet, rounds: int, seconds: float) -> tuple[dict[str, DnsLoad], dict[str, DnsLatency]]:
    """Return a row for each program, and the latency of queries at half of our maximum rate."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("this needs two processors: one for the server, one for dnsperf")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        stack.callback(os.sched_setaffinity, 0, set(usable))
        # Processes started from here on inherit the client's processor; the servers are moved.
        os.sched_setaffinity(0, {usable[-1]})
        ours, url = stack.enter_context(dns_servers.agent(folder, fleet))
        servers: list[DnsServerProcess] = [
            stack.enter_context(dns_servers.echo(folder)),
            ours,
            stack.enter_context(dns_servers.unbound(folder, fleet)),
            stack.enter_context(dns_servers.dnsmasq(folder, fleet)),
            stack.enter_context(dns_servers.dnslib_server(folder, fleet)),
        ]
        for server in servers:
            pin_server(server.pid, usable[0])
        questions, unknown = folder / "questions", folder / "unknown"
        questions.write_text(fleet.questions(), encoding="ascii")
        draw = random.Random(1)
        unknown.write_text("".join(f"x{draw.getrandbits(64):x}.{ZONE} A\n" for _ in range(RANDOM_NAMES)), "ascii")
        runs: dict[str, list[DnsLoad]] = {}
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}")
            for server in servers:
                runs.setdefault(server.name, []).append(load(server, questions, seconds))
                if server is ours:
                    with changes(url, fleet):
                        runs.setdefault(CHANGING, []).append(load(ours, questions, seconds))
                    runs.setdefault(RANDOM, []).append(load(ours, unknown, seconds))
        rows = {name: best(loads) for name, loads in runs.items()}
        half = rows[OURS].per_second / 2
        quickest: dict[str, DnsLatency] = {}
        for _ in range(rounds):
            for server in (one for one in servers if one.name in WAITED_FOR):
                taken = latencies_ms(server, questions, seconds, half)
                latency = DnsLatency(taken[len(taken) // 2], taken[int(len(taken) * 0.99)], taken[-1])
                quickest[server.name] = min(latency, quickest.get(server.name, latency), key=lambda one: one.p99_ms)
        return rows, quickest


def main() -> int:
    """Measure, print and write a file; return 1 when a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.dns", description=__doc__)
    parser.add_argument(
        "--fleet", type=Path, metavar="COMPOSE_FILE", help="services to use (default: 111 made-up ones)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the best is shown (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement (default 2)")
    arguments = parser.parse_args()
    names = [f"fleet_service_{n}" for n in range(FLEET)]
    if arguments.fleet is not None:
        names = [service.name for service in read_plan(arguments.fleet).services]
    machine = this_machine()
    rows, latencies = measure(BenchFleet(tuple(names)), arguments.rounds, arguments.seconds)
    reached = goals(rows, latencies[OURS].p99_ms)
    print(f"\n{len(names)} services, A and SRV questions in turn\n{table(rows)}\n")
    for name, one in latencies.items():
        print(f"{name}, at half of ours: p50 {one.p50_ms:.3f} ms, p99 {one.p99_ms:.3f} ms, most {one.most_ms:.3f} ms")
    print("\n".join(map(str, reached)))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"dns-{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime())}.json"
    shown = [{"name": one.name, "value": one.value, "bound": one.bound, "met": one.met} for one in reached]
    report = {"machine": machine, "rows": rows, "at_half_load": latencies, "goals": shown}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    print(f"wrote {path}")
    return 0 if all(one.met for one in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
