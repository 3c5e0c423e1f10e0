"""The life of a registration, with a real registry, real checks and real lookups."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.checks.spec import CheckKind
from agent.registration.decisions import Phase, RequestOutcome
from agent.view.state_dir import StateDir
from registry_core.domain.events import Event, StatusChanged
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import Status
from registry_core.replica_settings import ReplicaSettings
from registry_core.settings import Listen
from registry_core.upstreams.probes import RegistryProbes
from tests.integration.agents import QUICK, AgentUnderTest, StandIn, becomes, spec, stand_in, standing
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually, free_port


class Recorder:
    """Records what a registry's view is told."""

    def __init__(self, api: Api) -> None:
        self.events: list[Event] = []
        api.replica.view.subscribe(self)

    def on_event(self, event: Event, _service_name: str) -> None:
        self.events.append(event)

    def told(self, status: Status) -> list[Event]:
        """Return the changes to a status."""
        return [event for event in self.events if isinstance(event, StatusChanged) and event.status is status]

    def on_moved(self, differences: Sequence[Event]) -> None:
        pass

    def on_reset(self) -> None:
        self.events.clear()


@contextlib.asynccontextmanager
async def one_service(api: Api, check: CheckKind = CheckKind.HTTP) -> AsyncIterator[tuple[StandIn, AgentUnderTest]]:
    async with stand_in() as service, standing(api.url, spec(service, check=check)) as agent:
        await becomes(lambda: agent.addresses("osint-service"), [service.host])
        yield service, agent


async def test_a_service_is_found_over_dns_and_http(api: Api) -> None:
    async with one_service(api) as (service, agent):
        found = (await agent.get("/services/osint-service")).body
        assert found["endpoint"] == f"http://{service.host}:{service.port}"
        assert found["instances"][0]["addresses"] == [service.host]
        assert 0 < found["ttl_remaining"] <= 60
        assert (await agent.get("/services")).body == ["osint_service"]
        for tcp in (False, True):
            srv = (await agent.dig("_osint_service._tcp.vertice.internal", "SRV", tcp=tcp)).rr
            assert [rr.rdata.port for rr in srv] == [service.port]
        assert set(service.asked) == {"/health"}


async def test_a_service_whose_host_is_a_name_is_found_checked_and_deregistered(api: Api) -> None:
    async with stand_in("127.0.0.1") as service:
        at_address = spec(service)
        claim = msgspec.structs.replace(at_address.claim, host="localhost", instance_id=f"localhost:{service.port}")
        named = msgspec.structs.replace(at_address, claim=claim)
        async with standing(api.url, named) as agent:
            await becomes(lambda: agent.addresses("osint-service"), ["127.0.0.1"])
            found = (await agent.get("/services/osint-service")).body
            assert (found["host"], found["endpoint"]) == ("localhost", f"http://localhost:{service.port}")
            assert "127.0.0.1" in found["instances"][0]["addresses"]
            assert set(service.asked) == {"/health"}
            service.status = 500
            await becomes(lambda: agent.addresses("osint-service"), [])
            service.status = 200
            await becomes(lambda: agent.addresses("osint-service"), ["127.0.0.1"])
        assert api.replica.view.catalog.find("osint-service") is None, "it deregistered"


async def test_a_service_that_starts_late_is_waited_for(api: Api) -> None:
    async with stand_in() as service:
        service.status = 503
        async with standing(api.url, spec(service)) as agent:
            await eventually(lambda: len(service.asked) >= 3, "some checks")
            assert (await api.call("GET", "/services")).body == []
            service.status = 200
            await becomes(lambda: agent.addresses("osint-service"), [service.host])


async def test_a_service_that_never_becomes_healthy_is_registered_as_critical(api: Api) -> None:
    async with stand_in() as service:
        service.status = 503
        quick = msgspec.structs.replace(QUICK, initial_wait_s=0.2)
        async with standing(api.url, spec(service), settings=quick) as agent:
            await eventually(lambda: agent.sidecar.view.catalog.service_count == 1, "it is registered")
            statuses = [instance.status for instance in agent.sidecar.view.catalog]
            assert statuses == [Status.CRITICAL]
            assert await agent.addresses("osint-service") == []
            service.status = 200
            await becomes(lambda: agent.addresses("osint-service"), [service.host])


