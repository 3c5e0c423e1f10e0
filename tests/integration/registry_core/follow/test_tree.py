"""A tree of followers: drains that all below know of, whom one sees from where, and chains that end in themselves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from registry_core.follow import reporting
from registry_core.settings import Listen
from tests.integration.registry_core.follow.followers import CLOSED, SECRET, follower_of, following, follows
from tests.integration.replicas import READY, Api, serving
from tests.integration.signed_requests import GOOD
from tests.programs import eventually, free_port

TOKEN = {"X-Registry-Token": SECRET}
DRAIN = "/drain/ip_intel/10.0.0.7:8034"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "REPORT_EVERY_S", 0.1)
    monkeypatch.setattr(reporting, "PACE_S", 0.02)


class Reader:
    """A watcher that acknowledges when it is told to."""

    def __init__(self, api: Api, response: aiohttp.ClientResponse) -> None:
        self.api = api
        self.id = response.headers["X-Watcher"]

    async def acknowledge(self) -> None:
        cursor = str(self.api.replica.view.cursor)
        answer = await self.api.call("POST", "/watch/ack", {"watcher": self.id, "cursor": cursor})
        assert answer.status == 200


@contextlib.asynccontextmanager
async def reading(api: Api) -> AsyncIterator[Reader]:
    async with api.session.get(f"{api.url}/watch?acknowledges=1") as response:
        yield Reader(api, response)


async def draining(api: Api) -> tuple[int, int]:
    said = (await api.call("GET", DRAIN)).body
    return said["watchers"], said["acknowledged"]


async def test_a_drain_is_acknowledged_when_all_below_know_of_it(registry: Api, edge: Api, second: Api) -> None:
    await registry.call("POST", "/register", GOOD, headers=TOKEN)
    async with reading(second) as far, reading(edge) as near:
        await second.call("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "draining"}, headers=TOKEN)
        await eventually(lambda: _drains(second), "the drain is seen below")
        for reader in (near, far):
            # To the registry the whole tree is one watcher; what its followers ask is passed on to it.
            assert [await draining(api) for api in (registry, edge, second)] == [(1, 0)] * 3
            await reader.acknowledge()
        for api in (registry, edge, second):
            while await draining(api) != (1, 1):
                pass


def _drains(api: Api) -> bool:
    return any(one.status == "draining" for one in api.replica.view.catalog)


async def test_a_drain_with_nobody_below_is_acknowledged_at_once(registry: Api, edge: Api) -> None:
    await registry.call("POST", "/register", GOOD, headers=TOKEN)
    await registry.call("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "draining"}, headers=TOKEN)
    while await draining(edge) != (1, 1):
        pass


def names(replicas: list[dict[str, Any]]) -> list[Any]:
    """Return the ids as a tree."""
    return [[one["id"], *names(one["followers"])] for one in replicas]


async def test_every_replica_of_a_tree_shows_the_whole_of_it(registry: Api, edge: Api, second: Api) -> None:
    ids = [api.replica._peers.id for api in (registry, edge, second)]

    def is_known() -> bool:
        return [one.id for one in registry.replica.tree.followers() if one.followers] == [ids[1]]

    await eventually(is_known, "the registry knows both followers")
    for api in (registry, edge, second):
        said = (await api.call("GET", "/deployment")).body
        assert names(said["replicas"]) == [[ids[0], [ids[1], [ids[2]]]]]
        below = said["replicas"][0]["followers"][0]
        assert (below["follows"], below["address"]) == (ids[0], "127.0.0.1")
    health = (await registry.call("GET", "/health")).body["components"]["followers"]
    assert health == {"direct": 1, "below": 2, "silent": []}
    follow = (await second.call("GET", "/health")).body["components"]["follow"]
    assert follow["path"] == [ids[1], ids[0]]
    assert follow["connected_to"] == edge.url


async def test_a_follower_that_stops_is_gone_at_once(registry: Api) -> None:
    tree = registry.replica.tree
    async with follower_of(registry, settings=CLOSED):
        await eventually(lambda: len(tree.followers()) == 1, "it is known")
    assert tree.followers() == []


async def test_reports_need_the_right_to_speak_for_others(registry: Api) -> None:
    async with follower_of(registry, settings=READY) as edge:
        follower = edge.replica.follower
        assert follower is not None
        assert follower._reports is not None
        reports = follower._reports
        await eventually(lambda: bool(reports.problem), "its report was refused")
        assert "speak-for-others" in reports.problem
        assert registry.replica.tree.followers() == []
        said = (await edge.call("GET", "/deployment")).body
        assert [one["follows"] for one in said["replicas"]] == ["", registry.replica._peers.id]
        assert any("is not among those that the registry knows" in reason for reason in said["reasons"])


async def test_without_the_registry_a_follower_shows_itself_and_what_is_below(registry: Api, edge: Api) -> None:
    async with follower_of(edge, settings=CLOSED):
        await eventually(lambda: len(edge.replica.tree.followers()) == 1, "it is known")
        await registry.replica.close()
        await eventually(lambda: not follows(edge), "the registry is lost")
        said = (await edge.call("GET", "/deployment")).body
        assert names(said["replicas"])[0][0] == edge.replica._peers.id
        assert len(said["replicas"][0]["followers"]) == 1


async def test_two_that_follow_each_other_do_not(registry: Api) -> None:
    ports = [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    async with contextlib.AsyncExitStack() as stack:
        apis = [
            await stack.enter_async_context(
                serving(msgspec.structs.replace(following(url), listen=Listen("127.0.0.1", port)))
            )
            for port, url in zip(ports, reversed(urls), strict=True)
        ]

        def problems() -> list[str]:
            return [api.replica.follower.watch.problem for api in apis if api.replica.follower is not None]

        await eventually(lambda: any("follows it" in problem for problem in problems()), "one of them sees the circle")
        for api in apis:
            answer = await api.call("POST", "/register", GOOD)
            assert (answer.status, answer.body["error"]) == (503, "FollowLoop")
            assert (await api.call("GET", "/deployment")).status == 200
        assert len(registry.replica.view.catalog) == 0


async def test_what_agents_behind_followers_ask_for_is_known_to_the_registry(
    registry: Api, edge: Api, second: Api
) -> None:
    await registry.call("POST", "/register", GOOD, headers=TOKEN)
    async with reading(second) as reader:
        key = "0123456789abcdef" * 2
        usage = [["ip-intel", "dns", 12, 3]]
        report = {"key": key, "sequence": 1, "host": "far", "counted_s": 60, "services": ["shop"], "usage": usage}
        body = {"watcher": reader.id, "cursor": "", "report": report}
        assert (await second.call("POST", "/watch/ack", body, headers=TOKEN)).status == 200
        ledger = registry.replica.reports.ledger
        await eventually(lambda: len(ledger) == 1, "the registry has heard of the agent")
        for api in (registry, edge, second):
            (agent,) = (await api.call("GET", "/agents")).body["agents"]
            assert (agent["host"], agent["state"], agent["registry"]) == ("far", "current", second.replica._peers.id)
            (service,) = (await api.call("GET", "/usage?service=ip_intel")).body["usage"]
            assert [one["services"] for one in service["consumers"]] == [["shop"]]
        # No watch of a follower counts as an agent that does not report.
        assert registry.replica.reports.unreported == 0


async def test_two_that_move_to_each_other_at_one_moment_see_the_circle(registry: Api) -> None:
    ports = [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    async with contextlib.AsyncExitStack() as stack:
        apis = [
            await stack.enter_async_context(
                serving(
                    msgspec.structs.replace(
                        following(registry.url, other, settings=CLOSED), listen=Listen("127.0.0.1", port)
                    )
                )
            )
            for port, other in zip(ports, reversed(urls), strict=True)
        ]
        for api in apis:
            await eventually(lambda api=api: follows(api), "each follows the registry")  # type: ignore[misc] # a default is no type
        await registry.replica.close()

        def paths() -> list[tuple[str, ...]]:
            return [api.replica.follower.path() for api in apis if api.replica.follower is not None]

        ids = [api.replica._peers.id for api in apis]

        def is_circle() -> bool:
            first, second = paths()
            return ids[1] in first and ids[0] in second

        seen = 0
        while seen < 40:  # two seconds without one
            seen = 0 if is_circle() else seen + 1
            await asyncio.sleep(0.05)
        # Neither keeps the other fresh: what they know gets older.
        for api in apis:
            await eventually(lambda api=api: api.replica.view.store_age_s() > 3.0, "it gets older")  # type: ignore[misc] # a default is no type


async def test_a_chain_that_becomes_a_circle_later_is_left(registry: Api, edge: Api) -> None:
    own, tree = edge.replica._peers.id, registry.replica.tree
    assert edge.replica.follower is not None
    follower = edge.replica.follower
    tree._path = lambda: ("f" * 16,)
    await eventually(lambda: follower.path() == (registry.replica._peers.id, "f" * 16), "the longer chain is known")
    tree._path = lambda: ("f" * 16, own)
    await eventually(lambda: "leads this follower to" in follower.watch.problem, "the circle is seen")
    assert not follows(edge)


async def test_the_resumed_watch_of_a_follower_has_acknowledged_nothing(registry: Api) -> None:
    await registry.call("POST", "/register", GOOD, headers=TOKEN)
    await registry.call("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "draining"}, headers=TOKEN)
    cursor = registry.replica.view.cursor
    for header, acknowledged in ({}, 1), ({"X-Registry-Follower": "0" * 16}, 0):
        url = f"{registry.url}/watch?acknowledges=1&cursor={cursor}"
        async with registry.session.get(url, headers=header):
            assert await draining(registry) == (1, acknowledged)
        await eventually(lambda: len(registry.replica.hub) == 0, "the reader has left")
