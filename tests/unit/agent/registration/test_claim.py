"""A service is not registered under an address that means another machine to each client, unless somebody chose it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.registration.claim import Claims
from agent.registration.decisions import MemberState, Phase, RequestOutcome
from agent.registration.identity import StartTime
from agent.registration.member import Member
from agent.registries.client import LeaseTold, RegistryClient, RegistryReply
from agent.settings.settings import ServiceSpec
from registry_core.domain.records import Registration, Status
from registry_core.resolution import HostResolver, Resolver
from tests.samples import FakeClock, claim

HERE, ELSEWHERE = "http://localhost:8888", "http://registry.example:8888"


class Client(RegistryClient):
    """A registry that grants whatever it is sent."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._urls = urls
        self.sent: list[Registration] = []
        self.passing: list[bool] = []

    @property
    def urls(self) -> tuple[str, ...]:
        return self._urls

    async def time(self) -> float | None:
        return None

    async def register(self, claim: Registration, *, passing: bool = False) -> tuple[RegistryReply, LeaseTold | None]:
        self.sent.append(claim)
        self.passing.append(passing)
        return RegistryReply(RequestOutcome.DONE), LeaseTold(60.0, 30.0)


class Names:
    """What the host names of the tests mean; `vm7` is that of this machine."""

    def __init__(self) -> None:
        self.known = {
            "vm7": ["127.0.1.1"],
            "localhost": ["127.0.0.1", "::1"],
            "registry.example": ["10.0.0.2"],
            "own-registry": ["127.0.1.1"],
        }

    def __call__(self, host: str) -> Iterable[str]:
        return self.known[host]


class Tried:
    """One service of an agent."""

    def __init__(self, host: str, urls: tuple[str, ...] = (ELSEWHERE,), *, chosen: bool) -> None:
        self.client, self.names = Client(urls), Names()
        clock = FakeClock()
        resolver = HostResolver(Resolver(self.names))
        self.claims = Claims(self.client, resolver, clock=clock, start=StartTime(clock.wall(), clock.monotonic()))
        spec = ServiceSpec(claim("billing", host), has_own_host=chosen)
        self.member = Member(spec, spec.claim, MemberState(phase=Phase.DUE))

    async def register(self) -> RegistryReply:
        reply, _ = await self.claims.register(self.member, Status.PASSING)
        return reply


async def test_a_name_that_nobody_chose_and_that_is_loopback_is_not_registered_elsewhere() -> None:
    service = Tried("vm7", chosen=False)
    reply = await service.register()
    assert (reply.outcome, service.client.sent) == (RequestOutcome.REFUSED, [])
    for word in ("SERVICE_HOST is not set", "vm7 is 127.0.1.1", "example: SERVICE_HOST=10.0.0.7"):
        assert word in reply.said
    assert not service.member.known, "there is nothing to take out at the end"
    service.names.known["vm7"] = ["10.0.0.7"]
    assert (await service.register()).outcome is RequestOutcome.DONE
    assert service.client.sent[0].addresses == ("10.0.0.7",)


@pytest.mark.parametrize("host", ["vm7", "127.0.0.1", "::1"])
async def test_a_host_that_somebody_chose_is_registered_and_warned_of_once(host: str) -> None:
    service = Tried(host, chosen=True)
    with capture_logs() as lines:
        for _ in range(3):
            assert (await service.register()).outcome is RequestOutcome.DONE
    warnings = [line for line in lines if line["event"] == "loopback_registered"]
    assert [(line["log_level"], line["host"]) for line in warnings] == [("warning", host)]
    assert len(service.client.sent) == 3


@pytest.mark.parametrize(
    "urls", [(HERE,), ("http://127.0.0.1:8888", "http://[::1]:8888"), ("http://own-registry:8888",)]
)
@pytest.mark.parametrize("chosen", [True, False])
async def test_on_the_machine_of_its_registry_loopback_is_an_address_like_any_other(
    urls: tuple[str, ...], *, chosen: bool
) -> None:
    service = Tried("vm7", urls, chosen=chosen)
    with capture_logs() as lines:
        assert (await service.register()).outcome is RequestOutcome.DONE
    assert lines == []


async def test_one_registry_elsewhere_is_enough_for_a_refusal() -> None:
    assert (await Tried("vm7", (HERE, ELSEWHERE), chosen=False).register()).outcome is RequestOutcome.REFUSED


@pytest.mark.parametrize("addresses", [["10.0.0.7"], ["127.0.1.1", "10.0.0.7"], []])
async def test_a_name_with_another_address_is_registered(addresses: list[str]) -> None:
    service = Tried("vm7", chosen=False)
    service.names.known["vm7"] = addresses
    assert (await service.register()).outcome is RequestOutcome.DONE


async def test_an_address_that_is_kept_while_it_drains_is_judged_like_a_new_one() -> None:
    service = Tried("vm7", chosen=False)
    service.member.claim = msgspec.structs.replace(service.member.claim, addresses=("10.0.0.7",))
    reply, _ = await service.claims.register(service.member, Status.DRAINING)
    assert reply.outcome is RequestOutcome.DONE
