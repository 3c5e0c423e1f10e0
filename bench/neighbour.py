"""A good neighbour's lookups while others flood the same registry, and hold answers that they do not read.

The flood comes from one client address (behind a trusted proxy, which the benchmark plays): lookups and registrations
as fast as they are answered, mostly with 429. The unread answers are watches of a catalogue of 2,000 instances.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.load import HttpLoad, connected, request, steady
from bench.machine import pin, unpin
from bench.middle import register, resident_mb
from bench.rows import Figure, Result, Row, spread
from cli.slo.levels import LOOKUP_MS
from tests.programs import VERTICE, accepts, free_port, running, wait_until

FLEET: Final = 2000
FLOODERS: Final = 64
UNREAD: Final = 1500
PER_S: Final = 200.0
# What an unread watch may cost the registry's own memory.
GOAL_KB: Final = 40.0
SETTINGS: Final = {
    "REGISTRY_LEASE_TTL": "3600",
    "REGISTRY_WARMING": "0",
    "REGISTRY_LOG_LEVEL": "warning",
    "REGISTRY_TRUSTED_PROXIES": "127.0.0.1/32",
}


def measure(count: int) -> list[Result]:
    """Return the neighbour's lookups under the attack, compared with a quiet registry, and the memory that it took."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        stack.callback(unpin, os.sched_getaffinity(0))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        port = free_port()
        argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
        registry = stack.enter_context(running(argv, folder / "registry.log", SETTINGS))
        wait_until(lambda: accepts(port), "the registry listens")
        print(pin([registry.pid]))
        asyncio.run(_filled(port))
        quiet = asyncio.run(_lookups(port, count))
        before = resident_mb(registry.pid)
        with _unread_watches(port):
            grown_kb = (resident_mb(registry.pid) - before) * 1024 / UNREAD
            flooding = stack.enter_context(
                running([sys.executable, "-m", "bench.neighbour", str(port)], folder / "flood.log")
            )
            wait_until(lambda: "flooding" in flooding.output(), "the flood has begun")
            attacked = asyncio.run(_lookups(port, count))
    return [
        Row(
            name=f"a neighbour's lookup beside a flood and {UNREAD} unread watches",
            measured=spread(attacked.samples_ns),
            against="the same registry, quiet",
            baseline=spread(quiet.samples_ns),
            goal_p99_ms=LOOKUP_MS[2],
        ),
        Figure(
            name=f"memory for each of {UNREAD} unread watches of {FLEET} instances",
            unit="KB",
            measured=grown_kb,
            against="a whole snapshot for each",
            baseline=257.0,
            goal=GOAL_KB,
        ),
    ]


async def _filled(port: int) -> None:
    client = await connected(port, b"201")
    for number in range(FLEET):
        await client.ask(register(number))
    client.close()


async def _lookups(port: int, count: int) -> HttpLoad:
    paths = (f"/services/fleet-service-{number % (FLEET // 10)}" for number in range(count))
    return await steady(port, [request("GET", path) for path in paths], PER_S)


@contextlib.contextmanager
def _unread_watches(port: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(UNREAD):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", port))
            one.sendall(b"GET /watch HTTP/1.1\r\nHost: registry\r\nX-Watch-Protocol: 2\r\n\r\n")
        yield


async def _flood(port: int) -> None:
    """Send lookups and registrations from one address, as fast as they are answered, for ever."""
    forwarded = b"X-Forwarded-For: 203.0.113.7\r\n\r\n"
    lookup = request("GET", "/services/fleet-service-1").replace(b"\r\n\r\n", b"\r\n" + forwarded, 1)

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        each = lookup if number % 2 else register(number).replace(b"\r\n\r\n", b"\r\n" + forwarded, 1)
        while True:
            writer.write(each)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))

    print("flooding", file=sys.stderr, flush=True)
    await asyncio.gather(*map(one, range(FLOODERS)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Be the flood on a registry at a port."""
    parser = argparse.ArgumentParser(prog="python -m bench.neighbour", description=main.__doc__)
    parser.add_argument("port", type=int)
    asyncio.run(_flood(parser.parse_args(arguments).port))


if __name__ == "__main__":
    main()
