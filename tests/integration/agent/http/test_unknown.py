"""Unknown is not empty: an agent that cannot know what exists does not say that there is nothing, on any face."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import msgspec
import pytest

from agent.checks.spec import CheckKind
from agent.settings.settings import AgentSettings
from agent.view.fallback import of_environment
from registry_core.domain.records import Instance
from registry_core.domain.refusals import REFUSED_FOR_S
from tests.integration.agent.http.test_http import NOBODY, everything
from tests.integration.agents import QUICK, AgentUnderTest, becomes, spec, stand_in, standing
from tests.integration.replicas import READY, serving
from tests.programs import VERTICE, eventually
from tests.samples import FakeClock, instance

ALL = "_services._dns-sd._udp.vertice.internal"
GEO = instance("geo", "10.0.0.5")


async def vertice(agent: AgentUnderTest, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [*VERTICE, *words, "--agent", agent.url]
    return await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60, check=False)


async def listed(agent: AgentUnderTest) -> tuple[int, Any, str]:
    """Return status, names and X-Cache of the list of services, asked twice: computed, and from the ready bodies."""
    first, again = await agent.get("/services"), await agent.get("/services")
    assert (first.status, first.body) == (again.status, again.body)
    return first.status, first.body, first.headers.get("X-Cache", "none")


async def test_an_agent_that_never_heard_of_a_registry_cannot_say_which_services_exist() -> None:
    async with standing(NOBODY) as agent:
        answer = await agent.get("/services")
        assert (answer.status, answer.body["error"], answer.headers["Retry-After"]) == (503, "Warming", "2")
        assert "heard nothing from the registry yet, and cannot tell which services exist" in answer.body["message"]
        for path in ("/services/geo", "/resolve/geo"):
            assert (await agent.get(path)).status == 503
        explained = await agent.get("/explain/geo")
        assert (explained.headers["X-Cache"], explained.body["found"], explained.body["complete"]) == (
            "partial",
            False,
            False,
        )
        enumerated = await agent.dig(ALL, "PTR")
        assert (enumerated.header.rcode, enumerated.rr) == (2, []), "SERVFAIL"
        ended = await vertice(agent, "services")
        assert (ended.returncode != 0, ended.stdout) == (True, "")
        assert "cannot tell which services exist" in ended.stderr


async def test_an_agent_of_a_warming_registry_cannot_say_so_either() -> None:
    async with serving(msgspec.structs.replace(READY, warming_s=600.0)) as api, standing(api.url) as agent:
        await eventually(lambda: agent.sidecar.view.loaded, "it has read the registry")
        answer = await agent.get("/services")
        assert (answer.status, answer.body["error"]) == (503, "Warming")
        assert "the registry has just started" in answer.body["message"]
        await api.register("geo", "10.0.0.5")
        await becomes(lambda: listed(agent), (200, ["geo"], "partial"))
        assert (await agent.get("/services/geo")).headers["X-Cache"] == "partial"
        enumerated = await agent.dig(ALL, "PTR")
        assert [str(rr.rdata) for rr in enumerated.rr] == ["_geo._tcp.vertice.internal."]
        ended = await vertice(agent, "services", "-o", "names")
        assert (ended.returncode, ended.stdout) == (0, "geo\n")
        assert "there may be more" in ended.stderr


async def test_what_its_settings_and_its_own_services_say_is_known_without_a_registry() -> None:
    settings: AgentSettings = msgspec.structs.replace(
        QUICK, static_services=(tuple(of_environment({"MAILER_URL": "http://10.9.9.9:8000"})), ())
    )
    async with stand_in() as service, standing(NOBODY, spec(service, check=CheckKind.NONE), settings=settings) as agent:
        await becomes(lambda: listed(agent), (200, ["mailer", "osint_service"], "partial"))
        names = sorted(str(rr.rdata) for rr in (await agent.dig(ALL, "PTR")).rr)
        assert names == ["_mailer._tcp.vertice.internal.", "_osint-service._tcp.vertice.internal."]


@pytest.mark.parametrize("known", [(GEO,), ()], ids=["a service", "nothing"])
async def test_a_registry_that_knows_everything_is_believed(known: tuple[Instance, ...]) -> None:
    clock = FakeClock()
    async with standing(NOBODY, clock=clock) as agent:
        agent.sidecar.view.apply(everything(*known))
        assert await listed(agent) == (200, [one.service_name for one in known], "fresh")
        agent.sidecar.view.lost()
        clock.pass_time(61)
        agent.sidecar.view.tick()
        if known:
            assert await listed(agent) == (200, ["geo"], "expired")
        else:
            assert (await listed(agent))[0] == 503, "that was a minute ago"


async def test_a_registry_that_refuses_everybody_leaves_its_agents_without_certainty() -> None:
    clock = FakeClock()
    closed = msgspec.structs.replace(READY, secrets=("a-long-random-word",), warming_s=1.0)
    async with (
        serving(closed, clock=clock) as api,
        stand_in() as service,
        standing(api.url, spec(service, check=CheckKind.NONE)) as agent,
    ):
        await eventually(lambda: api.replica.health.view().components.access.status == "refusing", "it is refused")
        clock.pass_time(REFUSED_FOR_S - 1)
        api.replica.hub.tick()
        assert api.replica.view.state.value == "warming"
        await becomes(lambda: listed(agent), (200, ["osint_service"], "partial"))
        assert await agent.addresses("osint-service") == [service.host]
        assert (await agent.get("/services/geo")).status == 503
