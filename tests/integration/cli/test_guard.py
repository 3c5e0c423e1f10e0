"""`vertice guard` against a real registry with short leases, and against other servers."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import command
from tests.programs import VERTICE, accepts, free_port, running, wait_until

TOKEN = "a-long-random-word"
WRONG = "this is not the signature of key 'shared' for this request: its secret is another"
# Short leases, and a guard that holds for longer than any test.
SETTINGS = {
    "REGISTRY_SECRET": TOKEN,
    "REGISTRY_LEASE_TTL": "3",
    "REGISTRY_HEARTBEAT_INTERVAL": "500ms",
    "REGISTRY_LEASE_GRACE": "500ms",
}


def guard(*words: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    return command("guard", *words, VERTICE_REGISTRY_TOKEN=token)


def register(port: int, instance_port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = json.dumps({"service_name": "dying", "host": "10.0.0.7", "port": instance_port})
    connection.request("POST", "/register", body, {"Content-Type": "application/json", "X-Registry-Token": TOKEN})
    assert connection.getresponse().status == 201
    connection.close()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A registry, and five instances that send no heartbeat."""
    port = free_port()
    with running([*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], tmp_path / "log", SETTINGS):
        wait_until(lambda: accepts(port), "the registry listens")
        for instance_port in range(8001, 8006):
            register(port, instance_port)
        yield f"http://127.0.0.1:{port}"


def test_a_held_mass_expiry_is_shown_and_released(url: str) -> None:
    kept = "5 of 5 instances are kept as suspect"
    wait_until(lambda: kept in guard("status", "--registry", url).stdout, "the guard holds", timeout_s=30)
    status = guard("status", "--registry", url)
    assert status.returncode == 0
    assert re.fullmatch(r"memory: holding: too many .*; releases by itself in (300|2\d\d) s\n", status.stdout)
    refused = guard("release", "--registry", url, token="wrong")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"vertice: {WRONG}")
    unknown = guard("release", "--registry", url, "--shard", "a b")
    assert (unknown.returncode, unknown.stderr) == (3, "vertice: there is no shard 'a b'\n")
    released = guard("release", "--registry", url)
    assert released.returncode == 0
    assert released.stdout.startswith("released: memory\nmemory: releasing: released: ")
    again = guard("release", "--registry", url, "--shard", "memory")
    assert again.stdout.startswith("released: nothing; no guard was holding\n")
    as_json = json.loads(guard("status", "--registry", url, "--json").stdout)
    assert as_json["phase"] == "releasing"


def test_a_server_that_does_not_answer_is_named() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = guard("status", "--registry", nowhere)
    assert done.returncode == 1
    assert done.stderr == f"vertice: no answer from {nowhere}: Connection refused\n"


def test_wrong_usage_ends_with_two() -> None:
    assert guard().returncode == 2
    assert guard("hold").returncode == 2
    wrong = guard("status", "--registry", "far")
    assert (wrong.returncode, wrong.stdout) == (2, "")
