"""Measures lookups at one replica against a bare aiohttp application that answers the same bytes on the same processor.

The load comes from wrk on the other processor, in turns. What is compared is processor time, of which noise changes
less than of rates; a ratio is the median of those of the turns. The steady load is an open loop: each request is sent
when it is due, and its time counts from then.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import uvloop

from bench.load import flood, request, steady
from bench.machine import pin, unpin
from bench.middle import bare_app, registration
from bench.rows import Figure, Result, Row, spread
from bench.wrk import is_installed, load
from cli.slo.levels import LOOKUP_MS
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

# The services of the fleet, with one instance each.
FLEET: Final = 111
FASTER: Final = 1.5
TURNS: Final = 7
TURN_S: Final = 1
STEADY_PER_S: Final = 1_000
IN_FLIGHT: Final = 8
CREATED: Final = b"201"
SETTINGS: Final = {"REGISTRY_WARMING": "0", "REGISTRY_LEASE_TTL": "3600", "REGISTRY_LOG_LEVEL": "warning"}
AGAINST: Final = "a bare aiohttp Application on uvloop, same bytes"


class LookupTarget(NamedTuple):
    """What is asked for, with which headers."""

    path: str
    headers: Mapping[str, str]
    name: str


TARGETS: Final = (
    LookupTarget("/services/service-1", {}, "GET /services/NAME"),
    LookupTarget("/services", {}, f"GET /services of {FLEET}"),
    LookupTarget("/catalog", {}, f"GET /catalog of {FLEET}"),
    LookupTarget("/catalog", {"Accept-Encoding": "gzip"}, f"GET /catalog of {FLEET}, gzip"),
)


def measure(count: int) -> Sequence[Result]:
    """Return the rows. The number of requests of the steady load grows with `count`."""
    if not is_installed():
        print("NOT MEASURED: lookups: wrk is not installed (make bench-packages)")
        return []
    with ExitStack() as stack:
        stack.callback(unpin, os.sched_getaffinity(0))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        port = free_port()
        command = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
        registry = stack.enter_context(running(command, folder / "registry.log", SETTINGS))
        wait_until(lambda: accepts(port), "the registry listens", 60)
        uvloop.run(_filled(port))
        bare = [bare_app(stack, folder, _asked(port, one)) for one in TARGETS]
        print(pin([registry.pid, *(program.pid for _, program in bare)]))
        figures: list[Result] = []
        for target, each in zip(TARGETS, bare, strict=True):
            figures += _compared(target, (port, registry), each)
        figures.append(uvloop.run(_steady(port, bare[0][0], 2 * STEADY_PER_S + 10 * count)))
        return figures


def _compared(target: LookupTarget, ours: tuple[int, Program], bare: tuple[int, Program]) -> list[Figure]:
    def loaded(port: int, program: Program) -> tuple[float, float]:
        return msgspec.structs.astuple(load(_url(port, target), program, TURN_S, headers=target.headers))

    turns = [(loaded(*ours), loaded(*bare)) for _ in range(TURNS + 1)][1:]  # the first one warms up
    per_s, bare_per_s = (statistics.median(turn[side][0] for turn in turns) for side in range(2))
    bare_us = statistics.median(without[1] for _, without in turns)
    ratio = statistics.median(one[1] / without[1] for one, without in turns)
    name = f"replica: {target.name}"
    return [
        Figure(name, "requests/s", per_s, AGAINST, bare_per_s, FASTER * bare_per_s, at_least=True),
        Figure(f"{name}: CPU", "us/request", ratio * bare_us, AGAINST, bare_us, bare_us / FASTER),
    ]


async def _steady(port: int, bare_port: int, count: int) -> Row:
    asked = [request("GET", f"/services/service-{number % FLEET}") for number in range(count)]
    ours = await steady(port, asked, STEADY_PER_S)
    bare = await steady(bare_port, asked, STEADY_PER_S)
    name = f"lookup at a steady {STEADY_PER_S:,}/s"
    return Row(name, spread(ours.samples_ns), AGAINST, spread(bare.samples_ns), LOOKUP_MS[2])


async def _filled(port: int) -> None:
    fleet = [{**registration(number), "service_name": f"service-{number}"} for number in range(FLEET)]
    asked = [request("POST", "/register", json.dumps(one).encode()) for one in fleet]
    await flood(port, asked, IN_FLIGHT, CREATED)


def _url(port: int, target: LookupTarget) -> str:
    return f"http://127.0.0.1:{port}{target.path}"


def _asked(port: int, target: LookupTarget) -> bytes:
    asked = urllib.request.Request(_url(port, target), headers=dict(target.headers))
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return bytes(answer.read())
