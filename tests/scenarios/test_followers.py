"""Followers as real programs: two in a row below two replicas on one Redis, with agents that know only the last one."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.commands import command
from tests.previous import THIS, previous_release
from tests.programs import free_port, wait_until
from tests.redis_topology import Shard
from tests.scenarios.two_releases import Place, agent, ask

SECRET: Final = "a-secret-of-thirty-two-characters"
TOKEN: Final = {"X-Registry-Token": SECRET}
SHOP: Final = {"service_name": "shop", "instance_id": "one", "host": "10.9.9.9", "port": 8034}


def registry(folder: Path, name: str, port: int, **settings: str) -> Place:
    """Return a replica or a follower; it is not started."""
    common = {"REGISTRY_SECRET": SECRET, "REGISTRY_WARMING": "0", "REGISTRY_LEASE_TTL": "600"}
    return Place(folder, name, ["registry", "--listen", f"127.0.0.1:{port}"], {**common, **settings}, port)


class Tree:
    """Two replicas, a follower of both, and a follower of that one."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        ports = [free_port() for _ in range(4)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        store = {"REGISTRY_STORE": f"{shard.nodes[0].url}?replicas=1", "REGISTRY_PEERS": ",".join(urls[:2])}
        self.replicas = [registry(folder, f"replica-{n}", ports[n], **store) for n in range(2)]
        self.near = registry(folder, "near", ports[2], REGISTRY_FOLLOW=",".join(urls[:2]))
        self.far = registry(folder, "far", ports[3], REGISTRY_FOLLOW=urls[2])
        self.all = [*self.replicas, self.near, self.far]


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[Shard]:
    one = Shard("a", tmp_path, 1)
    one.start()
    yield one
    for node in one.nodes:
        node.stop()


@pytest.fixture
def tree(tmp_path: Path, shard: Shard) -> Iterator[Tree]:
    places = Tree(tmp_path, shard)
    with contextlib.ExitStack() as stack:
        for place in places.all:
            place.start(THIS)
            stack.callback(place.stop)
        yield places


def knows(place: Place, service: str) -> bool:
    return bool(ask(place.port, "GET", f"/services/{service}")[0] == 200)


def status(at: Place) -> dict[str, Any]:
    settings = {"AGENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}", "REGISTRY_SECRET": SECRET}
    done = command("status", "-o", "json", "--registry", at.url, cwd=None, **settings)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)["deployment"]
    return said


def shape(replicas: list[dict[str, Any]]) -> list[Any]:
    """Return who follows whom, without names."""
    return sorted((shape(one["followers"]) for one in replicas), key=str)


@pytest.mark.redis
@pytest.mark.timeout(180)
def test_a_write_through_two_followers_is_acknowledged_only_when_the_registry_did(tree: Tree, shard: Shard) -> None:
    assert ask(tree.far.port, "POST", "/register", SHOP, TOKEN)[0] == 201
    assert knows(tree.replicas[0], "shop") or knows(tree.replicas[1], "shop")
    wait_until(lambda: all(knows(place, "shop") for place in tree.all), "all of them show it")
    # Without its replica, a master cannot promise to keep a write.
    shard.nodes[1].stop()
    unkept = {**SHOP, "service_name": "unkept", "port": 8035}
    said, body = ask(tree.far.port, "POST", "/register", unkept, TOKEN)
    assert (said, body["error"]) in [(503, "NotReplicated"), (503, "StoreUnavailable")], body
    shard.nodes[1].start()
    shard.nodes[1].follow(shard.nodes[0])
    wait_until(lambda: ask(tree.far.port, "POST", "/register", unkept, TOKEN)[0] == 201, "it is kept now", timeout_s=60)
    wait_until(lambda: all(knows(place, "unkept") for place in tree.all), "all of them show it")


