"""Loads a DNS server with dnsperf and reads the processor time that it cost the server."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from bench.dns_servers import DnsServerProcess
from bench.machine import cpu_us
from tests.programs import find

_COMPLETED: Final = re.compile(r"Queries completed:\s+(\d+)")
_LOST: Final = re.compile(r"Queries lost:\s+(\d+)")
_RATE: Final = re.compile(r"Queries per second:\s+([\d.]+)")
_LATENCY: Final = re.compile(r"^> \w+ \S+ \w+ ([\d.]+)$", re.MULTILINE)


class DnsLoad(msgspec.Struct, frozen=True):
    """The result of one run."""

    per_second: float
    cpu_us: float  # of the server, per query
    lost: int


def load(server: DnsServerProcess, questions: Path, seconds: float, per_s: int = 0) -> DnsLoad:
    """Return the result of a run at `per_s` queries a second; 0 is as many as are answered."""
    before = cpu_us(server.pid)
    out = dnsperf(server, questions, seconds, *(("-Q", str(per_s)) if per_s else ()))
    used_us = cpu_us(server.pid) - before
    return DnsLoad(_number(_RATE, out), used_us / _number(_COMPLETED, out), int(_number(_LOST, out)))


def best(loads: list[DnsLoad]) -> DnsLoad:
    """Return the best of several runs, since other programs only slow a run down, with all their lost queries."""
    return DnsLoad(
        max(one.per_second for one in loads), min(one.cpu_us for one in loads), sum(one.lost for one in loads)
    )


def completed(out: str) -> float:
    """Return how many queries were answered, by what dnsperf says."""
    return _number(_COMPLETED, out)


def latencies_ms(server: DnsServerProcess, questions: Path, seconds: float, per_second: float) -> list[float]:
    """Return the sorted latencies of queries at a given rate, in milliseconds."""
    out = dnsperf(server, questions, seconds, "-v", "-Q", str(int(per_second)))
    return sorted(float(text) * 1000 for text in _LATENCY.findall(out))


def pin_server(pid: int, processor: int) -> None:
    """Pin all threads of a server to one processor."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {processor})


def dnsperf(server: DnsServerProcess, questions: Path, seconds: float, *more: str) -> str:
    """Return what dnsperf says of a run with these options."""
    argv = [find("dnsperf"), "-s", "127.0.0.1", "-p", str(server.port), "-d", str(questions), "-l", str(seconds), *more]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 30, check=True)
    return done.stdout


def _number(pattern: re.Pattern[str], out: str) -> float:
    found = pattern.search(out)
    if found is None:
        raise RuntimeError(f"dnsperf said: {out[-500:]}")
    return float(found[1])
