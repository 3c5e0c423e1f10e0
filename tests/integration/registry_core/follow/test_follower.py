"""A follower in front of a real registry: what it answers, and what it answers when the registry is away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import Any

import msgspec
import pytest

import registry_core.store.redis.store  # noqa: F401 - it reads its scripts, which a running loop must not wait for
from registry_core.domain.freshness import Freshness
from registry_core.follow import watch
from registry_core.settings import Listen
from registry_core.store.redis.url import redis_settings
from registry_core.upstreams.choice import Use
from tests.integration.agents import AgentUnderTest, becomes, line_to, standing
from tests.integration.followers import SkippedClock, follower_in, following_at, is_level
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually, free_port

LOOKUPS = ("/services", "/services/osint_service", "/services/osint_service?tag=blue", "/catalog", "/sd/prometheus")


async def names_at(api: Api) -> Any:
    return (await api.call("GET", "/services")).body


def settled(body: Any) -> Any:
    """Return an answer without what differs from moment to moment."""
    if isinstance(body, list):
        return [settled(one) for one in body]
    if not isinstance(body, dict):
        return body
    passing = {"ttl_remaining", "last_heartbeat", "store_age_s"}
    return {name: settled(value) for name, value in body.items() if name not in passing}


async def test_a_follower_answers_what_its_registry_would(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1", tags=["blue"])
    async with following_at(api.url) as follower:
        await api.register("geo", "10.0.0.2")
        await becomes(lambda: names_at(follower), ["geo", "osint_service"])
        for path in LOOKUPS:
            there, here = await api.call("GET", path), await follower.call("GET", path)
            assert (here.status, settled(here.body)) == (200, settled(there.body))
            assert (here.headers["X-Cache"], here.headers["Age"]) == ("fresh", "0")
            assert here.headers.get("ETag") == there.headers.get("ETag")
        unknown = await follower.call("GET", "/services/nobody")
        assert (unknown.status, unknown.headers.get("X-Cache")) == (404, None), "it knows all services"
        await api.call("DELETE", "/deregister/geo")
        await becomes(lambda: names_at(follower), ["osint_service"])
        assert follower_in(follower).state().snapshots == 1


async def moved(agent: AgentUnderTest, to: str) -> None:
    """Have an agent's watch move to another registry, as when the one that it uses says that it stops."""
    sync, upstreams = agent.sidecar.sync, agent.sidecar.upstreams
    assert sync is not None
    for url in upstreams.urls:
        upstreams.answered(url, Use.WATCH, 0.001, "")
    assert sync.connected_to is not None
    upstreams.stops(sync.connected_to)
    await eventually(lambda: sync.connected_to == to, f"it moved to {to}")