async def test_a_service_that_fails_its_check_leaves_dns_until_it_recovers(api: Api) -> None:
    async with (
        one_service(api) as (service, agent),
        stand_in("127.77.0.2") as other,
        standing(api.url, spec(other)) as beside,
    ):
        await becomes(lambda: beside.addresses("osint-service"), [service.host, other.host])
        service.status = 500
        await becomes(lambda: beside.addresses("osint-service"), [other.host])
        shown = (await api.call("GET", "/services/osint_service?status=critical")).body
        assert [i["host"] for i in shown["instances"]] == [service.host]
        service.status = 200
        await becomes(lambda: agent.addresses("osint-service"), [service.host, other.host])


async def test_a_service_that_stops_listening_leaves_dns(api: Api) -> None:
    async with one_service(api, check=CheckKind.TCP) as (service, agent):
        await service.stop()
        await becomes(lambda: agent.addresses("osint-service"), [])
        await service.start()
        await becomes(lambda: agent.addresses("osint-service"), [service.host])


async def test_an_unchecked_service_is_registered_at_once(api: Api) -> None:
    async with stand_in() as service, standing(api.url, spec(service, check=CheckKind.NONE)) as agent:
        await becomes(lambda: agent.addresses("osint-service"), [service.host])
        assert service.asked == []


async def test_heartbeats_keep_the_lease() -> None:
    terms = LeaseTerms(ttl_s=1.0, heartbeat_s=0.3, grace_s=1.0, sweep_every_s=0.1)
    async with serving(msgspec.structs.replace(READY, terms=terms)) as api, one_service(api) as (_, agent):
        recorder = Recorder(api)
        beats = agent.sidecar.session.beats if agent.sidecar.session is not None else None
        assert beats is not None
        await eventually(lambda: beats[RequestOutcome.DONE] >= 10, "ten heartbeats: longer than the lease")
        assert [e for e in recorder.events if type(e).__name__ == "Expired"] == []
        assert len(api.replica.view.catalog) == 1


async def test_an_instance_forgotten_by_the_registry_registers_again(api: Api) -> None:
    async with one_service(api) as (service, agent):
        await api.call("DELETE", f"/deregister/osint_service/{service.host}:{service.port}")
        assert await agent.addresses("osint-service") == [service.host], "its own agent knows it all the time"
        await eventually(lambda: len(api.replica.view.catalog) == 1, "it is registered again")


async def test_a_newer_owner_fences_the_older_one(api: Api) -> None:
    async with one_service(api) as (service, agent):
        await api.register("osint_service", service.host, service.port, epoch=2**52)
        session = agent.sidecar.session
        assert session is not None
        await eventually(lambda: session.phases()[Phase.FENCED] == 1, "it is fenced off")
        assert "newer" in (await agent.get("/self")).body["services"][0]["problem"]
        assert (await agent.get("/health")).body["status"] == "degraded"
    assert len(api.replica.view.catalog) == 1, "the newer owner's instance is left alone"


async def test_a_refusal_is_shown_in_the_registrys_words(api: Api) -> None:
    async with stand_in() as service, stand_in("127.77.0.2") as other:
        await api.register("somebody_else", service.host, service.port)
        async with standing(api.url, spec(service), spec(other, "other_service")) as agent:
            await becomes(lambda: agent.addresses("other-service"), [other.host])

            async def told() -> list[tuple[str, str]]:
                shown = (await agent.get("/self")).body["services"]
                return [(s["phase"], s["problem"][:15]) for s in shown]

            await becomes(told, [("due", "Conflict: port:"), ("registered", "")])


async def test_a_stopping_agent_drains_and_deregisters_everything(api: Api) -> None:
    recorder = Recorder(api)
    async with one_service(api) as (service, _):
        address = f"{service.host}:{service.port}"
    told = [event.status for event in recorder.events if isinstance(event, StatusChanged)]
    assert told == [Status.DRAINING]
    assert [e.key.instance_id for e in recorder.events if type(e).__name__ == "Deregistered"] == [address]
    assert len(api.replica.view.catalog) == 0


async def test_lookups_continue_during_the_drain(api: Api) -> None:
    patient = msgspec.structs.replace(QUICK, drain_wait_s=3600.0)
    async with stand_in() as service, standing(api.url, spec(service), settings=patient) as agent:
        await becomes(lambda: agent.addresses("osint-service"), [service.host])
        closing = asyncio.create_task(agent.sidecar.close())
        await eventually(lambda: [i.status for i in agent.sidecar.view.catalog] == ["draining"], "it drains")
        assert await agent.addresses("osint-service") == [service.host], "there is no other"
        assert (await agent.get("/services")).body == ["osint_service"]
        closing.cancel()  # like a second signal
        await asyncio.gather(closing, return_exceptions=True)


