"""The deployment that is observed: replicas of two zones on Redis with Sentinels, agents with services, and a load.

Everything is a real program on loopback. A program has the same ports, settings and folders at each start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.chaos.fleet import FAST
from tests.observed.prometheus import ObservingPrometheus
from tests.programs import VERTICE, Program, accepts, find, free_port, wait_until
from tests.redis_topology import Topology, topology
from tests.scenarios.system import get_json

ZONE: Final = "vertice.internal"
SERVICES: Final = ("billing", "mail", "search", "cart", "auth")
ZONES: Final = ("eu-1a", "eu-1a", "eu-1b")


class Restartable:
    """One program that can be killed and started again."""

    def __init__(self, name: str, argv: Sequence[str], log: Path, settings: Mapping[str, str], port: int) -> None:
        self.name = name
        self.port = port
        self.at = f"127.0.0.1:{port}"
        self.url = f"http://{self.at}"
        self._argv, self._log, self._settings = list(argv), log, dict(settings)
        self.program: Program | None = None

    def change(self, settings: Mapping[str, str]) -> None:
        """Give it other settings, from its next start on."""
        self._settings |= settings

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.program = Program(self._argv, self._log, self._settings)
        wait_until(self._listens, f"{self.name} listens", timeout_s=40)

    def _listens(self) -> bool:
        assert self.program is not None
        assert self.program.process.poll() is None, self.program.output()
        return accepts(self.port)

    def kill(self) -> None:
        """Kill it, as `kill -9` does."""
        if self.program is not None and self.program.process.poll() is None:
            self.program.signal(signal.SIGKILL)
            self.program.process.wait(10)

    def pause(self) -> None:
        assert self.program is not None
        self.program.signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.program is not None
        self.program.signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.program is not None and self.program.process.poll() is None:
            self.resume()
            self.program.stop()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def replica(
    folder: Path, name: str, store: str, settings: Mapping[str, str], *, vertice: Sequence[str] = VERTICE
) -> Restartable:
    """Return a replica, not started yet; its audit log is in the folder `<name>-audit`."""
    port = free_port()
    common = {
        **FAST.replica(),
        "REGISTRY_LISTEN": f"127.0.0.1:{port}",
        "REGISTRY_STORE": store,
        "REGISTRY_WARMING": "2",
        "REGISTRY_AUTH": "off",
        "REGISTRY_LIMIT_PAUSE": "0",
        "REGISTRY_LIMIT_REGISTER": "off",
        "REGISTRY_LOG_FORMAT": "json",
        "REGISTRY_AUDIT": str(folder / f"{name}-audit"),
        "REGISTRY_AUDIT_NAME": name,
        "REGISTRY_AUDIT_SYNC": "off",
    }
    return Restartable(name, [*vertice, "registry"], folder / f"{name}.log", {**common, **settings}, port)


def agent(
    folder: Path,
    name: str,
    service: str,
    urls: Sequence[str],
    settings: Mapping[str, str],
    *,
    vertice: Sequence[str] = VERTICE,
) -> tuple[Restartable, int]:
    """Return an agent with one service (or none), not started yet, and its port for DNS."""
    http, dns = free_port(), free_port()
    common = {
        "REGISTRY_URL": ",".join(urls),
        "HEARTBEAT_INTERVAL": str(FAST.heartbeat_s),
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns}",
        "AGENT_CHECK": "tcp",
        "AGENT_CHECK_INTERVAL": "1",
        "AGENT_LOG_FORMAT": "json",
        "AGENT_DRAIN_WAIT": "0",
        "AGENT_STATE_DIR": str(folder / f"{name}-state"),
    }
    if service:
        common |= {
            "SERVICE_NAME": service,
            "SERVICE_HOST": "127.0.0.1",
            # Unless the settings name another one, the service whose port is checked is the agent itself.
            "SERVICE_PORT": str(http),
            "SERVICE_METADATA": json.dumps({"prometheus.path": "/metrics"}),
            "SERVICE_VERSION": "1.2.3",
        }
    settings = {**common, **settings}
    return Restartable(name, [*vertice, "agent"], folder / f"{name}.log", settings, http), dns


class Deployment:
    """The replicas, the agents, the resolver that agents forward to, and the load."""

    def __init__(self, folder: Path, redis: Topology, zones: Sequence[str], services: Sequence[str]) -> None:
        self.folder = folder
        self.redis = redis
        self.replicas = [
            replica(folder, f"r{number}", redis.url, {"REGISTRY_ZONE": zone}) for number, zone in enumerate(zones, 1)
        ]
        peers = ",".join(each.url for each in self.replicas)
        for each in self.replicas:
            each.change({"REGISTRY_PEERS": peers})
        self.resolver_port = free_port()
        self._service_ports = [free_port() for _ in services]
        self.services: Program | None = None
        self.agents: list[Restartable] = []
        self._dns_ports: list[int] = []
        for number, service in enumerate(services):
            # Each prefers another replica, and has the others behind it.
            urls = [self.replicas[(number + shift) % len(zones)].url for shift in range(len(zones))]
            settings = {
                "AGENT_ZONE": zones[number % len(zones)],
                "AGENT_DNS_FORWARD": f"127.0.0.1:{self.resolver_port}",
                "SERVICE_PORT": str(self._service_ports[number]),
            }
            one, dns = agent(folder, f"a{number + 1}", service, urls, settings)
            self.agents.append(one)
            self._dns_ports.append(dns)
        self._services = list(services)
        self._changes = 0
        self.resolver: Program | None = None
        self.load: Program | None = None

    def start(self) -> None:
        """Start everything, and wait until each agent knows each service."""
        self.start_resolver()
        argv = [sys.executable, "-m", "tests.observed.services", *map(str, self._service_ports)]
        self.services = Program(argv, self.folder / "services.log")
        for each in (*self.replicas, *self.agents):
            each.start()
        wait_until(self.is_whole, "every agent knows every service", timeout_s=60, every_s=0.2)
        plan = {
            "agents": [{"http": a.port, "dns": d} for a, d in zip(self.agents, self._dns_ports, strict=True)],
            "replicas": [each.url for each in self.replicas],
            "services": self._services,
            "zone": ZONE,
        }
        (self.folder / "load.json").write_text(json.dumps(plan))
        self.start_load()

    def start_load(self) -> None:
        """Start the load."""
        argv = [sys.executable, "-m", "tests.observed.load", str(self.folder / "load.json")]
        self.load = Program(argv, self.folder / "load.log")

    def end_load(self) -> None:
        """End the load; its instances stay until their leases end."""
        assert self.load is not None
        self.load.stop()

    def change_something(self) -> None:
        """Register one more instance, so that every view changes."""
        self._changes += 1
        body = {"service_name": "changed", "host": "127.0.0.1", "port": 5000 + self._changes}
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.replicas[0].url}/register", data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=10):
            pass

    def is_whole(self) -> bool:
        """Return whether every agent knows every service of the others."""
        with contextlib.suppress(OSError):
            return all(set(self._services) <= set(get_json(f"{each.url}/services")) for each in self.agents)
        return False

    def start_resolver(self) -> None:
        """Start the resolver that knows every foreign name."""
        argv = [find("dnsmasq"), "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"]
        argv += [f"--port={self.resolver_port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--user=root"]
        argv += ["--address=/#/192.0.2.1", "--pid-file="]
        self.resolver = Program(argv, self.folder / "resolver.log")

    def watched_by(self, prometheus: ObservingPrometheus) -> None:
        """Let Prometheus scrape it all."""
        for each in self.replicas:
            prometheus.watch("registry", each.at)
        for each in self.agents:
            prometheus.watch("agent", each.at)

    def stop(self) -> None:
        """End it all, the load first."""
        for program in (self.load, self.resolver, self.services):
            if program is not None:
                program.stop()
        for each in (*self.agents, *self.replicas):
            each.stop()


@contextlib.contextmanager
def deployment(
    folder: Path, *, zones: Sequence[str] = ZONES, services: Sequence[str] = SERVICES, redis_replicas: int = 2
) -> Iterator[Deployment]:
    """Run a deployment under load for the duration of a `with`."""
    folder.mkdir(parents=True, exist_ok=True)
    with topology(folder / "redis", replicas=redis_replicas) as redis:
        running = Deployment(folder, redis, zones, services)
        try:
            running.start()
            yield running
        finally:
            running.stop()


def http_sd(replica_url: str) -> dict[str, object]:
    """Return the scrape configuration of the services, found at a replica as compose/observability does it."""
    return {
        "job_name": "services",
        "http_sd_configs": [{"url": f"{replica_url}/sd/prometheus", "refresh_interval": "1s"}],
        "relabel_configs": [
            {
                "source_labels": ["__meta_vertice_metadata_prometheus_port", "__meta_vertice_metadata_prometheus_path"],
                "regex": ".*[^;].*",
                "action": "keep",
            },
            {"source_labels": ["__meta_vertice_service"], "target_label": "service"},
            {"source_labels": ["__meta_vertice_zone"], "target_label": "zone"},
            {"source_labels": ["__meta_vertice_version"], "target_label": "version"},
        ],
    }


def is_root() -> bool:
    """Return whether a small disk can be mounted."""
    return os.geteuid() == 0


def metrics_of(url: str) -> str:
    """Return what a program says at /metrics."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        return str(answer.read().decode())
