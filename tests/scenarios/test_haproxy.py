"""The real HAProxy follows a service through our DNS alone, and no request of its clients fails."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import VERTICE, Program, accepts, find, free_port, running, wait_until
from tests.scenarios.haproxy_over_dns import HAPROXY_OVER_DNS
from tests.scenarios.system import Dev, Fleet, dev, status_of

SERVICE = "parcel_tracker"
# A gateway for a whole fleet: one backend for each service, chosen by the request's host.
GATEWAY = """
defaults
    mode http
    retries 0
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    default-server init-addr none
resolvers vertice
    nameserver agent 127.0.0.1:{dns}
    accepted_payload_size 1232
    hold valid 500ms
frontend clients
    bind 127.0.0.1:{front}
    use_backend %[req.hdr(host),lower]
{backends}
"""
BACKEND = """
backend {name}
    server-template srv 3 _{name}._tcp.vertice.internal resolvers vertice resolve-prefer ipv4
"""
COMPOSE = """
services:
  parcel_tracker: {ports: ["8034"], scale: 3}
  storefront: {ports: ["8034"]}
"""


class Balanced:
    """An HAProxy in front of the instances of one service."""

    def __init__(self, system: Dev, front: int) -> None:
        self.system = system
        self.front = front

    def ask(self) -> str:
        """Return which instance answered one request; raises OSError when none did."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.front}/", timeout=10) as response:
            answer = json.load(response)
        assert answer["service"] == SERVICE
        instance: str = answer["instance"]
        return instance

    def seen(self, requests: int = 15) -> Counter[str]:
        """Return which instances answered how many of a few requests; none while HAProxy has no server."""
        with contextlib.suppress(OSError):
            return Counter(self.ask() for _ in range(requests))
        return Counter()

    def follows(self, instances: set[str], why: str) -> None:
        """Wait until exactly these instances answer."""
        wait_until(lambda: set(self.seen()) == instances, f"{why}: {instances}", timeout_s=40)

    @contextlib.contextmanager
    def clients(self) -> Iterator[list[str]]:
        """Let a client send requests without pause; the list has the failures."""
        failed: list[str] = []
        done = threading.Event()

        def ask_on() -> None:
            while not done.is_set():
                try:
                    self.ask()
                except OSError as error:
                    failed.append(str(error))
                done.wait(0.005)

        thread = threading.Thread(target=ask_on)
        thread.start()
        try:
            yield failed
        finally:
            done.set()
            thread.join(30)


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Balanced]:
    file = tmp_path / "compose.yml"
    file.write_text(COMPOSE)
    with dev(file, tmp_path) as system:
        front = free_port()
        config = tmp_path / "haproxy.cfg"
        config.write_text(HAPROXY_OVER_DNS.format(dns=system.ports.dns, front=front, service=SERVICE))
        with running([find("haproxy"), "-db", "-f", str(config)], tmp_path / "haproxy.log") as program:
            wait_until(lambda: accepts(front), "HAProxy listens")
            yield Balanced(system, front)
            sys.stdout.write(program.output())


@contextlib.contextmanager
def another(balanced: Balanced, folder: Path) -> Iterator[tuple[str, Program]]:
    """Run one more server of the service, and its agent."""
    host, port = "127.121.0.9", free_port()
    settings = {
        "SERVICE_NAME": SERVICE,
        "SERVICE_HOST": host,
        "SERVICE_PORT": str(port),
        "REGISTRY_URL": balanced.system.ports.registry_url,
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_CHECK_INTERVAL": "1",
        # Longer than HAProxy takes to learn of it, so that the last request is answered.
        "AGENT_DRAIN_WAIT": "4",
    }
    server = [sys.executable, "-m", "tests.scenarios.server", SERVICE, host, str(port)]
    with (
        running(server, folder / "server.log"),
        running([*VERTICE, "agent"], folder / "second-agent.log", settings) as agent,
    ):
        yield f"{host}:{port}", agent


def test_haproxy_follows_a_service_and_no_request_fails(balanced: Balanced, tmp_path: Path) -> None:
    three = {f"{i['host']}:{i['port']}" for i in balanced.system.catalog() if i["service_name"] == SERVICE}
    assert len(three) == 3
    balanced.follows(three, "it starts")
    with balanced.clients() as failed:
        answered = balanced.seen(60)
        assert set(answered) == three
        assert min(answered.values()) > 10  # balanced, not only reachable

        with another(balanced, tmp_path) as (fourth, agent):
            balanced.follows(three | {fourth}, "one is added")
            agent.signal(signal.SIGTERM)
            balanced.follows(three, "one is stopped")
            assert agent.process.wait(20) == 0

        ill = min(three)
        assert status_of(f"http://{ill}/fail", "POST") == 200
        balanced.follows(three - {ill}, "one fails its check")
        assert status_of(f"http://{ill}/recover", "POST") == 200
        balanced.follows(three, "it has recovered")

        # The registry is gone, and HAProxy's clients do not notice.
        balanced.system.child("registry").kill()
        assert set(balanced.seen(60)) == three
    assert failed == []


def test_haproxy_finds_every_service_of_a_fleet(up: Fleet, tmp_path: Path) -> None:
    front = free_port()
    config = tmp_path / "gateway.cfg"
    backends = "".join(BACKEND.format(name=name) for name in up.names)
    config.write_text(GATEWAY.format(dns=up.system.ports.dns, front=front, backends=backends))

    def answered(name: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{front}/", headers={"Host": name})
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=10) as response:
            service: str = json.load(response)["service"]
            return service
        return ""

    with running([find("haproxy"), "-db", "-f", str(config)], tmp_path / "gateway.log"):
        wait_until(lambda: accepts(front), "HAProxy listens")
        for name in up.names:
            wait_until(lambda name=name: answered(name) == name, f"HAProxy finds {name}", timeout_s=40)  # type: ignore[misc]
