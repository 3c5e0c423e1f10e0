"""What the container tests share: the engine, the images that they build once, and what they measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.compose.topology import TAG
from tools.engine import MISSING, ROOT, Engine, find

_measured: list[str] = []


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
