"""The session with a registry that a test plays: failures nobody foresaw, and what is said of an outage."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from agent.decisions import Outcome, Phase, Timings
from agent.registry_client import RegistryClient, Reply
from agent.resolving import HostResolver
from agent.session import Session, SessionSettings
from agent.settings import ServiceSpec
from registry_core.api.resolution import Resolver
from registry_core.domain.records import InstanceKey, Registration, Status
from registry_core.ports import SystemClock
from tests.programs import eventually
from tests.samples import claim

QUICK = Timings(heartbeat_s=0.02, backoff_first_s=0.01, backoff_most_s=0.02)
AWAY = Reply(Outcome.UNAVAILABLE, "nobody answers")
DONE = Reply(Outcome.DONE)


class Played(RegistryClient):
    """Answers as it is told; what is an exception is raised."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Reply | Exception]] = {}
        self.asked: list[str] = []
        self.addresses: list[tuple[str, ...]] = []  # of each registration
        self.epochs: list[int | None] = []

    def plays(self, what: str, *answers: Reply | Exception) -> None:
        self.answers[what] = list(answers)

    def _next(self, what: str) -> Reply:
        self.asked.append(what)
        answers = self.answers.get(what, [])
        answer = answers.pop(0) if answers else DONE
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def register(self, claim: Registration) -> tuple[Reply, float | None]:
        self.addresses.append(claim.addresses)
        self.epochs.append(claim.epoch)
        return self._next("register"), None

    async def beat(self, claims: Sequence[Registration]) -> list[tuple[InstanceKey, Reply]]:
        reply = self._next("beat")
        return [(claim.key, reply) for claim in claims]

    async def set_status(self, claim: Registration, status: Status) -> Reply:
        assert claim.epoch
        return self._next(f"status {status}")

    async def deregister(self, claim: Registration) -> Reply:
        assert claim.epoch
        return self._next("deregister")


@pytest.fixture
def registry() -> Played:
    return Played()


@contextlib.asynccontextmanager
async def session_of(
    registry: Played,
    count: int = 1,
    timings: Timings = QUICK,
    *,
    resolver: HostResolver | None = None,
    host: str = "10.0.0.{}",
) -> AsyncIterator[Session]:
    session = Session(
        [ServiceSpec(claim(host=host.format(n + 1))) for n in range(count)],
        registry,
        settings=SessionSettings(timings, lambda _claim, _check: None, drain_confirm_s=0.0, drain_wait_s=0.0),
        clock=SystemClock(),
        random=random.Random(1),
        resolver=resolver if resolver is not None else HostResolver(),
    )
    session.start()
    try:
        yield session
    finally:
        await session.close()


def registered(session: Session) -> bool:
    return session.phases() == {Phase.REGISTERED: len(session.report())}


async def test_a_registration_that_fails_in_an_unforeseen_way_is_tried_again(registry: Played) -> None:
    registry.plays("register", RuntimeError("odd"), AWAY)
    with capture_logs() as lines:
        async with session_of(registry) as session:
            await eventually(lambda: registered(session), "it is registered")
    assert registry.asked.count("register") == 3
    said = [line["event"] for line in lines]
    assert said.count("request_failed") == 1
    assert said.count("registered") == 1


async def test_heartbeats_that_fail_in_an_unforeseen_way_are_tried_again(registry: Played) -> None:
    registry.plays("beat", RuntimeError("odd"), AWAY, Reply(Outcome.REFUSED, "no"))
    with capture_logs() as lines:
        async with session_of(registry) as session:
            await eventually(lambda: session.beats[Outcome.DONE] >= 2, "heartbeats are taken again")
    assert [line["event"] for line in lines].count("heartbeat_failed") == 1
    assert registry.asked.count("register") == 1


async def test_an_outage_is_said_once_and_its_end_once(registry: Played) -> None:
    registry.plays("register", *[AWAY] * 20)
    with capture_logs() as lines:
        async with session_of(registry, count=4) as session:
            await eventually(lambda: registered(session), "all are registered")
    said = [line["event"] for line in lines]
    assert said.count("registry_unavailable") == said.count("registry_available") == 1


async def test_a_refusal_is_said_once(registry: Played) -> None:
    registry.plays("register", *[Reply(Outcome.REFUSED, "Conflict: port: taken")] * 3)
    with capture_logs() as lines:
        async with session_of(registry, timings=Timings(refused_retry_s=0.01)) as session:
            await eventually(lambda: registered(session), "it is registered at last")
    assert [line["event"] for line in lines].count("refused") == 1
    assert session.report()[0].problem == ""


