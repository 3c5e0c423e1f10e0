"""A spike: from nothing to all that the machine sends, for some seconds, and how a registry replica recovers from it.

wrk sends lookups, lists, catalogues and registrations over 1,000 connections, from 200 client addresses (behind a
trusted proxy, which the benchmark plays). A probe of another address asks for one service every 20 ms, before, during
and after the spike. The same probe and spike, with lookups alone, meet a bare web app.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from bench.load import Client, UnexpectedStatus, connected, flood, request
from bench.machine import pin, unpin
from bench.middle import bare_app, register
from bench.rows import Figure, Result, Row, spread
from bench.wrk import is_installed, run
from cli.slo.levels import LOOKUP_MS
from tests.programs import NO_INSTANCE_LIMITS, VERTICE, accepts, free_port, running, wait_until

FLEET: Final = 1_000
CONNECTIONS: Final = 1_000
SPIKE_S: Final = 10
CALM_S: Final = 3.0
PROBE_EVERY_S: Final = 0.02
RECOVERY_S: Final = 2.0
IN_FLIGHT: Final = 32
CREATED: Final = b"201"
# As long as the answer about a service of ten instances.
SERVICE: Final = b"x" * 4_700
SETTINGS: Final = {
    "REGISTRY_LEASE_TTL": "3600",
    "REGISTRY_WARMING": "0",
    "REGISTRY_LOG_LEVEL": "error",
    "REGISTRY_TRUSTED_PROXIES": "127.0.0.1/32",
    **NO_INSTANCE_LIMITS,
}
# Counts the answers by status, and the refusals that do not say when to come again.
SCRIPT: Final = """
local n, threads = 0, {{}}
function setup(thread) table.insert(threads, thread) end
function init() counts, silent = {{}}, 0 end
function request()
    n = n + 1
    local headers = {{ ["X-Forwarded-For"] = "203.0.113." .. n % 200 }}
    local kind = {mixed} and n % 20 or 0
    if kind == 1 then return wrk.format("GET", "/services", headers) end
    if kind == 2 then return wrk.format("GET", "/catalog", headers) end
    if kind == 3 then
        headers["Content-Type"] = "application/json"
        local body = string.format('{{"service_name":"spike-%d","instance_id":"i%d","host":"10.9.%d.%d","port":8034}}',
            n % 50, n % 1000, math.floor(n % 1000 / 250), n % 250 + 1)
        return wrk.format("POST", "/register", headers, body)
    end
    return wrk.format("GET", "/services/fleet-service-" .. n % {services}, headers)
end
function response(status, headers)
    counts[status] = (counts[status] or 0) + 1
    if (status == 429 or status == 503) and not headers["Retry-After"] then silent = silent + 1 end
end
function done()
    for _, thread in ipairs(threads) do
        for status, count in pairs(thread:get("counts")) do print("STATUS " .. status .. " " .. count) end
        print("SILENT " .. thread:get("silent"))
    end
end
"""
_GOOD: Final = frozenset({200, 201, 409, 429, 503})


class SpikeProbe(NamedTuple):
    """One lookup of the probe: when it was due, on the monotonic clock, how long it took, and whether it succeeded."""

    at: float
    took_s: float
    good: bool


class SpikeOutcome(NamedTuple):
    """What a spike did: the answers by status, refusals without Retry-After, and the probe's lookups around it."""

    statuses: dict[int, int]
    silent: int
    recovery_s: float
    during: list[int]  # nanoseconds


def measure(_count: int) -> Sequence[Result]:
    """Return the rows."""
    if not is_installed():
        print("NOT MEASURED: a spike: wrk is not installed (make bench-packages)")
        return []
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        stack.callback(unpin, os.sched_getaffinity(0))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        port = free_port()
        argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
        registry = stack.enter_context(running(argv, folder / "registry.log", SETTINGS))
        wait_until(lambda: accepts(port), "the registry listens", 60)
        bare_port, bare = bare_app(stack, folder, SERVICE)
        uvloop.run(flood(port, [register(number) for number in range(FLEET)], IN_FLIGHT, CREATED))
        print(pin([registry.pid, bare.pid]))
        outcome, plain = (
            uvloop.run(_spiked(one, folder, mixed=mixed)) for one, mixed in ((port, True), (bare_port, False))
        )
        assert registry.process.poll() is None, registry.output()
        print(f"answers by status: {outcome.statuses}; of the bare app: {plain.statuses}")
    against = "a bare aiohttp Application, with lookups alone"
    wrong = outcome.silent + sum(n for status, n in outcome.statuses.items() if status not in _GOOD)
    return [
        Figure(
            f"answers in a spike of {sum(outcome.statuses.values()):,} that are wrong, or refuse without Retry-After",
            "answers",
            wrong,
            against,
            plain.silent,
            0,
        ),
        Figure(
            "time until lookups are answered as before", "s", outcome.recovery_s, against, plain.recovery_s, RECOVERY_S
        ),
        Row(
            "a neighbour's lookup during the spike",
            spread(outcome.during),
            against,
            spread(plain.during),
            LOOKUP_MS[2],
        ),
    ]


async def _spiked(port: int, folder: Path, *, mixed: bool) -> SpikeOutcome:
    script = folder / f"spike-{port}.lua"
    script.write_text(SCRIPT.format(mixed=str(mixed).lower(), services=FLEET // 10))
    probes: list[SpikeProbe] = []
    probing = asyncio.create_task(_probe(port, probes))
    await asyncio.sleep(CALM_S)
    url = f"http://127.0.0.1:{port}/"
    began = time.monotonic()
    said = await asyncio.to_thread(run, url, SPIKE_S, connections=CONNECTIONS, script=str(script))
    ended = time.monotonic()
    await asyncio.sleep(RECOVERY_S + CALM_S)
    probing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await probing
    bad = [probe.at + probe.took_s for probe in probes if probe.at > ended - 1 and not _is_well(probe)]
    return SpikeOutcome(
        statuses={int(status): int(count) for status, count in re.findall(r"STATUS (\d+) (\d+)", said)},
        silent=sum(map(int, re.findall(r"SILENT (\d+)", said))),
        recovery_s=max(0.0, max(bad, default=ended) - ended),
        during=[int(probe.took_s * 1e9) for probe in probes if began <= probe.at < ended],
    )


def _is_well(probe: SpikeProbe) -> bool:
    return probe.good and probe.took_s * 1000 <= LOOKUP_MS[2]


async def _probe(port: int, probes: list[SpikeProbe]) -> None:
    """Ask every PROBE_EVERY_S, or as soon as the last question is answered, for ever."""
    asked = request("GET", "/services/fleet-service-1")[:-2] + b"X-Forwarded-For: 198.51.100.1\r\n\r\n"
    client: Client | None = None
    due = time.monotonic()
    while True:
        due = max(due + PROBE_EVERY_S, time.monotonic())
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        good = True
        try:
            client = client or await connected(port)
            await client.ask(asked)
        except (UnexpectedStatus, OSError):
            good, client = False, None
        probes.append(SpikeProbe(due, time.monotonic() - due, good))
