"""`GET /explain/{name}`: where an answer comes from, and why, from agents with more or less knowledge."""

from __future__ import annotations

from pathlib import Path

import msgspec

from agent.view.fallback import of_environment
from registry_core.domain.records import Status
from registry_core.domain.selection import WhenNonePass
from tests.integration.agents import QUICK, becomes, spec, stand_in, standing
from tests.integration.replicas import Api
from tests.programs import free_port


async def test_an_answer_is_explained_with_its_source_and_age(api: Api) -> None:
    await api.register("billing", status="draining")
    async with stand_in() as service, standing(api.url, spec(service)) as agent:
        await becomes(lambda: agent.addresses("osint-service"), ["127.77.0.1"])
        answer = await agent.get("/explain/osint-service")
        assert answer.headers["X-Cache"] == "fresh"
        body = answer.body
        assert (body["service_name"], body["source"], body["freshness"]) == ("osint_service", "view", "fresh")
        (one,) = body["instances"]
        assert (one["verdict"], one["answers"], one["why"]) == ("in", ["http", "a", "srv"], "it passes its checks")
        (one,) = (await agent.get("/explain/billing")).body["instances"]
        assert (one["verdict"], one["status"], one["answers"]) == ("in", Status.DRAINING, ["http", "a", "srv"])
        assert one["why"] == "it drains; answers contain it because no other one passes"
        unknown = await agent.get("/explain/biling")
        assert (unknown.status, unknown.body["found"], unknown.body["similar"]) == (200, False, ["billing"])
        assert (await agent.get("/explain/billing?what=x")).status == 400


async def test_answers_from_the_environment_or_a_snapshot_name_their_source(api: Api, tmp_path: Path) -> None:
    static_services = (tuple(of_environment({"MAILER_URL": "http://10.9.9.9:8000"})), ())
    settings = msgspec.structs.replace(QUICK, state_dir=str(tmp_path / "state"), static_services=static_services)
    await api.register("billing")
    async with standing(api.url, settings=settings) as agent:
        await becomes(lambda: agent.addresses("billing"), ["10.0.0.7"])
        assert (await agent.get("/explain/mailer")).body["source"] == "", "the registry reports none"
    nobody = f"http://127.0.0.1:{free_port()}"
    async with standing(nobody, settings=settings) as agent:
        body = (await agent.get("/explain/billing")).body
        assert (body["source"], body["freshness"], body["complete"]) == ("snapshot", "expired", False)
        body = (await agent.get("/explain/mailer")).body
        assert (body["source"], body["instances"][0]["ttl_remaining"]) == ("environment", None)


async def test_an_instance_that_has_left_srv_is_out_and_the_reason_is_given(api: Api) -> None:
    settings = msgspec.structs.replace(QUICK, when_none_pass=WhenNonePass.ALL)
    await api.register("billing", host="127.77.0.8", status="draining")
    await api.register("billing", host="127.77.0.9")
    async with standing(api.url, settings=settings) as agent:

        async def leaving() -> list[tuple[str, list[str]]]:
            shown = (await agent.get("/explain/billing")).body["instances"]
            return [(one["why"], one["answers"]) for one in shown if one["status"] == Status.DRAINING]

        await becomes(leaving, [("it has drained: SRV, too, no longer returns it", [])])
