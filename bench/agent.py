"""Measures an agent's memory and localhost HTTP speed against a bare aiohttp application on the same processor.

The load comes from wrk on the other processor. Rates on a shared machine are noisy: each is the best of several
rounds, since noise only slows down, and comes with the processor time per request.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import psutil

from agent.view import snapshot_file
from agent.view.snapshot_file import ViewSnapshot
from agent.view.state_dir import SNAPSHOT
from bench.machine import pin, unpin
from bench.rows import Figure
from dns.codec import CLASS_IN, Type
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.records import Instance
from registry_core.watch.cursor import Cursor
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

FLEET: Final = 111
LARGE: Final = 10_000
MOST_MB: Final = 64.0
IDLE_S: Final = 20.0
IDLE_PERCENT: Final = 1.0
FIRST_ANSWER_MS: Final = 1000.0
FASTER: Final = 1.2
ROUNDS: Final = 5
ROUND_S: Final = 2
CONNECTIONS: Final = 16
NOBODY: Final = "http://127.0.0.1:1"


def measure(_count: int) -> list[Figure]:
    """Measure everything about one agent."""
    with tempfile.TemporaryDirectory(prefix="vertice-bench-") as name:
        folder = Path(name)
        figures = [*_fleet_figures(folder), _memory(folder, LARGE)]
        return [*figures, *(_first_answer(folder, count) for count in (FLEET, LARGE))]


# -- with a registry


def _fleet_figures(folder: Path) -> list[Figure]:
    before = os.sched_getaffinity(0)
    port, http_port = free_port(), free_port()
    config = folder / "fleet.toml"
    config.write_text(
        "\n".join(f'[[service]]\nname = "service_{n}"\nhost = "127.0.0.1"\nport = {20_000 + n}\n' for n in range(FLEET))
    )
    with contextlib.ExitStack() as stack:
        stack.callback(unpin, before)
        argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
        registry = stack.enter_context(running(argv, folder / "registry.log"))
        wait_until(lambda: accepts(port), "the registry listens")
        url = f"http://127.0.0.1:{port}"
        argv = [*VERTICE, "agent", "--config", str(config)]
        agent = stack.enter_context(running(argv, folder / "agent.log", _settings(http_port, url, AGENT_CHECK="none")))
        target = f"http://127.0.0.1:{http_port}/services/service_1"
        wait_until(lambda: _answers(target) and _services(http_port) == FLEET, "the agent knows the fleet", 30)
        with urllib.request.urlopen(target, timeout=5) as response:
            body = folder / "body"
            body.write_bytes(response.read())
        bare = {loop: _bare(stack, folder, body, loop) for loop in ("asyncio", "uvloop")}
        print(pin([program.pid for program in (agent, *(each for _, each in bare.values()))], beside=[registry.pid]))
        return [*_rates(target, agent, bare), _idle(agent, bare["uvloop"][1])]


def _rates(target: str, agent: Program, bare: dict[str, tuple[int, Program]]) -> list[Figure]:
    if shutil.which("wrk") is None:
        print("NOT MEASURED: localhost HTTP: wrk is not installed (make bench-packages)")
        return []
    others = {loop: (f"http://127.0.0.1:{port}/services/x", program) for loop, (port, program) in bare.items()}
    best: dict[str, tuple[float, float]] = {}
    for _ in range(ROUNDS):
        for name, (url, program) in {"agent": (target, agent), **others}.items():
            rate, cpu_us = _load(url, program)
            held = best.get(name, (0.0, float("inf")))
            best[name] = (max(held[0], rate), min(held[1], cpu_us))
    figures: list[Figure] = []
    for loop in bare:
        against = f"a bare aiohttp Application on {loop}, same bytes"
        (rate, cpu_us), (bare_rate, bare_us) = best["agent"], best[loop]
        name = f"localhost GET /services/NAME beside {loop}"
        figures.append(Figure(name, "requests/s", rate, against, bare_rate, FASTER * bare_rate, at_least=True))
        figures.append(Figure(f"{name}: CPU", "us/request", cpu_us, against, bare_us, bare_us / FASTER))
    return figures


def _load(url: str, program: Program) -> tuple[float, float]:
    """Return requests per second, and the program's processor time per request in microseconds."""
    process = psutil.Process(program.pid)
    before = sum(process.cpu_times()[:2])
    argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{ROUND_S}s", url]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    took_s = sum(process.cpu_times()[:2]) - before
    requests = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert requests is not None, said
    assert rate is not None, said
    assert "Non-2xx" not in said, said
    return float(rate[1]), took_s * 1e6 / int(requests[1])


