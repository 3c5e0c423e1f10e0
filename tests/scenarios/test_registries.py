"""Real agents with real registries, of which one stops in the middle of its work."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.view.sync import DOUBT_S
from tests.chaos.system import say
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until
from tests.scenarios.system import get_json

# An agent leaves in one second; the rest is for a busy machine.
LEFT_WITHIN_S = 3.0


class Registries:
    """Two registries and their agents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = (free_port(), free_port())
        self.urls = tuple(f"http://127.0.0.1:{port}" for port in self.ports)
        self.programs: list[Program] = []

    @contextlib.contextmanager
    def agent(self, name: str, **settings: str) -> Iterator[int]:
        """Run an agent of both registries; yield its HTTP port."""
        http_port = free_port()
        environment = {
            "REGISTRY_URL": ",".join(self.urls),
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{http_port}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
            "AGENT_DRAIN_WAIT": "0",
            **settings,
        }
        with running([*VERTICE, "agent"], self.folder / f"{name}.log", environment):
            wait_until(lambda: accepts(http_port) and watches(http_port) == self.urls[0], "it watches the first one")
            yield http_port


def watches(http_port: int) -> str | None:
    """Return the registry to which an agent's watch is connected."""
    sync: dict[str, Any] = get_json(f"http://127.0.0.1:{http_port}/self")["sync"]
    return str(sync["registry"]) if sync["connected"] else None


def measures_all(http_port: int) -> bool:
    known = get_json(f"http://127.0.0.1:{http_port}/self")["registries"]["known"]
    return all(one["latency_seconds"] is not None for one in known)


@pytest.fixture
def registries(tmp_path: Path) -> Iterator[Registries]:
    found = Registries(tmp_path)
    with contextlib.ExitStack() as stack:
        for port in found.ports:
            argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
            found.programs.append(
                stack.enter_context(running(argv, tmp_path / f"{port}.log", {"REGISTRY_WARMING": "0"}))
            )
        wait_until(lambda: all(map(accepts, found.ports)), "both listen")
        yield found
        for program in found.programs:
            program.signal(signal.SIGCONT)


def test_writes_and_the_watch_leave_a_stopped_registry(registries: Registries) -> None:
    service = {"SERVICE_NAME": "geo", "SERVICE_HOST": "127.77.2.1", "SERVICE_PORT": "7000", "AGENT_CHECK": "none"}
    with registries.agent("writer", HEARTBEAT_INTERVAL="0.5", **service) as http_port:
        wait_until(lambda: get_json(f"{registries.urls[0]}/services") == ["geo"], "the first one has the service")
        registries.programs[0].signal(signal.SIGSTOP)
        began = time.monotonic()
        wait_until(lambda: get_json(f"{registries.urls[1]}/services") == ["geo"], "the next one has it")
        written_s = time.monotonic() - began
        wait_until(lambda: watches(http_port) == registries.urls[1], "the watch has moved along")
        watched_s = time.monotonic() - began
        say(f"stopped: written to the next after {written_s:.2f} s, watched there after {watched_s:.2f} s")
        assert max(written_s, watched_s) < 0.5 + LEFT_WITHIN_S


def test_agents_that_only_watch_leave_a_stopped_registry(registries: Registries) -> None:
    with registries.agent("reader") as http_port:
        wait_until(lambda: measures_all(http_port), "the probes of the start are over")
        registries.programs[0].signal(signal.SIGSTOP)
        began = time.monotonic()
        wait_until(lambda: watches(http_port) == registries.urls[1], "the watch has moved")
        watched_s = time.monotonic() - began
        say(f"stopped: watched at the next after {watched_s:.2f} s")
        assert watched_s < DOUBT_S + LEFT_WITHIN_S
        assert get_json(f"http://127.0.0.1:{http_port}/health")["components"]["view"]["freshness"] == "fresh"
