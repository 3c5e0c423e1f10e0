"""Runs the server side for a benchmark: a Redis master, its replica, and one registry replica on them.

The registry has a processor to itself. Redis shares the other one with the load.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench.load import request
from bench.machine import pin, unpin
from tests.networks import HERE
from tests.programs import NO_INSTANCE_LIMITS, VERTICE, Program, accepts, free_port, running, wait_until
from tests.redis_topology import Shard

MASTER: Final = "bench"
# Leases outlast the run, since only the load sends heartbeats.
SETTINGS: Final = {
    "REGISTRY_LEASE_TTL": "3600",
    "REGISTRY_WARMING": "1",
    "REGISTRY_LOG_LEVEL": "warning",
    **NO_INSTANCE_LIMITS,
}


class Middle:
    """A running server side. `port` is the registry's."""

    def __init__(self, folder: Path, shard: Shard, port: int, registry: Program, stack: ExitStack) -> None:
        self.folder = folder
        self.shard = shard
        self.port = port
        self.registry = registry
        self._stack = stack

    @property
    def redis_url(self) -> str:
        return _url(self.shard)

    def bare(self, status: int, body: bytes) -> tuple[int, Program]:
        """Start the bare web app that answers these bytes; return its port and the program."""
        return bare_app(self._stack, self.folder, body, status)


def bare_app(stack: ExitStack, folder: Path, body: bytes, status: int = 200) -> tuple[int, Program]:
    """Start the bare web app that answers these bytes, until `stack` ends; return its port and the program."""
    port = free_port()
    answer = folder / f"answer-{port}"
    answer.write_bytes(body)
    argv = [sys.executable, "-m", "bench.bare", str(port), str(status), str(answer)]
    program = stack.enter_context(running(argv, folder / f"bare-{port}.log"))
    wait_until(lambda: accepts(port), "the bare web app listens")
    return port, program


@contextlib.contextmanager
def middle(**settings: str) -> Iterator[Middle]:
    """Run and pin a server side for the duration of a `with`."""
    before = os.sched_getaffinity(0)
    with ExitStack() as stack:
        stack.callback(unpin, before)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        shard = stack.enter_context(redis_shard(folder))
        port, registry = stack.enter_context(registry_on(shard, folder, **settings))
        print(pin([registry.pid], beside=redis_pids(shard)))
        yield Middle(folder, shard, port, registry, stack)


@contextlib.contextmanager
def redis_shard(folder: Path) -> Iterator[Shard]:
    """Run a master and one replica."""
    shard = Shard(MASTER, folder, 1, (HERE, HERE))
    try:
        shard.start()
        yield shard
    finally:
        for node in shard.nodes:
            node.stop()


@contextlib.contextmanager
def registry_on(shard: Shard, folder: Path, **settings: str) -> Iterator[tuple[int, Program]]:
    """Run a registry replica that acknowledges replicated writes; yield its port and the program once ready."""
    port = free_port()
    env = {**SETTINGS, "REGISTRY_STORE": _url(shard), **settings}
    with running([*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], folder / f"registry-{port}.log", env) as one:
        wait_until(lambda: accepts(port), "the registry listens", timeout_s=60, every_s=0.01)
        yield port, one


def registration(number: int) -> dict[str, Any]:
    """Return the registration of instance `number`: ten per service, each at its own address."""
    return {
        "service_name": f"fleet-service-{number // 10}",
        "instance_id": f"instance-{number}",
        "host": f"10.{number // 62500 % 250}.{number // 250 % 250}.{number % 250 + 1}",
        "port": 8034,
        "version": "1.4.2",
        "tags": ["canary"] if number % 10 == 0 else [],
        "metadata": {"team": "osint", "commit": f"{number:08x}"},
    }


def register(number: int) -> bytes:
    """Return the request that registers instance `number`."""
    return request("POST", "/register", json.dumps(registration(number)).encode())


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Return a process's resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


def _url(shard: Shard) -> str:
    return f"{shard.nodes[0].url}?replicas=1"


def redis_pids(shard: Shard) -> list[int]:
    """Return the process ids of the master and its replica."""
    return [node.program.pid for node in shard.nodes if node.program is not None]
