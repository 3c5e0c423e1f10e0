"""What TLS costs a replica: each figure beside the same one without TLS, from the same run.

Run as `python -m bench.tls`. The replica has a processor to itself; it keeps its registrations in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvloop

from bench.load import Client, HttpLoad, connected, flood, request
from bench.machine import pin, unpin
from tests.certificates import Authority
from tests.programs import NO_INSTANCE_LIMITS, VERTICE, Program, accepts, free_port, running, wait_until

REQUESTS: Final = 5_000
HANDSHAKES: Final = 500
WATCHERS: Final = 500
INSTANCES: Final = 100
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def replica(folder: Path, **settings: str) -> Iterator[tuple[int, Program]]:
    """Run a replica."""
    port = free_port()
    env = {
        "REGISTRY_LISTEN": f"127.0.0.1:{port}",
        "REGISTRY_LOG_LEVEL": "error",
        "REGISTRY_WARMING": "0",
        **NO_INSTANCE_LIMITS,
        **settings,
    }
    with running([*VERTICE, "registry"], folder / f"log-{port}", env) as program:
        wait_until(lambda: accepts(port), "the replica listens", timeout_s=30)
        yield port, program


def resident_kb(program: Program) -> int:
    """Return the resident memory of a program."""
    status = Path(f"/proc/{program.pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def processor_s(program: Program) -> float:
    """Return the processor time that a program has used."""
    fields = Path(f"/proc/{program.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class IdleWatch(asyncio.Protocol):
    """A watch that is read and not looked at."""

    def __init__(self) -> None:
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "write")
        transport.write(request("GET", "/watch"))

    def data_received(self, data: bytes) -> None:
        if b'"sync"' in data and not self.begun.done():
            self.begun.set_result(None)


async def measured(port: int, program: Program, tls: ssl.SSLContext | None) -> dict[str, float]:
    """Return the figures of one replica."""
    beats = []
    client = await connected(port, b"201", tls)
    for number in range(INSTANCES):
        body = f'{{"service_name":"svc-{number}","host":"10.0.0.7","port":{2000 + number}}}'.encode()
        await client.ask(request("POST", "/register", body))
        instance = f'{{"service_name":"svc-{number}","instance_id":"10.0.0.7:{2000 + number}"}}'
        beats.append(request("POST", "/heartbeat", instance.encode()))
    client.close()
    found: dict[str, float] = {}
    lookups = [request("GET", f"/services/svc-{number % INSTANCES}") for number in range(REQUESTS)]
    for name, load in (("lookup", lookups), ("heartbeat", beats * (REQUESTS // INSTANCES))):
        alone = await flood(port, load[: REQUESTS // 4], 1, tls=tls)
        found[f"{name}: p50 of one connection, us"] = _p50_us(alone)
        before = processor_s(program)
        many = await flood(port, load, 32, tls=tls)
        found[f"{name}: requests/s of 32 connections"] = many.per_s
        found[f"{name}: CPU us a request"] = (processor_s(program) - before) / REQUESTS * 1e6
    before, began = processor_s(program), time.perf_counter()
    for _ in range(HANDSHAKES // 10):
        clients: list[Client] = await asyncio.gather(*(connected(port, tls=tls) for _ in range(10)))
        await asyncio.gather(*(client.ask(request("GET", "/live")) for client in clients))
        for client in clients:
            client.close()
    took_s = time.perf_counter() - began
    found["connections with one request/s"] = HANDSHAKES / took_s
    found["CPU us a connection with one request"] = (processor_s(program) - before) / HANDSHAKES * 1e6
    await asyncio.sleep(1)
    empty_kb, loop = resident_kb(program), asyncio.get_running_loop()
    watches = [await loop.create_connection(IdleWatch, "127.0.0.1", port, ssl=tls) for _ in range(WATCHERS)]
    await asyncio.gather(*(reader.begun for _, reader in watches))
    await asyncio.sleep(6)  # a sign of life has gone to all
    found["memory of a watch, kB"] = (resident_kb(program) - empty_kb) / WATCHERS
    for transport, _ in watches:
        transport.close()
    return found


def _p50_us(load: HttpLoad) -> float:
    return statistics.median(load.samples_ns) / 1000


def main() -> None:
    """Print the table."""
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="vertice-bench-") as name:
        folder = Path(name)
        authority = Authority(folder / "fleet")
        own = authority.issue("IP:127.0.0.1")
        context = ssl.create_default_context(cafile=str(authority.ca))
        files = {"REGISTRY_TLS_CERT": str(own.cert), "REGISTRY_TLS_KEY": str(own.key)}
        results = []
        for settings, tls in ((files, context), ({}, None)):
            with replica(folder, **settings) as (port, program):
                unpin(before)
                pin([program.pid])
                results.append(uvloop.run(measured(port, program, tls)))
        unpin(before)
    with_tls, plain = results
    print(f"{'':45}{'plain':>10}{'TLS':>10}{'ratio':>8}")
    for name, value in plain.items():
        print(f"{name:45}{value:10.1f}{with_tls[name]:10.1f}{with_tls[name] / value:8.2f}")


if __name__ == "__main__":
    main()
