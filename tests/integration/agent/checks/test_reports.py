"""Services that report by themselves (ttl checks), and services with several checks, seen from outside."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from agent.checks.flapping import FlapLimits
from agent.checks.spec import CheckPace, CheckSpec, CommandCheck, TcpCheck, TtlCheck
from agent.settings.settings import ServiceSpec
from registry_core.domain.records import Registration
from registry_core.settings import Listen
from tests.integration.agents import QUICK, QUICK_PACE, AgentUnderTest, becomes, standing
from tests.integration.replicas import Answer, Api
from tests.programs import eventually

PASSING = {"status": "passing"}
FOREVER = CheckSpec("ttl", TtlCheck(600.0))


def reporting(*checks: CheckSpec, host: str = "127.77.0.5", instance_id: str = "a") -> ServiceSpec:
    claim = Registration(service_name="night_batch", host=host, port=8034, instance_id=instance_id)
    return ServiceSpec(claim, checks or (FOREVER,))


async def put(agent: AgentUnderTest, path: str, body: object = PASSING, **more: Any) -> Answer:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    async with agent.session.put(f"{agent.url}{path}", data=data, **more) as response:
        raw = await response.read()
        return Answer(response.status, response.headers, msgspec.json.decode(raw) if raw else None)


def status_of(agent: AgentUnderTest, number: int = 0) -> str | None:
    assert agent.sidecar.session is not None
    return agent.sidecar.session.report()[number].registered_status


async def test_a_service_has_the_status_that_it_reports(api: Api) -> None:
    async with standing(api.url, reporting()) as agent:
        assert await agent.addresses("night-batch") == []
        assert (await put(agent, "/check/night_batch")).status == 204
        await becomes(lambda: agent.addresses("night-batch"), ["127.77.0.5"])
        assert (await put(agent, "/check/night-batch/a", {"status": "critical", "output": "no\nwork"})).status == 204
        await becomes(lambda: agent.addresses("night-batch"), [])
        shown = (await agent.get("/self")).body["services"][0]
        assert shown["checks"][0] == {
            "name": "ttl",
            "kind": "ttl",
            "address": "",
            "status": "critical",
            "last": "no work",
            "flaps": 0,
            "held_seconds": 0.0,
            "not_checked": "",
        }
        await put(agent, "/check/night_batch", {"status": "warning", "output": "slow"})
        await becomes(lambda: agent.addresses("night-batch"), ["127.77.0.5"])
        await eventually(lambda: status_of(agent) == "warning", "the registry was told")


async def test_a_service_without_a_timely_report_is_critical(api: Api) -> None:
    async with standing(api.url, reporting(CheckSpec("ttl", TtlCheck(0.3)))) as agent:
        await put(agent, "/check/night_batch")
        await becomes(lambda: agent.addresses("night-batch"), ["127.77.0.5"])
        await becomes(lambda: agent.addresses("night-batch"), [])
        assert (await agent.get("/self")).body["services"][0]["last_check"] == "no report within 0.3 s"
        await put(agent, "/check/night_batch")
        await becomes(lambda: agent.addresses("night-batch"), ["127.77.0.5"])


async def test_a_service_held_for_flapping_comes_back_without_another_report(api: Api) -> None:
    pace = CheckPace(flaps=FlapLimits(changes=1, window_s=60.0, hold_s=0.4))
    async with standing(api.url, reporting(CheckSpec("ttl", TtlCheck(600.0), pace))) as agent:
        for status in ("passing", "critical", "passing"):
            await put(agent, "/check/night_batch", {"status": status})
        shown = (await agent.get("/self")).body["services"][0]
        assert (shown["status"], shown["checks"][0]["flaps"]) == ("critical", 1)
        assert 0 < shown["checks"][0]["held_seconds"] <= 0.4
        await becomes(lambda: agent.addresses("night-batch"), ["127.77.0.5"])


async def test_a_service_that_never_reports_is_registered_as_critical(api: Api) -> None:
    settings = msgspec.structs.replace(QUICK, initial_wait_s=0.2)
    async with standing(api.url, reporting(), settings=settings) as agent:
        await eventually(lambda: status_of(agent) == "critical", "it is registered")


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/check/other", PASSING, 404, "this agent checks no such service"),
        ("/check/night_batch/b", PASSING, 404, "this agent checks no such service"),
        ("/check/night_batch?check=other", PASSING, 404, "no ttl check of that name, only ttl"),
        ("/check/night_batch?chek=ttl", PASSING, 400, "no such query parameter"),
        ("/check/night_batch", {"status": "well"}, 400, "status must be one of critical, passing, warning"),
        ("/check/night_batch", {}, 400, "status is missing"),
        ("/check/night_batch", {"status": "passing", "url": "http://x"}, 400, "there is no such field"),
        ("/check/night_batch", b"passing", 400, "the body is not JSON"),
        ("/check/night_batch", {"status": "passing", "output": "x" * 2000}, 413, ""),
    ],
)
async def test_an_invalid_report_is_refused_with_the_reason(
    api: Api, path: str, body: object, status: int, said: str
) -> None:
    async with standing(api.url, reporting()) as agent:
        answer = await put(agent, path, body)
        assert (answer.status, said in answer.body["message"]) == (status, True), answer.body
        assert status_of(agent) is None


async def test_a_browser_page_cannot_report(api: Api) -> None:
    async with standing(api.url, reporting()) as agent:
        answer = await put(agent, "/check/night_batch", headers={"Origin": f"http://{agent.sidecar.http_listen}"})
        assert answer.status == 403
        assert status_of(agent) is None


async def test_another_machine_cannot_report(api: Api, own_address: str) -> None:
    settings = msgspec.structs.replace(QUICK, http_listen=Listen(own_address, 0))
    async with standing(api.url, reporting(), settings=settings) as agent:
        assert (await agent.get("/live")).status == 200
        assert (await put(agent, "/check/night_batch")).status == 403
        assert status_of(agent) is None


async def test_instance_and_check_must_be_named_when_there_are_several(api: Api) -> None:
    both = (CheckSpec("input", TtlCheck(600.0)), CheckSpec("output", TtlCheck(600.0)))
    services = (reporting(*both), reporting(host="127.77.0.6", instance_id="b"))
    async with standing(api.url, *services) as agent:
        answer = await put(agent, "/check/night_batch")
        assert (answer.status, answer.body["error"]) == (409, "AmbiguousInstance")
        assert (await put(agent, "/check/night_batch/b")).status == 204
        answer = await put(agent, "/check/night_batch/a")
        assert (answer.status, answer.body["field"]) == (400, "check")
        assert (await put(agent, "/check/night_batch/a?check=input")).status == 204
        await becomes(lambda: agent.addresses("night-batch"), ["127.77.0.6"])
        assert (await put(agent, "/check/night_batch/a?check=output")).status == 204
        await becomes(lambda: agent.addresses("night-batch"), ["127.77.0.5", "127.77.0.6"])


async def test_a_service_without_a_ttl_check_accepts_no_report(api: Api) -> None:
    async with standing(api.url, reporting(CheckSpec("tcp", TcpCheck(), QUICK_PACE))) as agent:
        answer = await put(agent, "/check/night_batch")
        assert (answer.status, "has no ttl check" in answer.body["message"]) == (404, True)


async def test_an_endless_report_is_abandoned(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.http.check_api.BODY_S", 0.1)
    async with standing(api.url, reporting()) as agent:
        listen = agent.sidecar.http_listen
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        writer.write(b"PUT /check/night_batch HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{")
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()


async def test_a_service_with_a_warning_is_served_and_its_warning_shown(api: Api) -> None:
    pace = CheckPace(interval_s=0.1, timeout_s=1.0)
    warning = CheckSpec("disk", CommandCheck(("/bin/sh", "-c", "echo disk 93 %; exit 1")), pace)
    async with standing(api.url, reporting(warning)) as agent:
        await becomes(lambda: agent.addresses("night-batch"), ["127.77.0.5"])
        await eventually(lambda: status_of(agent) == "warning", "it is registered with a warning")
        assert (await agent.get("/self")).body["services"][0]["last_check"] == "exit code 1: disk 93 %"
        metrics = (await agent.get("/metrics")).body.decode()
        assert 'agent_check_results_total{kind="command",result="warning"}' in metrics
        assert "agent_check_flaps_total 0.0" in metrics
        assert "agent_check_held 0.0" in metrics
