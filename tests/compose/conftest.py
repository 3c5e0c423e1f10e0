"""What the container tests share: the engine, the images that they build once, and what they measured."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import pytest
import yaml

from tests.compose.topology import COMPOSE, TAG
from tools.engine import MISSING, ROOT, Engine, find

# The networks of the compose files have fixed addresses: one run at a time on one machine.
LOCK: Final = Path(tempfile.gettempdir()) / "vertice-compose-test.lock"
LONGEST_WAIT_S: Final = 900

_measured: list[str] = []
_held: list[IO[str]] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Wait until no other run is active on this machine."""
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
    """Return the function that takes a line to print at the end."""
    return _measured.append


@pytest.fixture(scope="session")
def images(engine: Engine, measured: Callable[[str], None]) -> dict[str, str]:
    """Build both images and return their tags, by their content."""
    tags = {}
    for part in ("agent", "registry"):
        began = time.monotonic()
        tags[part] = f"vertice-{part}:{TAG}"
        engine.build(ROOT / f"Dockerfile.{part}", tags[part])
        measured(f"image of the {part}: built in {time.monotonic() - began:.1f} s")
    return tags


LOCK_FILE: Final = "requirements-dev.lock"
# The image of compose/ha.yml brings Redis. Everything else that tests need comes from Debian 13 and from the lock.
RECIPE: Final = f"""\
FROM {{image}}
USER 0:0
RUN apt-get update \\
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\
        ca-certificates openssl python3 python3-venv \\
        bind9 bind9-dnsutils curl dnsmasq-base git graphviz haproxy iproute2 knot-dnsutils patch procps prometheus \\
        prometheus-alertmanager unbound util-linux
RUN python3 -m venv /tests
COPY {LOCK_FILE} .
RUN /tests/bin/python -m pip install --quiet --no-cache-dir --require-hashes -r {LOCK_FILE}
"""


@pytest.fixture(scope="session")
def debian(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build an image with Debian 13, its Redis and Python, and what tests need; return its tag."""
    folder = tmp_path_factory.mktemp("debian")
    taken = yaml.safe_load((COMPOSE / "ha.yml").read_text(encoding="utf-8"))["x-redis"]["image"]
    shutil.copy(ROOT / LOCK_FILE, folder)
    recipe = folder / "Dockerfile"
    recipe.write_text(RECIPE.format(image=taken), encoding="utf-8")
    tag = f"vertice-tests:{TAG}"
    engine.build(recipe, tag, context=folder, timeout_s=600)
    yield tag
    engine.run("rmi", "-f", tag, check=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, and what could not be shown here."""
    if _measured:
        terminalreporter.section("measured")
        for line in _measured:
            terminalreporter.line(line)
