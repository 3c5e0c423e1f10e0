"""Bad neighbours on the same machine: whatever they do to localhost HTTP, lookups continue for the others."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dnslib
import psutil
import pytest

from tests.chaos.system import say
from tests.programs import VERTICE, free_port, running, wait_until
from tests.scenarios.system import get_json, known_services
from tests.scenarios.test_agent_state import HOST, SERVICES, central

IDLE = 1_000
ROUNDS = 200


class Good:
    """A neighbour who looks services up, over DNS and HTTP, and records how long it took."""

    def __init__(self, http_port: int, dns_port: int) -> None:
        self.failed: list[str] = []
        self._http_port, self._dns_port = http_port, dns_port

    def rounds(self, count: int) -> tuple[float, float]:
        """Make this many lookups; return the median time of a DNS answer and of an HTTP one, in seconds."""
        dns, http = zip(*(self._round(SERVICES[n % len(SERVICES)]) for n in range(count)), strict=True)
        return statistics.median(dns), statistics.median(http)

    def _round(self, service: str) -> tuple[float, float]:
        began = time.monotonic()
        question = dnslib.DNSRecord.question(f"{service.replace('_', '-')}.vertice.internal")
        try:
            answer = dnslib.DNSRecord.parse(question.send("127.0.0.1", self._dns_port, timeout=2))
            if HOST not in [str(record.rdata) for record in answer.rr]:
                self.failed.append(f"DNS: {service}: {answer.short()!r}")
        except OSError as error:
            self.failed.append(f"DNS: {service}: {error!r}")
        asked = time.monotonic()
        try:
            if get_json(f"http://127.0.0.1:{self._http_port}/services/{service}")["host"] != HOST:
                self.failed.append(f"HTTP: {service}: another host")
        except OSError as error:
            self.failed.append(f"HTTP: {service}: {error!r}")
        return asked - began, time.monotonic() - asked


class Bad:
    """Neighbours of every kind, all at once."""

    def __init__(self, http_port: int) -> None:
        self._at = ("127.0.0.1", http_port)
        self._sockets: list[socket.socket] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._drips, self._floods, self._nonsense)]

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Misbehave for the duration of a `with`."""
        for _ in range(IDLE):
            self._sockets.append(self._connected())
        for reader in self._sockets[:50]:  # they request a lot, and read nothing
            with contextlib.suppress(OSError):
                reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join(20)
            for each in self._sockets:
                each.close()

    def _connected(self) -> socket.socket:
        found = socket.socket()
        found.settimeout(2)
        with contextlib.suppress(OSError):
            found.connect(self._at)
        return found

    def _drips(self) -> None:
        """Send a request one byte at a time, over and over."""
        dripping = [self._connected() for _ in range(50)]
        text = b"GET /services HTTP/1.1\r\nX-Long: " + b"x" * 4000
        for at in range(len(text)):
            if self._ended.wait(0.05):
                break
            for each in dripping:
                with contextlib.suppress(OSError):
                    each.send(text[at : at + 1])
        for each in dripping:
            each.close()

    def _floods(self) -> None:
        """Send pipelined requests on one connection, and read the answers."""
        while not self._ended.is_set():
            with contextlib.suppress(OSError), self._connected() as each:
                each.sendall(b"GET /services HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
                each.recv(65536)

    def _nonsense(self) -> None:
        """Send bytes that are not HTTP, or too many of them."""
        packets = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET /services HTTP/1.1\r\n" + b"X: y\r\n" * 20_000,
            b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
            b"POST /services HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 100_000,
            b"POST /self HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n" + b"x" * 100_000,
            b"\0" * 100_000,
        ]
        while not self._ended.is_set():
            for packet in packets:
                with contextlib.suppress(OSError), self._connected() as each:
                    each.sendall(packet)
                    each.recv(65536)


@pytest.mark.alone
def test_bad_neighbours_delay_no_lookup_of_good_ones(tmp_path: Path) -> None:
    port, http_port, dns_port = free_port(), free_port(), free_port()
    settings = {
        "REGISTRY_URL": f"http://127.0.0.1:{port}",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns_port}",
    }
    with central(tmp_path, port), running([*VERTICE, "agent"], tmp_path / "agent.log", settings) as program:
        agent = psutil.Process(program.pid)
        wait_until(
            lambda: (
                bool(agent.net_connections()) and known_services(f"http://127.0.0.1:{http_port}") == sorted(SERVICES)
            ),
            "the agent knows everybody",
            timeout_s=20,
        )
        good = Good(http_port, dns_port)
        quiet = good.rounds(ROUNDS)
        before_mb = agent.memory_info().rss / 2**20
        with Bad(http_port).at_work():
            loud = good.rounds(ROUNDS)
            files = agent.num_fds()
            after_mb = agent.memory_info().rss / 2**20
        wait_until(lambda: agent.num_fds() < 100, "what the bad ones held is given back", timeout_s=30)
        said = program.output()
    say(
        f"bad neighbours: median DNS {quiet[0] * 1000:.2f} -> {loud[0] * 1000:.2f} ms, HTTP {quiet[1] * 1000:.2f} -> "
        f"{loud[1] * 1000:.2f} ms; {files} files, {before_mb:.0f} -> {after_mb:.0f} MB"
    )
    assert good.failed == []
    assert files <= IDLE + 200
    assert after_mb - before_mb < 64
    assert "Traceback" not in said
