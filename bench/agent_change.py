"""What a change costs at each agent, with 10,000 instances in view: the processor time of a real agent.

Instances change their status at two rates: the one of a large fleet on a normal day, at which the agent also writes its
snapshot to the disk every few seconds, and the one of a rollout. What the agent uses at rest is not counted.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench.load import flood, request, steady
from bench.machine import cpu_us, pin, unpin
from bench.middle import SETTINGS, register
from bench.rows import Figure, Result
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

INSTANCES: Final = 10_000
RATES: Final = (20, 200)
FOR_S: Final = 15.0
REST_S: Final = 8.0
MOST_US: Final = 100.0
IN_FLIGHT: Final = 16


def measure(_count: int) -> Sequence[Result]:
    """Return the figures."""
    before = os.sched_getaffinity(0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        stack.callback(unpin, before)
        port, http_port, dns_port = (free_port() for _ in range(3))
        argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
        settings = {**SETTINGS, "REGISTRY_LIMIT_REGISTER": "off", "REGISTRY_LIMIT_STATUS": "off"}
        registry = stack.enter_context(running(argv, folder / "registry.log", settings))
        wait_until(lambda: accepts(port), "the registry listens")
        uvloop.run(_fill(port))
        argv = [*VERTICE, "agent", "--http-listen", f"127.0.0.1:{http_port}", "--dns-listen", f"127.0.0.1:{dns_port}"]
        state = {"AGENT_STATE_DIR": str(folder / "state"), "REGISTRY_URL": f"http://127.0.0.1:{port}"}
        agent = stack.enter_context(running(argv, folder / "agent.log", state))
        bare = stack.enter_context(running([sys.executable, "-m", "bench.bare_watch", str(port)], folder / "bare.log"))
        wait_until(lambda: str(INSTANCES) in (folder / "bare.log").read_text(), "the bare client has all", 30)
        wait_until(lambda: "watch_connected" in (folder / "agent.log").read_text(), "the agent has all", 30)
        print(pin([agent.pid, bare.pid], beside=[registry.pid]))
        time.sleep(REST_S)  # the snapshot of the beginning is written
        return [_figure(port, agent, bare, rate) for rate in RATES]


def _figure(port: int, agent: Program, bare: Program, rate: int) -> Figure:
    resting = _used(lambda: time.sleep(REST_S), agent, bare, REST_S)
    changes = [_change(number) for number in range(int(rate * FOR_S))]
    busy = _used(lambda: uvloop.run(steady(port, changes, rate)), agent, bare, FOR_S)
    own, other = ((b - r) * FOR_S / len(changes) for b, r in zip(busy, resting, strict=True))
    return Figure(
        f"a change at an agent with {INSTANCES:,} instances in view, {rate} a second",
        "us of CPU",
        own,
        "a bare uvloop client that decodes each line",
        other,
        MOST_US,
    )


def _used(work: Callable[[], object], agent: Program, bare: Program, for_s: float) -> list[float]:
    """Return the microseconds a second that each program uses meanwhile."""
    before = [cpu_us(program.pid) for program in (agent, bare)]
    work()
    return [(cpu_us(program.pid) - was) / for_s for program, was in zip((agent, bare), before, strict=True)]


def _change(number: int) -> bytes:
    """Return the request that changes the status of an instance; each one has its turn, and then again."""
    instance = number * 7 % INSTANCES
    status = ("warning", "passing")[number // INSTANCES % 2]
    body = msgspec.json.encode({"status": status})
    return request("PUT", f"/status/fleet-service-{instance // 10}/instance-{instance}", body)


async def _fill(port: int) -> None:
    await flood(port, (register(number) for number in range(INSTANCES)), IN_FLIGHT, b"201")
