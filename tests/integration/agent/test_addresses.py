"""A service whose name has several addresses: what is checked is what is registered, and what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest_asyncio
from structlog.testing import capture_logs

from agent.settings.settings import ServiceSpec
from dns.forward_rules import read_rules
from tests.foreign import name_in, read, reply_to
from tests.integration.agents import QUICK, AgentUnderTest, StandIn, becomes, spec, stand_in, standing
from tests.integration.replicas import Api
from tests.programs import eventually
from tests.resolvers import resolver

HERE, THERE, NOWHERE = "127.77.4.1", "127.77.4.2", "127.77.4.3"


class Zone:
    """A resolver's script: `both.example` has these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    def __call__(self, query: bytes, _transport: str) -> list[bytes]:
        name = name_in(query)
        if name.lower() != "both.example." or read(query).q.qtype != 1:
            return [reply_to(query, rcode=0 if name.lower() == "both.example." else 3)]
        return [reply_to(query, *(f"{name} 60 IN A {address}" for address in self.addresses))]


@pytest_asyncio.fixture
async def here() -> AsyncIterator[StandIn]:
    async with stand_in(HERE) as running:
        yield running


@pytest_asyncio.fixture
async def there(here: StandIn) -> AsyncIterator[StandIn]:
    """The same service at a second address, on the same port."""
    running = StandIn(THERE)
    running.port = here.port
    await running.start()
    yield running
    await running.stop()


def by_name(service: StandIn) -> ServiceSpec:
    one = spec(service)
    return ServiceSpec(msgspec.structs.replace(one.claim, host="both.example", instance_id="a"), one.checks)


def registered(agent: AgentUnderTest) -> tuple[str, ...]:
    assert agent.sidecar.session is not None
    return agent.sidecar.session.claims()[0].addresses


async def test_only_the_addresses_that_pass_are_answered(api: Api, here: StandIn, there: StandIn) -> None:
    async with resolver(Zone(HERE, THERE, NOWHERE)) as names:
        settings = msgspec.structs.replace(QUICK, dns_forward=read_rules(f"127.0.0.1:{names.port}"))
        async with standing(api.url, by_name(here), settings=settings) as agent:
            await becomes(lambda: agent.addresses("osint-service"), [HERE, THERE])
            with capture_logs() as lines:
                await there.stop()
                await becomes(lambda: agent.addresses("osint-service"), [HERE])
            changes = [line for line in lines if line["event"] == "address_changed"]
            assert [(line["before"], line["after"]) for line in changes] == [((HERE, THERE), (HERE,))]
            service = (await agent.get("/self")).body["services"][0]
            assert service["registered_status"] == "passing"
            assert {row["address"]: row["status"] for row in service["checks"]} == {
                HERE: "passing",
                THERE: "critical",
                NOWHERE: "critical",
            }
            # When none passes, it is critical, and its addresses do not change.
            await here.stop()
            await becomes(lambda: agent.addresses("osint-service"), [])
            assert agent.sidecar.session is not None
            await eventually(lambda: registered(agent) == (HERE,), "it stays where it was")


async def test_each_check_has_the_name_in_its_host_header(api: Api, here: StandIn, there: StandIn) -> None:
    async with resolver(Zone(HERE, THERE)) as names:
        settings = msgspec.structs.replace(QUICK, dns_forward=read_rules(f"127.0.0.1:{names.port}"))
        async with standing(api.url, by_name(here), settings=settings):
            for service in (here, there):
                await eventually(lambda s=service: bool(s.requests), "it is checked")  # type: ignore[misc]
                assert f"Host: both.example:{here.port}\r\n" in service.requests[0]
