"""Sidecars that name only their service: several of one service stay alive, and say goodbye for themselves alone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from tests.integration.replicas import READY, Api, serving
from tests.samples import FakeClock

EVERY_S = 30.0
NAME = "ip_intelligence_service"


class OldSidecar:
    """Does what the old sidecars do: registers an endpoint, names its service from then on, registers again on 404."""

    def __init__(self, endpoint: str, session: aiohttp.ClientSession) -> None:
        self.endpoint = endpoint
        self.answers: list[int] = []
        self._session = session

    async def call(self, api: Api, method: str, path: str, body: object = None) -> int:
        async with self._session.request(method, api.url + path, json=body) as response:
            await response.read()
            return response.status

    async def register(self, api: Api) -> None:
        body = {"service_name": NAME, "endpoint": self.endpoint, "health_endpoint": "/health", "metadata": {}}
        assert await self.call(api, "POST", "/register", body) == 201

    async def beat(self, api: Api) -> None:
        status = await self.call(api, "POST", "/heartbeat", {"service_name": NAME})
        self.answers.append(status)
        if status == 404:
            await self.register(api)


@contextlib.asynccontextmanager
async def two(*addresses: str) -> AsyncIterator[list[OldSidecar]]:
    """Run two old sidecars, which connect from these addresses."""
    async with contextlib.AsyncExitStack() as stack:
        sidecars = []
        for number, address in enumerate(addresses):
            connector = aiohttp.TCPConnector(local_addr=(address, 0))
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            sidecars.append(OldSidecar(f"http://10.0.0.7:{8001 + number}", session))
        yield sidecars


def ports(api: Api) -> set[int]:
    return {instance.port for instance in api.replica.view.catalog}


async def live(api: Api, clock: FakeClock, sidecars: list[OldSidecar], intervals: int) -> None:
    """Let time pass; each sidecar sends a heartbeat in each interval, one after the other."""
    for _ in range(intervals):
        for sidecar in sidecars:
            clock.pass_time(EVERY_S / len(sidecars))
            await sidecar.beat(api)
            await api.replica.store.sweep()


@pytest.mark.parametrize(
    ("addresses", "answers"),
    [
        (("127.0.0.5", "127.0.0.6"), {200}),
        (("127.0.0.5", "127.0.0.5"), {404}),  # the registry cannot tell them apart
    ],
)
async def test_two_old_sidecars_of_one_service_both_stay(addresses: tuple[str, ...], answers: set[int]) -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api, two(*addresses) as sidecars:
        for sidecar in sidecars:
            await sidecar.register(api)
        for _ in range(6):
            await live(api, clock, sidecars, 1)
            assert ports(api) == {8001, 8002}
        assert set(sidecars[0].answers + sidecars[1].answers) == answers


@pytest.mark.parametrize("addresses", [("127.0.0.5", "127.0.0.6"), ("127.0.0.5", "127.0.0.5")])
async def test_both_come_back_to_a_registry_that_has_forgotten_them(addresses: tuple[str, ...]) -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api, two(*addresses) as sidecars:
        await live(api, clock, sidecars, 3)
        assert ports(api) == {8001, 8002}


async def test_an_old_sidecar_comes_back_beside_an_agent_that_serves_the_same_name() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api, two("127.0.0.5") as sidecars:
        await api.register(NAME, "10.0.0.8", 8034, epoch=1764000000000)
        await live(api, clock, sidecars, 1)
        assert ports(api) == {8001, 8034}


async def test_an_old_sidecar_takes_only_its_own_instance_out() -> None:
    async with serving() as api, two("127.0.0.5", "127.0.0.6") as sidecars:
        for sidecar in sidecars:
            await sidecar.register(api)
        assert await sidecars[1].call(api, "DELETE", f"/deregister/{NAME}") == 200
        assert ports(api) == {8001}


async def test_an_old_sidecar_that_ends_leaves_the_instance_that_an_agent_took_over() -> None:
    async with serving() as api, two("127.0.0.5") as sidecars:
        await sidecars[0].register(api)
        await api.register(NAME, "10.0.0.7", 8001, instance_id="10.0.0.7:8001", epoch=1764000000000)
        await sidecars[0].beat(api)
        assert sidecars[0].answers == [200]
        assert await sidecars[0].call(api, "DELETE", f"/deregister/{NAME}") == 409
        assert ports(api) == {8001}
        await api.register(NAME, "10.0.0.8", 8001, instance_id="10.0.0.8:8001", epoch=1764000000000)
        assert await sidecars[0].call(api, "DELETE", f"/deregister/{NAME}") == 409
        assert (await api.call("DELETE", f"/deregister/{NAME}/10.0.0.8:8001")).status == 200
        # A caller that did not register it, such as an operator, removes it.
        assert (await api.call("DELETE", f"/deregister/{NAME}")).status == 200


async def test_many_heartbeats_by_name_are_judged_one_by_one() -> None:
    async with serving() as api:
        await api.register("billing")
        answer = await api.call(
            "POST", "/heartbeat", {"instances": [{"service_name": "billing"}, {"service_name": NAME}]}
        )
        assert [one["status"] for one in answer.body["instances"]] == ["renewed", "unknown"]


async def test_a_missing_name_is_denied_while_warming_if_the_setting_says_so() -> None:
    settings = msgspec.structs.replace(READY, warming_s=60.0, denies_while_warming=True)
    async with serving(settings) as api:
        answer = await api.call("GET", f"/services/{NAME}")
        assert (answer.status, answer.body["error"]) == (404, "NotFound")
        answer = await api.call("GET", "/services")
        assert (answer.status, answer.body) == (200, [])
        # Agents, which can wait, are told.
        assert (await api.call("GET", "/catalog")).status == 503
        assert (await api.call("GET", "/ready")).body["state"] == "warming"
