"""Real agents for services that do not run, a common pace of leases and breakers, and a load of lookups."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.chaos.asking import Target
from tests.chaos.load import Result
from tests.programs import NO_INSTANCE_LIMITS, VERTICE, Program, free_port, wait_until
from tests.scenarios.system import get_json, known_services


class Pace(NamedTuple):
    """The durations of leases and breakers, in seconds."""

    ttl_s: float
    heartbeat_s: float
    grace_s: float
    breaker_open_s: float
    breaker_half_open_s: float

    def replica(self, **more: str) -> dict[str, str]:
        """Return the environment of a replica."""
        return {
            "REGISTRY_LEASE_TTL": str(self.ttl_s),
            "REGISTRY_HEARTBEAT_INTERVAL": str(self.heartbeat_s),
            "REGISTRY_LEASE_GRACE": str(self.grace_s),
            "REGISTRY_BREAKER_OPEN": str(self.breaker_open_s),
            "REGISTRY_BREAKER_HALF_OPEN": str(self.breaker_half_open_s),
            "REGISTRY_WARMING": str(self.ttl_s),
            **NO_INSTANCE_LIMITS,
            **more,
        }


REAL = Pace(60, 30, 15, 30, 10)
# A tenth of REAL, except for the grace: sweeps are at most one per second, and take time on a busy machine.
FAST = Pace(6, 1, 3, 3, 1)


class Agent:
    """One agent, and the services that it registers: these names, all at one host."""

    def __init__(
        self,
        folder: Path,
        name: str,
        services: Sequence[str],
        host: str,
        *,
        urls: Sequence[str],
        heartbeat_s: float,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.services = dict.fromkeys(services, host)
        self.http_port, self.dns_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        config = folder / f"{name}.toml"
        tables = [
            f'[[service]]\nname = "{service}"\nhost = "{host}"\nport = {7000 + number}\n'
            for number, service in enumerate(services)
        ]
        config.write_text("\n".join(tables), encoding="utf-8")
        settings = {
            "AGENT_CHECK": "none",
            "AGENT_DRAIN_WAIT": "0",
            "HEARTBEAT_INTERVAL": str(heartbeat_s),
            "REGISTRY_URL": ",".join(urls),
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{self.dns_port}",
            **(more or {}),
        }
        self.program = Program([*VERTICE, "agent", "--config", str(config)], folder / f"{name}.log", settings)

    def knows(self, services: Sequence[str]) -> bool:
        """Return whether it shows all of these."""
        with contextlib.suppress(OSError):
            return set(services) <= set(known_services(self.url) or ())
        return False

    def is_registered(self) -> bool:
        """Return whether the registry has its services; it answers them before."""
        with contextlib.suppress(OSError):
            return all(each["phase"] == "registered" for each in get_json(f"{self.url}/self")["services"])
        return False

    def forgot(self, services: Sequence[str]) -> bool:
        """Return whether it shows none of these."""
        names = known_services(self.url)
        return names is not None and not set(services) & set(names)


@contextlib.contextmanager
def agent(
    folder: Path,
    name: str,
    services: Sequence[str],
    host: str,
    *,
    urls: Sequence[str],
    heartbeat_s: float,
    more: Mapping[str, str] | None = None,
) -> Iterator[Agent]:
    """Run an agent for the duration of a `with`. It is killed at the end, so that it deregisters nothing."""
    running = Agent(folder, name, services, host, urls=urls, heartbeat_s=heartbeat_s, more=more)
    try:
        yield running
    finally:
        running.program.process.kill()
        running.program.process.wait(10)


@contextlib.contextmanager
def asking(folder: Path, targets: Sequence[Target], seed: int) -> Iterator[Result]:
    """Look services up for the duration of a `with`; the yielded result is filled in at the end."""
    file = folder / "asked.json"
    argv = [sys.executable, "-m", "tests.chaos.asking", msgspec.json.encode(list(targets)).decode(), str(seed)]
    program = Program([*argv, str(file)], folder / "asking.log")
    result = Result(seed)
    try:
        yield result
        assert program.stop() == 0, program.output()
        found = msgspec.json.decode(file.read_bytes(), type=Result)
        result.lookups, result.failures = found.lookups, found.failures
        result.longest_lookup_s = found.longest_lookup_s
    finally:
        program.stop()


def ready(agents: Sequence[Agent]) -> None:
    """Wait until every agent has registered its services and knows those of all."""
    services = [service for each in agents for service in each.services]
    wait_until(
        lambda: all(each.is_registered() and each.knows(services) for each in agents),
        "every agent knows every service",
        timeout_s=30,
    )
