"""One policy answers one question: registry and agent, HTTP and DNS, and the commands name the same instances."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import msgspec
import pytest

from registry_core.domain.selection import WhenNonePass
from tests.integration.agents import QUICK, AgentUnderTest, becomes, standing
from tests.integration.replicas import READY, Api, serving
from tests.programs import VERTICE, eventually

NAME = "billing.vertice.internal"
ONE, TWO, THREE = "10.0.0.1", "10.0.0.2", "10.0.0.3"


async def named_over_http(ask: Api | AgentUnderTest) -> list[str]:
    answer = await (ask.call("GET", "/services/billing") if isinstance(ask, Api) else ask.get("/services/billing"))
    assert answer.status in (200, 404)
    return sorted(i["host"] for i in answer.body["instances"]) if answer.status == 200 else []


async def targets(agent: AgentUnderTest) -> list[str]:
    """Return the addresses of the SRV records that a client may choose: those with a weight."""
    answer = await agent.dig(f"_billing._tcp.{NAME.partition('.')[2]}", "SRV")
    chosen = {str(rr.rdata.target) for rr in answer.rr if rr.rdata.weight}
    return sorted(str(rr.rdata) for rr in answer.ar if str(rr.rname) in chosen)


@pytest.mark.parametrize("rule", list(WhenNonePass))
@pytest.mark.parametrize(
    ("statuses", "when_all", "when_none"),
    [
        ({ONE: "passing", TWO: "draining", THREE: "critical"}, [ONE], [ONE]),
        ({ONE: "draining"}, [ONE], [ONE]),
        ({ONE: "critical", TWO: "critical", THREE: "draining"}, [THREE], [THREE]),
        ({ONE: "critical", TWO: "critical", THREE: "maintenance"}, [ONE, TWO], []),
        ({ONE: "maintenance"}, [], []),
        ({ONE: "draining", TWO: "maintenance"}, [ONE], [ONE]),
    ],
)
async def test_every_face_names_the_same_instances(
    rule: WhenNonePass, statuses: dict[str, str], when_all: list[str], when_none: list[str]
) -> None:
    wanted = when_all if rule is WhenNonePass.ALL else when_none
    replica_settings = msgspec.structs.replace(READY, when_none_pass=rule)
    settings = msgspec.structs.replace(QUICK, when_none_pass=rule)
    async with serving(replica_settings) as api, standing(api.url, settings=settings) as agent:
        for host, status in statuses.items():
            await api.register("billing", host, status=status)
        await eventually(lambda: len(agent.sidecar.view.catalog) == len(statuses), "the agent has them all")
        assert await named_over_http(api) == wanted
        assert await named_over_http(agent) == wanted
        assert await agent.addresses("billing") == wanted
        assert await targets(agent) == wanted
        resolved = await agent.get("/resolve/billing")
        assert resolved.status == (200 if wanted else 404)
        assert not wanted or resolved.body["host"] in wanted
        explained = (await agent.get("/explain/billing")).body["instances"]
        assert (
            sorted(one["endpoint"].split("/")[2].split(":")[0] for one in explained if one["verdict"] == "in") == wanted
        )


async def test_the_commands_find_a_service_whose_only_instance_drains() -> None:
    def vertice(agent: AgentUnderTest, *words: str) -> Any:
        argv = [*VERTICE, *words, "--agent", agent.url]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    async with serving() as api, standing(api.url) as agent:
        await api.register("billing", ONE, status="draining")
        await becomes(lambda: agent.addresses("billing"), [ONE])
        resolved = await asyncio.to_thread(vertice, agent, "resolve", "billing")
        assert (resolved.returncode, resolved.stdout.strip()) == (0, f"http://{ONE}:8034")
        explained = await asyncio.to_thread(vertice, agent, "explain", "billing")
        assert "answers contain it because no other one passes" in explained.stdout
