"""The audit of a registry whose disk is full, and of one that is killed while it writes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import command
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

DISK = "256k"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few lines."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if subprocess.run(mounting, check=False, capture_output=True, timeout=10).returncode:
        pytest.skip("A FULL DISK IS NOT SHOWN: no file system can be mounted here, which takes a right of root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {} if body is None else {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), dict(answer.getheaders())


def register(port: int, number: int) -> int:
    body = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 2000 + number}
    return call(port, "POST", "/register", body)[0]


@contextlib.contextmanager
def registry(folder: Path, log: Path, **settings: str) -> Iterator[tuple[int, Program]]:
    port = free_port()
    named = {f"REGISTRY_AUDIT_{name}": value for name, value in settings.items()}
    env = {"REGISTRY_AUDIT": str(folder), "REGISTRY_AUDIT_NAME": "eu-1a", "REGISTRY_WARMING": "0", **named}
    with running([*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], log, env) as program:
        wait_until(lambda: accepts(port), "the registry listens")
        yield port, program


def audit(port: int) -> dict[str, Any]:
    found: dict[str, Any] = call(port, "GET", "/health")[1]["components"]["audit"]
    return found


def filled(disk: Path) -> Path:
    """Leave no room on a disk."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


@pytest.mark.parametrize("full", ["refuse", "continue"])
def test_on_a_full_disk_writes_are_refused_or_go_on_as_the_setting_says(
    small_disk: Path, tmp_path: Path, full: str
) -> None:
    with registry(small_disk / "audit", tmp_path / "log", FULL=full) as (port, _):
        assert register(port, 1) == 201
        wait_until(lambda: audit(port)["size"] == 2, "the log is written")
        ballast = filled(small_disk)
        # What is noted first fills the last page of the files.
        for number in range(2, 60):
            register(port, number)
        wait_until(lambda: audit(port)["status"] == "failing", "the disk is full")
        status, health, _ = call(port, "GET", "/health")
        assert (status, health["status"]) == (200, "degraded")
        assert any("the audit log cannot be written: No space left on device" in one for one in health["reasons"])
        body = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 9000}
        status, problem, headers = call(port, "POST", "/register", body)
        if full == "refuse":
            assert (status, problem["error"], headers["Retry-After"]) == (503, "AuditUnavailable", "1")
            assert "No space left on device" in problem["message"]
        else:
            assert status == 201
        beat = {"service_name": "ip_intel", "instance_id": "10.0.0.7:2001"}
        assert call(port, "POST", "/heartbeat", beat)[0] == 200
        assert call(port, "GET", "/services/ip_intel")[0] == 200
        ballast.unlink()
        wait_until(lambda: audit(port)["status"] == "ok", "there is room again")
        assert register(port, 61) == 201
        wait_until(lambda: audit(port)["waiting"] == 0, "everything is written")
        assert audit(port)["lost"] == 0
    done = command("audit", "verify", small_disk / "audit")
    assert done.returncode == 0, done.stdout
    assert "audit_not_written" in (tmp_path / "log").read_text()


def test_what_was_acknowledged_a_moment_before_a_kill_is_in_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    with registry(folder, tmp_path / "log") as (port, program):
        for number in range(200):
            assert register(port, number) == 201
        wait_until(lambda: audit(port)["waiting"] == 0, "the log has caught up")
        safe = audit(port)["size"]
        for number in range(200, 230):
            assert register(port, number) == 201
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait(10)
    with registry(folder, tmp_path / "log") as (port, _):
        assert audit(port)["size"] >= safe, "what is lost is of the last moment"
        assert register(port, 300) == 201
    shown = command("audit", "show", folder, "--service", "ip_intel", "-o", "json").stdout.splitlines()
    instances = [json.loads(line)["instance"] for line in shown]
    assert instances[:200] == [f"10.0.0.7:{2000 + number}" for number in range(200)]
    assert instances[-1] == "10.0.0.7:2300"
    verified = command("audit", "verify", folder)
    assert verified.returncode == 0, verified.stdout
