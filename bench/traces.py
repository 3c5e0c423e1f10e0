"""Measures what traces cost a replica: lookups and registrations of one that records one trace in ten, and all.

The same registry without traces serves the same requests in turns. The collector is one that takes no time.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

import uvloop

from bench.load import flood, request
from bench.machine import pin
from bench.middle import Middle, cpu_s, middle, redis_pids, register, registry_on
from bench.rows import Figure, Result

IN_FLIGHT: Final = 32
WARM_UP: Final = 500
TURNS: Final = 9
CREATED, FOUND = b"201", b"200"
LOOKUP: Final = request("GET", "/services/fleet-service-0")
# Of the same without traces.
GOALS: Final = {"0.1": 1.15, "1": math.inf}


class _Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take what comes."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _collector() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def measure(count: int) -> Sequence[Result]:
    """Return the rows. The number of requests grows with `count`."""
    requests = max(1_000, 4 * count)
    with middle() as running, ExitStack() as stack:
        url = stack.enter_context(_collector())
        traced = {
            ratio: stack.enter_context(
                registry_on(
                    running.shard,
                    running.folder,
                    OTEL_EXPORTER_OTLP_ENDPOINT=url,
                    OTEL_TRACES_SAMPLER_ARG=ratio,
                    OTEL_BSP_MAX_QUEUE_SIZE="60000",
                )
            )
            for ratio in GOALS
        }
        pids = [running.registry.pid, *(program.pid for _, program in traced.values())]
        pin(pids, beside=redis_pids(running.shard))
        ports = {ratio: (port, program.pid) for ratio, (port, program) in traced.items()}
        return uvloop.run(_measured(running, ports, requests))


async def _measured(running: Middle, traced: dict[str, tuple[int, int]], count: int) -> list[Result]:
    numbers = itertools.count()

    def registering() -> bytes:
        return register(next(numbers))

    def looking_up() -> bytes:
        return LOOKUP

    registries = {"": (running.port, running.registry.pid), **traced}
    rows: list[Result] = []
    for what, make, status in (
        ("registration", registering, CREATED),
        ("lookup", looking_up, FOUND),
    ):
        spent: dict[str, list[float]] = {which: [] for which in registries}
        for where, _ in registries.values():
            await flood(where, [make() for _ in range(WARM_UP)], IN_FLIGHT, status)
        for turn in range(TURNS):
            for which in sorted(registries, reverse=bool(turn % 2)):
                where, process = registries[which]
                requests = [make() for _ in range(count)]
                before = cpu_s(process)
                await flood(where, requests, IN_FLIGHT, status)
                spent[which].append((cpu_s(process) - before) * 1e6 / count)
        without = statistics.median(spent[""])
        rows += [
            Figure(
                f"processor time of a {what} at a replica that records {float(ratio):.0%} of traces",
                "us",
                statistics.median(spent[ratio]),
                "the same replica without traces, in turns",
                without,
                without * goal,
            )
            for ratio, goal in GOALS.items()
        ]
    return rows
