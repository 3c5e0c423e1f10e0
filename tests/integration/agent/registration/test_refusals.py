"""A refused registration is tried again as soon as its cause may be gone, and all say for which instance it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from agent.checks.spec import CheckKind
from agent.registration.decisions import Phase
from agent.settings.settings import ServiceSpec
from agent.sidecar import Sidecar
from registry_core.domain.records import Registration
from registry_core.security.sending import SenderKeys
from registry_core.security.signing_keys import shared_key
from tests.integration.agents import QUICK, AgentUnderTest, becomes, line_to, spec, stand_in, standing
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually

# Longer than any test waits: an agent that tries again earlier was woken.
TERMS = msgspec.structs.replace(READY.terms, ttl_s=600.0, heartbeat_s=300.0)


@pytest_asyncio.fixture
async def patient() -> AsyncIterator[Api]:
    async with serving(msgspec.structs.replace(READY, terms=TERMS)) as running:
        yield running


def of(host: str, instance_id: str = "", name: str = "orders") -> ServiceSpec:
    return ServiceSpec(
        Registration(service_name=name, instance_id=instance_id or f"{host}:8034", host=host, port=8034), ()
    )


async def reported(agent: AgentUnderTest) -> Any:
    return (await agent.get("/self")).body["services"][0]


async def is_in(agent: AgentUnderTest, phase: Phase) -> None:
    session = agent.sidecar.session
    assert session is not None
    await eventually(lambda: session.phases()[phase] == 1, f"it is {phase}")


@pytest.mark.parametrize("host", ["127.77.1.2", "10.0.0.2"])
async def test_the_older_of_two_hosts_with_one_id_takes_over_at_once_when_the_newer_is_gone(
    patient: Api, host: str
) -> None:
    newer_epoch = 2**50
    with capture_logs() as lines:
        body = {"service_name": "orders", "instance_id": "one", "host": host, "port": 8034, "epoch": newer_epoch}
        await patient.call("POST", "/register", body)
        async with standing(patient.url, of("127.77.1.1", "one")) as older:
            await is_in(older, Phase.FENCED)
            there = {"service_name": "orders", "instance_id": "one", "address": f"{host}:8034", "addresses": [host]}
            mine = await reported(older)
            assert mine["refused_for"] == there
            assert f"{host}:8034" in mine["problem"]
            assert any(f"{host}:8034" in reason for reason in (await older.get("/health")).body["reasons"])
            answer = await patient.call("DELETE", f"/deregister/orders/one?epoch={newer_epoch}")
            assert answer.status == 200
            await is_in(older, Phase.REGISTERED)
            (instance,) = patient.replica.view.catalog
            assert instance.host == "127.77.1.1"
            assert (await reported(older))["refused_for"] is None
    (said,) = (line for line in lines if line["event"] == "fenced")
    assert (said["address"], said["holder"]) == ("127.77.1.1:8034", f"{host}:8034")
    (logged,) = (line for line in lines if line["event"] == "write_refused")
    assert (logged["service"], logged["instance"], logged["client"]) == ("orders", "one", "127.0.0.1")
    assert f"{host}:8034" in logged["because"]


async def test_the_older_one_takes_over_at_once_when_the_lease_of_the_newer_one_is_over() -> None:
    terms = msgspec.structs.replace(READY.terms, ttl_s=1.5, heartbeat_s=0.5, grace_s=1.5, sweep_every_s=0.1)
    async with serving(msgspec.structs.replace(READY, terms=terms)) as api:
        body = {"service_name": "orders", "instance_id": "one", "host": "10.0.0.2", "port": 8034, "epoch": 2**50}
        await api.call("POST", "/register", body)
        # One of another service stays alive, so that the guard has no reason to hold the other.
        async with standing(api.url, of("127.77.1.1", "one"), of("127.77.1.3", name="billing")):
            await eventually(
                lambda: {one.host for one in api.replica.view.catalog} == {"127.77.1.1", "127.77.1.3"}, "it takes over"
            )


async def test_an_agent_that_is_fenced_by_a_heartbeat_says_where_the_newer_one_is(patient: Api) -> None:
    with capture_logs() as lines:
        async with standing(patient.url, of("127.77.1.1", "one")) as older:
            await is_in(older, Phase.REGISTERED)
            body = {"service_name": "orders", "instance_id": "one", "host": "10.0.0.2", "port": 8034, "epoch": 2**50}
            await patient.call("POST", "/register", body)
            await is_in(older, Phase.FENCED)
            mine = await reported(older)
            assert (mine["refused_for"]["address"], "10.0.0.2:8034" in mine["problem"]) == ("10.0.0.2:8034", True)
    (logged, *_) = (line for line in lines if line["event"] == "write_refused")
    assert (logged["operation"], logged["instance"], "10.0.0.2:8034" in logged["because"]) == ("heartbeat", "one", True)


@pytest.mark.parametrize("change", ["deregistered", "critical", "moved"])
async def test_a_newcomer_gets_its_address_as_soon_as_the_holder_changes(patient: Api, change: str) -> None:
    await patient.register("billing", "127.77.1.1", instance_id="b1")
    with capture_logs() as lines:
        async with standing(patient.url, of("127.77.1.1")) as agent:
            await eventually(lambda: any(line["event"] == "refused" for line in lines), "it is refused")
            await eventually(lambda: agent.sidecar.view.catalog.service_count == 1, "it sees the holder")
            assert (await reported(agent))["refused_for"]["instance_id"] == "b1"
            match change:
                case "deregistered":
                    await patient.call("DELETE", "/deregister/billing/b1")
                case "critical":
                    await patient.call("PUT", "/status/billing/b1", {"status": "critical"})
                case _:
                    await patient.register("billing", "127.77.1.9", instance_id="b1")
            await is_in(agent, Phase.REGISTERED)
    (said,) = (line for line in lines if line["event"] == "refused")
    assert said["holder"] == "127.77.1.1:8034"


async def test_a_refusal_says_when_to_come_again_and_the_agent_does() -> None:
    terms = msgspec.structs.replace(READY.terms, ttl_s=600.0, heartbeat_s=1.8)
    async with serving(msgspec.structs.replace(READY, terms=terms)) as api, stand_in() as service:
        await api.register("billing", service.host, service.port)
        claim = {"service_name": "orders", "host": service.host, "port": service.port}
        for headers, earliest in ({"X-Registry-Check": "passing"}, 3), ({}, 600):
            refusal = await api.call("POST", "/register", claim, headers=headers)
            assert (refusal.status, refusal.body["holder"]["service_name"]) == (409, "billing")
            assert earliest - 3 < int(refusal.headers["Retry-After"]) <= earliest
        # It has missed a heartbeat by then, and the newcomer's check passes. Ten minutes later its TTL would be over.
        async with standing(api.url, spec(service, "orders")) as agent:
            await is_in(agent, Phase.REGISTERED)
            assert api.replica.view.catalog.names() == ["orders"]


async def test_without_a_check_the_holder_keeps_its_address_for_its_ttl() -> None:
    terms = msgspec.structs.replace(READY.terms, ttl_s=600.0, heartbeat_s=0.1)
    async with serving(msgspec.structs.replace(READY, terms=terms)) as api, stand_in() as service:
        await api.register("billing", service.host, service.port)
        async with standing(api.url, spec(service, "orders", CheckKind.NONE)) as agent:
            session = agent.sidecar.session
            assert session is not None
            await eventually(lambda: session.report()[0].refused, "it is refused")
            agent.sidecar.reload()
            assert api.replica.view.catalog.names() == ["billing"]


async def registrations(api: Api) -> float:
    text = (await api.call("GET", "/metrics")).body.decode()
    return sum(
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith('registry_operations_total{operation="register"')
    )


@pytest.mark.parametrize("cause", ["signal", "new watch"])
async def test_a_signal_or_a_new_watch_has_a_refused_service_tried_again(patient: Api, cause: str) -> None:
    await patient.register("billing", "127.77.1.1", instance_id="b1")
    async with line_to(patient.replica.listen.port) as line, standing(line.url, of("127.77.1.1")) as agent:
        session, sync = agent.sidecar.session, agent.sidecar.sync
        assert session is not None
        assert sync is not None
        await eventually(lambda: bool(session.report()[0].refused_for), "it is refused")
        await eventually(lambda: agent.sidecar.view.catalog.service_count == 1, "it sees the holder")
        tried = await registrations(patient)
        if cause == "signal":
            agent.sidecar.reload()
        else:
            line.cut()

        async def is_tried_again() -> bool:
            return await registrations(patient) > tried

        await becomes(is_tried_again, wanted=True)


async def test_new_settings_have_a_refused_service_tried_again() -> None:
    async with serving(msgspec.structs.replace(READY, secrets=("right",))) as api:
        wrong, right = (SenderKeys(shared_key(word)) for word in ("wrong", "right"))
        settings = msgspec.structs.replace(QUICK, registry_urls=(api.url,), services=(of("127.77.1.1"),), keys=wrong)
        sidecar = Sidecar(settings, read_again=lambda: msgspec.structs.replace(settings, keys=right))
        await sidecar.start()
        try:
            session = sidecar.session
            assert session is not None
            await eventually(lambda: session.report()[0].refused, "it is refused")
            sidecar.reload()
            await eventually(lambda: session.phases()[Phase.REGISTERED] == 1, "it is registered")
        finally:
            await sidecar.close()


@pytest.mark.parametrize(("before", "after"), [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")])
async def test_a_service_takes_over_its_own_address_under_another_host(patient: Api, before: str, after: str) -> None:
    """Without an id of its own it is another instance then, which waits for the departure of the first."""
    settings = msgspec.structs.replace(QUICK, registry_urls=(patient.url,), services=(of(before),))
    sidecar = Sidecar(settings, read_again=lambda: msgspec.structs.replace(settings, services=(of(after),)))
    await sidecar.start()
    try:
        catalog = patient.replica.view.catalog
        await eventually(lambda: [one.host for one in catalog] == [before], "it is registered")
        sidecar.reload()
        await eventually(lambda: [one.host for one in catalog] == [after], "it has taken its own place")
    finally:
        await sidecar.close()
