"""A replica that starts while one of its shards is down: agents follow the others, and report the missing one."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest

from registry_core.domain.sharding import shard_of
from tests.previous import THIS, previous_release
from tests.programs import wait_until
from tests.redis_topology import Topology, topology
from tests.scenarios.two_releases import Place, agent, ask, replica

SHARDS = ("a", "b")


def services_of(shard: str) -> list[str]:
    """Return names of services that live in that shard."""
    return [name for name in (f"service-{n}" for n in range(60)) if SHARDS[shard_of(name, SHARDS)] == shard][:10]


def register(registry: Place, services: list[str]) -> None:
    for number, service in enumerate(services):
        body = {"service_name": service, "host": f"10.0.0.{number + 1}", "port": 8034}
        assert ask(registry.port, "POST", "/register", body)[0] == 201


def told(place: Place) -> dict[str, Any]:
    about: dict[str, Any] = ask(place.port, "GET", "/self")[1]
    return about


def take_away(redis: Topology, shard: str) -> None:
    for node in redis.shard(shard).nodes:
        node.kill()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("release", ["new", "old"])
def test_the_read_shards_are_followed_and_the_unread_one_is_reported(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, release: str
) -> None:
    looker = THIS if release == "new" else previous_release(tmp_path_factory.mktemp("previous"))
    there, away = services_of("a"), services_of("b")
    with topology(tmp_path / "redis", SHARDS, persistent=True) as redis, contextlib.ExitStack() as stack:
        first, late = replica(tmp_path, "first", redis.url), replica(tmp_path, "late", redis.url)
        follower = agent(tmp_path, "agent", [late])
        for place in (follower, first, late):
            stack.callback(place.stop)
        first.start(THIS)
        register(first, [*there, *away])
        first.stop()
        take_away(redis, "b")
        late.start(THIS)
        follower.start(looker)
        wait_until(lambda: told(follower)["view"]["services"] == len(there), "it follows what is there")
        time.sleep(11)  # two sync lines
        about = told(follower)
        assert about["sync"]["losses"] == 0
        assert about["sync"]["silent_seconds"] < 6
        assert about["view"]["freshness"] == "fresh"
        assert not about["view"]["complete"]
        for service in there:
            assert ask(follower.port, "GET", f"/services/{service}")[0] == 200
        for service in (*away, "nobody"):
            assert ask(follower.port, "GET", f"/services/{service}")[0] == 503, "it may exist"
        if release == "new":
            assert about["view"]["unread_shards"] == ["b"]
            assert ask(follower.port, "GET", "/health")[1]["status"] == "degraded"
        for node in redis.shard("b").nodes:
            node.start()
        wait_until(lambda: told(follower)["view"]["complete"], "the rest is read", timeout_s=60)
        for service in (*there, *away):
            assert ask(follower.port, "GET", f"/services/{service}")[0] == 200
        assert ask(follower.port, "GET", "/services/nobody")[0] == 404
        assert told(follower)["sync"]["losses"] == 0
