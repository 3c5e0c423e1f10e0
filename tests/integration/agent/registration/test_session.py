"""The session with a scripted registry: unexpected failures, and how an outage is logged."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from structlog.testing import capture_logs

from agent.checks.result import WELL, CheckResult, Probe, critical
from agent.checks.spec import CheckPace, CheckSpec, TcpCheck
from agent.hosts.book import AddressBook, BookPatience, HostAddresses
from agent.registration.decisions import Phase, RequestOutcome, Timings
from agent.registration.session import Session
from agent.registration.session_settings import SessionSettings
from agent.registries.client import LeaseTold, RegistryClient, RegistryReply, TimeTold
from agent.settings.settings import ServiceSpec
from registry_core.domain.records import InstanceKey, Registration, Status
from registry_core.ports.clock import SystemClock
from tests.books import FOR_EVER_S, book_of
from tests.programs import eventually
from tests.samples import claim

QUICK = Timings(heartbeat_s=0.02, backoff_first_s=0.01, backoff_most_s=0.02)
AWAY = RegistryReply(RequestOutcome.UNAVAILABLE, "nobody answers")
DONE = RegistryReply(RequestOutcome.DONE)
REGISTRY_TIME = 4e9  # later than any clock of today


def fenced(newer_epoch: int) -> RegistryReply:
    return RegistryReply(RequestOutcome.FENCED, "a newer owner", newer_epoch=newer_epoch, registry_time=REGISTRY_TIME)


class Played(RegistryClient):
    """A registry with scripted answers; an exception in the script is raised."""

    def __init__(self) -> None:
        self.answers: dict[str, list[RegistryReply | Exception]] = {}
        self.asked: list[str] = []
        self.addresses: list[tuple[str, ...]] = []  # of each registration
        self.epochs: list[int | None] = []
        self.statuses: list[Status] = []
        self.passing: list[bool] = []  # whether each registration said that its check passes
        self.tells: float | None = None  # the time
        self.lease: LeaseTold | None = None
        self.hangs: set[str] = set()  # requests that it accepts and never answers

    def plays(self, what: str, *answers: RegistryReply | Exception) -> None:
        self.answers[what] = list(answers)

    def _next(self, what: str) -> RegistryReply:
        self.asked.append(what)
        answers = self.answers.get(what, [])
        answer = answers.pop(0) if answers else DONE
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _answer(self, what: str, host: str = "") -> RegistryReply:
        reply = self._next(what)
        if what in self.hangs or f"{what} {host}" in self.hangs:
            await asyncio.Event().wait()
        return reply

    async def register(self, claim: Registration, *, passing: bool = False) -> tuple[RegistryReply, LeaseTold | None]:
        self.addresses.append(claim.addresses)
        self.epochs.append(claim.epoch)
        self.statuses.append(claim.status)
        self.passing.append(passing)
        return await self._answer("register", claim.host), self.lease

    async def time(self) -> TimeTold:
        self.asked.append("time")
        return TimeTold(self.tells)

    async def beat(self, claims: Sequence[Registration]) -> list[tuple[InstanceKey, RegistryReply]]:
        reply = await self._answer("beat")
        return [(claim.key, reply) for claim in claims]

    async def set_status(self, claim: Registration, status: Status) -> RegistryReply:
        assert claim.epoch
        return await self._answer(f"status {status}", claim.host)

    async def deregister(self, claim: Registration) -> RegistryReply:
        assert claim.epoch
        return await self._answer("deregister", claim.host)


def nobody(host: str) -> list[str]:
    raise AssertionError(f"{host} is looked up")


@pytest.fixture
def registry() -> Played:
    return Played()


@contextlib.asynccontextmanager
async def session_of(
    registry: Played,
    count: int = 1,
    timings: Timings = QUICK,
    *,
    hosts: HostAddresses | None = None,
    host: str = "10.0.0.{}",
) -> AsyncIterator[Session]:
    session = Session(
        [ServiceSpec(claim(host=host.format(n + 1))) for n in range(count)],
        registry,
        settings=SessionSettings(timings, lambda _claim, _check: None, drain_confirm_s=0.0, drain_wait_s=0.0),
        clock=SystemClock(),
        random=random.Random(1),
        hosts=hosts if hosts is not None else book_of(nobody),
    )
    session.start()
    try:
        yield session
    finally:
        await session.close()
        if isinstance(hosts, AddressBook):
            await hosts.close()


def registered(session: Session) -> bool:
    return session.phases() == {Phase.REGISTERED: len(session.report())}


async def test_a_registration_that_fails_unexpectedly_is_retried(registry: Played) -> None:
    registry.plays("register", RuntimeError("odd"), AWAY)
    with capture_logs() as lines:
        async with session_of(registry) as session:
            await eventually(lambda: registered(session), "it is registered")
    assert registry.asked.count("register") == 3
    said = [line["event"] for line in lines]
    assert said.count("request_failed") == 1
    assert said.count("registered") == 1


async def test_heartbeats_are_sent_as_often_as_the_registry_asks(registry: Played) -> None:
    registry.lease = LeaseTold(ttl_s=0.9, heartbeat_s=0.3)
    with capture_logs() as lines:
        async with session_of(registry, timings=SLOW) as session:
            await eventually(lambda: session.beats[RequestOutcome.DONE] >= 2, "two heartbeats within the second")
    (line,) = (line for line in lines if line["event"] == "heartbeat_interval_too_long")
    assert (line["own_s"], line["ttl_s"], line["used_s"]) == (1000.0, 0.9, 0.3)


async def test_heartbeats_that_fail_unexpectedly_are_retried(registry: Played) -> None:
    registry.plays("beat", RuntimeError("odd"), AWAY, RegistryReply(RequestOutcome.REFUSED, "no"))
    with capture_logs() as lines:
        async with session_of(registry) as session:
            await eventually(lambda: session.beats[RequestOutcome.DONE] >= 2, "heartbeats are taken again")
    assert [line["event"] for line in lines].count("heartbeat_failed") == 1
    assert registry.asked.count("register") == 1


async def test_an_outage_and_its_end_are_logged_once_each(registry: Played) -> None:
    registry.plays("register", *[AWAY] * 20)
    with capture_logs() as lines:
        async with session_of(registry, count=4) as session:
            await eventually(lambda: registered(session), "all are registered")
    said = [line["event"] for line in lines]
    assert said.count("registry_unavailable") == said.count("registry_available") == 1


async def test_a_refusal_is_logged_once(registry: Played) -> None:
    registry.plays("register", *[RegistryReply(RequestOutcome.REFUSED, "Conflict: port: taken")] * 3)
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
    assert registry.asked.count("status draining") == 51, "the unanswered one was sent again"
    assert registry.asked.count("deregister") == 50


async def test_a_late_deregistration_is_sent_again(registry: Played) -> None:
    async with session_of(registry) as session:
        await eventually(lambda: registered(session), "it is registered")
        late = RegistryReply(RequestOutcome.LATE, "Late: a newer write was taken")
        registry.plays("status draining", late)
        registry.plays("deregister", late)
        await session.drain(10.0)
    assert registry.asked[-4:] == ["status draining", "status draining", "deregister", "deregister"]


async def test_a_silent_registry_is_not_waited_for(registry: Played) -> None:
    async with session_of(registry, count=3) as session:
        await eventually(lambda: registered(session), "all are registered")
        registry.plays("status draining", *[AWAY] * 1000)
        await session.drain(0.05)
    assert "deregister" not in registry.asked


async def test_a_refused_instance_is_not_deregistered_at_the_end(registry: Played) -> None:
    registry.plays("register", RegistryReply(RequestOutcome.REFUSED, "Conflict: port: taken"))
    async with session_of(registry) as session:
        await eventually(lambda: session.report()[0].problem != "", "it is refused")
        await session.drain(10.0)
    assert registry.asked == ["time", "register"]


async def test_an_instance_whose_host_name_resolves_differently_registers_again(registry: Played) -> None:
    names = {"me": ["10.1.1.1"]}
    hosts = book_of(lambda host: names[host])
    timings = Timings(heartbeat_s=10.0, relocate_s=0.02)
    with capture_logs() as lines:
        async with session_of(registry, timings=timings, hosts=hosts, host="me") as session:
            await eventually(lambda: registered(session), "it is registered")
            names["me"] = []
            await asyncio.sleep(0.1)  # several times the interval
            assert registry.addresses == [("10.1.1.1",)], "an unreachable name server moves no instance"
            names["me"] = ["10.1.1.2"]
            await eventually(lambda: len(registry.addresses) == 2, "it is registered anew")
            await eventually(lambda: registered(session), "and is registered")
            await asyncio.sleep(0.1)
    assert registry.addresses == [("10.1.1.1",), ("10.1.1.2",)]
    assert [line["event"] for line in lines].count("address_changed") == 1


async def test_a_fenced_agent_returns_when_the_newer_owner_is_gone_and_logs_it_once(registry: Played) -> None:
    fenced = RegistryReply(RequestOutcome.FENCED, "Fenced: epoch: there is a newer owner")
    registry.plays("register", fenced, fenced, fenced)
    with capture_logs() as lines:
        async with session_of(registry, timings=Timings(fenced_retry_s=0.02)) as session:
            await eventually(lambda: registered(session), "it is registered at last")
            assert session.report()[0].problem == ""
    assert [line["event"] for line in lines].count("fenced") == 1
    assert registry.asked.count("register") == 4


def in_ms(unix: float) -> int:
    return int(unix * 1000)


async def test_claims_use_the_registrys_time_when_the_agents_clock_is_wrong(registry: Played) -> None:
    registry.tells = REGISTRY_TIME
    async with session_of(registry, count=20) as session:
        await eventually(lambda: registered(session), "all are registered")
    assert registry.asked.count("time") == 1
    (epoch,) = set(registry.epochs)
    assert epoch == session.epoch
    assert in_ms(REGISTRY_TIME - 60) < session.epoch <= in_ms(REGISTRY_TIME)


async def test_a_registry_without_a_date_is_not_waited_for(registry: Played) -> None:
    async with session_of(registry, count=20) as session:
        await eventually(lambda: registered(session), "all are registered")
    assert registry.asked.count("time") == 1, "it is asked again only after a while"
    assert abs(session.epoch - in_ms(SystemClock().wall())) < in_ms(60)


async def test_a_fenced_claim_is_repeated_with_the_registrys_time_if_that_is_newer(registry: Played) -> None:
    registry.plays("register", fenced(in_ms(REGISTRY_TIME - 60)))
    async with session_of(registry, timings=Timings(fenced_retry_s=3600.0)) as session:
        await eventually(lambda: registered(session), "it is registered")
    first, second = registry.epochs
    assert first == session.epoch
    assert second is not None
    assert in_ms(REGISTRY_TIME - 60) < second <= in_ms(REGISTRY_TIME)


@pytest.mark.parametrize("newer_s", [0, 3600], ids=["that started later", "from the future"])
async def test_a_fenced_agent_takes_nothing_from_a_newer_owner(registry: Played, newer_s: int) -> None:
    registry.plays("register", *[fenced(in_ms(REGISTRY_TIME + newer_s))] * 3)
    async with session_of(registry, timings=Timings(fenced_retry_s=0.02)) as session:
        await eventually(lambda: registered(session), "it is registered when the owner is gone")
    assert set(registry.epochs) == {session.epoch}


async def test_an_epoch_is_corrected_once(registry: Played) -> None:
    earlier = in_ms(REGISTRY_TIME - 60)
    registry.plays("register", fenced(earlier), fenced(in_ms(REGISTRY_TIME)), fenced(earlier))
    async with session_of(registry, timings=Timings(fenced_retry_s=0.02)) as session:
        await eventually(lambda: registered(session), "it is registered when the owner is gone")
    first, *others = registry.epochs
    assert first == session.epoch
    assert len(others) == 3
    assert len(set(others)) == 1


async def test_a_formerly_registered_agent_takes_nothing_back_from_an_owner(registry: Played) -> None:
    registry.plays("register", DONE, fenced(in_ms(REGISTRY_TIME - 60)))
    async with session_of(registry) as session:
        await eventually(lambda: session.phases()[Phase.REGISTERED] == 1, "it is registered")
        session.reassert()
        await eventually(lambda: session.phases()[Phase.FENCED] == 1, "it is fenced off")
    assert len(registry.epochs) == 2


async def test_an_interrupted_registration_may_exist_and_is_deregistered(registry: Played) -> None:
    registry.hangs.add("register")
    async with session_of(registry) as session:
        await eventually(lambda: "register" in registry.asked, "it is being registered")
        await session.drain(0.2)
    assert registry.asked[-2:] == ["status draining", "deregister"]


# -- draining is sent at once: no test here waits as long as the deregistration may take

# A lookup is waited for, even if an address is known.
PATIENT = BookPatience(first_s=FOR_EVER_S, known_s=FOR_EVER_S, fresh_least_s=0.0, fresh_most_s=0.0)
SLOW = Timings(heartbeat_s=1000.0, relocate_s=0.01)


class NameServer:
    """Resolves every name until it falls silent."""

    def __init__(self) -> None:
        self.speaks = threading.Event()
        self.speaks.set()
        self.asked = 0

    def __call__(self, _: str) -> list[str]:
        self.asked += 1
        self.speaks.wait(30)
        return ["10.1.1.1"]


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.speaks.set()


@contextlib.asynccontextmanager
async def draining(registry: Played, session: Session, farewell_s: float = FOR_EVER_S) -> AsyncIterator[None]:
    """Let a session drain, and continue once it has reported that."""
    asked = len(registry.asked)
    task = asyncio.create_task(session.drain(farewell_s))
    try:
        await eventually(lambda: "status draining" in registry.asked[asked:], "it says that it drains")
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_agent_whose_host_is_a_name_drains_at_once(registry: Played, names: NameServer) -> None:
    hosts = book_of(names)
    async with session_of(registry, timings=SLOW, hosts=hosts, host="me") as session:
        await eventually(lambda: registered(session), "it is registered")
        async with draining(registry, session):
            assert registry.asked[:3] == ["time", "register", "status draining"]


async def test_a_silent_name_server_delays_no_drain(registry: Played, names: NameServer) -> None:
    hosts = book_of(names, PATIENT)
    async with session_of(registry, count=3, timings=SLOW, hosts=hosts, host="me{}") as session:
        await eventually(lambda: registered(session), "all are registered")
        names.speaks.clear()
        asked = names.asked
        session.reassert()
        await eventually(lambda: names.asked >= asked + 3, "all are being looked up")
        async with draining(registry, session):
            pass
    assert registry.asked.count("register") == 3
    assert registry.asked.count("status draining") == 3


async def test_an_unregistered_service_is_not_waited_for(registry: Played, names: NameServer) -> None:
    names.speaks.clear()
    hosts = book_of(names, PATIENT)
    async with session_of(registry, timings=SLOW, hosts=hosts, host="me") as session:
        await eventually(lambda: names.asked > 0, "it is being looked up")
        await session.drain(FOR_EVER_S)
    assert registry.asked == []


async def test_unanswered_heartbeats_and_statuses_delay_no_drain(registry: Played) -> None:
    registry.hangs |= {"beat", "status maintenance"}
    async with session_of(registry) as session:
        await eventually(lambda: "beat" in registry.asked, "a heartbeat waits for its answer")
        session.hold([one.key for one in session.claims()], Status.MAINTENANCE)
        await eventually(lambda: "status maintenance" in registry.asked, "a status waits for its answer")
        async with draining(registry, session):
            pass


async def test_a_hanging_check_delays_no_drain(registry: Played) -> None:
    checked = asyncio.Event()

    async def hangs() -> CheckResult:
        if checked.is_set():
            await asyncio.Event().wait()
        checked.set()
        return WELL

    check = CheckSpec("tcp", TcpCheck(), CheckPace(interval_s=0.01, timeout_s=0.01))
    session = Session(
        [ServiceSpec(claim(), (check,))],
        registry,
        settings=SessionSettings(
            QUICK, lambda _claim, _check: lambda _address: hangs, drain_confirm_s=0.0, drain_wait_s=0.0
        ),
        clock=SystemClock(),
        random=random.Random(1),
        hosts=book_of(nobody),
    )
    session.start()
    try:
        await eventually(lambda: registered(session), "it is registered")
        async with draining(registry, session):
            pass
    finally:
        await session.close()


async def test_a_registration_in_progress_delays_only_its_own_service(registry: Played) -> None:
    async with session_of(registry, count=3, timings=SLOW) as session:
        await eventually(lambda: registered(session), "all are registered")
        registry.hangs.add("register 10.0.0.2")
        session.reassert()
        await eventually(lambda: registry.asked.count("register") == 6, "all are registered anew")
        await eventually(lambda: session.phases()[Phase.REGISTERED] == 2, "two of them have an answer")
        async with draining(registry, session):
            await eventually(lambda: registry.asked.count("deregister") == 2, "the others leave")
            assert registry.asked.count("status draining") == 2
        await session.drain(FOR_EVER_S)  # it was cancelled above, and sends nothing more
    assert registry.asked.count("status draining") == 2


async def test_a_hold_is_sent_at_once_even_during_a_host_lookup(registry: Played, names: NameServer) -> None:
    hosts = book_of(names, PATIENT)
    async with session_of(registry, timings=SLOW, hosts=hosts, host="me") as session:
        await eventually(lambda: registered(session), "it is registered")
        names.speaks.clear()
        asked = names.asked
        session.reassert()
        await eventually(lambda: names.asked >= asked + 1, "it is being looked up")
        session.hold([one.key for one in session.claims()], Status.DRAINING)
        await eventually(lambda: registry.statuses == [Status.PASSING, Status.DRAINING], "it is registered so")
        assert registry.addresses == [("10.1.1.1",)] * 2


async def test_a_service_removed_from_the_settings_drains_at_once(registry: Played, names: NameServer) -> None:
    hosts = book_of(names, PATIENT)
    async with session_of(registry, count=2, timings=SLOW, hosts=hosts, host="me{}") as session:
        await eventually(lambda: registered(session), "both are registered")
        names.speaks.clear()
        session.reassert()
        settings = SessionSettings(SLOW, lambda _claim, _check: None, drain_confirm_s=0.0, drain_wait_s=0.0)
        session.use(settings, [ServiceSpec(session.claims()[0])])
        await eventually(lambda: registry.asked[-2:] == ["status draining", "deregister"], "it has left")


async def test_a_dead_loop_of_the_session_is_restarted(registry: Played, names: NameServer) -> None:
    class Broken:
        broken = False

        async def located(self, host: str) -> tuple[str, ...]:
            return await book.located(host)

        async def addresses(self, host: str, *, anew: bool = False) -> tuple[str, ...]:
            if self.broken:
                self.broken = False
                raise LookupError("nobody thought of it")
            return await book.addresses(host, anew=anew)

    book = book_of(names)
    hosts = Broken()
    with capture_logs() as lines:
        async with session_of(registry, timings=SLOW, hosts=hosts, host="me") as session:
            await eventually(lambda: registered(session), "it is registered")
            hosts.broken = True
            asked = names.asked
            await eventually(lambda: names.asked > asked and not hosts.broken, "it is looked up again")
    died = [line["task"] for line in lines if line["event"] == "background_task_died"]
    assert died == ["relocate"]


class Answering:
    """The addresses at which a service answers."""

    def __init__(self, *addresses: str) -> None:
        self.well = set(addresses)

    def probe_at(self, address: str) -> Probe:
        async def probe() -> CheckResult:
            return WELL if address in self.well else critical("nothing listens")

        return probe


async def test_a_service_is_registered_where_it_passes_and_elsewhere_once_it_passes_there(
    registry: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.registration.published.ADD_AGAIN_S", 0.0)
    monkeypatch.setattr("agent.registration.published.WITHDRAW_AGAIN_S", 0.0)
    service = Answering("10.0.0.7")
    book = book_of(lambda _host: ["10.0.0.7", "10.0.0.8"])
    check = CheckSpec("tcp", TcpCheck(), CheckPace(interval_s=0.01, timeout_s=0.01))
    session = Session(
        [ServiceSpec(claim(host="both"), (check,))],
        registry,
        settings=SessionSettings(SLOW, lambda *_: service.probe_at, drain_confirm_s=0.0, drain_wait_s=0.0),
        clock=SystemClock(),
        random=random.Random(1),
        hosts=book,
    )
    session.start()
    try:
        for well, addresses in (
            ({"10.0.0.7"}, ("10.0.0.7",)),
            ({"10.0.0.7", "10.0.0.8"}, ("10.0.0.7", "10.0.0.8")),
            ({"10.0.0.8"}, ("10.0.0.8",)),
        ):
            service.well = well
            await eventually(lambda a=addresses: registry.addresses[-1:] == [a], "it is registered so")  # type: ignore[misc]
        service.well = set()
        await eventually(lambda: session.report()[0].registered_status is Status.CRITICAL, "it is critical")
        assert registry.addresses[-1] in (("10.0.0.8",), ("10.0.0.7", "10.0.0.8"))
    finally:
        await session.close()
        await book.close()