@pytest.mark.redis
@pytest.mark.timeout(180)
def test_a_replica_that_dies_costs_those_behind_followers_nothing(tree: Tree, tmp_path: Path) -> None:
    assert ask(tree.far.port, "POST", "/register", SHOP, TOKEN)[0] == 201
    wait_until(lambda: knows(tree.far, "shop"), "the last follower shows it")
    followed = ask(tree.near.port, "GET", "/health")[1]["components"]["follow"]["connected_to"]
    (dying,) = [place for place in tree.replicas if place.url == followed]
    (other,) = [place for place in tree.replicas if place.url != followed]
    failed: list[Any] = []
    over = threading.Event()

    def look_up() -> None:
        while not over.wait(0.005):
            answer = ask(tree.far.port, "GET", "/services/shop")
            if answer[0] != 200:
                failed.append(answer)

    looking = threading.Thread(target=look_up)
    looking.start()
    try:
        assert dying._program is not None
        dying._program.signal(signal.SIGKILL)
        dying._program.process.wait(10)
        beat = {"instances": [{"service_name": "shop", "instance_id": "one"}]}
        wait_until(lambda: ask(tree.far.port, "POST", "/heartbeat", beat, TOKEN)[0] == 200, "heartbeats go on")
        wait_until(
            lambda: ask(tree.near.port, "GET", "/health")[1]["components"]["follow"]["connected_to"] == other.url,
            "the other replica is followed",
        )
    finally:
        over.set()
        looking.join()
    assert failed == []


@pytest.mark.redis
@pytest.mark.timeout(180)
def test_everyone_sees_the_tree_and_a_drain_is_confirmed_by_agents_below(tree: Tree, tmp_path: Path) -> None:
    own = {"REGISTRY_SECRET": SECRET, "HEARTBEAT_INTERVAL": "5"}
    leaving = {**own, "SERVICE_NAME": "billing", "SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": "8034"}
    near, far = agent(tmp_path, "consumer", [tree.near], own), agent(tmp_path, "billing", [tree.far], leaving)
    with contextlib.ExitStack() as stack:
        for place in (near, far):
            place.start(THIS)
            stack.callback(place.stop)
        wait_until(lambda: all(knows(place, "billing") for place in tree.all), "all of them show it")

        def is_seen(at: Place) -> bool:
            return shape(status(at)["replicas"]) == sorted([[], [[[]]]], key=str)

        for place in tree.all:
            wait_until(lambda place=place: is_seen(place), "the tree is known", timeout_s=30)  # type: ignore[misc] # a default is no type
        lines = command("status", "--registry", tree.far.url, REGISTRY_SECRET=SECRET).stdout.splitlines()
        assert "followers   2 followers" in lines
        far.stop()  # with exit code 0
        log = (tmp_path / "billing.log").read_text()
        assert '"drain_confirmed"' in log, log[-3000:]
        assert not knows(tree.replicas[0], "billing")


@pytest.mark.timeout(180)
def test_a_follower_of_a_registry_of_the_last_release_and_an_agent_of_it_at_a_follower(tmp_path: Path) -> None:
    old = previous_release(tmp_path)
    first = registry(tmp_path, "old", free_port(), REGISTRY_STORE="memory:")
    edge = registry(tmp_path, "edge", free_port(), REGISTRY_FOLLOW=first.url)
    new = {"REGISTRY_SECRET": SECRET, "SERVICE_NAME": "billing", "SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": "8034"}
    old_one = {"VERTICE_REGISTRY_TOKEN": SECRET, "SERVICE_NAME": "shop", "SERVICE_HOST": "127.0.0.1"}
    agents = [
        (agent(tmp_path, "new-agent", [edge], new), THIS),
        (agent(tmp_path, "old-agent", [edge], {**old_one, "SERVICE_PORT": "8035"}), old),
    ]
    with contextlib.ExitStack() as stack:
        for place, release in ((first, old), (edge, THIS), *agents):
            place.start(release)
            stack.callback(place.stop)
        for service in ("billing", "shop"):
            wait_until(lambda service=service: knows(first, service), f"{service} is at the registry", timeout_s=30)  # type: ignore[misc] # a default is no type
            wait_until(lambda service=service: knows(edge, service), f"{service} is at the follower")  # type: ignore[misc] # a default is no type
        assert edge.complaints() == []
