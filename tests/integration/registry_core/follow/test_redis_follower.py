"""Followers of a deployment with Redis: several shards, several replicas, and failures of either."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import registry_core.store.redis.store  # noqa: F401 - it reads its scripts, which a running loop must not wait for
from registry_core.replica_settings import ReplicaSettings
from registry_core.settings import Listen
from registry_core.store.redis.url import redis_settings
from registry_core.upstreams.choice import Use
from tests.integration.agents import becomes, standing
from tests.integration.followers import follower_in, following_at, is_level
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually, free_port
from tests.redis_topology import Topology, topology

NAMES = [f"service{number}" for number in range(8)]


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[Topology]:
    with topology(tmp_path / "redis", ("a", "b")) as running:
        yield running


def over(redis: Topology, port: int = 0) -> ReplicaSettings:
    """Return the settings of a replica over these shards."""
    return msgspec.structs.replace(READY, listen=Listen("127.0.0.1", port), redis=redis_settings(redis.url))


async def names_at(api: Api) -> list[str]:
    names: list[str] = (await api.call("GET", "/services")).body
    return names


async def test_a_follower_goes_to_another_replica_and_back_without_reading_anew(shards: Topology) -> None:
    settings = over(shards, free_port())
    async with serving(over(shards)) as first, contextlib.AsyncExitStack() as stack:
        for number, name in enumerate(NAMES):
            await first.register(name, f"10.0.0.{number + 1}")
        async with serving(settings) as second:
            follower = await stack.enter_async_context(following_at(second.url, first.url))
            of = follower_in(follower)

            def at_first() -> bool:
                return of.state().connected_to == first.url

            def at_second() -> bool:
                return of.state().connected_to == second.url

            if at_first():
                of.link.upstreams.stops(first.url)
            await eventually(at_second, "it follows the second replica")
        await first.register("while-away", "10.0.1.1")
        await becomes(lambda: names_at(follower), [*NAMES, "while-away"])
        assert at_first(), "the second replica stopped"
        async with serving(settings) as second:

            def goes_back() -> bool:
                # As when its probes find it well, and the first one stops.
                of.link.upstreams.answered(second.url, Use.WATCH, 0.001, "")
                of.link.upstreams.stops(first.url)
                return at_second()

            await eventually(goes_back, "it is back at the second replica", every_s=0.2)
            await second.register("late", "10.0.2.1")
            await becomes(lambda: names_at(follower), ["late", *NAMES, "while-away"])
            assert of.view.cursor == first.replica.view.cursor == second.replica.view.cursor
        assert of.state().snapshots == 1
        assert [p.shard for p in of.view.cursor.positions if p.revision] == [0, 1], "both shards have services"


async def test_a_shard_that_fails_over_makes_nobody_read_anew(shards: Topology) -> None:
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(serving(over(shards)))
        for number, name in enumerate(NAMES):
            await api.register(name, f"10.0.0.{number + 1}")
        follower = await stack.enter_async_context(following_at(api.url))
        agent = await stack.enter_async_context(standing(follower.url))
        await becomes(lambda: agent.addresses("service0"), ["10.0.0.1"])
        epochs = {p.epoch for p in api.replica.view.cursor.positions}
        shards.shard("a").nodes[0].signal(signal.SIGKILL)
        await eventually(
            lambda: {p.epoch for p in api.replica.view.cursor.positions} != epochs, "another master", timeout_s=30
        )
        await api.register("late", "10.0.1.1")
        await becomes(lambda: agent.addresses("late"), ["10.0.1.1"])
        view = follower_in(follower).view
        await is_level(follower)
        assert view.cursor == api.replica.view.cursor == agent.sidecar.view.cursor
        assert (view.snapshots, agent.sidecar.view.snapshots) == (1, 1)