async def test_an_agent_moves_between_replica_and_follower_without_reading_anew(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1")
    async with following_at(api.url) as follower, standing((api.url, follower.url)) as agent:
        view, sync = agent.sidecar.view, agent.sidecar.sync
        assert sync is not None
        await eventually(lambda: view.trust.whole and view.trust.live, "the agent has read everything")
        here, there = (api, follower) if sync.connected_to == api.url else (follower, api)
        for number in range(4):
            await api.register(f"before{number}", f"10.0.1.{number + 1}")
            await moved(agent, there.url)
            await api.register(f"after{number}", f"10.0.2.{number + 1}")
            wanted = {f"before{number}", f"after{number}"}
            await eventually(lambda wanted=wanted: wanted <= set(view.catalog.names()), "it has what happened")  # type: ignore[misc]
            here, there = there, here
        assert view.snapshots == 1, "it read everything once, at the start"
        sent = api.replica.hub.counts.snapshots + follower.replica.hub.counts.snapshots
        assert sent == Counter({"start": 2}), "to the follower and to the agent"
        assert view.trust.mismatches == 0
        assert view.cursor == api.replica.view.cursor == follower.replica.view.cursor


async def test_a_change_reaches_an_agent_through_two_followers(api: Api) -> None:
    async with following_at(api.url) as first, following_at(first.url) as second, standing(second.url) as agent:
        await eventually(lambda: agent.sidecar.view.trust.live, "it has read the second follower")
        await api.register("osint_service", "10.0.0.1")
        await becomes(lambda: agent.addresses("osint-service"), ["10.0.0.1"])
        assert agent.sidecar.view.cursor == api.replica.view.cursor


async def test_a_follower_that_has_never_reached_its_registry_says_that_it_does_not_know() -> None:
    async with following_at(f"http://127.0.0.1:{free_port()}", reads=False) as follower:
        for path in LOOKUPS:
            answer = await follower.call("GET", path)
            assert (answer.status, answer.body["error"]) == (503, "Warming"), path
        ready = await follower.call("GET", "/ready")
        assert (ready.status, ready.body) == (503, {"status": "starting", "state": "warming"})
        state = follower_in(follower).state()
        assert (state.problem, state.age_s, state.connected_to) == ("Connection refused", None, "")


async def test_a_follower_goes_on_answering_and_says_how_old_that_is(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1", tags=["blue"])
    async with line_to(api.replica.listen.port) as line, following_at(line.url) as follower:
        view = follower_in(follower).view
        assert (await follower.call("GET", "/health")).body["status"] == "healthy"
        line.cut()
        line.down = True
        await eventually(lambda: follower_in(follower).state().connected_to == "", "its watch is lost")
        for age_s, freshness in ((35.0, Freshness.STALE), (86_400.0, Freshness.EXPIRED)):
            view.trust.confirmed_at = time.monotonic() - age_s
            for path in LOOKUPS:
                answer = await follower.call("GET", path)
                assert (answer.status, answer.headers["X-Cache"]) == (200, freshness)
                assert int(answer.headers["Age"]) == int(age_s)
        unknown = await follower.call("GET", "/services/nobody")
        assert unknown.status == 503, "it may have been registered since"
        assert "confirmed nothing for 86400 s" in unknown.body["message"]
        line.down = False
        await is_level(follower)
        assert (await follower.call("GET", "/services/osint_service")).headers["X-Cache"] == "fresh"
        assert (await follower.call("GET", "/services/nobody")).status == 404
        assert follower_in(follower).state().resumed >= 1
        assert follower_in(follower).state().snapshots == 1


async def test_what_a_registry_without_memory_has_lost_stays_until_it_knows_everything_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "READ_ALL_EVERY_S", 0.1)
    where = msgspec.structs.replace(READY, listen=Listen("127.0.0.1", free_port()))
    async with contextlib.AsyncExitStack() as stack:
        async with serving(where) as before:
            await before.register("osint_service", "10.0.0.1")
            await before.register("geo", "10.0.0.2")
            follower = await stack.enter_async_context(following_at(before.url))
        view = follower_in(follower).view
        clock = SkippedClock()
        async with serving(msgspec.structs.replace(where, warming_s=60.0), clock=clock) as after:
            await after.register("billing", "10.0.0.3")
            await eventually(lambda: view.trust.live, "it follows the registry again")
            answer = await follower.call("GET", "/services")
            assert (answer.body, answer.headers["X-Cache"]) == (["billing", "geo", "osint_service"], "partial")
            assert (await follower.call("GET", "/services/nobody")).body["error"] == "Warming"
            await after.register("geo", "10.0.0.2")
            clock.skipped_s = 60.0
            after.replica.hub.tick()
            await is_level(follower)
            assert await names_at(follower) == ["billing", "geo"], "what did not come back is gone"
            assert view.cursor == after.replica.view.cursor


async def test_a_sign_of_life_of_the_registry_is_passed_on_at_once(api: Api) -> None:
    async with following_at(api.url) as follower:
        reader, seen = follower.replica.hub.open(follower.replica.view.cursor), b""
        for number in range(1, 9):
            api.replica.hub.tick()
            # The follower's own come much more seldom.
            async with asyncio.timeout(4):
                while seen.count(b'"type":"sync"') <= number:
                    await asyncio.sleep(0.01)
                    seen += reader.take()


async def test_a_registry_that_cannot_read_its_store_is_none_to_follow_for_one_that_has_data() -> None:
    away = msgspec.structs.replace(READY, redis=redis_settings(f"redis://127.0.0.1:{free_port()}"))
    async with contextlib.AsyncExitStack() as stack:
        empty = await stack.enter_async_context(serving(away))
        async with serving() as api:
            await api.register("osint_service", "10.0.0.1")
            follower = await stack.enter_async_context(following_at(api.url, empty.url, reads=False))
            view = follower_in(follower).view
            await eventually(lambda: len(view.catalog) == 1, "it has found the one that has data")
            cursor = view.cursor
        said = "it has not read its own store yet"
        await eventually(lambda: follower_in(follower).state().problem == said, "it has tried the other one")
        assert (view.cursor, await names_at(follower)) == (cursor, ["osint_service"])
        assert view.trust.state == "ready"
