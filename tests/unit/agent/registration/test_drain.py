"""What /drain and /maintenance do: which services they match, what is held, and which watchers know it."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from agent.registration.decisions import Timings
from agent.registration.drain import MOST_NAMED, AgentDrainView, DrainedService, OperatorDrain
from agent.registration.session import Session
from agent.registration.session_settings import SessionSettings
from agent.registries.client import RegistryClient
from agent.settings.settings import ServiceSpec
from registry_core.api.drain_schemas import DrainView
from registry_core.domain.records import Registration, Status
from registry_core.errors import NotFound, ValidationError, Warming
from tests.books import book_of
from tests.samples import FakeClock, claim

A = claim("billing", "10.0.0.1", instance_id="a")
B = claim("billing", "10.0.0.2", instance_id="b")
GEO = claim("geo_ip", "10.0.0.3", instance_id="g")
SETTINGS = SessionSettings(Timings(), lambda _claim, _check: None)


class Asked(RegistryClient):
    """A registry whose replicas report, for every drain, this many watchers and this many that know it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.says: list[tuple[int, int] | None] = [(3, 2)]
        self.meanwhile: Callable[[], None] = lambda: None

    async def drains(self, claim: Registration) -> list[DrainView | None]:
        self.asked.append(claim.instance_id)
        self.meanwhile()
        return [None if said is None else _view(claim, *said) for said in self.says]


def _view(claim: Registration, watchers: int, acknowledged: int) -> DrainView:
    return DrainView(
        service_name=claim.service_name,
        instance_id=claim.instance_id,
        status=Status.DRAINING,
        revision="0.e1.9",
        watchers=watchers,
        acknowledged=acknowledged,
    )


class Operated:
    """An agent's drain, connected to a session that has not started."""

    def __init__(self, *claims: Registration) -> None:
        self.client = Asked()
        self.session = Session(
            [ServiceSpec(claim) for claim in claims],
            self.client,
            settings=SETTINGS,
            clock=FakeClock(),
            random=random.Random(1),
            hosts=book_of(lambda _host: []),
        )
        self.drain = OperatorDrain()
        self.drain.join(self.session, self.client)

    def told(self, claim: Registration, status: Status) -> None:
        """Let the registry confirm a status."""
        member = self.session._members[claim.key]
        member.state = msgspec.structs.replace(member.state, told=status)

    @property
    def held(self) -> dict[str, Status | None]:
        return {report.instance_id: report.held for report in self.session.report()}


def ids(view: AgentDrainView) -> list[str]:
    return [service.instance_id for service in view.services]


async def test_an_agent_that_has_just_started_answers_retry_later() -> None:
    drain = OperatorDrain()
    with pytest.raises(Warming):
        drain.hold(None, None, Status.DRAINING)
    with pytest.raises(Warming):
        drain.let_go("billing", None, Status.DRAINING)
    with pytest.raises(Warming):
        await drain.stands(None, None)


@pytest.mark.parametrize(
    ("service", "instance", "meant"),
    [
        (None, None, ["a", "b", "g"]),
        ("billing", None, ["a", "b"]),
        ("billing", "b", ["b"]),
        ("geo_ip", None, ["g"]),
        ("geo-ip", "g", ["g"]),
    ],
)
async def test_all_services_or_those_of_one_name_or_one_instance_are_held(
    service: str | None, instance: str | None, meant: list[str]
) -> None:
    agent = Operated(A, B, GEO)
    view = agent.drain.hold(service, instance, Status.DRAINING)
    assert ids(view) == meant
    assert {service.held for service in view.services} == {Status.DRAINING}
    assert [name for name, held in agent.held.items() if held] == meant


async def test_an_agent_without_services_holds_none() -> None:
    agent = Operated()
    assert agent.drain.hold(None, None, Status.DRAINING).services == []
    assert (await agent.drain.stands(None, None)).services == []
    with pytest.raises(NotFound, match="its services: none"):
        agent.drain.hold("billing", None, Status.DRAINING)


async def test_an_instance_without_a_service_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        Operated(A).drain.hold(None, "a", Status.DRAINING)
    assert caught.value.field == "service"


