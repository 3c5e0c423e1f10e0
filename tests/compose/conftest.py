"""What the container tests share: the engine, the images that they build once, and what they measured."""

from __future__ import annotations

import fcntl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import pytest

from tests.compose.topology import TAG
from tools.engine import MISSING, ROOT, Engine, find

# The networks of the compose files have fixed addresses: one run at a time on one machine.
LOCK: Final = Path(tempfile.gettempdir()) / "vertice-compose-test.lock"
LONGEST_WAIT_S: Final = 900

_measured: list[str] = []
_held: list[IO[str]] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Wait until no other run is under way on this machine."""
    if session.config.option.collectonly:
        return
    lock = LOCK.open("a")
    ends = time.monotonic() + LONGEST_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends:
                pytest.exit(f"another run holds {LOCK}", returncode=1)
            time.sleep(1)
        else:
            _held.append(lock)
            return


@pytest.fixture(scope="session")
def engine() -> Engine:
    found = find()
    assert found is not None, MISSING
    return found


@pytest.fixture(scope="session")
def measured() -> Callable[[str], None]:
    """Return what takes a line that is printed at the end."""
    return _measured.append


@pytest.fixture(scope="session")
def images(engine: Engine, measured: Callable[[str], None]) -> dict[str, str]:
    """Build both images and return their tags, by what is in them."""
    tags = {}
    for part in ("agent", "registry"):
        began = time.monotonic()
        tags[part] = f"vertice-{part}:{TAG}"
        engine.build(ROOT / f"Dockerfile.{part}", tags[part])
        measured(f"image of the {part}: built in {time.monotonic() - began:.1f} s")
    return tags


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, and what could not be shown here."""
    if _measured:
        terminalreporter.section("measured")
        for line in _measured:
            terminalreporter.line(line)
