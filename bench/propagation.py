"""Measures how long a change takes from `POST /register` at the registry to the changed DNS answer at the agent.

Registry, agent and this program are three processes. It sends the request and queries the agent repeatedly
until the answer has the new address: the result is what another program on the machine would see.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

from bench.machine import pin, unpin
from bench.rows import Row, spread
from cli.slo.levels import VISIBLE_P99_MS
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

FLEET: Final = 111
WARM_UP: Final = 20
TIMEOUT_S: Final = 5.0
NAME: Final = "bench-probe"
ZONE: Final = "vertice.internal"
# The lease outlasts the run, so that heartbeats do not affect the measurement.
SETTINGS: Final = {"REGISTRY_LEASE_TTL": "3600", "REGISTRY_WARMING": "1"}
_CHUNK: Final = 65536


def measure(count: int) -> Row:
    """Return the row of `count` changes."""
    before = os.sched_getaffinity(0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        stack.callback(unpin, before)
        registry_port, http_port, dns_port, echo_port = (free_port() for _ in range(4))
        registry = stack.enter_context(
            running([*VERTICE, "registry", "--listen", f"127.0.0.1:{registry_port}"], folder / "registry.log", SETTINGS)
        )
        wait_until(lambda: accepts(registry_port), "the registry listens")
        tcp = stack.enter_context(_connected(registry_port))
        for number in range(FLEET):
            _post(tcp, _registration(f"fleet-service-{number}", f"10.100.0.{number + 1}"))
        agent = stack.enter_context(_agent(folder, registry_port, http_port, dns_port))
        udp = stack.enter_context(_udp(dns_port))
        wait_until(lambda: _knows(udp, f"fleet-service-{FLEET - 1}", f"10.100.0.{FLEET}"), "the agent has the fleet")
        echo = stack.enter_context(
            running([sys.executable, "-m", "bench.echo", str(echo_port), str(echo_port)], folder / "echo.log")
        )
        wait_until(lambda: accepts(echo_port), "the echo listens")
        print(pin([registry.pid, agent.pid, echo.pid]))
        bare_tcp, bare_udp = stack.enter_context(_connected(echo_port)), stack.enter_context(_udp(echo_port))
        # In turns, so that other activity on the machine affects both.
        pairs = [
            (_one(tcp, udp, address), _bare(bare_tcp, bare_udp, address)) for address in _addresses(WARM_UP + count)
        ][WARM_UP:]
    return Row(
        name=f"propagation: POST /register to the DNS answer ({FLEET} services)",
        measured=spread([measured for measured, _ in pairs]),
        against="a bare asyncio echo of the same request and query, one TCP and one UDP round trip",
        baseline=spread([bare for _, bare in pairs]),
        goal_p99_ms=VISIBLE_P99_MS,
    )


def _agent(folder: Path, registry_port: int, http_port: int, dns_port: int) -> AbstractContextManager[Program]:
    argv = [*VERTICE, "agent", "--http-listen", f"127.0.0.1:{http_port}", "--dns-listen", f"127.0.0.1:{dns_port}"]
    return running(argv, folder / "agent.log", {"REGISTRY_URL": f"http://127.0.0.1:{registry_port}"})


def _connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _udp(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(TIMEOUT_S)
    sock.connect(("127.0.0.1", port))
    return sock


def _addresses(count: int) -> Iterator[str]:
    return (f"10.200.{n // 250}.{n % 250 + 1}" for n in range(count))


def _registration(name: str, host: str) -> bytes:
    body = json.dumps({"service_name": name, "instance_id": "one", "host": host, "port": 8034}).encode()
    head = (
        f"POST /register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    return head.encode() + b"\r\n\r\n" + body


def _query(name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in f"{name}.{ZONE}".split("."))
    return struct.pack("!6H", 0x4242, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def _post(tcp: socket.socket, request: bytes) -> None:
    tcp.sendall(request)
    _read_created(tcp)


def _read_created(tcp: socket.socket) -> None:
    """Read one complete answer and check that it is 201."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _received(tcp)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 201"):
        raise RuntimeError(f"the registry said {answer[:300]!r}")
    length = next(
        int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += _received(tcp)


def _received(sock: socket.socket) -> bytes:
    data = sock.recv(_CHUNK)
    if not data:
        raise RuntimeError("the connection was closed")
    return data


def _knows(udp: socket.socket, name: str, address: str) -> bool:
    try:
        udp.send(_query(name))
        return socket.inet_aton(address) in udp.recv(_CHUNK)
    except OSError:
        return False


def _one(tcp: socket.socket, udp: socket.socket, address: str) -> int:
    """Return the nanoseconds from sending a registration to the answer with its address."""
    request, query, wanted = _registration(NAME, address), _query(NAME), socket.inet_aton(address)
    began = time.perf_counter_ns()
    tcp.sendall(request)
    while True:
        udp.send(query)
        answer = udp.recv(_CHUNK)
        took = time.perf_counter_ns() - began
        if wanted in answer:
            break
        if took > TIMEOUT_S * 1e9:
            raise RuntimeError(f"the agent did not have {address} within {TIMEOUT_S} s")
    _read_created(tcp)
    return took


def _bare(tcp: socket.socket, udp: socket.socket, address: str) -> int:
    """Return the nanoseconds for the same bytes through a plain echo."""
    request, query = _registration(NAME, address), _query(NAME)
    began = time.perf_counter_ns()
    tcp.sendall(request)
    missing = len(request)
    while missing:
        missing -= len(_received(tcp))
    udp.send(query)
    udp.recv(_CHUNK)
    return time.perf_counter_ns() - began
