"""Most of a fleet falls silent at once: its names stay resolvable, marked suspect, until it is released."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.programs import VERTICE, Program, accepts, find, free_port, running, wait_until
from tests.scenarios.system import get_json, run

# Leases of three seconds, so that a test can wait for their end; the guard's five minutes stay.
REGISTRY = {
    "REGISTRY_WARMING": "0",
    "REGISTRY_LEASE_TTL": "3",
    "REGISTRY_HEARTBEAT_INTERVAL": "500ms",
    "REGISTRY_LEASE_GRACE": "2",
}
AGENT = {"HEARTBEAT_INTERVAL": "500ms", "AGENT_DRAIN_WAIT": "0", "AGENT_CHECK": "none"}
LIVING = [f"living_{number}" for number in range(4)]
DYING = [f"dying_{number}" for number in range(6)]


class System:
    """A registry, and two agents with four and six services."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry_port, self.dns_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.registry_port}"

    def registry(self) -> contextlib.AbstractContextManager[Program]:
        argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{self.registry_port}"]
        return running(argv, self.folder / "registry.log", REGISTRY)

    def agent(self, name: str, services: list[str], port: int) -> contextlib.AbstractContextManager[Program]:
        tables = [
            f'[[service]]\nname = "{service}"\nhost = "127.77.0.9"\nport = {port + number}\n'
            for number, service in enumerate(services)
        ]
        config = self.folder / f"{name}.toml"
        config.write_text("\n".join(tables), encoding="utf-8")
        dns_port = self.dns_port if name == "living" else free_port()
        settings = {
            **AGENT,
            "REGISTRY_URL": self.url,
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{dns_port}",
        }
        return running([*VERTICE, "agent", "--config", str(config)], self.folder / f"{name}.log", settings)

    def suspects(self) -> dict[str, bool]:
        """Return every service in the registry, and whether its instance is suspect."""
        return {i["service_name"]: i["suspect"] for i in get_json(f"{self.url}/catalog")["instances"]}

    def resolves(self, services: list[str]) -> list[str]:
        """Return which of the services dig finds at the living agent."""
        queries = [f"{name.replace('_', '-')}.vertice.internal" for name in services]
        argv = [find("dig"), "@127.0.0.1", "-p", str(self.dns_port), *queries, "+noall", "+answer", "+timeout=5"]
        owners = {line.split()[0].lower() for line in run(argv).splitlines() if line and not line.startswith(";")}
        return [name for name, query in zip(services, queries, strict=True) if f"{query}." in owners]

    def guard(self, *words: str) -> Any:
        argv = [*VERTICE, "guard", *words, "--json", "--registry", self.url]
        return json.loads(subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout)

    def said(self) -> list[str]:
        """Return the events in the registry's log."""
        lines = (self.folder / "registry.log").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]


@contextlib.contextmanager
def bereft(folder: Path) -> Iterator[System]:
    """Run a fleet of ten, of which six have been killed and are held by the guard."""
    system = System(folder)
    with system.registry(), system.agent("living", LIVING, 9001):
        wait_until(lambda: accepts(system.registry_port), "the registry listens")
        with system.agent("dying", DYING, 8001) as dying:
            wait_until(lambda: len(system.suspects()) == 10, "all are registered", timeout_s=30)
            wait_until(lambda: system.resolves(DYING) == DYING, "the other agent knows them", timeout_s=30)
            dying.signal(signal.SIGKILL)
            dying.process.wait(10)
        everybody = {**dict.fromkeys(LIVING, False), **dict.fromkeys(DYING, True)}
        wait_until(lambda: system.suspects() == everybody, "the six are suspect, and no other", timeout_s=30)
        yield system


def test_sixty_percent_killed_at_once_are_held_and_expire_after_a_release(tmp_path: Path) -> None:
    with bereft(tmp_path) as system:
        assert system.resolves([*LIVING, *DYING]) == [*LIVING, *DYING]
        status = system.guard("status")
        assert (status["phase"], status["suspects"]) == ("holding", 6)
        assert status["shards"][0]["reason"].startswith("too many leases ran out at once: 6 of 10")
        assert system.guard("release")["released"] == ["memory"]
        wait_until(lambda: len(system.suspects()) == 9, "one has gone at once")
        wait_until(lambda: len(system.resolves(DYING)) == 5, "it is gone from DNS, and it alone")
        assert system.resolves(LIVING) == LIVING
        assert system.guard("status")["phase"] == "releasing"
        said = system.said()
        assert said.count("guard holds: too many leases ran out at once") == 1
        assert said.count("guard released by an operator") == 1


def test_services_that_were_only_cut_off_stay_found_and_lose_their_suspicion(tmp_path: Path) -> None:
    with bereft(tmp_path) as system, system.agent("dying", DYING, 8001):
        wait_until(lambda: not any(system.suspects().values()), "all are heard of again", timeout_s=30)
        assert sorted(system.suspects()) == sorted([*LIVING, *DYING]), "and none had gone"
        wait_until(lambda: system.guard("status")["phase"] == "clear", "the guard is clear")
        assert "instances expired" not in system.said()
