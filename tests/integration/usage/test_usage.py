"""`GET /usage`: real agents are asked over DNS and HTTP, move between replicas and restart, and are counted once."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest

from tests.integration.agents import QUICK, AgentUnderTest, becomes, spec, stand_in, standing
from tests.integration.replicas import Api, serving
from tests.integration.usage.test_agents import OFTEN, two_replicas


async def usage_of(api: Api, service: str, **more: Any) -> Any:
    query = "".join(f"&{name}={value}" for name, value in more.items())
    answer = await api.call("GET", f"/usage?service={service}{query}")
    assert answer.status == 200, answer.body
    return answer.body


def counted(api: Api, service: str) -> Any:
    async def counts() -> list[tuple[list[str], int, int]]:
        (one,) = (await usage_of(api, service))["usage"]
        return sorted((c["services"], c["dns"], c["http"]) for c in one["consumers"])

    return counts


async def ask(agent: AgentUnderTest, *, dns: int = 0, http: int = 0, service: str = "ip_intel") -> None:
    for _ in range(dns):
        await agent.dig(f"{service}.vertice.internal")
    for _ in range(http):
        await agent.get(f"/resolve/{service}")


async def test_both_faces_are_counted_once_by_whatever_replica_is_asked() -> None:
    async with (
        two_replicas() as (first, second),
        stand_in() as service,
        standing(first.url, spec(service, "billing")) as agent,
    ):
        await first.register("ip_intel")
        await becomes(lambda: agent.addresses("ip-intel"), ["10.0.0.7"])
        await ask(agent, dns=3, http=70)
        await agent.get("/services/ip_intel")
        await agent.get("/explain/ip_intel")
        await agent.dig("elsewhere.example")

        # Every answer for a name of the zone is one question, also before the service was there.
        questions = sum(n for (_, rcode), n in agent.sidecar.responder.counters.items() if rcode != "REFUSED")
        assert questions >= 4
        await becomes(counted(second, "ip_intel"), [(["billing"], questions, 71)])
        seen = await usage_of(second, "ip_intel")
        (one,) = seen["usage"]
        assert (one["registered"], one["verdict"], one["consumers"][0]["services"]) == (False, "used", ["billing"])
        assert (await usage_of(first, "ip_intel"))["usage"][0]["registered"], "of the stores, only the first has it"
        assert seen["observed"]["replicas"] == 2
        whole = (await first.call("GET", "/usage")).body
        assert {row["service"] for row in whole["usage"]} == {"billing", "ip_intel"}


async def test_an_agent_that_moves_and_one_that_restarts_are_counted_once() -> None:
    async with two_replicas() as (first, second), stand_in() as service:
        for api in (first, second):
            await api.register("ip_intel")
        urls = (first.url, second.url)
        async with standing(urls, spec(service, "billing")) as agent:
            await becomes(lambda: agent.addresses("ip-intel"), ["10.0.0.7"])
            await ask(agent, http=5)

            async def http() -> int:
                (one,) = (await usage_of(second, "ip_intel"))["usage"]
                return sum(c["http"] for c in one["consumers"])

            await becomes(http, 5)
            used = agent.sidecar.sync.connected_to if agent.sidecar.sync is not None else None
            agent.sidecar.lookup.use(tuple(url for url in urls if url != used))
            await becomes(lambda: _connected(agent), next(url for url in urls if url != used))
            await ask(agent, http=2)
            await becomes(http, 7)
        async with standing(urls, spec(service, "billing")) as agent:
            await becomes(lambda: agent.addresses("ip-intel"), ["10.0.0.7"])
            await ask(agent, http=1)
            await becomes(http, 8)


async def _connected(agent: AgentUnderTest) -> str | None:
    return agent.sidecar.sync.connected_to if agent.sidecar.sync is not None else None


async def test_a_registry_that_restarts_learns_everything_anew_from_agents_that_live() -> None:
    async with serving(OFTEN) as api:
        listen = api.replica.listen
    again = msgspec.structs.replace(OFTEN, listen=listen)
    async with contextlib.AsyncExitStack() as agents:
        async with serving(again) as api:
            agent = await agents.enter_async_context(standing(api.url))
            await api.register("ip_intel")
            await becomes(lambda: agent.addresses("ip-intel"), ["10.0.0.7"])
            await ask(agent, http=4)
            await becomes(lambda: _http(api), 4)
        async with serving(again) as api:
            await becomes(lambda: _http(api), 4)
            seen = await usage_of(api, "ip_intel", within=3600)
            assert any("observed for" in doubt for doubt in seen["observed"]["doubts"])


async def _http(api: Api) -> int:
    (one,) = (await usage_of(api, "ip_intel"))["usage"]
    return sum(c["http"] for c in one["consumers"])


async def test_nobody_is_called_unused_while_an_agent_does_not_count() -> None:
    off = msgspec.structs.replace(QUICK, counts_usage=False)
    async with serving(OFTEN) as api, standing(api.url, settings=off) as agent:
        await api.register("ip_intel")
        await becomes(lambda: agent.addresses("ip-intel"), ["10.0.0.7"])

        async def unseen() -> list[str]:
            return [one["because"] for one in (await usage_of(api, "ip_intel"))["observed"]["unseen"]]

        await becomes(unseen, ["AGENT_USAGE=off"])
        (one,) = (await usage_of(api, "ip_intel"))["usage"]
        assert (one["verdict"], one["consumers"]) == ("unknown", [])


async def test_a_service_that_nobody_asked_for_is_unused_and_a_direct_lookup_ends_that() -> None:
    async with serving(OFTEN) as api, standing(api.url):
        await api.register("ip_intel")

        async def verdict() -> str:
            (one,) = (await usage_of(api, "ip_intel"))["usage"]
            found: str = one["verdict"]
            return found

        await becomes(verdict, "unused")
        await api.call("GET", "/services/ip_intel")
        await becomes(verdict, "used")
        (one,) = (await usage_of(api, "ip_intel"))["usage"]
        assert [(c["is_direct"], c["http"]) for c in one["consumers"]] == [(True, 1)]


@pytest.mark.parametrize("query", ["?service=%2e%2e", "?within=-1", "?within=soon", "?within=1e9", "?x=1"])
async def test_a_wrong_question_is_refused(query: str) -> None:
    async with serving(OFTEN) as api:
        assert (await api.call("GET", f"/usage{query}")).status == 400
