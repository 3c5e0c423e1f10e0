"""A thousand agents that come back at once to a replica that has just started, with 10,000 instances.

The replica has a processor to itself; the agents, the lookups and Redis share the other one. The agents' cursors are
of another history, so that each needs everything; then they come back with a cursor from before the restart.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from redis import Redis

from bench.fleet import fill
from bench.load import HttpLoad, request, steady
from bench.machine import cpu_us, pin, unpin
from bench.middle import redis_pids, redis_shard, registry_on
from bench.returning_readers import BARE, Return
from bench.rows import Figure, Result, spread
from tests.programs import accepts, free_port, running, wait_until
from tests.redis_topology import Shard

AGENTS: Final = 1000
INSTANCES: Final = 10_000
CHANGED: Final = 100  # instances that change while no replica runs
LOOKUPS_PER_S: Final = 200
LOOKUP: Final = request("GET", "/services/fleet-service-7")
MOST_S: Final = 20.0
MOST_MB: Final = 60.0
MOST_LOOKUP_MS: Final = 50.0
MOST_OCTETS: Final = 60.0
OTHER_HISTORY: Final = "0.another.1"
QUIET_S: Final = 5.0
PART_S: Final = 0.25
TIMEOUT_S: Final = 90.0


class Storm(msgspec.Struct, frozen=True):
    """What happened while the agents came back."""

    readers: Return
    grown_mb: float
    lookups_p99_ms: float
    cpu_s: float


def measure(_count: int) -> Sequence[Result]:
    """Return the figures."""
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="vertice-bench-") as name, redis_shard(Path(name)) as shard:
        folder = Path(name)
        try:
            return _measured(shard, folder)
        finally:
            unpin(before)


def _measured(shard: Shard, folder: Path) -> Sequence[Result]:
    with Redis(port=shard.nodes[0].port) as client:
        with registry_on(shard, folder):
            fill(client, 0, INSTANCES)
        client.hset("vertice:meta", "born", "0")  # an old fleet
        epoch, revision = (text.decode() for text in client.hmget("vertice:meta", "epoch", "revision"))
        fill(client, INSTANCES, INSTANCES + CHANGED)
    with registry_on(shard, folder) as (port, registry):
        print(pin([registry.pid], beside=redis_pids(shard)))
        wait_until(lambda: b" 200 " in _answer(port), "it has read its store", 60)
        quiet_ms = spread(uvloop.run(_lookups(port, QUIET_S)).samples_ns).p99_ms
        whole = _storm(port, registry.pid, OTHER_HISTORY)
    with registry_on(shard, folder) as (port, registry):
        pin([registry.pid], beside=redis_pids(shard))
        wait_until(lambda: b" 200 " in _answer(port), "it has read its store", 60)
        deltas = _storm(port, registry.pid, f"0.{epoch}.{revision}")
    bare_s = _bare_s(folder, b"x" * whole.readers.octets + b'"type":"sync"')
    print(
        f"processor time of the replica, lookups included: {whole.cpu_s:.2f} s, then {deltas.cpu_s:.2f} s; "
        f"refused and back later: {whole.readers.refused}; the median had its view after "
        f"{sorted(whole.readers.took_s)[AGENTS // 2]:.2f} s; {deltas.readers.instances} instances in the deltas"
    )
    return [
        Figure(
            f"{AGENTS:,} agents come back at once, {INSTANCES:,} instances: the last has its view",
            "s",
            max(whole.readers.took_s),
            "a bare uvloop server that writes the same bytes",
            bare_s,
            MOST_S,
        ),
        Figure(
            "memory of the replica grows by",
            "MB",
            whole.grown_mb,
            "the bytes of one snapshot",
            whole.readers.octets / 1e6,
            MOST_MB,
        ),
        Figure(
            "lookups meanwhile, 99th percentile",
            "ms",
            whole.lookups_p99_ms,
            "lookups at rest",
            quiet_ms,
            MOST_LOOKUP_MS,
        ),
        Figure(
            "a snapshot's octets for each instance",
            "B",
            whole.readers.octets / max(1, whole.readers.instances),
            "the goal",
            MOST_OCTETS,
            MOST_OCTETS,
        ),
        Figure(
            f"with a cursor from before the restart, {CHANGED} changes: the last has its view",
            "s",
            max(deltas.readers.took_s),
            "a snapshot for each",
            max(whole.readers.took_s),
            MOST_S,
        ),
        Figure(
            "octets for each agent that comes back with such a cursor",
            "kB",
            deltas.readers.octets / 1e3,
            "a snapshot",
            whole.readers.octets / 1e3,
            whole.readers.octets / 1e3,
        ),
    ]


def _storm(port: int, pid: int, cursor: str) -> Storm:
    """Let the agents come back with this cursor, and look up meanwhile."""
    resting_mb, resting_us = _peak_mb(pid, anew=True), cpu_us(pid)
    samples: list[int] = []
    argv = [sys.executable, "-m", "bench.returning_readers", str(port), str(AGENTS), cursor]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as readers:
        began = time.perf_counter()
        while readers.poll() is None and time.perf_counter() - began < TIMEOUT_S:
            samples += uvloop.run(_lookups(port, PART_S)).samples_ns
        readers.kill()
        result = msgspec.json.decode(readers.communicate()[0], type=Return)
    return Storm(result, _peak_mb(pid) - resting_mb, spread(samples).p99_ms, (cpu_us(pid) - resting_us) / 1e6)


def _answer(port: int) -> bytes:
    """Return the beginning of the answer to a lookup."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(LOOKUP)
        return client.recv(64)


async def _lookups(port: int, for_s: float) -> HttpLoad:
    return await steady(port, [LOOKUP] * int(for_s * LOOKUPS_PER_S), LOOKUPS_PER_S)


def _peak_mb(pid: int, *, anew: bool = False) -> float:
    """Return the most memory of a process since it was last asked for `anew` (proc(5), clear_refs)."""
    if anew:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _bare_s(folder: Path, body: bytes) -> float:
    """Return the time to the last of as many readers of a bare server."""
    port, content = free_port(), folder / "body"
    content.write_bytes(body)
    argv = [sys.executable, "-m", "bench.bare_snapshot", str(port), str(content)]
    with running(argv, folder / "bare.log") as bare:
        wait_until(lambda: accepts(port), "the bare server listens")
        pin([bare.pid])
        plain = [sys.executable, "-m", "bench.returning_readers", str(port), str(AGENTS), BARE]
        answer = subprocess.run(plain, capture_output=True, check=True, timeout=TIMEOUT_S).stdout
        return max(msgspec.json.decode(answer, type=Return).took_s)
