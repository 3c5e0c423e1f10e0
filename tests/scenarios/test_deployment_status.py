"""`vertice status` and `vertice top` of real replicas: of two releases, behind a secret, and with one that is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import command
from tests.previous import THIS, previous_release
from tests.programs import free_port, wait_until
from tests.scenarios.two_releases import Place, agent

SECRET = "a-secret-of-thirty-two-characters"


def replicas(folder: Path, count: int, **more: str) -> list[Place]:
    ports = [free_port() for _ in range(count)]
    peers = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    settings = {"REGISTRY_STORE": "memory:", "REGISTRY_WARMING": "0", "REGISTRY_PEERS": peers, **more}
    return [
        Place(folder, f"replica-{port}", ["registry", "--listen", f"127.0.0.1:{port}"], settings, port)
        for port in ports
    ]


@pytest.fixture
def places() -> Iterator[list[Place]]:
    started: list[Place] = []
    yield started
    for place in started:
        place.stop()


def status(at: Place, **environment: str) -> dict[str, Any]:
    silent = {"AGENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}"}
    done = command("status", "-o", "json", "--registry", at.url, cwd=None, **{**silent, **environment})
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.timeout(120)
def test_replicas_of_two_releases_are_seen_from_any_of_this_one(tmp_path: Path, places: list[Place]) -> None:
    places += replicas(tmp_path, 3)
    old = previous_release(tmp_path)
    for place, release in zip(places, (THIS, THIS, old), strict=True):
        place.start(release)
    for asked in places[:2]:
        said = status(asked)["deployment"]
        assert sorted(one["url"] for one in said["replicas"]) == sorted(place.url for place in places)
        assert {one["url"]: bool(one["version"]) for one in said["replicas"]}[places[2].url] is False
        assert said["silent"] == []
    done = command("status", "--registry", places[2].url, AGENT_HTTP_LISTEN=f"127.0.0.1:{free_port()}")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "is no registry of this release" in done.stderr


@pytest.mark.timeout(120)
def test_behind_a_secret_the_replicas_answer_each_other_and_strangers_get_nothing(
    tmp_path: Path, places: list[Place]
) -> None:
    first, second = replicas(tmp_path, 2, REGISTRY_SECRET=SECRET, REGISTRY_READ="key")
    for place in (first, second):
        place.start(THIS)
        places.append(place)
    near = agent(
        tmp_path, "near", [first], {"REGISTRY_SECRET": SECRET, "SERVICE_NAME": "billing", "SERVICE_PORT": "8034"}
    )
    near.start(THIS)
    places.append(near)
    secret = {"REGISTRY_SECRET": SECRET}
    wait_until(
        lambda: status(first, **secret)["deployment"]["services"]["services"] == 1, "the agent's service is there"
    )
    assert status(second, **secret)["deployment"]["silent"] == []
    assert command("status", "--registry", first.url).returncode == 1
    # The agent knows which registry it uses; the command on its machine need not be told.
    shown = command("status", cwd=None, AGENT_HTTP_LISTEN=near.url.removeprefix("http://"), **secret)
    assert shown.stdout.startswith(f"deployment  {first.url}: ")
    assert "1 service, 1 instance: 1 passing" in shown.stdout
    assert f"agent     {near.url}: healthy" in shown.stdout
    second.stop()
    wait_until(lambda: status(first, **secret)["deployment"]["silent"] == [second.url], "one is seen to be away")
    assert status(first, **secret)["deployment"]["status"] == "degraded"
    pages = command(
        "top", "--registry", first.url, "--count", "2", "--interval", "2.5", "-o", "json", cwd=None, **secret
    )
    last = json.loads(pages.stdout.splitlines()[-1])
    (mine,) = last["replicas"]
    assert (mine["replica"], last["silent"]) == (first.url, [second.url])
    assert mine["rates"]["writes"] > 0, "the agent's heartbeats"
