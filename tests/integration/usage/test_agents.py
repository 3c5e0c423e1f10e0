"""`GET /agents`: real agents at real replicas, which answer for each other."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from registry_core.api.usage_settings import UsageSettings
from registry_core.installed import VERSION
from registry_core.settings import Listen
from registry_core.usage.report import agent_id_of
from tests.integration.agents import QUICK, becomes, spec, stand_in, standing
from tests.integration.replicas import READY, Api, serving
from tests.programs import free_port

OFTEN = msgspec.structs.replace(READY, usage=UsageSettings(every_s=0.2))
KEY = "0123456789abcdef" * 2


@contextlib.asynccontextmanager
async def two_replicas(**changed: Any) -> AsyncIterator[tuple[Api, Api]]:
    """Run two replicas that know each other; each has a store of its own."""
    ports = free_port(), free_port()
    peers = tuple(f"http://127.0.0.1:{port}" for port in ports)
    settings = msgspec.structs.replace(OFTEN, peers=peers, **changed)
    async with contextlib.AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                serving(msgspec.structs.replace(settings, listen=Listen("127.0.0.1", port)))
            )
            for port in ports
        ]
        yield first, second


async def agents_of(api: Api) -> list[Any]:
    found: list[Any] = (await api.call("GET", "/agents")).body["agents"]
    return found


async def test_each_replica_lists_the_agents_of_all() -> None:
    async with (
        two_replicas() as (first, second),
        stand_in() as service,
        standing(first.url, spec(service, "billing"), settings=msgspec.structs.replace(QUICK, zone="z1")),
        standing(second.url),
    ):

        async def known() -> list[tuple[list[str], str, str, str]]:
            return [(a["services"], a["zone"], a["freshness"], a["registry"]) for a in await agents_of(second)]

        ids = [(await api.replica.reports.part()).replica for api in (first, second)]
        await becomes(known, [([], "", "fresh", ids[1]), (["billing"], "z1", "fresh", ids[0])])
        said = (await first.call("GET", "/agents")).body
        assert said["by_version"] == {VERSION: 2}
        assert said["by_freshness"] == {"fresh": 2}
        assert (said["replicas"], said["silent_replicas"], said["unreported"]) == (2, [], 0)
        metrics = (await first.call("GET", "/metrics")).body.decode()
        assert f'registry_agents{{freshness="fresh",version="{VERSION}"}} 1.0' in metrics


async def test_an_agent_that_stops_says_so() -> None:
    async with serving(OFTEN) as api:
        async with standing(api.url):

            async def states() -> list[str]:
                return [a["state"] for a in await agents_of(api)]

            await becomes(states, ["current"])
        await becomes(states, ["ended"])
        assert (await api.call("GET", "/agents")).body["by_freshness"] == {}


async def test_a_replica_that_does_not_answer_is_named() -> None:
    away = f"http://127.0.0.1:{free_port()}"
    async with serving(msgspec.structs.replace(OFTEN, peers=(away,))) as api:
        said = (await api.call("GET", "/agents")).body
        assert (said["replicas"], said["silent_replicas"]) == (1, [away])


async def test_a_report_through_another_replica_reaches_the_one_with_the_watch() -> None:
    async with (
        two_replicas() as (first, second),
        first.session.get(f"{first.url}/watch?acknowledges=1") as watch,
    ):
        assert watch.headers["X-Report-Every"] == "0.2"
        assert watch.headers["X-Ack-Every"] == "0.20"
        body = {
            "watcher": watch.headers["X-Watcher"],
            "cursor": "",
            "report": {"key": KEY, "sequence": 1, "host": "web1"},
        }
        assert (await second.call("POST", "/watch/ack", body)).status == 200
        (agent,) = await agents_of(second)
        assert (agent["agent_id"], agent["host"]) == (agent_id_of(KEY), "web1")
        assert agent["registry"] == (await first.replica.reports.part()).replica


async def test_a_watcher_that_never_reports_is_counted() -> None:
    async with (
        serving(OFTEN) as api,
        api.session.get(f"{api.url}/watch?acknowledges=1"),
        api.session.get(f"{api.url}/watch"),  # it acknowledges nothing: no agent
    ):

        async def unreported() -> int:
            api.replica.reports.sample()
            found: int = (await api.call("GET", "/agents")).body["unreported"]
            return found

        await becomes(unreported, 1)
