"""Real programs for tests: free ports, started processes, and how to end them by pid."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

VERTICE = (sys.executable, "-m", "cli.main")
# For a registry under a load that repeats itself faster than any client does.
NO_INSTANCE_LIMITS = {"REGISTRY_LIMIT_INSTANCE_HEARTBEATS": "off", "REGISTRY_LIMIT_INSTANCE_REGISTRATIONS": "off"}
ROOT = Path(__file__).resolve().parent.parent


def start_as_installed() -> None:
    """Let programs started from now on see only what an image has: no `rich`, and no CA certificates.

    Reading the system's certificates takes a seventh of the start of each program that imports aiohttp.
    """
    os.environ["SSL_CERT_FILE"] = os.devnull
    found = [str(ROOT / "tests" / "as_installed"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, found))


# Below the ports of outgoing connections (net.ipv4.ip_local_port_range), so that none of those takes a port
# between the moment it is found to be free and the moment a program listens on it. Tests that run in parallel
# have separate ranges.
FIRST_PORT, LAST_PORT = 10_000, 32_000
_PARTS = 8


def _ports() -> Iterator[int]:
    """Yield the ports of this process's range, each once per round, so that a test never gets the same one twice."""
    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PARTS
    size = (LAST_PORT - FIRST_PORT) // _PARTS
    # The first one is random, since another run on this machine may be active.
    for number in itertools.count(random.SystemRandom().randrange(size)):
        yield FIRST_PORT + part * size + number % size


_NEXT_PORTS = _ports()


def free_port() -> int:
    """Return a loopback port that is free for TCP and for UDP."""
    for port in itertools.islice(_NEXT_PORTS, 200):
        with contextlib.suppress(OSError), socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free for both TCP and UDP")


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Yield a loopback port that neither accepts nor refuses connections: its queue is full."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def find(program: str) -> str:
    """Return the path of a system program. `make test` installs them all, so a missing one is an error."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise RuntimeError(f"{program} is not installed: run `make system-packages`")
    return path


class Program:
    """A running program. Its output goes to a file, so that no full pipe can stop it."""

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        self.argv = list(argv)
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        """Return its output so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this one process."""
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 10.0) -> int:
        """Stop it with SIGTERM, then with SIGKILL; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(10)


@contextlib.contextmanager
def running(argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """Run a program for the duration of a `with`."""
    program = Program(argv, log, env)
    try:
        yield program
    finally:
        program.stop()


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 15.0, every_s: float = 0.05) -> None:
    """Wait until `condition()` holds; fail with `what` after the timeout. For sync tests."""
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(every_s)


async def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 15.0, every_s: float = 0.01) -> None:
    """Wait until `condition()` holds; fail with `what` after the timeout. For async tests."""
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        await asyncio.sleep(every_s)


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether something listens on that TCP port."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False
