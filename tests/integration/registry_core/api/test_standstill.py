"""A replica that is stopped and resumes: requests that waited in its sockets are refused, and change nothing."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from registry_core.domain.standstill import GRACE_S, MOST_LATE_S, TURN_EVERY_S
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

STOPPED_S: Final = TURN_EVERY_S + MOST_LATE_S + 1.0
CLAIM: Final = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034, "epoch": 5}
WRITES: Final[list[tuple[str, str, Any]]] = [
    ("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "critical", "epoch": 5}),
    ("POST", "/register", {**CLAIM, "service_name": "billing", "port": 8035}),
    ("POST", "/heartbeat", {"service_name": "ip_intel"}),
    ("DELETE", "/deregister/ip_intel/10.0.0.7:8034", None),
]


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[tuple[Program, int]]:
    port = free_port()
    argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
    with running(argv, tmp_path / "log", {"REGISTRY_WARMING": "0"}) as program:
        wait_until(lambda: accepts(port), "the registry listens")
        yield program, port
        program.signal(signal.SIGCONT)  # or it could not end


def connected(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.connect()
    return connection


def send(connection: http.client.HTTPConnection, method: str, path: str, body: Any, sequence: int | None) -> None:
    headers = {} if body is None else {"Content-Type": "application/json"}
    if sequence is not None:
        headers["X-Registry-Sequence"] = str(sequence)
    connection.request(method, path, None if body is None else json.dumps(body), headers)


def answer(connection: http.client.HTTPConnection) -> tuple[int, Any, str | None]:
    response = connection.getresponse()
    return response.status, json.loads(response.read()), response.headers.get("Retry-After")


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = connected(port)
    send(connection, method, path, body, None)
    status, said, _ = answer(connection)
    connection.close()
    return status, said


def stop(program: Program) -> None:
    program.signal(signal.SIGSTOP)
    stat = Path(f"/proc/{program.pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")


def metric(port: int, name: str) -> float:
    connection = connected(port)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@pytest.mark.parametrize("sequence", [None, 100])
def test_writes_sent_during_a_standstill_are_refused(replica: tuple[Program, int], sequence: int | None) -> None:
    program, port = replica
    # One connection of each kind for each write: one that is open and was used, and one that waits to be accepted.
    used = [connected(port) for _ in WRITES]
    send(used[0], "POST", "/register", CLAIM, None)
    assert answer(used[0])[0] == 201
    for connection in used[1:]:
        send(connection, "GET", "/live", None, None)
        assert answer(connection)[0] == 200
    before = ask(port, "GET", "/catalog")[1]

    stop(program)
    new = [connected(port) for _ in WRITES]
    for connections in (used, new):
        for connection, write in zip(connections, WRITES, strict=True):
            send(connection, *write, sequence)
    lookup = connected(port)
    send(lookup, "GET", "/services/ip_intel", None, None)
    time.sleep(STOPPED_S)
    program.signal(signal.SIGCONT)

    for connection in (*used, *new):
        status, said, retry_after = answer(connection)
        assert (status, said["error"], retry_after) == (503, "StoodStill", "1"), said
        assert "stood still" in said["message"]
        connection.close()
    assert answer(lookup)[0] == 200, "lookups continue"
    lookup.close()
    after = ask(port, "GET", "/catalog")[1]
    assert after["digest"] == before["digest"]
    assert after["instances"][0]["last_heartbeat"] == before["instances"][0]["last_heartbeat"]
    assert metric(port, "registry_stale_writes_refused_total") >= len(used) + len(new)
    assert metric(port, "registry_standstills_total") >= 1

    wait_until(lambda: ask(port, "POST", "/heartbeat", WRITES[2][2])[0] == 200, "writes are taken again")
    assert ask(port, *WRITES[0])[0] == 200
    assert ask(port, "GET", "/services/ip_intel?status=critical")[0] == 200
    said_so = [line for line in program.output().splitlines() if '"stood still' in line]
    assert len(said_so) == metric(port, "registry_standstills_total"), "each gap is one line"


def test_a_body_half_read_before_the_standstill_is_refused(replica: tuple[Program, int]) -> None:
    program, port = replica
    connection = connected(port)
    body = json.dumps(CLAIM).encode()
    connection.putrequest("POST", "/register")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    connection.send(body[:10])
    wait_until(lambda: ask(port, "GET", "/live")[0] == 200, "it has read on")
    stop(program)
    time.sleep(STOPPED_S)
    program.signal(signal.SIGCONT)
    # Long after the gap: what began before it stays in doubt.
    wait_until(lambda: ask(port, "POST", "/heartbeat", WRITES[2][2])[0] == 404, "writes are taken again")
    connection.send(body[10:])
    status, said, _ = answer(connection)
    assert (status, said["error"]) == (503, "StoodStill")
    connection.close()
    assert ask(port, "GET", "/services")[1] == []


def test_a_short_pause_refuses_nothing(replica: tuple[Program, int]) -> None:
    program, port = replica
    connection = connected(port)
    stop(program)
    send(connection, "POST", "/register", CLAIM, None)
    time.sleep(MOST_LATE_S / 10)
    program.signal(signal.SIGCONT)
    assert answer(connection)[0] == 201
    connection.close()
    assert GRACE_S < MOST_LATE_S
