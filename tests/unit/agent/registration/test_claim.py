"""A service is not registered at a registry elsewhere under an address that means another machine to each client."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.registration.claim import ASK_AGAIN_S, Claims
from agent.registration.decisions import MemberState, Phase, RequestOutcome
from agent.registration.identity import StartTime
from agent.registration.member import Member
from agent.registries.client import LeaseTold, RegistryClient, RegistryReply, TimeTold
from agent.settings.settings import ServiceSpec
from registry_core.domain.records import Registration, Status
from tests.books import book_of
from tests.samples import FakeClock, claim

HERE, ELSEWHERE = "http://localhost:8888", "http://registry.example:8888"


class Client(RegistryClient):
    """A registry that grants whatever it is sent."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._urls = urls
        self.sent: list[Registration] = []
        self.passing: list[bool] = []
        self.tells = TimeTold(None)

    @property
    def urls(self) -> tuple[str, ...]:
        return self._urls

    async def time(self) -> TimeTold:
        return self.tells

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
            "link-registry": ["169.254.7.1"],
            "lost-registry": [],
        }

    def __call__(self, host: str) -> Iterable[str]:
        return self.known[host]


class Tried:
    """One service of an agent."""

    def __init__(self, host: str, urls: tuple[str, ...] = (ELSEWHERE,), *, chosen: bool) -> None:
        self.client, self.names = Client(urls), Names()
        clock = self.clock = FakeClock()
        self.claims = Claims(
            self.client, book_of(self.names), clock=clock, start=StartTime(clock.wall(), clock.monotonic())
        )
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


@pytest.mark.parametrize(
    ("host", "addresses", "kind"),
    [
        ("vm7", ["127.0.1.1"], "loopback"),
        ("localhost", ["127.0.0.1", "::1"], "loopback"),
        ("mapped", ["::ffff:127.0.0.1"], "loopback"),
        ("127.0.0.1", [], "loopback"),
        ("127.9.9.9", [], "loopback"),
        ("::1", [], "loopback"),
        ("169.254.7.7", [], "link-local"),
        ("zeroconf", ["169.254.7.7", "127.0.0.1", "fe80::1"], "link-local"),
    ],
)
async def test_a_host_that_somebody_chose_is_refused_as_well_and_the_cure_is_named(
    host: str, addresses: list[str], kind: str
) -> None:
    service = Tried(host, chosen=True)
    service.names.known[host] = addresses
    reply = await service.register()
    assert (reply.outcome, service.client.sent) == (RequestOutcome.REFUSED, [])
    cure = "set SERVICE_HOST, or host in its [[service]], to the address at which other machines reach it"
    for word in (f"SERVICE_HOST is {host}", f"which is {kind}", cure, "(example: SERVICE_HOST=10.0.0.7)"):
        assert word in reply.said
    assert not service.member.known


async def test_link_local_is_enough_for_a_registry_on_the_same_link() -> None:
    on_link = ("http://link-registry:8888", HERE)
    assert (await Tried("169.254.7.7", on_link, chosen=True).register()).outcome is RequestOutcome.DONE
    assert (await Tried("127.0.0.1", on_link, chosen=True).register()).outcome is RequestOutcome.REFUSED


@pytest.mark.parametrize("urls", [(), ("http://lost-registry:8888",), ("http://lost-registry:8888", HERE)])
async def test_a_registry_that_cannot_be_resolved_is_not_called_remote(urls: tuple[str, ...]) -> None:
    service = Tried("127.0.0.1", urls, chosen=True)
    reply = await service.register()
    assert (reply.outcome, service.client.sent) == (RequestOutcome.UNAVAILABLE, [])
    assert "no name server answers for the registry's host" in reply.said


async def test_loopback_does_not_replace_a_good_address_and_nothing_replaces_a_known_one() -> None:
    service = Tried("vm7", chosen=True)
    for addresses in (["10.0.0.7"], ["127.0.1.1"], [], ["169.254.7.7"], ["10.0.0.8", "127.0.1.1", "169.254.7.7"]):
        service.names.known["vm7"] = addresses
        assert (await service.register()).outcome is RequestOutcome.DONE
    expected = [("10.0.0.7",)] * 4 + [("10.0.0.8",)]
    assert [claim.addresses for claim in service.client.sent] == expected


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


async def test_nothing_is_claimed_by_the_own_clock_while_no_registry_answers() -> None:
    service = Tried("10.0.0.7", chosen=True)
    service.client.tells = TimeTold(None, unanswered="http://registry.example did not answer in time")
    for _ in range(2):  # the second time without asking again so soon
        reply = await service.register()
        assert (reply.outcome, reply.said) == (RequestOutcome.UNAVAILABLE, service.client.tells.unanswered)
    assert (service.client.sent, service.member.claimed, service.member.known) == ([], False, False)
    service.client.tells = TimeTold(1000.0)
    service.clock.pass_time(ASK_AGAIN_S)
    assert (await service.register()).outcome is RequestOutcome.DONE
    assert [claim.epoch for claim in service.client.sent] == [(1000 - int(ASK_AGAIN_S)) * 1000]
