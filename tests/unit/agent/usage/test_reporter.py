"""What an agent reports, when, and what it does not say twice. Only the pauses and a registry's answers are made up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from agent.registration.decisions import RequestOutcome
from agent.registries.client import RegistryReply
from agent.usage.reporter import FIRST_WITHIN, REFUSED_PERIODS, AgentFacts, Reporter
from registry_core.usage.book import UsageCounts
from registry_core.usage.limits import LEAST_EVERY_S, MAX_NAMED, MAX_REPORT_PAIRS, MOST_EVERY_S
from registry_core.usage.report import AgentReport, Asked, Face
from tests.samples import FakeClock

DONE = RegistryReply(RequestOutcome.DONE)
REFUSED = RegistryReply(RequestOutcome.REFUSED, "reports are for agents only")
EVERY_S = 60.0


class Middle:
    """Every draw is the middle of its range."""

    def random(self) -> float:
        return 0.5


class Replica:
    """Keeps the reports that it was sent, and answers as it is told to."""

    def __init__(self) -> None:
        self.reports: list[AgentReport] = []
        self.answer = DONE

    async def send(self, report: AgentReport) -> RegistryReply:
        self.reports.append(report)
        return self.answer


class Programs:
    """How often the programs beside the agent asked for each service."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}

    def counts(self, _now: float) -> UsageCounts:
        asked = tuple(Asked(label, Face.DNS, count, 1.0) for label, count in self.asked.items())
        return UsageCounts(counted_s=5.0, asked=asked)


class Pauses:
    """In the place of `asyncio.sleep`: notes how long each pause is, and lets a few pass."""

    def __init__(self, allowed: int) -> None:
        self.lengths: list[float] = []
        self._allowed = allowed
        self.used = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.lengths.append(seconds)
        if len(self.lengths) > self._allowed:
            self.used.set()
            await asyncio.Event().wait()


def reporter(programs: Programs, services: tuple[str, ...] = ("billing",), age_s: float | None = 1.5) -> Reporter:
    def facts() -> AgentFacts:
        return AgentFacts(zone="z 1", services=services, freshness="fresh", age_s=age_s)

    return Reporter(facts, programs.counts, clock=FakeClock(), random=Middle())


@contextlib.asynccontextmanager
async def reporting(made: Reporter, replica: Replica, pauses: Pauses, every_s: float = EVERY_S) -> AsyncIterator[None]:
    """Report until the allowed pauses are used; the watch lasts until the end of the `with`."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("agent.usage.reporter.asyncio.sleep", pauses.sleep)
        task = asyncio.create_task(made.report_to(replica.send, every_s))
        async with asyncio.timeout(5):
            await pauses.used.wait()
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_first_report_comes_early_and_the_rest_each_period() -> None:
    replica, pauses = Replica(), Pauses(2)
    async with reporting(reporter(Programs()), replica, pauses):
        assert pauses.lengths == [EVERY_S * FIRST_WITHIN / 2, EVERY_S, EVERY_S]
        first, second = replica.reports
    assert (first.sequence, second.sequence) == (1, 2)
    assert first.key == second.key
    assert (first.zone, first.services, first.freshness, first.age_s) == ("z?1", ("billing",), "fresh", 1.5)
    assert not first.ending


@pytest.mark.parametrize(("asked_for", "kept_s"), [(0.0, LEAST_EVERY_S), (1e9, MOST_EVERY_S)])
async def test_a_replica_cannot_ask_for_reports_without_pause_or_for_none(asked_for: float, kept_s: float) -> None:
    pauses = Pauses(1)
    async with reporting(reporter(Programs()), Replica(), pauses, asked_for):
        assert pauses.lengths[1] == kept_s


async def test_a_replica_is_told_only_what_it_does_not_have_yet() -> None:
    programs, replica = Programs(), Replica()
    programs.asked = {"billing": 3, "ip-intel": 1}
    made = reporter(programs)
    async with reporting(made, replica, Pauses(1)):
        programs.asked["billing"] = 4
        await made.end()
    assert [{one.label: one.count for one in report.usage} for report in replica.reports] == [
        {"billing": 3, "ip-intel": 1},
        {"billing": 4},
    ]
    assert [report.ending for report in replica.reports] == [False, True]


async def test_what_one_replica_has_is_told_to_the_next_one_again() -> None:
    programs = Programs()
    programs.asked = {"billing": 3}
    made = reporter(programs)
    for _ in range(2):
        replica = Replica()
        async with reporting(made, replica, Pauses(1)):
            assert [one.label for report in replica.reports for one in report.usage] == ["billing"]


async def test_many_services_take_several_reports_and_none_is_left_out() -> None:
    programs, replica = Programs(), Replica()
    programs.asked = {f"svc-{number}": 1 for number in range(2 * MAX_REPORT_PAIRS + 1)}
    async with reporting(reporter(programs), replica, Pauses(1)):
        assert [len(report.usage) for report in replica.reports] == [MAX_REPORT_PAIRS, MAX_REPORT_PAIRS, 1]
    assert {one.label for report in replica.reports for one in report.usage} == set(programs.asked)


async def test_a_report_that_fails_is_part_of_the_next_one() -> None:
    programs, replica = Programs(), Replica()
    programs.asked = {"billing": 3}
    replica.answer = RegistryReply(RequestOutcome.UNAVAILABLE)
    async with reporting(reporter(programs), replica, Pauses(2)):
        assert [[one.count for one in report.usage] for report in replica.reports] == [[3], [3]]


async def test_a_refusal_is_logged_once_and_slows_the_reports_down() -> None:
    replica, pauses = Replica(), Pauses(3)
    replica.answer = REFUSED
    with capture_logs() as logs:
        async with reporting(reporter(Programs()), replica, pauses):
            assert pauses.lengths[1:] == [EVERY_S * REFUSED_PERIODS] * 3
    assert [(log["event"], log["because"]) for log in logs] == [("reports_refused", REFUSED.said)]


async def test_an_agent_with_many_services_names_some_and_counts_all() -> None:
    replica = Replica()
    services = tuple(f"svc-{number}" for number in range(MAX_NAMED + 5))
    async with reporting(reporter(Programs(), services, age_s=float("inf")), replica, Pauses(1)):
        (report,) = replica.reports
    assert (report.services, report.service_count) == (services[:MAX_NAMED], len(services))
    assert report.age_s is None


async def test_without_a_watch_the_last_report_goes_nowhere() -> None:
    replica = Replica()
    made = reporter(Programs())
    await made.end()
    async with reporting(made, replica, Pauses(0)):
        pass
    await made.end()
    assert replica.reports == []
