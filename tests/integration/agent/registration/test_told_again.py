"""A difference between registry and agent is corrected at once, and not only with the next heartbeat."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.checks.spec import CheckKind
from agent.registration.decisions import Phase, RequestOutcome
from registry_core.domain.records import Instance, InstanceKey, Status
from tests.integration.agents import QUICK, AgentUnderTest, becomes, spec, stand_in, standing
from tests.integration.replicas import Api
from tests.programs import eventually

# No heartbeat is sent during a test.
UNHURRIED = msgspec.structs.replace(QUICK, heartbeat_s=300.0)
SOON_S = 5.0  # it takes half a second on an idle machine


class Pair:
    """A replica, and an agent of two services that it follows."""

    def __init__(self, api: Api, agent: AgentUnderTest, ports: dict[str, int]) -> None:
        self.api = api
        self.agent = agent
        self.ports = ports

    def instance(self, service: str = "first_service") -> Instance | None:
        return self.api.replica.view.catalog.get(
            InstanceKey(service.replace("_", "-"), f"127.77.0.1:{self.ports[service]}")
        )

    def status(self, service: str = "first_service") -> Status | None:
        found = self.instance(service)
        return found.status if found is not None else None

    async def say(self, status: Status, service: str = "first_service") -> None:
        """Set a status at the registry, bypassing the agent."""
        path = f"/status/{service}/127.77.0.1:{self.ports[service]}"
        answer = await self.api.call("PUT", path, {"status": status})
        assert answer.status == 200
        assert self.status(service) is status

    async def until_mended_twice(self, service: str) -> None:
        """Wait until earlier changes have been seen for long: correcting twice takes over a second."""
        for _ in range(2):
            await self.say(Status.CRITICAL, service)
            await eventually(lambda: self.status(service) is Status.PASSING, f"{service} passes", timeout_s=SOON_S)

    def phases(self) -> dict[Phase, int]:
        session = self.agent.sidecar.session
        assert session is not None
        return session.phases()


@pytest.fixture
async def pair(api: Api) -> AsyncIterator[Pair]:
    async with stand_in() as first, stand_in() as second, contextlib.AsyncExitStack() as stack:
        specs = [
            spec(first, "first_service", CheckKind.NONE, weight=3),
            spec(second, "second_service", CheckKind.NONE),
        ]
        agent = await stack.enter_async_context(standing(api.url, *specs, settings=UNHURRIED))
        session = agent.sidecar.session
        assert session is not None
        await eventually(lambda: session.phases() == {Phase.REGISTERED: 2}, "both are registered")
        await becomes(lambda: agent.addresses("first-service"), ["127.77.0.1"])
        yield Pair(api, agent, {"first_service": first.port, "second_service": second.port})
        assert session.beats[RequestOutcome.DONE] == 0


async def test_an_overwritten_status_is_sent_again(pair: Pair) -> None:
    with capture_logs() as lines:
        await pair.say(Status.CRITICAL)
        await eventually(lambda: pair.status() is Status.PASSING, "it passes again", timeout_s=SOON_S)
    assert [line["differs"] for line in lines if line["event"] == "told_again"] == ["status"]
    await becomes(lambda: pair.agent.addresses("first-service"), ["127.77.0.1"])


async def test_an_instance_deregistered_by_someone_else_registers_again(pair: Pair) -> None:
    answer = await pair.api.call("DELETE", "/deregister/first_service")
    assert answer.status == 200
    assert pair.instance() is None
    await eventually(lambda: pair.status() is Status.PASSING, "it is there again", timeout_s=SOON_S)


async def test_an_overwritten_record_is_registered_again(pair: Pair) -> None:
    await pair.api.register("first_service", "127.77.0.1", pair.ports["first_service"], weight=7)
    before = pair.instance()
    assert before is not None
    assert before.weight == 7

    def mended() -> bool:
        found = pair.instance()
        return found is not None and found.weight == 3

    await eventually(mended, "its weight is the agent's", timeout_s=SOON_S)


@pytest.mark.parametrize("status", [Status.DRAINING, Status.MAINTENANCE])
async def test_an_operators_status_stays_until_the_agents_own_changes(pair: Pair, status: Status) -> None:
    await pair.say(status)
    await pair.until_mended_twice("second_service")
    assert pair.status() is status
    other = Status.MAINTENANCE if status is Status.DRAINING else Status.DRAINING
    path = "maintenance" if other is Status.MAINTENANCE else "drain"
    async with pair.agent.session.post(f"{pair.agent.url}/{path}?service=first_service") as answer:
        assert answer.status == 200
    await eventually(lambda: pair.status() is other, "the agent's word counts now")


async def test_a_newer_owner_is_not_contradicted(pair: Pair) -> None:
    port = pair.ports["first_service"]
    await pair.api.register("first_service", "127.77.0.1", port, epoch=2**52, status=Status.CRITICAL)
    await pair.until_mended_twice("second_service")
    assert pair.phases() == {Phase.REGISTERED: 2}, "it was not even tried"
    found = pair.instance()
    assert found is not None
    assert (found.epoch, found.status) == (2**52, Status.CRITICAL)
