"""A refusal is no absence: a replica that refuses the agents does not claim to know what exists."""

from __future__ import annotations

from structlog.testing import capture_logs

from registry_core.api.view import ReplicaState, ReplicaView
from registry_core.api.write_access import WriteAccess
from registry_core.domain.events import Position, Registered
from registry_core.domain.refusals import EVIDENCE_S, REFUSED_FOR_S
from registry_core.errors import Unauthorized
from registry_core.ports.store import Snapshot
from registry_core.watch.cursor import cursor_of
from tests.samples import FakeClock, instance

WRONG = Unauthorized("the token is wrong")


class Replica:
    """A replica's view and what it notes of writes, started empty."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.view = ReplicaView(self.clock, ttl_s=60.0, warming_s=60.0, store_age_s=lambda: 0.0)
        self.access = WriteAccess(self.view, self.clock)
        self.view.reset(Snapshot(cursor_of([Position(0, "e1", 0)]), ()))

    def accept(self, *services: str) -> None:
        for revision, name in enumerate(services, len(self.view.catalog) + 1):
            record = instance(name, f"10.0.1.{revision}")
            self.access.accepted()
            self.view.apply([Registered(Position(0, "e1", revision), record, self.clock.wall())])

    def refuse(self, times: int) -> None:
        for _ in range(times):
            self.access.refused(WRONG)

    @property
    def is_ready(self) -> bool:
        return self.view.state is ReplicaState.READY


def test_an_empty_registry_that_refuses_everybody_is_not_ready_while_they_try() -> None:
    replica = Replica()
    for _ in range(20):  # 15 minutes
        replica.refuse(3)
        replica.clock.pass_time(45)
        assert not replica.is_ready
    replica.clock.pass_time(REFUSED_FOR_S)
    assert replica.is_ready, "nobody tries any more"


def test_one_that_was_ready_and_empty_warms_again_at_the_first_refusal() -> None:
    replica = Replica()
    replica.clock.pass_time(61)
    assert replica.is_ready
    replica.refuse(1)
    assert not replica.is_ready


def test_the_first_agent_with_the_right_secret_does_not_end_the_warming() -> None:
    """The others try again within a minute. A registry that was ready before would have them dropped everywhere."""
    replica = Replica()
    replica.refuse(3)
    replica.clock.pass_time(59)
    replica.accept("billing")
    replica.clock.pass_time(2)
    assert not replica.is_ready
    replica.refuse(2)
    replica.clock.pass_time(REFUSED_FOR_S - 1)
    assert not replica.is_ready, "most are still refused"


def test_a_few_wrong_secrets_do_not_keep_a_registry_from_being_ready() -> None:
    replica = Replica()
    replica.accept("billing", "geo", "mailer")
    replica.refuse(2)
    replica.clock.pass_time(61)
    assert replica.is_ready


def test_no_number_of_refusals_makes_a_ready_registry_with_instances_warm_again() -> None:
    replica = Replica()
    replica.accept("billing")
    replica.clock.pass_time(61)
    replica.refuse(1000)
    assert replica.is_ready


def test_strangers_do_not_keep_a_registry_with_a_few_instances_warming_for_ever() -> None:
    """The attack: more wrong credentials in 90 s than there are instances, and again and again."""
    replica = Replica()
    replica.accept("billing")
    for _ in range(int(EVIDENCE_S / 30) + 1):
        replica.refuse(50)
        replica.clock.pass_time(30)
    replica.refuse(50)
    replica.clock.pass_time(REFUSED_FOR_S)
    assert replica.is_ready


def test_for_a_while_the_refused_may_be_most_of_a_fleet() -> None:
    replica = Replica()
    replica.accept("billing")
    for _ in range(int(EVIDENCE_S / 30)):
        replica.refuse(50)
        replica.clock.pass_time(30)
        assert not replica.is_ready


def test_strangers_do_not_keep_a_registry_warming_whose_instances_have_left() -> None:
    replica = Replica()
    replica.access.accepted()
    replica.clock.pass_time(EVIDENCE_S + 1)
    replica.refuse(50)
    assert replica.is_ready


def test_a_store_that_comes_back_empty_makes_refusals_tell_again() -> None:
    replica = Replica()
    replica.accept("billing")
    replica.clock.pass_time(2 * EVIDENCE_S)
    replica.view.reset(Snapshot(cursor_of([Position(0, "e2", 0)]), ()))
    replica.clock.pass_time(59)
    replica.refuse(1)
    replica.clock.pass_time(REFUSED_FOR_S - 1)
    assert not replica.is_ready


def test_what_could_not_be_read_at_all_stays_unknown() -> None:
    replica = Replica()
    replica.view.reset(Snapshot(cursor_of([]), (), whole=False))
    replica.refuse(1)
    replica.clock.pass_time(10 * REFUSED_FOR_S)
    assert not replica.is_ready


def test_a_store_that_comes_back_empty_does_not_end_the_wait_for_the_refused() -> None:
    replica = Replica()
    replica.refuse(1)
    replica.clock.pass_time(1)
    replica.view.reset(Snapshot(cursor_of([Position(0, "e2", 0)]), ()))
    replica.clock.pass_time(REFUSED_FOR_S - 2)
    assert not replica.is_ready


def test_that_every_write_is_refused_is_logged_once_and_so_is_the_end() -> None:
    replica = Replica()
    with capture_logs() as lines:
        replica.refuse(5)
        replica.accept("billing")
        replica.refuse(5)
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("error", "every write is refused"),
        ("info", "writes are no longer all refused"),
    ]
    assert lines[0]["because"] == "the token is wrong"
    assert "REGISTRY_SECRET" in lines[0]["check"]


def test_the_end_is_logged_too_when_nobody_tries_any_more() -> None:
    replica = Replica()
    replica.refuse(1)
    replica.clock.pass_time(REFUSED_FOR_S + 1)
    with capture_logs() as lines:
        replica.access.see()
        replica.access.see()
    assert [line["event"] for line in lines] == ["writes are no longer all refused"]


def test_the_report_counts_them() -> None:
    replica = Replica()
    assert replica.access.report().status == "ok"
    replica.refuse(3)
    report = replica.access.report()
    assert (report.status, report.refused_recently, report.refused_total) == ("refusing", 3, 3)
    assert report.last_refusal == "the token is wrong"
