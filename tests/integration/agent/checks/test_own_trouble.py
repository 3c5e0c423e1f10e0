"""A real agent in trouble of its own: out of descriptors, beside hundreds of hanging services, under floods.

None of it is a verdict on a service that is well.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dnslib
import psutil
import pytest

from registry_core.descriptors import raise_descriptor_limit
from tests.programs import VERTICE, Program, free_port, running, wait_until

SETTINGS = {
    "INITIAL_WAIT_TIMEOUT": "1h",
    "AGENT_DRAIN_WAIT": "0",
    "AGENT_DRAIN_CONFIRM": "0",
    "AGENT_WHEN_NONE_PASS": "none",
    "AGENT_DNS_FORWARD": "none",
}
# Takes each connection and its request. Then it sends interim responses for ever while its file exists, and else
# nothing.
FLOODER = """
import pathlib, socket, sys, threading
def serve(connection):
    with connection:
        try:
            connection.recv(65536)
            while pathlib.Path(sys.argv[2]).exists():
                connection.sendall(b"HTTP/1.1 100 Continue\\r\\n\\r\\n" * 2000)
            connection.recv(1)
        except OSError:
            pass
server = socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=1000)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


class Health(http.server.BaseHTTPRequestHandler):
    """Answers 200, or 503 once the server's `well` is cleared."""

    server: HealthServer

    def do_GET(self) -> None:
        self.server.checked += 1
        self.send_response(200 if self.server.well else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class HealthServer(http.server.ThreadingHTTPServer):
    """On every address of loopback."""

    well = True
    checked = 0
    daemon_threads = True
    request_queue_size = 100


@pytest.fixture
def service() -> Iterator[HealthServer]:
    with HealthServer(("0.0.0.0", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


class OneAgent:
    """A real agent with its registry."""

    def __init__(self, folder: Path, program: Program, ports: tuple[int, int]) -> None:
        self.folder = folder
        self.program = program
        self.http_port, self.dns_port = ports

    def addresses(self, name: str) -> list[str]:
        question = dnslib.DNSRecord.question(f"{name}.vertice.internal")
        try:
            answer = dnslib.DNSRecord.parse(question.send("127.0.0.1", self.dns_port, timeout=5))
        except OSError:
            return []
        return sorted(str(rr.rdata) for rr in answer.rr)

    def slowest_percent_s(self, name: str, for_s: float) -> float:
        """Ask for a name over UDP for that long; return the 99th percentile of the latency."""
        asked = dnslib.DNSRecord.question(f"{name}.vertice.internal").pack()
        took = []
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", self.dns_port))
            client.settimeout(10)
            ends_at = time.monotonic() + for_s
            while (began := time.monotonic()) < ends_at:
                client.send(asked)
                client.recv(4096)
                took.append(time.monotonic() - began)
                time.sleep(0.001)
        return sorted(took)[len(took) * 99 // 100]


@contextlib.contextmanager
def an_agent(folder: Path, services: str, descriptors: int, **more: str) -> Iterator[OneAgent]:
    """Run an agent with these `[[service]]` tables, and a registry for it."""
    file = folder / "agent.toml"
    file.write_text(services)
    registry_port, http_port, dns_port = free_port(), free_port(), free_port()
    where = {
        "REGISTRY_URL": f"http://127.0.0.1:{registry_port}",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns_port}",
        "AGENT_CONFIG": str(file),
    }
    limited = ("/bin/sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh")
    registry = (*VERTICE, "registry", "--listen", f"127.0.0.1:{registry_port}")
    with (
        running(registry, folder / "registry.log", {"REGISTRY_WARMING": "1"}),
        running((*limited, *VERTICE, "agent"), folder / "agent.log", {**SETTINGS, **where, **more}) as program,
    ):
        yield OneAgent(folder, program, (http_port, dns_port))


def table(name: str, host: str, port: int) -> str:
    return f'[[service]]\nname = "{name}"\nhost = "{host}"\nport = {port}\n'


def flooded(port: int, says: bytes, connections: int) -> Iterator[socket.socket]:
    """Open connections to a port and say something on each; yield those that stay open."""
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        try:
            client.sendall(says)
            if not client.recv(1):
                raise ConnectionResetError
        except OSError:
            client.close()
        else:
            yield client


@pytest.mark.timeout(180)
def test_clients_that_take_all_connections_leave_descriptors_for_checks_and_the_registry(
    tmp_path: Path, service: HealthServer
) -> None:
    raise_descriptor_limit()
    fast = {"AGENT_CHECK_INTERVAL": "0.3", "AGENT_CHECK_TIMEOUT": "0.3", "HEARTBEAT_INTERVAL": "0.5"}
    # A new connection for every check, and for every request to the registry after a pause.
    services = table("billing", "127.77.3.1", service.server_port)
    with (
        an_agent(tmp_path, services, 256, **fast) as agent,
        contextlib.ExitStack() as stack,
    ):
        wait_until(lambda: agent.addresses("billing") == ["127.77.3.1"], "it is found", 60)
        request = b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n"
        query = dnslib.DNSRecord.question("billing.vertice.internal").pack()
        for client in flooded(agent.http_port, request, 400):
            stack.enter_context(client)
        for client in flooded(agent.dns_port, len(query).to_bytes(2) + query, 100):
            stack.enter_context(client)
        # Many checks later nothing has changed, and a failure is still found.
        before = service.checked
        wait_until(lambda: service.checked >= before + 20, "it is checked on", 60)
        assert agent.addresses("billing") == ["127.77.3.1"]
        assert '"critical"' not in agent.program.output()
        service.well = False
        wait_until(lambda: agent.addresses("billing") == [], "its failure is found", 60)
        output = agent.program.output()
        assert "few_descriptors" in output
        assert "Too many open files" not in output
        assert "not_checked" not in output


@pytest.mark.timeout(240)
def test_600_hanging_services_delay_and_fail_no_good_one(tmp_path: Path, service: HealthServer) -> None:
    hanging_port = free_port()
    bad = [table(f"bad-{n}", f"127.78.{n // 250}.{n % 250 + 1}", hanging_port) for n in range(600)]
    good = [table(f"good-{n}", f"127.79.0.{n + 1}", service.server_port) for n in range(20)]
    hanging = (sys.executable, "-S", "-c", FLOODER, str(hanging_port), str(tmp_path / "never"))
    fast = {"AGENT_CHECK_INTERVAL": "1", "AGENT_CHECK_TIMEOUT": "1"}
    with running(hanging, tmp_path / "hanging.log"), an_agent(tmp_path, "\n".join(bad + good), 1024, **fast) as agent:

        def served() -> int:
            return sum(agent.addresses(f"good-{n}") == [f"127.79.0.{n + 1}"] for n in range(20))

        wait_until(lambda: served() == 20, "all good ones are found", 90)
        before = service.checked
        wait_until(lambda: service.checked >= before + 20 * 10, "they are checked ten more times", 90)
        assert served() == 20
        changes = [line for line in agent.program.output().splitlines() if '"check_changed"' in line]
        assert not [line for line in changes if '"good-' in line and '"critical"' in line]
        service.well = False
        wait_until(lambda: served() == 0, "their failure is found", 60)


@pytest.mark.timeout(180)
def test_interim_responses_for_ever_cost_the_answers_of_dns_nothing(tmp_path: Path, service: HealthServer) -> None:
    port, flag = free_port(), tmp_path / "flood"
    names = [table(f"flood-{n}", f"127.78.9.{n + 1}", port) for n in range(10)]
    services = "\n".join([*names, table("good", "127.79.9.1", service.server_port)])
    flooder = (sys.executable, "-S", "-c", FLOODER, str(port), str(flag))
    fast = {"AGENT_CHECK_INTERVAL": "0.5", "AGENT_CHECK_TIMEOUT": "0.5"}
    flag.touch()
    with running(flooder, tmp_path / "flooder.log"), an_agent(tmp_path, services, 1024, **fast) as agent:
        wait_until(lambda: agent.addresses("good") == ["127.79.9.1"], "it is found", 60)
        reason = "it sends more than 8 interim responses"
        wait_until(lambda: agent.program.output().count(reason) == 10, "the floods are found", 60)
        process = psutil.Process(agent.program.pid)
        memory = process.memory_info().rss
        quiet_s, flooded_s = [], []
        for _ in range(4):
            flag.unlink(missing_ok=True)
            quiet_s.append(agent.slowest_percent_s("good", 1.0))
            flag.touch()
            flooded_s.append(agent.slowest_percent_s("good", 1.0))
        # A flood that is read slows every round; anything else on this machine slows some of them.
        assert min(flooded_s) < 20 * max(quiet_s), (quiet_s, flooded_s)
        assert process.memory_info().rss - memory < 32 * 1024 * 1024
        assert agent.addresses("good") == ["127.79.9.1"]
