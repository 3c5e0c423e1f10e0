"""Loads a server with wrk, and reads the processor time that this cost the server."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Final

import msgspec

from bench.machine import cpu_us
from tests.programs import Program

CONNECTIONS: Final = 16
NO_HEADERS: Final[Mapping[str, str]] = {}


class WrkLoad(msgspec.Struct, frozen=True):
    """What wrk measured: requests per second, and the server's processor time for each, in microseconds."""

    per_s: float
    cpu_us: float


def is_installed() -> bool:
    """Return whether wrk can be run."""
    return shutil.which("wrk") is not None


def load(
    url: str, server: Program, seconds: int, *, connections: int = CONNECTIONS, headers: Mapping[str, str] = NO_HEADERS
) -> WrkLoad:
    """Ask for `url` as fast as it is answered. Raises AssertionError when any answer is no success."""
    before = cpu_us(server.pid)
    said = run(url, seconds, connections=connections, headers=headers)
    took_us = cpu_us(server.pid) - before
    assert "Non-2xx" not in said, said
    return WrkLoad(per_s_of(said), took_us / requests_of(said))


def run(
    url: str,
    seconds: int,
    *,
    connections: int = CONNECTIONS,
    threads: int = 1,
    headers: Mapping[str, str] = NO_HEADERS,
    script: str = "",
) -> str:
    """Run wrk, with a Lua script if one is named; return what it printed."""
    argv = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s"]
    argv += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    argv += ["-s", script] if script else []
    return subprocess.run([*argv, url], capture_output=True, text=True, timeout=seconds + 60, check=True).stdout


def requests_of(said: str) -> int:
    """Return how many requests were answered."""
    found = re.search(r"(\d+) requests in", said)
    assert found is not None, said
    return int(found[1])


def per_s_of(said: str) -> float:
    """Return how many requests were answered each second."""
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


def errors_of(said: str) -> int:
    """Return how many answers were no success, and how many requests had no answer."""
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    lost = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return (int(bad[1]) if bad else 0) + (sum(map(int, lost.groups())) if lost else 0)
