"""What recording metrics costs an agent: each answer's processor time, beside the same agent without the recording.

Both agents run on one processor, and are loaded in turn, many times for a moment, at a low rate, at a middle one and at
full load: other programs disturb the two alike. The figure is the median of the ratios of neighbouring moments.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from bench import load
from bench.agent_unrecorded import LEFT_OUT, RECORDED
from bench.dns_load import completed, dnsperf, pin_server
from bench.dns_servers import ZONE, BenchFleet, DnsServerProcess, register
from bench.machine import cpu_us, unpin
from bench.rows import Figure
from tests.programs import VERTICE, accepts, free_port, running, wait_until

FLEET: Final = 111
# Of a query and of a lookup.
GOAL: Final = 1.05
# As many moments as the median needs to be known to within a hundredth, on a busy machine at most MOST_ROUNDS.
LEAST_ROUNDS: Final = 12
MOST_ROUNDS: Final = 60
EXACT_TO: Final = 0.01
SECONDS: Final = 0.5
DNS_RATES: Final[dict[str, int]] = {"5,000/s": 5_000, "30,000/s": 30_000, "full load": 0}
HTTP_RATES: Final[dict[str, int]] = {"300/s": 300, "2,000/s": 2_000, "full load": 0}
# None is asked for twice, and not so many that they would have to wait for their turn.
UNKNOWN_NAMES: Final = 200_000
UNKNOWN_PER_S: Final = 2_000
CONNECTIONS: Final = 16
AGAINST: Final = "the same agent with the recording left out"
_REQUESTS: Final = re.compile(r"(\d+) requests in")


class BenchAgent(msgspec.Struct, frozen=True):
    """A running agent: its process and its ports."""

    pid: int
    dns_port: int
    http_port: int


def measure(_count: int) -> list[Figure]:
    """Return what recording costs a DNS query and an HTTP lookup."""
    before = os.sched_getaffinity(0)
    usable = sorted(before)
    fleet = BenchFleet(tuple(f"fleet_service_{n}" for n in range(FLEET)))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        stack.callback(unpin, before)
        os.sched_setaffinity(0, {usable[-1]})  # what is started from here on runs beside the load
        url = stack.enter_context(_registry(folder, fleet))
        pair = tuple(stack.enter_context(_agent(folder, url, how)) for how in (RECORDED, LEFT_OUT))
        for agent in pair:
            pin_server(agent.pid, usable[0])
        questions = folder / "questions"
        questions.write_text(fleet.questions(), encoding="ascii")
        figures: list[Figure] = []
        for name, rate in DNS_RATES.items():
            asked = _asking_dns(questions, rate)
            figures.append(_compared(f"a DNS query, {name}", "us/query", pair, asked))
        unknown, draw = folder / "unknown", random.Random(1)
        unknown.write_text("".join(f"x{draw.getrandbits(64):x}.{ZONE} A\n" for _ in range(UNKNOWN_NAMES)), "ascii")
        asked = _asking_dns(unknown, UNKNOWN_PER_S)
        figures.append(_compared(f"a DNS query for an unknown name, {UNKNOWN_PER_S:,}/s", "us/query", pair, asked))
        if shutil.which("wrk") is None:
            print("NOT MEASURED: localhost HTTP: wrk is not installed (make bench-packages)")
            return figures
        for name, rate in HTTP_RATES.items():
            figures.append(_compared(f"GET /services/NAME, {name}", "us/request", pair, _asking_http(rate)))
        return figures


def _compared(name: str, unit: str, pair: tuple[BenchAgent, ...], asked: Callable[[BenchAgent], float]) -> Figure:
    """Return the cost of recording; `asked` loads an agent for a moment and returns how much it answered."""
    for agent in pair:
        asked(agent)  # so that everything is ready
    without_us: list[float] = []
    ratios: list[float] = []
    while len(ratios) < LEAST_ROUNDS or (len(ratios) < MOST_ROUNDS and _error(ratios) > EXACT_TO):
        took: dict[BenchAgent, float] = {}
        for agent in pair if len(ratios) % 2 else reversed(pair):
            before = cpu_us(agent.pid)
            answered = asked(agent)
            took[agent] = (cpu_us(agent.pid) - before) / answered
        without_us.append(took[pair[1]])
        ratios.append(took[pair[0]] / took[pair[1]])
    ratio, baseline = statistics.median(ratios), statistics.median(without_us)
    print(f"{name}: {ratio:.3f}, to within {_error(ratios):.3f}, after {len(ratios)} rounds")
    return Figure(
        f"agent: {name}, with what it records: CPU", unit, ratio * baseline, AGAINST, baseline, GOAL * baseline
    )


def _error(ratios: list[float]) -> float:
    """Return the standard error of the median, by the middle half of the values."""
    low, _, high = statistics.quantiles(ratios, n=4)
    return 0.93 * (high - low) / math.sqrt(len(ratios))


def _asking_dns(questions: Path, rate: int) -> Callable[[BenchAgent], float]:
    limit = ("-Q", str(rate)) if rate else ()

    def asked(agent: BenchAgent) -> float:
        server = DnsServerProcess("agent", agent.pid, agent.dns_port)
        return completed(dnsperf(server, questions, SECONDS, *limit))

    return asked


def _asking_http(rate: int) -> Callable[[BenchAgent], float]:
    target = "/services/fleet_service_1"

    def asked(agent: BenchAgent) -> float:
        if rate:
            requests = [load.request("GET", target)] * int(rate * SECONDS)
            return len(asyncio.run(load.steady(agent.http_port, requests, rate)).samples_ns)
        url = f"http://127.0.0.1:{agent.http_port}{target}"
        argv = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d1s", url]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
        found = _REQUESTS.search(said)
        assert found is not None, said
        return float(found[1])

    return asked


@contextlib.contextmanager
def _registry(folder: Path, fleet: BenchFleet) -> Iterator[str]:
    """Run a registry that knows the fleet, without renewals."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"REGISTRY_LEASE_TTL": "3600", "REGISTRY_WARMING": "0", "REGISTRY_LOG_LEVEL": "warning"}
    with running([*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], folder / "registry.log", settings):
        wait_until(lambda: accepts(port), "the registry listens")
        for number in range(len(fleet.names)):
            register(url, fleet, number)
        yield url


@contextlib.contextmanager
def _agent(folder: Path, url: str, how: str) -> Iterator[BenchAgent]:
    dns_port, http_port = free_port(), free_port()
    settings = {
        "REGISTRY_URL": url,
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns_port}",
        "AGENT_DNS_FORWARD": "none",
        "AGENT_LOG_LEVEL": "warning",
        "PYTHONHASHSEED": "0",  # the same dictionaries in both
    }
    argv = [sys.executable, "-m", "bench.agent_unrecorded", how, "agent"]
    with running(argv, folder / f"{how}.log", settings) as program:
        last = f"http://127.0.0.1:{http_port}/services/fleet_service_{FLEET - 1}"
        wait_until(lambda: _answers(last), f"the agent knows {ZONE}")
        yield BenchAgent(program.pid, dns_port, http_port)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
        return bool(response.status == 200)
    return False