def _idle(agent: Program, bare: Program) -> Figure:
    shares: list[float] = []
    for program in (agent, bare):
        process = psutil.Process(program.pid)
        before = sum(process.cpu_times()[:2])
        time.sleep(IDLE_S)
        shares.append((sum(process.cpu_times()[:2]) - before) / IDLE_S * 100)
    name = f"agent that follows {FLEET} services and renews them, idle"
    return Figure(name, "% of a core", shares[0], "a bare aiohttp Application, idle", shares[1], IDLE_PERCENT)


def _bare(stack: contextlib.ExitStack, folder: Path, body: Path, loop: str) -> tuple[int, Program]:
    port = free_port()
    argv = [sys.executable, "-m", "bench.bare", str(port), "200", str(body), loop]
    program = stack.enter_context(running(argv, folder / f"bare-{loop}.log"))
    wait_until(lambda: accepts(port), "the bare application listens")
    return port, program


# -- from a snapshot on disk


def _memory(folder: Path, count: int) -> Figure:
    with _from_snapshot(folder, count) as (program, _, ask):
        wait_until(lambda: ask() is not None, "it answers")
        time.sleep(3)
        held = psutil.Process(program.pid).memory_info().rss / 2**20
    with _from_snapshot(folder, 0) as (program, http_port, _):
        wait_until(lambda: accepts(http_port), "it listens")
        time.sleep(3)
        empty = psutil.Process(program.pid).memory_info().rss / 2**20
    return Figure(f"agent with {count:,} instances in view", "MB resident", held, "one that holds none", empty, MOST_MB)


def _first_answer(folder: Path, count: int) -> Figure:
    times: list[float] = []
    for _ in range(3):
        began = time.monotonic()
        with _from_snapshot(folder, count) as (_, _, ask):
            while ask() is None:
                pass
            times.append((time.monotonic() - began) * 1000)
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import aiohttp.web"], check=True, timeout=30)
    bare_ms = (time.monotonic() - began) * 1000
    name = f"start to first DNS answer, {count:,} instances in the snapshot"
    return Figure(name, "ms", min(times), "python -c 'import aiohttp.web'", bare_ms, FIRST_ANSWER_MS)


@contextlib.contextmanager
def _from_snapshot(folder: Path, count: int) -> Iterator[tuple[Program, int, Callable[[], bytes | None]]]:
    """Run an agent without a registry; yield it, its HTTP port, and a function that queries it once over DNS."""
    state = folder / f"state-{count}"
    if not state.exists():
        state.mkdir()
        if count:
            _write_snapshot(state / SNAPSHOT, count)
    http_port, dns_port = free_port(), free_port()
    settings = {
        **_settings(http_port, NOBODY),
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns_port}",
        "AGENT_STATE_DIR": str(state),
    }
    with (
        running([*VERTICE, "agent"], folder / "alone.log", settings) as program,
        socket.socket(type=socket.SOCK_DGRAM) as asking,
    ):
        asking.connect(("127.0.0.1", dns_port))
        asking.settimeout(0.01)

        def ask() -> bytes | None:
            try:
                asking.send(_QUESTION)
                answer = asking.recv(4096)
            except OSError:
                time.sleep(0.005)  # it does not listen yet
                return None
            return answer if answer[3] & 0xF == 0 else None

        yield program, http_port, ask


def _write_snapshot(path: Path, count: int) -> None:
    lived = tuple(_instance(number, min(count, 1000)) for number in range(count))
    catalog = Catalog()
    catalog.merge(lived)
    path.write_bytes(b"".join(snapshot_file.encode(ViewSnapshot(lived, Cursor(), catalog.digest, time.time()))))


def _instance(number: int, services: int) -> Lived:
    host = f"10.{number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
    name = f"service_{number % services}"
    record = Instance(
        service_name=name,
        instance_id=f"{host}:8034",
        host=host,
        port=8034,
        addresses=(host,),
        version="1.4.2",
        tags=("blue",),
        metadata={"team": f"team-{number % services % 20}", "category": "enrichment"},
        zone="eu-1a",
        epoch=1_764_000_000_000 + number,
        registered_at=1_764_000_000.0 + number,
    )
    return Lived(record, 1_764_000_000.0)


def _settings(http_port: int, registry: str, **more: str) -> dict[str, str]:
    return {
        "REGISTRY_URL": registry,
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_DNS_FORWARD": "none",
        "AGENT_DRAIN_WAIT": "0",
        "AGENT_LOG_LEVEL": "warning",
        **more,
    }


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
        return bool(response.status == 200)
    return False


def _services(http_port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/services", timeout=5) as response:
        return len(msgspec.json.decode(response.read()))


_QUESTION: Final = (
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09service-1\x07vertice\x08internal\x00"
    + Type.A.to_bytes(2)
    + CLASS_IN.to_bytes(2)
)
