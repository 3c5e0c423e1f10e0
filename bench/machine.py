"""Describes this machine and pins programs to its processors, so that numbers are comparable."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec


class BenchMachine(msgspec.Struct, frozen=True):
    """The machine of a run."""

    system: str
    processor: str
    processors: int
    memory_mb: int
    python: str
    revision: str
    load_before: float


def this_machine() -> BenchMachine:
    """Return the description of this machine and of the measured code."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return BenchMachine(
        system=platform.platform(),
        processor=_processor(),
        processors=len(os.sched_getaffinity(0)),
        memory_mb=pages * page // 1024 // 1024,
        python=sys.version.split()[0],
        revision=_revision(),
        load_before=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _revision() -> str:
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()


def pin(servers: Iterable[int], *, beside: Iterable[int] = ()) -> str:
    """Pin this process and the pids in `beside` to the last processor, `servers` to the others; return how.

    Pins nothing when there is only one processor.
    """
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) == 1:
        return "one processor, nothing pinned"
    others = usable[:-1]
    shown = []
    for number, pid in enumerate(servers):
        processor = others[number % len(others)]
        _pin(pid, processor)
        shown.append(str(processor))
    for pid in (*beside, os.getpid()):
        _pin(pid, usable[-1])
    return f"servers on processors {', '.join(shown)}; the measuring process on {usable[-1]}"


def pin_each(servers: Iterable[int]) -> str:
    """Pin each of these pids to a processor of its own, as far as there are; return how. This process is not pinned."""
    usable = sorted(os.sched_getaffinity(0))
    shown = []
    for number, pid in enumerate(servers):
        _pin(pid, usable[number % len(usable)])
        shown.append(str(usable[number % len(usable)]))
    return f"servers on processors {', '.join(shown)}; the rest on any"


def _pin(pid: int, processor: int) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), {processor})


def cpu_us(pid: int) -> float:
    """Return the processor time of all threads of a process, in microseconds: to the nanosecond, where ps has ticks."""
    used_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            used_ns += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    return used_ns / 1e3


def unpin(processors: set[int]) -> None:
    """Allow this process to run on `processors` again."""
    os.sched_setaffinity(0, processors)
