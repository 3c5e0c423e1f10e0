"""Measures what recording costs a lookup at a replica: a registry, and the same one with the recording left out.

Both run on one processor, and are loaded in turns by wrk on the other one. What is compared is processor time per
lookup, of which noise changes less than of rates; the ratio is the median of those of the turns.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from bench.machine import pin, unpin
from bench.rows import Figure
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

# Recording may cost a lookup this share of its time.
MOST: Final = 1.05
TURNS: Final = 12
TURN_S: Final = 2
CONNECTIONS: Final = 16
SETTINGS: Final = {"REGISTRY_WARMING": "0", "REGISTRY_LIMIT_LOOKUP": "off", "REGISTRY_LOG_LEVEL": "warning"}
UNRECORDED: Final = (sys.executable, "-m", "bench.replica_unrecorded")


def measure(_count: int) -> list[Figure]:
    """Measure lookups of a service with one instance, with recording and without."""
    if shutil.which("wrk") is None:
        print("NOT MEASURED: the cost of recording: wrk is not installed (make bench-packages)")
        return []
    before = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        stack.callback(unpin, before)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        recorded, unrecorded = (_registry(stack, folder, argv) for argv in (VERTICE, UNRECORDED))
        print(pin([recorded[1].pid, unrecorded[1].pid]))
        pairs = [(_cpu_us(*recorded), _cpu_us(*unrecorded)) for _ in range(TURNS)]
    baseline = statistics.median(without for _, without in pairs)
    ratio = statistics.median(one / other for one, other in pairs)
    name = "replica: GET /services/NAME with what it records: CPU"
    against = "the same replica without recording"
    return [Figure(name, "us/request", baseline * ratio, against, baseline, baseline * MOST)]


def _registry(stack: contextlib.ExitStack, folder: Path, argv: Sequence[str]) -> tuple[str, Program]:
    port = free_port()
    command = [*argv, "registry", "--listen", f"127.0.0.1:{port}"]
    program = stack.enter_context(running(command, folder / f"registry-{port}.log", SETTINGS))
    wait_until(lambda: accepts(port), "the registry listens")
    body = json.dumps({"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/register", body, headers)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.status == 201
    url = f"http://127.0.0.1:{port}/services/ip_intel"
    _cpu_us(url, program)  # the first turn warms up
    return url, program


def _cpu_us(url: str, program: Program) -> float:
    """Return the program's processor time per lookup in microseconds."""
    process = psutil.Process(program.pid)
    before = sum(process.cpu_times()[:2])
    argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{TURN_S}s", url]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    took_s = sum(process.cpu_times()[:2]) - before
    requests = re.search(r"(\d+) requests in", said)
    assert requests is not None, said
    assert "Non-2xx" not in said, said
    return took_s * 1e6 / int(requests[1])
