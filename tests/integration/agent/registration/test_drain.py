"""Confirmed drains: agents acknowledge, a leaving agent waits for that, and operators hold services by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import msgspec
import pytest
import pytest_asyncio
import structlog
from structlog.testing import capture_logs

from registry_core.domain.selection import WhenNonePass
from tests.integration.agents import QUICK, AgentUnderTest, becomes, spec, stand_in, standing
from tests.integration.replicas import READY, Answer, Api, serving
from tests.programs import eventually, free_port

CONFIRMING = msgspec.structs.replace(QUICK, drain_confirm_s=20.0)


class House:
    """A replica, an agent with one service, and another agent that only resolves."""

    def __init__(self, api: Api, agent: AgentUnderTest, watcher: AgentUnderTest, port: int) -> None:
        self.api = api
        self.agent = agent
        self.watcher = watcher
        self.instance = f"127.77.0.1:{port}"

    async def ask(self, method: str, path: str, **more: str) -> Answer:
        async with self.agent.session.request(method, self.agent.url + path, headers=more) as response:
            raw = await response.read()
            return Answer(response.status, response.headers, msgspec.json.decode(raw))

    async def drain(self) -> tuple[int, int, bool]:
        """Return (acknowledged, watchers, done) as the agent reports it."""
        answer = await self.ask("GET", "/drain")
        (one,) = answer.body["services"]
        return one["acknowledged"], one["watchers"], one["done"]


@pytest_asyncio.fixture
async def house(api: Api) -> AsyncIterator[House]:
    async with stand_in() as service, AsyncExitStack() as stack:
        agent = await stack.enter_async_context(standing(api.url, spec(service), settings=CONFIRMING))
        watcher = await stack.enter_async_context(standing(api.url, settings=CONFIRMING))
        await becomes(lambda: watcher.addresses("osint-service"), ["127.77.0.1"])
        yield House(api, agent, watcher, service.port)


async def test_a_drained_service_leaves_the_answers_is_acknowledged_by_all_and_can_come_back(
    house: House,
) -> None:
    await house.api.register("osint_service", "127.77.0.9")
    await becomes(lambda: house.watcher.addresses("osint-service"), ["127.77.0.1", "127.77.0.9"])
    assert await house.drain() == (0, 0, False)
    answer = await house.ask("POST", "/drain?service=osint-service")
    assert answer.status == 200
    assert [one["held"] for one in answer.body["services"]] == ["draining"]
    await becomes(house.drain, (2, 2, True))
    counts = await house.api.call("GET", f"/drain/osint_service/{house.instance}")
    assert (counts.body["status"], counts.body["acknowledged"], counts.body["watchers"]) == ("draining", 2, 2)
    # An acknowledged instance is no longer returned.
    assert [i["host"] for i in (await house.watcher.get("/services/osint_service")).body["instances"]] == ["127.77.0.9"]

    assert (await house.ask("DELETE", "/drain")).body["services"][0]["held"] is None
    await becomes(lambda: house.watcher.addresses("osint-service"), ["127.77.0.1", "127.77.0.9"])
    assert await house.drain() == (0, 0, False)


async def test_a_watcher_that_has_not_acknowledged_is_counted(house: House) -> None:
    async with house.api.session.get(f"{house.api.url}/watch?acknowledges=1") as stream:
        watcher = stream.headers["X-Watcher"]
        await house.ask("POST", "/drain")
        await becomes(house.drain, (2, 3, False))
        cursor = str(house.api.replica.view.cursor)
        answer = await house.api.call("POST", "/watch/ack", {"watcher": watcher, "cursor": cursor})
        assert answer.status == 200
        assert await house.drain() == (3, 3, True)
    # A watcher that left is not waited for, although nothing was written to it since.
    await becomes(house.drain, (2, 2, True))


async def test_maintenance_outlasts_checks_and_a_new_registration(house: House) -> None:
    named = f"service=Osint-Service.vertice.internal&instance={house.instance}"
    assert (await house.ask("POST", f"/maintenance?{named}")).status == 200
    assert (await house.ask("GET", f"/maintenance?{named}")).body["services"][0]["held"] == "maintenance"

    async def status() -> str:
        (one,) = (await house.api.call("GET", "/catalog")).body["instances"]
        said: str = one["status"]
        return said

    await becomes(status, "maintenance")
    await house.api.call("DELETE", "/deregister/osint_service")
    await eventually(lambda: len(house.api.replica.view.catalog) == 1, "it is registered anew")
    assert await status() == "maintenance"
    assert (await house.ask("DELETE", "/drain")).body["services"][0]["held"] == "maintenance", "that is no drain"
    assert (await house.ask("DELETE", "/maintenance")).body["services"][0]["held"] is None
    await becomes(status, "passing")


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/drain?service=billing", 404, "NotFound"),
        ("/drain?service=osint_service&instance=other", 404, "NotFound"),
        ("/drain?service=a", 400, "ValidationError"),
        ("/drain?instance=x", 400, "ValidationError"),
        ("/drain?what=x", 400, "ValidationError"),
        ("/maintenance?service=billing", 404, "NotFound"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_only_this_agents_services_can_be_held(
    house: House, method: str, path: str, status: int, error: str
) -> None:
    answer = await house.ask(method, path)
    assert (answer.status, answer.body["error"]) == (status, error)
    assert house.agent.sidecar.session is not None
    assert [report.held for report in house.agent.sidecar.session.report()] == [None]


async def test_requests_from_a_browser_page_or_with_a_body_are_refused(house: House) -> None:
    for header in ("Origin", "Sec-Fetch-Site"):
        answer = await house.ask("POST", "/drain", **{header: "http://elsewhere.example"})
        assert (answer.status, answer.body["error"]) == (403, "Forbidden")
    async with house.agent.session.post(f"{house.agent.url}/drain", data=b"{}") as response:
        assert response.status == 400


async def test_a_stopping_agent_waits_until_all_have_acknowledged_and_logs_it(api: Api) -> None:
    async with stand_in() as service, standing(api.url, settings=CONFIRMING) as watcher:
        with capture_logs() as lines:
            async with (
                api.session.get(f"{api.url}/watch?acknowledges=1") as stream,
                standing(api.url, spec(service), settings=CONFIRMING),
            ):
                await becomes(lambda: watcher.addresses("osint-service"), ["127.77.0.1"])
                sleepy = asyncio.create_task(acknowledge_later(api, stream))
            # It ended only after the slow watcher had acknowledged.
            assert sleepy.done()
            await sleepy
        said = [line["event"] for line in lines]
        assert said.index("draining") < said.index("late") < said.index("drain_confirmed") < said.index("deregistered")
        assert [line["watchers"] for line in lines if line["event"] == "drain_confirmed"] == [3]


async def acknowledge_later(api: Api, stream: aiohttp.ClientResponse) -> None:
    """Acknowledge half a second after the drain, like a slow watcher."""
    await eventually(lambda: any(i.status == "draining" for i in api.replica.view.catalog), "it drains")
    await asyncio.sleep(0.5)
    assert len(api.replica.view.catalog) == 1, "it was not deregistered before all watchers knew"
    structlog.get_logger().info("late")
    body = {"watcher": stream.headers["X-Watcher"], "cursor": str(api.replica.view.cursor)}
    assert (await api.call("POST", "/watch/ack", body)).status == 200


async def test_a_watcher_that_never_acknowledges_is_waited_for_until_the_limit(api: Api) -> None:
    hasty = msgspec.structs.replace(QUICK, drain_confirm_s=0.5)
    async with stand_in() as service:
        with capture_logs() as lines:
            async with (
                api.session.get(f"{api.url}/watch?acknowledges=1"),
                standing(api.url, spec(service), settings=hasty) as agent,
            ):
                await becomes(lambda: agent.addresses("osint-service"), ["127.77.0.1"])
        (line,) = [line for line in lines if line["event"] == "drain_not_confirmed"]
        assert (line["acknowledged"], line["watchers"], line["silent_registries"]) == (1, 2, 0)
    assert len(api.replica.view.catalog) == 0


async def test_an_unreachable_registry_leaves_the_drain_unconfirmed() -> None:
    hasty = msgspec.structs.replace(QUICK, drain_confirm_s=0.5)
    async with serving(READY) as api, stand_in() as service:
        nobody = f"http://127.0.0.1:{free_port()}"
        with capture_logs() as lines:
            async with standing((api.url, nobody), spec(service), settings=hasty) as agent:
                await becomes(lambda: agent.addresses("osint-service"), ["127.77.0.1"])
        (line,) = [line for line in lines if line["event"] == "drain_not_confirmed"]
        assert line["silent_registries"] == 1
        assert "deregistered" in [line["event"] for line in lines]


async def test_a_drain_is_confirmed_when_srv_answers_no_longer_name_the_instance_and_the_last_one_stays(
    api: Api,
) -> None:
    settings = msgspec.structs.replace(CONFIRMING, drain_srv_s=0.6, when_none_pass=WhenNonePass.ALL)
    for host in ("127.77.0.8", "127.77.0.9"):
        await api.register("billing", host=host)
    async with standing(api.url, settings=settings) as agent:

        async def weights() -> list[int]:
            return sorted(rr.rdata.weight for rr in (await agent.dig("_billing._tcp.vertice.internal", "SRV")).rr)

        async def is_confirmed() -> bool:
            view = (await api.call("GET", "/drain/billing/127.77.0.8:8034")).body
            return bool(view["watchers"] == view["acknowledged"] == 1)

        await becomes(weights, [256, 256])
        await api.call("PUT", "/status/billing/127.77.0.8:8034", {"status": "draining"})
        await becomes(weights, [0, 256])
        assert not await is_confirmed()
        await becomes(is_confirmed, True)
        assert await weights() == [256]
        await api.call("PUT", "/status/billing/127.77.0.9:8034", {"status": "draining"})
        await becomes(weights, [256, 256])
