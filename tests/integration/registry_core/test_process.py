"""`vertice registry` as a program: how it starts, what it prints, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

pytestmark = pytest.mark.long


def registry(port: int, *more: str) -> list[str]:
    return [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}", *more]


def run_to_the_end(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    return subprocess.run(
        [*VERTICE, "registry", *argv],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**clean, **environment},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_registry_cleanly_with_its_streams(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with running(registry(port), tmp_path / "log") as program:
        wait_until(lambda: accepts(port), "the registry listens")
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        stream.request("GET", "/watch")
        response = stream.getresponse()
        assert b'"snapshot"' in response.readline()
        idle = socket.create_connection(("127.0.0.1", port))
        program.signal(number)
        assert program.process.wait(20) == 0
        assert b'"sync"' in response.read(), "the stream ended properly"
        idle.close()
        stream.close()
    assert not accepts(port)
    said = program.output().splitlines()
    assert said[0].startswith("{") or said[0] == f"vertice registry: listening on http://127.0.0.1:{port}"
    assert f"vertice registry: listening on http://127.0.0.1:{port}" in said
    assert "Traceback" not in program.output()


def test_the_log_is_one_json_object_per_line(tmp_path: Path) -> None:
    port = free_port()
    with running(registry(port), tmp_path / "log") as program:
        wait_until(lambda: accepts(port), "the registry listens")
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/services")
            connection.getresponse().read()
            connection.close()
    lines = [json.loads(line) for line in program.output().splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines] == ["replica started"], "requests are not logged one by one"
    for line in lines:
        assert set(line) == {"timestamp", "level", "component", "event", "details", "trace_id"}
        assert line["component"] == "registry"
        assert line["timestamp"].endswith("Z")


def test_a_taken_port_is_one_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run_to_the_end("--listen", f"127.0.0.1:{port}")
    assert ended.returncode == 1
    said = f"vertice: cannot listen on 127.0.0.1:{port}: the port is taken by "
    assert re.fullmatch(
        rf"{said}.*\(pid {os.getpid()}\); stop it, or set REGISTRY_LISTEN to another port\n", ended.stderr
    )
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("argv", "environment", "says"),
    [
        ([], {"REGISTRY_LISTEN": "8888"}, "REGISTRY_LISTEN: '8888' cannot be used"),
        (["--listen", "nowhere"], {}, "--listen: 'nowhere' cannot be used"),
        ([], {"REGISTRY_LEASE_TTL": "0"}, "REGISTRY_LEASE_TTL"),
        ([], {"REGISTRY_LEASE_TTL": "20"}, "REGISTRY_HEARTBEAT_INTERVAL: 30 s is not below"),
        ([], {"REGISTRY_STORE": "postgres://r:6379"}, "REGISTRY_STORE: the value cannot be used"),
        ([], {"REGISTRY_LISTNE": ":1"}, "did you mean REGISTRY_LISTEN?"),
        ([], {"REGISTRY_SECRET": "a,b,c"}, "REGISTRY_SECRET: the value cannot be used"),
        (["--listen", "0.0.0.0:0"], {}, "needs a secret"),
        (["--listen", ":0"], {"REGISTRY_AUTH": "maybe"}, "REGISTRY_AUTH"),
    ],
)
def test_an_invalid_setting_is_one_line_and_exit_code_2(
    argv: list[str], environment: dict[str, str], says: str
) -> None:
    ended = run_to_the_end(*argv, **environment)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_help_describes_the_program_and_lists_every_setting() -> None:
    ended = run_to_the_end("--help")
    assert ended.returncode == 0
    for word in ("REGISTRY_LISTEN", "REGISTRY_SECRET", "REGISTRY_WARMING", "--listen", "exit codes"):
        assert word in ended.stdout
    assert "--die-with-parent" not in ended.stdout


def test_without_authentication_it_listens_beyond_loopback_only_if_told_to(tmp_path: Path) -> None:
    port = free_port()
    argv = [*VERTICE, "registry", "--listen", f"0.0.0.0:{port}"]
    with running(argv, tmp_path / "log", {"REGISTRY_AUTH": "off", "REGISTRY_URL": "http://elsewhere:1"}):
        wait_until(lambda: accepts(port), "the registry listens")


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    # There may be no parent to collect it: a zombie has ended.
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_it_ends_with_its_parent_on_request(tmp_path: Path) -> None:
    port, pid_file = free_port(), tmp_path / "pid"
    parent = (
        "import pathlib, subprocess, time\n"
        f"child = subprocess.Popen({registry(port, '--die-with-parent')!r})\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    program = Program([sys.executable, "-c", parent], tmp_path / "log")
    try:
        wait_until(lambda: accepts(port), "the child listens")
        program.process.kill()
        program.process.wait(10)
        wait_until(lambda: not accepts(port), "the child listens no more")
        wait_until(lambda: not is_alive(int(pid_file.read_text())), "the child has ended too")
    finally:
        program.stop()
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_refused_writes_are_in_the_log_and_a_flood_of_them_is_thinned(tmp_path: Path) -> None:
    port, secret = free_port(), "a-long-random-word"
    with running(registry(port), tmp_path / "log", {"REGISTRY_SECRET": secret}) as program:
        wait_until(lambda: accepts(port), "the registry listens")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

        def post(service: str, token: str) -> int:
            body = json.dumps({"service_name": service, "host": "10.0.0.7", "port": 80})
            headers = {"Content-Type": "application/json", "X-Registry-Token": token}
            connection.request("POST", "/register", body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status

        for _ in range(200):
            assert post("billing", "another-secret-word") == 401
        assert post("mail_relay", secret) == 400
        connection.close()
    lines = [json.loads(line) for line in program.output().splitlines() if line.startswith("{")]
    refused = [line["details"] for line in lines if line["event"] == "write_refused"]
    assert [(one["operation"], one["error"], one["service"], one["client"]) for one in refused] == [
        ("register", "Unauthorized", "", "127.0.0.1"),
        ("register", "ValidationError", "mail_relay", "127.0.0.1"),
    ]
    assert "ports below 1024 are not accepted here" in refused[1]["because"]
    assert secret not in program.output()
    assert "another-secret-word" not in program.output()
