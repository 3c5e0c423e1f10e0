"""Answers that nobody reads: the attack takes connections, and next to no memory of the registry."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

INSTANCES = 250
READERS = 150
# One instance of the catalogue.
METADATA = {"filler": "x" * 3500}


@contextlib.contextmanager
def registry(log: Path, tls: ssl.SSLContext | None = None, **settings: str) -> Iterator[tuple[Program, int]]:
    """Run a registry with a catalogue of 900 KB; yield it and its port. `tls`: for a registry that speaks TLS."""
    port = free_port()
    env = {"REGISTRY_WARMING": "0", **settings}
    with running([*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], log, env) as program:
        wait_until(lambda: accepts(port), "the registry listens")
        connection = connection_to(port, tls)
        for number in range(INSTANCES):
            body = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8000 + number, "metadata": METADATA}
            connection.request("POST", "/register", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201
        connection.close()
        yield program, port


def connection_to(port: int, tls: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if tls is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=tls)


@contextlib.contextmanager
def unread(port: int, path: str, count: int) -> Iterator[list[socket.socket]]:
    """Ask for `path` on so many connections, and read the first bytes of each answer only."""
    with contextlib.ExitStack() as stack:
        asked = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in asked:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(10)
            one.connect(("127.0.0.1", port))
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: registry\r\nX-Watch-Protocol: 2\r\n\r\n".encode())
        yield asked


def memory_kb(program: Program) -> int:
    status = Path(f"/proc/{program.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.parametrize("path", ["/watch", "/catalog"])
def test_many_that_do_not_read_share_one_copy(tmp_path: Path, path: str) -> None:
    with registry(tmp_path / "log") as (program, port):
        with unread(port, path, 5) as warm:
            assert {one.recv(12) for one in warm} == {b"HTTP/1.1 200"}
        before = memory_kb(program)
        with unread(port, path, READERS) as asked:
            assert {one.recv(12) for one in asked} == {b"HTTP/1.1 200"}
            grown = memory_kb(program) - before
        # Each of them holds a piece or two of 128 KB, and held copies of these before.
        assert grown < 60 * READERS, f"{grown} KB for {READERS} readers"


def test_beyond_the_limit_newcomers_are_refused_and_others_are_served(tmp_path: Path) -> None:
    with registry(tmp_path / "log", REGISTRY_MAX_UNREAD="10") as (_, port):
        with unread(port, "/watch", 30) as asked:
            statuses = [one.recv(12)[-3:] for one in asked]
            assert statuses.count(b"200") >= 10
            with unread(port, "/watch", 10) as newcomers:
                assert [one.recv(12)[-3:] for one in newcomers] == [b"503"] * 10
        with unread(port, "/services/ip_intel", 1) as neighbour:
            assert neighbour[0].recv(12)[-3:] == b"200"


def test_under_tls_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    """It is handed over in parts, since there readers cannot share what waits for them."""
    both, certificate = make_certificate(tmp_path)
    tls = ssl.create_default_context(cadata=certificate)
    tls.check_hostname = False  # its name is another one
    files = {"REGISTRY_TLS_CERT": str(both), "REGISTRY_TLS_KEY": str(both)}
    with registry(tmp_path / "log", tls, **files) as (_, port):
        connection = connection_to(port, tls)
        connection.request("GET", "/catalog")
        assert len(json.loads(connection.getresponse().read())["instances"]) == INSTANCES
        connection.request("GET", "/watch?once=true", headers={"X-Watch-Protocol": "2"})
        lines = [json.loads(line) for line in connection.getresponse().read().splitlines()]
        assert sum(len(line["instances"]) for line in lines if line["type"] == "snapshot") == INSTANCES
        connection.close()