async def test_many_services_are_drained_a_few_at_a_time_and_each_once(registry: Played) -> None:
    async with session_of(registry, count=50) as session:
        await eventually(lambda: registered(session), "all are registered")
        registry.plays("status draining", AWAY)
        await session.drain(10.0)
        await session.drain(10.0)
    assert registry.asked.count("status draining") == 51, "the one that was not heard was said again"
    assert registry.asked.count("deregister") == 50


async def test_a_farewell_that_came_late_is_said_again(registry: Played) -> None:
    async with session_of(registry) as session:
        await eventually(lambda: registered(session), "it is registered")
        late = Reply(Outcome.LATE, "Late: a newer write was taken")
        registry.plays("status draining", late)
        registry.plays("deregister", late)
        await session.drain(10.0)
    assert registry.asked[-4:] == ["status draining", "status draining", "deregister", "deregister"]


async def test_a_registry_that_does_not_answer_is_not_waited_for(registry: Played) -> None:
    async with session_of(registry, count=3) as session:
        await eventually(lambda: registered(session), "all are registered")
        registry.plays("status draining", *[AWAY] * 1000)
        await session.drain(0.05)
    assert "deregister" not in registry.asked


async def test_what_was_refused_is_not_taken_out_at_the_end(registry: Played) -> None:
    registry.plays("register", Reply(Outcome.REFUSED, "Conflict: port: taken"))
    async with session_of(registry) as session:
        await eventually(lambda: session.report()[0].problem != "", "it is refused")
        await session.drain(10.0)
    assert registry.asked == ["register"]


async def test_an_instance_whose_host_name_means_another_address_registers_anew(registry: Played) -> None:
    names = {"me": ["10.1.1.1"]}
    resolver = HostResolver(Resolver(lambda host: names[host]))
    timings = Timings(heartbeat_s=10.0, relocate_s=0.02)
    with capture_logs() as lines:
        async with session_of(registry, timings=timings, resolver=resolver, host="me") as session:
            await eventually(lambda: registered(session), "it is registered")
            names["me"] = []
            await asyncio.sleep(0.1)  # several times the pace
            assert registry.addresses == [("10.1.1.1",)], "a name server that is away moves nobody"
            names["me"] = ["10.1.1.2"]
            await eventually(lambda: len(registry.addresses) == 2, "it is registered anew")
            await eventually(lambda: registered(session), "and is registered")
            await asyncio.sleep(0.1)
    assert registry.addresses == [("10.1.1.1",), ("10.1.1.2",)]
    assert [line["event"] for line in lines].count("address_changed") == 1


async def test_who_is_fenced_comes_back_when_the_newer_owner_is_gone_and_says_so_once(registry: Played) -> None:
    fenced = Reply(Outcome.FENCED, "Fenced: epoch: there is a newer owner")
    registry.plays("register", fenced, fenced, fenced)
    with capture_logs() as lines:
        async with session_of(registry, timings=Timings(fenced_retry_s=0.02)) as session:
            await eventually(lambda: registered(session), "it is registered at last")
            assert session.report()[0].problem == ""
    assert [line["event"] for line in lines].count("fenced") == 1
    assert registry.asked.count("register") == 4


async def test_an_owner_from_the_future_is_followed_by_the_agent_that_starts_now(registry: Played) -> None:
    future = int((SystemClock().wall() + 3600) * 1000)
    registry.plays("register", Reply(Outcome.FENCED, "a newer owner", newer_epoch=future))
    async with session_of(registry) as session:
        await eventually(lambda: session.phases()[Phase.REGISTERED] == 1, "it is registered")
    assert registry.epochs == [session.epoch, future + 1]


async def test_an_owner_that_started_later_fences_an_agent_off_also_before_it_was_registered(registry: Played) -> None:
    async with session_of(registry) as session:
        since = int(SystemClock().wall() * 1000)
        registry.plays("register", Reply(Outcome.FENCED, "a newer owner", newer_epoch=since))
        await eventually(lambda: session.phases()[Phase.FENCED] == 1, "it is fenced off")
    assert registry.epochs == [session.epoch]


async def test_an_agent_that_was_registered_takes_nothing_back_from_any_owner(registry: Played) -> None:
    future = int((SystemClock().wall() + 3600) * 1000)
    registry.plays("register", DONE, Reply(Outcome.FENCED, "a newer owner", newer_epoch=future))
    async with session_of(registry) as session:
        await eventually(lambda: session.phases()[Phase.REGISTERED] == 1, "it is registered")
        session.reassert()
        await eventually(lambda: session.phases()[Phase.FENCED] == 1, "it is fenced off")
    assert len(registry.epochs) == 2