@pytest.mark.parametrize("service", ["", " ", "a b", "x" * 64, "-", "Billing"])
async def test_an_invalid_name_is_refused(service: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Operated(A).drain.hold(service, None, Status.DRAINING)
    assert caught.value.field == "service"


async def test_a_foreign_service_is_not_held_and_our_own_are_listed_once() -> None:
    agent = Operated(A, B, GEO)
    with pytest.raises(NotFound, match=r"'search'; its services: billing, geo_ip$") as caught:
        agent.drain.hold("search", None, Status.DRAINING)
    assert (caught.value.field, caught.value.provided) == ("service", "search")
    assert set(agent.held.values()) == {None}


async def test_a_foreign_instance_is_not_held_and_our_own_are_listed() -> None:
    agent = Operated(A, B, GEO)
    with pytest.raises(NotFound, match=r"no instance 'g' of 'billing', but a, b$") as caught:
        agent.drain.hold("billing", "g", Status.DRAINING)
    assert (caught.value.field, caught.value.provided) == ("instance", "g")


async def test_only_a_few_of_many_services_and_instances_are_listed() -> None:
    many = Operated(*(claim(f"service{n:02}", instance_id="a") for n in range(MOST_NAMED + 5)))
    with pytest.raises(NotFound) as caught:
        many.drain.hold("search", None, Status.DRAINING)
    assert caught.value.message.count("service") - 1 <= MOST_NAMED + 1
    assert f"service{MOST_NAMED - 1:02}" in caught.value.message
    assert f"service{MOST_NAMED:02}" not in caught.value.message
    many = Operated(*(claim("billing", instance_id=f"i{n:02}") for n in range(MOST_NAMED + 5)))
    with pytest.raises(NotFound) as caught:
        many.drain.hold("billing", "x", Status.DRAINING)
    assert f"i{MOST_NAMED - 1:02}" in caught.value.message
    assert f"i{MOST_NAMED:02}" not in caught.value.message


async def test_ending_a_drain_does_not_end_maintenance() -> None:
    agent = Operated(A, B, GEO)
    agent.drain.hold("billing", "a", Status.DRAINING)
    agent.drain.hold("billing", "b", Status.MAINTENANCE)
    view = agent.drain.let_go(None, None, Status.DRAINING)
    assert ids(view) == ["a", "b", "g"]
    assert agent.held == {"a": None, "b": Status.MAINTENANCE, "g": None}


async def test_the_last_request_decides_between_drain_and_maintenance() -> None:
    agent = Operated(A)
    agent.drain.hold(None, None, Status.DRAINING)
    agent.drain.hold(None, None, Status.MAINTENANCE)
    assert agent.held == {"a": Status.MAINTENANCE}


async def test_the_registry_is_asked_only_about_drains_that_it_knows() -> None:
    agent = Operated(A, B, GEO)
    agent.drain.hold(None, None, Status.DRAINING)
    agent.told(A, Status.DRAINING)
    agent.told(B, Status.PASSING)
    view = await agent.drain.stands(None, None)
    assert agent.client.asked == ["a"]
    first, second, third = view.services
    assert first == DrainedService(
        service_name="billing",
        instance_id="a",
        held=Status.DRAINING,
        registered_status=Status.DRAINING,
        watchers=3,
        acknowledged=2,
        silent_registries=0,
        done=False,
    )
    assert (second.registered_status, second.watchers, second.done) == (Status.PASSING, 0, False)
    assert (third.registered_status, third.watchers, third.done) == (None, 0, False)


@pytest.mark.parametrize(
    ("says", "silent", "done"),
    [([(3, 3)], 0, True), ([(0, 0)], 0, True), ([(3, 2)], 0, False), ([(3, 3), None], 1, False), ([], 0, False)],
)
async def test_a_drain_is_done_when_all_watchers_know_it_and_no_replica_is_silent(
    says: list[tuple[int, int] | None], silent: int, done: bool
) -> None:
    agent = Operated(A)
    agent.client.says = says
    agent.told(A, Status.DRAINING)
    (service,) = (await agent.drain.stands("billing", "a")).services
    assert (service.silent_registries, service.done) == (silent, done)


async def test_a_service_removed_by_a_reload_is_left_out() -> None:
    agent = Operated(A, B)
    agent.told(A, Status.DRAINING)
    agent.client.meanwhile = lambda: agent.session.use(SETTINGS, [ServiceSpec(B)])
    try:
        view = await agent.drain.stands("billing", None)
    finally:
        await agent.session.close()
    assert ids(view) == ["b"]
