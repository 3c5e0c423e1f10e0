"""Watching the namespace survives a time without free descriptors, and remembers what it saw before."""

from __future__ import annotations

import asyncio
import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest
from structlog.testing import capture_logs

from agent.namespace import LOOKS, Namespace, end_when_left_behind
from registry_core.supervision import Background
from tests.samples import FakeClock

NETWORK, NOTHING = frozenset({"eth0"}), frozenset[str]()
NO_DESCRIPTOR = OSError(errno.EMFILE, "Too many open files")


class Looks:
    """Scripted observations; the last one repeats."""

    def __init__(self, *seen: frozenset[str] | OSError) -> None:
        self._seen = seen
        self.count = 0

    def __call__(self) -> frozenset[str]:
        found = self._seen[min(self.count, len(self._seen) - 1)]
        self.count += 1
        if isinstance(found, OSError):
            raise found
        return found


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", sent.append)
    return sent


async def watched(looks: Callable[[], frozenset[str]], turns: int = 200) -> Background:
    """Return the background tasks of a program that has watched its namespace for a while."""
    background = Background(FakeClock(), sleep=lambda _: asyncio.sleep(0))
    with capture_logs():
        background.keep("namespace", partial(end_when_left_behind, Namespace(looks), 0.0), ends=True)
        for _ in range(turns):
            await asyncio.sleep(0)
        await background.close()
    return background


async def test_watching_continues_after_a_time_without_descriptors(signals: list[int]) -> None:
    background = await watched(Looks(NETWORK, *[NO_DESCRIPTOR] * 3, NETWORK, NOTHING))
    assert signals == [signal.SIGTERM]
    assert background.report()[0].restarts == 3


async def test_a_loss_during_a_time_without_descriptors_is_noticed(signals: list[int]) -> None:
    looks = Looks(NETWORK, NO_DESCRIPTOR, NOTHING)
    await watched(looks)
    assert signals == [signal.SIGTERM]
    assert looks.count == 2 + LOOKS


async def test_a_start_without_descriptors_does_not_report_a_lost_network(signals: list[int]) -> None:
    await watched(Looks(NO_DESCRIPTOR, NOTHING))
    assert signals == []


PROGRAM = """
import asyncio, os, resource
from functools import partial
from agent.namespace import Namespace, end_when_left_behind, interfaces
from registry_core.supervision import Background
from registry_core.telemetry import logs
from registry_core.telemetry.log_levels import LogLevels

logs.configure(LogLevels(), "agent")
seen = frozenset({"eth0"})

def look():
    interfaces()  # which needs a descriptor
    return seen

async def main():
    global seen
    background = Background()
    background.keep("namespace", partial(end_when_left_behind, Namespace(look), 0.01), ends=True)
    await asyncio.sleep(0.05)
    # Not fewer than are open; asyncio's own are among them.
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    while background.report()[0].failures < 3:
        await asyncio.sleep(0.01)
    for descriptor in taken:
        os.close(descriptor)
    seen = frozenset()
    await asyncio.sleep(30)

asyncio.run(main())
"""


def test_a_program_that_ran_out_of_descriptors_still_notices_a_lost_namespace() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == -signal.SIGTERM, ended.stderr
    assert "Too many open files" in ended.stderr
