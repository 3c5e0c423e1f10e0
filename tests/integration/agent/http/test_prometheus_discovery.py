"""`GET /sd/prometheus` of an agent: as a replica lists the targets, and for as long as the agent knows them."""

from __future__ import annotations

import msgspec

from agent.view.lru import ViewLimits
from registry_core.domain.records import Status
from tests.integration.agent.http.test_http import frozen
from tests.integration.agents import QUICK, becomes, standing
from tests.integration.replicas import Api
from tests.samples import instance

FLEET = (
    instance("billing", "10.0.0.1", zone="a", tags=("blue",)),
    instance("billing", "10.0.0.2", zone="b", status=Status.CRITICAL),
    instance("auth", "10.0.0.3", zone="b"),
)


def hosts(body: list[dict[str, list[str]]]) -> list[str]:
    return sorted(target.partition(":")[0] for group in body for target in group["targets"])


async def test_an_agent_lists_what_its_registry_lists(api: Api) -> None:
    await api.register("billing", "10.0.0.1", tags=["blue"], metadata={"prometheus.port": 9100})
    await api.register("auth", "10.0.0.2", status="critical")
    there = (await api.call("GET", "/sd/prometheus")).body
    async with standing(api.url) as agent:

        async def listed() -> list[str]:
            answer = await agent.get("/sd/prometheus")
            return hosts(answer.body) if answer.status == 200 else []

        await becomes(listed, ["10.0.0.1", "10.0.0.2"])
        here = (await agent.get("/sd/prometheus")).body
        key = msgspec.json.Encoder(order="sorted").encode
        assert sorted(map(key, here)) == sorted(map(key, there))


async def test_the_filters_and_a_name_in_the_zone() -> None:
    async with frozen() as agent:
        agent.show(*FLEET)
        assert hosts((await agent.get("/sd/prometheus")).body) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        assert hosts((await agent.get("/sd/prometheus?zone=b&status=passing")).body) == ["10.0.0.3"]
        assert hosts((await agent.get("/sd/prometheus?service=Billing.vertice.internal")).body) == [
            "10.0.0.1",
            "10.0.0.2",
        ]
        assert (await agent.get("/sd/prometheus?service=nobody")).body == []
        assert (await agent.get("/sd/prometheus?servcie=x")).status == 400
        assert (await agent.get("/sd/prometheus?service=a!")).status == 400
        assert (await agent.get("/sd/traefik")).status == 404


async def test_an_old_view_is_listed_with_its_age() -> None:
    async with frozen() as agent:
        agent.show(*FLEET)
        agent.sidecar.view.lost()
        agent.clock.pass_time(3600)
        answer = await agent.get("/sd/prometheus")
        assert len(hosts(answer.body)) == 3
        assert (answer.headers["Age"], answer.headers["X-Cache"]) == ("3600", "expired")


async def test_nothing_is_listed_while_something_may_be_missing() -> None:
    async with frozen() as agent:
        assert (await agent.get("/sd/prometheus")).status == 503, "it has heard nothing yet"
        agent.show(*FLEET, state="warming")
        for path in ("/sd/prometheus", "/sd/prometheus?service=billing", "/sd/prometheus?service=nobody"):
            assert (await agent.get(path)).status == 503, path
        agent.show(*FLEET)
        assert len((await agent.get("/sd/prometheus")).body) == 3


async def test_a_change_shows_at_once() -> None:
    async with frozen() as agent:
        agent.show(*FLEET)
        assert len((await agent.get("/sd/prometheus")).body) == 3
        agent.show(*FLEET[:2])
        assert len((await agent.get("/sd/prometheus")).body) == 2


async def test_an_agent_with_a_part_of_the_fleet_lists_one_service_at_a_time(api: Api) -> None:
    for number in range(4):
        await api.register(f"service-{number}", f"10.0.0.{number}")
    async with standing(api.url, settings=msgspec.structs.replace(QUICK, view=ViewLimits(services=2))) as agent:

        async def status() -> int:
            return (await agent.get("/sd/prometheus")).status

        async def one() -> list[str]:
            answer = await agent.get("/sd/prometheus?service=service-3")
            return hosts(answer.body) if answer.status == 200 else []

        await becomes(one, ["10.0.0.3"])
        assert await status() == 503
        assert "/sd/prometheus?service=" in (await agent.get("/sd/prometheus")).body["message"]
