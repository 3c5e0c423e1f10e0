"""Prometheus finds a registry that asks readers for a key by DNS, its agents and services by asking, and loses none."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs import VERTICE, Program, find, running, wait_until
from tests.scenarios.judged import ZONE, own_network
from tests.scenarios.system import run
from tools.sources import ROOT

pytestmark = pytest.mark.timeout(240)
PROMETHEUS = "http://127.0.0.1:9090"
REGISTRY = "http://127.0.0.1:8888"
SECRET, READ_KEY = "a-long-random-word", "a-read-key-of-its-own"
LONG_S = 90.0
# Long enough for Prometheus to ask several times while the registry is warming.
WARMING_S = 12


def relabelling(job: str) -> list[dict[str, Any]]:
    """Return the relabelling of a job of compose/observability."""
    config = yaml.safe_load((ROOT / "compose" / "observability" / "prometheus.yml").read_text())
    (found,) = [one for one in config["scrape_configs"] if one["job_name"] == job]
    relabelled: list[dict[str, Any]] = found["relabel_configs"]
    return relabelled


def configuration(key: Path) -> str:
    """Return a configuration that finds everything by discovery: replicas by SRV, agents and services by asking."""
    # Without the type, Prometheus 2.42 sends the key of a discovery without `Bearer`.
    authorization = {"type": "Bearer", "credentials_file": str(key)}
    at_registry = {"url": f"{REGISTRY}/sd/prometheus", "refresh_interval": "1s", "authorization": authorization}
    at_agent = {"url": "http://127.0.0.1:8880/sd/prometheus", "refresh_interval": "1s"}
    without_key = {"url": f"{REGISTRY}/sd/prometheus", "refresh_interval": "1s"}
    srv = {"names": [f"_vertice-registry._tcp.{ZONE}"], "refresh_interval": "1s"}
    agents, services = relabelling("agent"), relabelling("services")
    jobs = [
        {"job_name": "registry", "dns_sd_configs": [srv], "authorization": authorization},
        {"job_name": "agent", "http_sd_configs": [at_agent], "relabel_configs": agents},
        {"job_name": "services", "http_sd_configs": [at_registry], "relabel_configs": services},
        {"job_name": "stranger", "http_sd_configs": [without_key]},
    ]
    return yaml.safe_dump({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs})


class Discovering:
    """A registry with an agent beside it that registers it, and a Prometheus, in a network of their own."""

    def __init__(self, folder: Path, inside: Sequence[str]) -> None:
        self.folder = folder
        self.inside = list(inside)

    @contextlib.contextmanager
    def program(self, *argv: str, log: str, env: dict[str, str] | None = None) -> Iterator[Program]:
        """Run a program in the network for the duration of a `with`."""
        with running([*self.inside, find(argv[0]), *argv[1:]], self.folder / log, env) as program:
            try:
                yield program
            finally:
                sys.stdout.write(program.output())

    def registry(self) -> contextlib.AbstractContextManager[Program]:
        settings = {
            "REGISTRY_LISTEN": "127.0.0.1:8888",
            "REGISTRY_SECRET": SECRET,
            "REGISTRY_READ": "key",
            "REGISTRY_READ_KEY": READ_KEY,
            "REGISTRY_WARMING": str(WARMING_S),
            # Nothing renews what the test registers, however long it takes.
            "REGISTRY_LEASE_TTL": "3600",
        }
        return self.program(*VERTICE, "registry", log="registry.log", env=settings)

    def curl(self, *words: str) -> str:
        return run([*self.inside, find("curl"), "-sS", "--max-time", "10", *words])

    def up(self, job: str) -> set[str]:
        """Return the instances of a job that answered the last scrape."""
        return {one["metric"]["instance"] for one in self.asked(f'up{{job="{job}"}} == 1')}

    def asked(self, query: str) -> list[dict[str, Any]]:
        """Return the result of a query."""
        answer = json.loads(self.curl("-G", "--data-urlencode", f"query={query}", f"{PROMETHEUS}/api/v1/query"))
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def failures(self) -> float:
        """Return how often Prometheus was given no list."""
        lines = self.curl(f"{PROMETHEUS}/metrics").splitlines()
        counts = [line.split()[-1] for line in lines if line.startswith("prometheus_sd_http_failures_total")]
        return sum(map(float, counts))

    def register(self, name: str, port: int, **more: Any) -> None:
        body = json.dumps({"service_name": name, "host": "127.0.0.1", "port": port, **more})
        self.curl("--fail", "-H", f"X-Registry-Token: {SECRET}", "--json", body, f"{REGISTRY}/register")


@contextlib.contextmanager
def discovering(folder: Path) -> Iterator[Discovering]:
    (folder / "pages").mkdir()
    (folder / "pages" / "numbers").write_text("open_invoices 7\n")
    key = folder / "read-key"
    key.write_text(f"{READ_KEY}\n")
    (folder / "prometheus.yml").write_text(configuration(key))
    agent = {
        "REGISTRY_URL": REGISTRY,
        "REGISTRY_SECRET": SECRET,
        "AGENT_HTTP_LISTEN": "127.0.0.1:8880",
        "AGENT_DNS_LISTEN": "127.0.0.1:53",
        "AGENT_DNS_FORWARD": "none",
        # How docs/guide/alerts.md registers a replica.
        "SERVICE_NAME": "vertice-registry",
        "SERVICE_HOST": "127.0.0.1",
        "SERVICE_PORT": "8888",
        "SERVICE_HEALTH_ENDPOINT": "/live",
        "SERVICE_METADATA": '{"vertice.agent": "127.0.0.1:8880"}',
    }
    flags = (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--web.listen-address=127.0.0.1:9090",
    )
    pages = (sys.executable, "-m", "http.server", "9100", "--directory", str(folder / "pages"))
    with own_network(folder, resolv_conf="nameserver 127.0.0.1\n", nsswitch_conf="hosts: files dns\n") as network:
        system = Discovering(folder, network)
        with (
            system.program(*VERTICE, "agent", log="agent.log", env=agent),
            system.program(*pages, log="pages.log"),
            system.program("prometheus", *flags, log="prometheus.log"),
        ):
            wait_until(lambda: "Server is ready" in (folder / "prometheus.log").read_text(), "Prometheus", LONG_S)
            yield system


def test_prometheus_finds_everything_and_loses_nothing_while_the_registry_restarts_empty(tmp_path: Path) -> None:
    with discovering(tmp_path) as system:
        with system.registry():
            metadata = {"prometheus.port": 9100, "prometheus.path": "/numbers"}
            wait_until(lambda: "listening on" in (tmp_path / "registry.log").read_text(), "the registry", LONG_S)
            system.register("billing", 8034, version="1.4.2", zone="z1", metadata=metadata)
            system.register("quiet", 8035)
            wait_until(lambda: len(system.up("registry")) == 1, "it finds the replica by SRV", LONG_S)
            assert next(iter(system.up("registry"))).endswith(f".{ZONE}:8888")
            assert system.asked("registry_instances")[0]["value"][1] == "3", "the key opens the metrics"
            wait_until(lambda: system.up("agent") == {"127.0.0.1:8880"}, "it finds the agent", LONG_S)
            wait_until(lambda: system.up("services") == {"127.0.0.1:9100"}, "it finds the service", LONG_S)
            (invoices,) = system.asked("open_invoices")
            assert invoices["value"][1] == "7"
            assert {name: invoices["metric"][name] for name in ("service", "zone", "version")} == {
                "service": "billing",
                "zone": "z1",
                "version": "1.4.2",
            }
            assert system.asked('up{job="stranger"}') == [], "nothing without the key"

        # Everything central is away: what the agent knows stays.
        before = system.failures()
        wait_until(lambda: system.failures() >= before + 6, "it has asked in vain", LONG_S)
        assert len(system.asked('up{job="registry"} == 0')) == 1, "it knows whom it misses"
        assert system.up("agent") == {"127.0.0.1:8880"}
        assert system.up("services") == {"127.0.0.1:9100"}

        # The registry is back, and knows nothing: nobody registers billing again.
        with system.registry():
            before = system.failures()
            wait_until(lambda: system.up("registry") != set(), "the replica answers", LONG_S)
            assert system.up("services") == {"127.0.0.1:9100"}, "what a warming registry lacks is not gone"
            wait_until(lambda: system.up("services") == set(), "it has left", LONG_S)
            assert system.failures() >= before + WARMING_S / 2
            assert system.up("agent") == {"127.0.0.1:8880"}