async def test_an_agent_leaves_in_time_when_the_registry_is_down() -> None:
    async with stand_in() as service, contextlib.AsyncExitStack() as registry:
        api = await registry.enter_async_context(serving())
        async with asyncio.timeout(30), standing(api.url, spec(service)) as agent:
            await becomes(lambda: agent.addresses("osint-service"), [service.host])
            await registry.aclose()


async def test_a_hanging_disk_does_not_delay_the_deregistration(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(StateDir, "write_snapshot", lambda *_: goes_on.wait(30))
    monkeypatch.setattr("agent.sidecar.LAST_SAVE_S", 1000.0)
    recorder = Recorder(api)
    kept = msgspec.structs.replace(QUICK, state_dir=str(tmp_path))
    async with stand_in() as service, standing(api.url, spec(service), settings=kept) as agent:
        await becomes(lambda: agent.addresses("osint-service"), [service.host])
        closing = asyncio.create_task(agent.sidecar.close())
        await eventually(lambda: bool(recorder.told(Status.DRAINING)), "it says that it drains")
        goes_on.set()
        await closing


async def test_a_loop_that_dies_is_restarted_and_shown(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, broken = RegistryProbes._ask_those_due, asyncio.Event()

    async def fails_once(probes: RegistryProbes) -> None:
        if not broken.is_set():
            broken.set()
            raise LookupError("nobody thought of it")
        await ask(probes)

    monkeypatch.setattr(RegistryProbes, "_ask_those_due", fails_once)
    with capture_logs():
        async with standing(api.url) as agent:

            async def shown() -> dict[str, tuple[int, bool]]:
                background = (await agent.get("/self")).body["background"]
                return {one["task"]: (one["restarts"], one["down"]) for one in background}

            names = ("watch resolv.conf", "registry names", "watch", "tick", "locate")
            await becomes(shown, {**dict.fromkeys(names, (0, False)), "probes": (1, False)})
            metrics = (await agent.get("/metrics")).body.decode()
    assert 'agent_background_restarts_total{task="probes"} 1.0' in metrics
    assert 'agent_background_restarts_total{task="watch"} 0.0' in metrics
    assert 'agent_background_failures_total{task="probes"} 1.0' in metrics


async def test_an_agent_without_services_only_answers(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1")
    async with standing(api.url) as agent:
        await becomes(lambda: agent.addresses("osint-service"), ["10.0.0.1"])
        assert (await agent.get("/self")).body["services"] == []
    assert len(api.replica.view.catalog) == 1


async def test_a_registry_that_comes_back_empty_costs_no_lookup() -> None:
    settings = ReplicaSettings(listen=Listen("127.0.0.1", free_port()), warming_s=2.0)
    async with contextlib.AsyncExitStack() as stack, stand_in() as service:
        registry = await stack.enter_async_context(contextlib.AsyncExitStack())
        api = await registry.enter_async_context(serving(settings))
        # An instance without an agent stands for those whose agents are late.
        await api.register("orphan", "10.0.0.9")
        # No heartbeat tells the agent: it must learn it from the watch.
        patient = msgspec.structs.replace(QUICK, heartbeat_s=3600.0)
        agent = await stack.enter_async_context(standing(api.url, spec(service), settings=patient))
        await becomes(lambda: agent.addresses("osint-service"), [service.host])
        await becomes(lambda: agent.addresses("orphan"), ["10.0.0.9"])
        stop = asyncio.Event()
        answers: list[list[str]] = []

        async def ask() -> None:
            while not stop.is_set():
                answers.append(await agent.addresses("osint-service") + await agent.addresses("orphan"))
                assert (await agent.get("/services/osint-service")).status == 200

        asking = asyncio.create_task(ask())
        await registry.aclose()
        await eventually(lambda: not agent.sidecar.view.trust.live, "the loss shows")
        restarted = await stack.enter_async_context(serving(settings))
        await eventually(lambda: len(restarted.replica.view.catalog) == 1, "the agent registers again")
        stop.set()
        await asking
        assert len(answers) > 1
        assert {tuple(a) for a in answers} == {(service.host, "10.0.0.9")}
        # When the registry is ready again, it decides: the orphan is gone.
        await becomes(lambda: agent.addresses("orphan"), [], timeout_s=40.0)
        assert await agent.addresses("osint-service") == [service.host]
        assert agent.sidecar.view.complete
