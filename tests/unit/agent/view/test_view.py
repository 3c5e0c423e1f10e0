"""The local view: what it accepts, what it keeps, the age it reports, and what it requests."""

from __future__ import annotations

import math

import msgspec
import pytest

from agent.view.fallback import Fallback
from agent.view.lru import ViewLimits
from agent.view.view import AgentView
from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Deregistered, Position, Registered, StatusChanged
from registry_core.domain.freshness import Freshness
from registry_core.domain.records import Instance, Status
from registry_core.watch.changes import Happened, Heard, LeaseReport, Moved, PassedOver, Replaced, Synced, UnknownEvent
from registry_core.watch.cursor import Cursor, cursor_of
from registry_core.watch.stage import Rest, absent_of
from registry_core.watch.trust import RESYNC_EVERY_S, SETTLE_S, SILENT_AFTER_S, Advice
from tests.samples import FakeClock, instance, lived

OSINT = instance("osint_service", "10.0.0.1")
GEO = instance("geo", "10.0.0.2")


def at(revision: int, epoch: str = "e1") -> Position:
    return Position(0, epoch, revision)


def cursor(revision: int, epoch: str = "e1") -> Cursor:
    return cursor_of([at(revision, epoch)])


def digest(*instances: Instance) -> str:
    catalog = Catalog()
    catalog.merge(lived(i) for i in instances)
    return catalog.digest


def everything(*instances: Instance, state: str = "ready", epoch: str = "e1", revision: int = 1) -> Replaced:
    return Replaced(tuple(lived(i) for i in instances), cursor(revision, epoch), digest(*instances), state, "start")


def sync(*instances: Instance, state: str = "ready", revision: int = 1, store_age_s: float = 0.0) -> Synced:
    return Synced(cursor(revision), digest(*instances), state, store_age_s)


class Watched:
    """A view, its clock, and what its listeners were told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.view = AgentView(self.clock)
        self.told: list[set[str]] = []
        self.view.subscribe(lambda labels: self.told.append(set(labels)))

    def names(self) -> list[str]:
        return self.view.catalog.names()


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_before_the_first_snapshot_no_name_is_known_not_to_exist(watched: Watched) -> None:
    assert not watched.view.complete
    assert not watched.view.loaded
    watched.clock.pass_time(100)
    assert watched.view.age_s() == 100.0
    assert watched.view.freshness is Freshness.EXPIRED


def test_a_snapshot_of_a_ready_registry_is_complete(watched: Watched) -> None:
    assert watched.view.apply(everything(OSINT, GEO)) is Advice.NOTHING
    assert watched.names() == ["geo", "osint_service"]
    assert watched.view.complete
    assert watched.view.age_s() == 0.0
    assert watched.told == [{"geo", "osint-service"}, set()]
    watched.view.apply(everything(OSINT, revision=2))
    assert watched.names() == ["osint_service"]


def test_listeners_get_the_changed_label_of_each_event(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    watched.told.clear()
    watched.view.apply(Happened(Registered(at(2), GEO, 1.0), cursor(2)))
    watched.view.apply(Happened(StatusChanged(at(3), OSINT.key, Status.CRITICAL), cursor(3)))
    watched.view.apply(Happened(StatusChanged(at(4), OSINT.key, Status.CRITICAL), cursor(4)))
    watched.view.apply(Happened(Deregistered(at(5), OSINT.key), cursor(5)))
    assert watched.told == [{"geo"}, {"osint-service"}, {"osint-service"}]
    assert watched.view.cursor == cursor(5)


def test_a_live_watch_keeps_the_view_fresh_however_little_happens(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    for _ in range(30):
        watched.clock.pass_time(5)
        watched.view.apply(sync(OSINT))
        assert watched.view.age_s() == 0.0


def test_a_view_without_a_watch_ages_and_reports_each_class_once(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    watched.view.lost()
    watched.told.clear()
    seen = []
    for _ in range(70):
        watched.clock.pass_time(1)
        watched.view.tick()
        seen.append(watched.view.freshness)
    assert seen[28:30] == [Freshness.FRESH, Freshness.STALE]
    assert seen[59:61] == [Freshness.STALE, Freshness.EXPIRED]
    assert watched.told == [set(), set()]
    assert watched.names() == ["osint_service"]
    assert not watched.view.complete, "so old a view cannot say that a name does not exist"


def test_a_silent_watch_counts_as_lost(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    watched.clock.pass_time(SILENT_AFTER_S)
    assert watched.view.age_s() == 0.0
    watched.clock.pass_time(1)
    assert watched.view.age_s() == SILENT_AFTER_S + 1


def test_the_age_of_the_registrys_own_view_counts_too(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    watched.view.apply(sync(OSINT, store_age_s=40.0))
    assert watched.view.age_s() == 40.0
    assert watched.view.freshness is Freshness.STALE


def test_a_warming_registry_removes_nothing(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO))
    new = instance("new", "10.0.0.3")
    assert watched.view.apply(everything(new, state="warming", epoch="e2")) is Advice.REASSERT
    assert watched.names() == ["geo", "new", "osint_service"]
    assert not watched.view.complete
    assert watched.told[-1] == set(), "earlier negative answers are wrong now"


def test_kept_records_are_dropped_when_the_registry_is_ready_again(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO))
    watched.view.apply(everything(state="warming", epoch="e2"))
    watched.clock.pass_time(5)
    assert watched.view.apply(sync(state="warming")) is Advice.NOTHING
    assert watched.view.age_s() == 5.0, "kept records are unconfirmed"
    watched.view.apply(Happened(Registered(at(2, "e2"), OSINT, 1.0), cursor(2, "e2")))
    assert watched.view.apply(sync(OSINT, state="ready")) is Advice.RESYNC
    assert watched.view.trust.mismatches == 0, "this one was expected"
    assert watched.view.apply(everything(OSINT, epoch="e2")) is Advice.NOTHING
    assert watched.names() == ["osint_service"]
    assert watched.view.complete


def test_a_registry_that_heard_from_every_instance_is_not_read_again(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    watched.view.apply(everything(state="warming", epoch="e2"))
    watched.view.apply(Happened(Registered(at(2, "e2"), OSINT, 1.0), cursor(2, "e2")))
    assert watched.view.apply(sync(OSINT, state="ready")) is Advice.NOTHING
    assert watched.view.complete


def test_a_new_history_gets_time_even_from_a_ready_registry(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    assert watched.view.apply(everything(epoch="e2")) is Advice.REASSERT
    assert watched.names() == ["osint_service"]
    assert watched.view.apply(sync()) is Advice.NOTHING
    watched.clock.pass_time(SETTLE_S)
    assert watched.view.apply(sync()) is Advice.RESYNC
    watched.view.apply(everything(epoch="e2"))
    assert watched.names() == []


def test_a_move_removes_nothing_and_own_services_are_asserted(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, revision=9))
    advice = watched.view.apply(Moved((lived(GEO),), cursor(4, "e2"), digest(OSINT, GEO), "ready"))
    assert advice is Advice.REASSERT
    assert watched.names() == ["geo", "osint_service"]
    assert watched.view.complete
    assert watched.view.cursor == cursor(4, "e2")
    assert watched.told[-1] == {"geo"}


def test_an_instance_removed_by_a_move_is_gone_at_once(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO, revision=9))
    watched.view.apply(Moved((), cursor(4, "e2"), digest(OSINT), "ready", ((GEO.key, 0),)))
    assert watched.names() == ["osint_service"]
    assert watched.view.complete
    assert watched.told[-1] == {"geo"}


def test_a_registry_that_may_lack_instances_removes_none(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO, revision=9))
    watched.view.apply(Moved((), cursor(4, "e2"), digest(OSINT), "warming", ((GEO.key, 0),)))
    assert watched.names() == ["geo", "osint_service"]


def test_a_move_with_a_wrong_digest_is_read_again_in_time(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO, revision=9))
    watched.view.apply(Moved((), cursor(4), digest(OSINT), "ready"))
    assert not watched.view.complete
    assert watched.view.apply(sync(OSINT, revision=4)) is Advice.NOTHING
    watched.clock.pass_time(SETTLE_S)
    assert watched.view.apply(sync(OSINT, revision=4)) is Advice.RESYNC


def test_a_first_snapshot_of_a_warming_registry_is_accepted_and_own_services_are_asserted(watched: Watched) -> None:
    assert watched.view.apply(everything(OSINT, state="warming")) is Advice.REASSERT
    assert watched.names() == ["osint_service"]
    assert watched.view.loaded
    assert not watched.view.complete
    assert watched.view.age_s() == 0.0
    assert watched.view.apply(everything(OSINT, state="warming")) is Advice.NOTHING, "it was sent"


def test_a_registry_that_starts_warming_mid_stream_gets_everything_again(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    assert watched.view.apply(sync(OSINT, state="warming")) is Advice.REASSERT
    assert not watched.view.complete


def test_a_view_with_a_wrong_digest_is_read_again_but_not_for_ever(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    assert watched.view.apply(sync(OSINT, GEO)) is Advice.RESYNC
    assert watched.view.trust.mismatches == 1
    assert not watched.view.complete
    # A registry that counts differently: a new snapshot does not help.
    watched.view.apply(everything(OSINT))
    assert watched.view.apply(sync(OSINT, GEO)) is Advice.NOTHING
    watched.clock.pass_time(RESYNC_EVERY_S)
    assert watched.view.apply(sync(OSINT, GEO)) is Advice.RESYNC
    watched.view.apply(sync(OSINT))
    assert watched.view.apply(sync(OSINT, GEO)) is Advice.RESYNC


# -- the rest of a lease


def heard(when: float) -> Heard:
    return Heard(((OSINT.key, when),))


def test_the_rest_of_a_lease_does_not_depend_on_our_wall_clock(watched: Watched) -> None:
    assert watched.view.ttl_remaining_s(OSINT.key) == 0.0
    registry_time = 5_000_000.0  # far from ours
    watched.view.opened(registry_time)
    watched.view.apply(Replaced((lived(OSINT, registry_time - 20.0),), cursor(1), digest(OSINT), "ready", "start"))
    assert watched.view.ttl_remaining_s(OSINT.key) == 40.0
    watched.clock.pass_time(10)
    watched.clock.step_wall(3600)
    assert watched.view.ttl_remaining_s(OSINT.key) == 30.0
    watched.view.apply(heard(registry_time + 8.0))
    assert watched.view.ttl_remaining_s(OSINT.key) == 58.0


def test_without_the_registrys_time_the_newest_heartbeat_stands_in(watched: Watched) -> None:
    watched.view.opened(None)
    watched.view.apply(Replaced((lived(OSINT, 70.0), lived(GEO, 100.0)), cursor(1), "", "ready", "start"))
    assert watched.view.ttl_remaining_s(GEO.key) == 60.0
    assert watched.view.ttl_remaining_s(OSINT.key) == 30.0


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_jump_of_the_registrys_clock_is_followed(watched: Watched, jump_s: float) -> None:
    watched.view.opened(10_000.0)
    watched.view.apply(Replaced((lived(OSINT, 10_000.0),), cursor(1), digest(OSINT), "ready", "start"))
    watched.clock.pass_time(5)
    watched.view.apply(heard(10_005.0 + jump_s))
    assert watched.view.ttl_remaining_s(OSINT.key) == 60.0
    watched.clock.pass_time(10)
    assert watched.view.ttl_remaining_s(OSINT.key) == 50.0


def test_the_ttl_is_the_one_granted_by_the_registry(watched: Watched) -> None:
    watched.view.opened(10_000.0)
    watched.view.lease_granted(9.0)
    watched.view.apply(Replaced((lived(OSINT, 10_000.0),), cursor(1), digest(OSINT), "ready", "start"))
    assert watched.view.ttl_remaining_s(OSINT.key) == 9.0


def test_lag_is_counted_from_the_last_line(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    watched.clock.pass_time(3)
    assert watched.view.lag_s == 3.0
    assert not math.isnan(watched.view.age_s())


def test_stored_records_are_shown_after_a_restart_but_unconfirmed(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO, revision=7))
    watched.clock.pass_time(12)
    watched.view.lost()
    saved = watched.view.snapshot(watched.clock.wall())
    assert saved.confirmed_at == watched.clock.wall() - 12
    later = Watched()
    later.view.restore(saved, saved.confirmed_at + 3600)
    assert later.names() == ["geo", "osint_service"]
    assert later.told == [set()]
    assert (later.view.loaded, later.view.complete) == (True, False)
    assert (later.view.age_s(), later.view.freshness) == (3600.0, Freshness.EXPIRED)
    later.view.apply(Happened(Deregistered(at(8), GEO.key), cursor(8)))
    later.view.apply(sync(OSINT, revision=8))
    assert later.names() == ["osint_service"]
    assert (later.view.complete, later.view.age_s()) == (True, 0.0)


@pytest.mark.parametrize("wall_passed_s", [-3600.0, 0.0, 5.0])
def test_setting_the_clock_back_does_not_make_stored_records_fresh(watched: Watched, wall_passed_s: float) -> None:
    watched.view.apply(everything(OSINT))
    saved = watched.view.snapshot(watched.clock.wall())
    later = Watched()
    later.view.restore(saved, watched.clock.wall() + wall_passed_s)
    assert later.view.freshness is Freshness.EXPIRED


def test_stored_records_with_a_wrong_digest_are_read_again(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO, revision=7))
    saved = msgspec.structs.replace(watched.view.snapshot(0.0), digest="0" * 16)
    later = Watched()
    later.view.restore(saved, 0.0)
    assert later.view.cursor == Cursor()


MANY = [instance(f"service_{n}", f"10.0.1.{n}") for n in range(10)]


def holds_back(watched: Watched) -> bool:
    return watched.view.loss_guard is not None


def test_a_snapshot_that_would_drop_more_than_half_is_refused_while_the_registry_warms_up(
    watched: Watched,
) -> None:
    watched.view.apply(everything(*MANY))
    watched.view.apply(everything(*MANY[:5], state="warming", epoch="e2"))
    assert not holds_back(watched), "half of them is not more than half"
    watched.view.apply(everything(*MANY[:4], state="warming", epoch="e3"))
    guard = watched.view.loss_guard
    assert guard is not None
    assert (guard.known, guard.missing, guard.since) == (10, 6, watched.clock.monotonic())
    assert len(watched.names()) == 10
    assert watched.view.losses_prevented == 1


def test_the_loss_guard_releases_when_the_registry_is_ready_again(watched: Watched) -> None:
    watched.view.apply(everything(*MANY))
    watched.view.apply(everything(state="warming", epoch="e2"))
    watched.view.apply(sync(state="warming"))
    assert holds_back(watched)
    assert watched.view.apply(sync(state="ready")) is Advice.RESYNC
    assert holds_back(watched), "nothing was taken away yet"
    watched.view.apply(everything(MANY[0], epoch="e2"))
    assert not holds_back(watched)
    assert watched.names() == ["service_0"]


def test_the_loss_guard_releases_when_all_instances_are_back(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    watched.view.apply(everything(state="warming", epoch="e2"))
    watched.view.apply(Happened(Registered(at(2, "e2"), OSINT, 1.0), cursor(2, "e2")))
    watched.view.apply(sync(OSINT, state="ready"))
    assert watched.view.loss_guard is None


def test_a_lookup_refreshes_an_old_view_but_not_a_fresh_one(watched: Watched) -> None:
    refreshed: list[float] = []
    watched.view.refresh = lambda: refreshed.append(watched.view.age_s())
    watched.view.apply(everything(OSINT))
    watched.view.lost()
    for _ in range(7):
        assert watched.view.find("osint_service") is not None, "it is served whatever its age"
        watched.clock.pass_time(10)
    assert refreshed == [30.0, 40.0, 50.0, 60.0]


def small(watched: Watched, services: int = 1) -> AgentView:
    view = AgentView(watched.clock, room=ViewLimits(services))
    view.subscribe(lambda labels: watched.told.append(set(labels)))
    staging = view.staging()
    staging.add([lived(OSINT), lived(GEO)])
    instances, rest = staging.taken()
    view.apply(Replaced(instances, cursor(1), digest(OSINT, GEO), "ready", "start", rest))
    return view


def test_a_name_without_records_is_known_to_exist_and_others_are_known_not_to(watched: Watched) -> None:
    view = small(watched)
    assert (view.complete, view.holds_all, view.known) == (True, False, 2)
    assert (view.lacks("geo"), view.lacks("osint-service"), view.lacks("osint_service")) == (True, False, False)
    assert view.find("geo") is None
    assert not view.lacks("nobody")


def test_an_unheld_service_uses_the_fallback_and_a_nonexistent_one_does_not(watched: Watched) -> None:
    entries = [instance("geo", "10.9.9.9"), instance("nobody", "10.9.9.8")]
    view = AgentView(watched.clock, room=ViewLimits(1), fallback=Fallback(entries))
    staging = view.staging()
    staging.add([lived(OSINT), lived(GEO)])
    instances, rest = staging.taken()
    view.apply(Replaced(instances, cursor(1), digest(OSINT, GEO), "ready", "start", rest))
    found = view.find("geo")
    assert found is not None
    assert found.instances == (entries[0],)
    assert view.find("nobody") is None


def test_a_partial_view_is_stored_without_a_cursor(watched: Watched) -> None:
    view = small(watched)
    saved = view.snapshot(0.0)
    assert [one.instance for one in saved.instances] == [OSINT]
    assert saved.cursor == Cursor(), "events would not deliver the rest"


def test_a_larger_stored_view_is_loaded_as_far_as_there_is_room(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO, revision=7))
    view = AgentView(watched.clock, room=ViewLimits(1))
    view.restore(watched.view.snapshot(0.0), 0.0)
    assert view.catalog.names() == ["osint_service"]
    assert view.services.names() == ["geo", "osint_service"]
    assert view.cursor == Cursor()


def test_evicting_services_invalidates_their_answers(watched: Watched) -> None:
    whole, full = watched.view, small(watched)
    whole.apply(everything(OSINT, GEO))
    watched.told.clear()
    for view in (whole, full):
        view.tidy(0)
        view.tidy(0)
    assert watched.told == [{"osint-service"}], "a view that holds everything may keep them"
    full.find("osint_service")
    full.tidy(0)
    assert len(watched.told) == 1


# -- lines of a later registry, and unreadable ones


def complete(view: AgentView) -> bool:
    return view.complete


def unknown(label: str, revision: int, change: int | None = None) -> UnknownEvent:
    return UnknownEvent(label, cursor(revision), change, "an event of type 'frozen' is not known here")


def test_an_unknown_event_makes_its_service_be_read_again(watched: Watched) -> None:
    asked: list[str] = []
    watched.view.reread = asked.append
    watched.view.apply(everything(OSINT, GEO))
    changed = instance("geo", "10.0.0.2", weight=9)
    assert watched.view.apply(unknown("geo", 2)) is Advice.NOTHING
    assert asked == ["geo"]
    assert watched.view.cursor == cursor(2)
    assert watched.view.apply(sync(OSINT, changed, revision=2)) is Advice.NOTHING, "it is being read"
    assert not complete(watched.view)
    watched.view.expect("geo")
    assert watched.view.take("geo", Replaced((lived(changed),), cursor(2), digest(changed), "ready", "start"))
    watched.view.apply(sync(OSINT, changed, revision=2))
    assert complete(watched.view)
    found = watched.view.find("geo")
    assert found is not None
    assert found.instances == (changed,)
    assert (watched.view.passed_over, watched.view.trust.mismatches) == (1, 0)


def test_a_service_that_cannot_be_read_leads_to_a_full_resync_and_is_retried(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO))
    watched.view.apply(unknown("geo", 2))
    assert watched.view.tidy(1) == ["geo"]
    changed = instance("geo", "10.0.0.2", weight=9)
    watched.clock.pass_time(SETTLE_S)
    assert watched.view.apply(sync(OSINT, changed, revision=2)) is Advice.RESYNC
    watched.view.apply(everything(OSINT, changed, revision=2))
    assert complete(watched.view)
    assert watched.view.tidy(1) == []


def test_a_reading_during_an_unknown_event_is_discarded(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO))
    watched.view.apply(unknown("geo", 2))
    watched.view.expect("geo")
    watched.view.apply(unknown("geo", 3))
    read = Replaced((lived(GEO),), cursor(2), digest(GEO), "ready", "start")
    assert not watched.view.take("geo", read)
    watched.view.expect("geo")
    assert watched.view.take("geo", msgspec.structs.replace(read, cursor=cursor(3)))


def test_a_service_known_only_from_an_unknown_event_is_found_after_it_is_read(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    watched.view.apply(unknown("geo", 2))
    watched.view.expect("geo")
    assert watched.view.take("geo", Replaced((lived(GEO),), cursor(2), digest(GEO), "ready", "start"))
    watched.view.apply(sync(OSINT, GEO, revision=2))
    assert watched.names() == ["geo", "osint_service"]
    assert complete(watched.view)


def test_an_unknown_event_of_an_unheld_service_counts_to_the_rest() -> None:
    view = AgentView(FakeClock(), room=ViewLimits(services=1))
    staging = view.staging()
    staging.add([lived(OSINT), lived(GEO)])
    instances, rest = staging.taken()
    view.apply(Replaced(instances, cursor(1), digest(OSINT, GEO), "ready", "start", rest))
    assert complete(view)
    (absent,) = set(view.labels()) - set(view.catalog.labels())
    view.apply(unknown(absent, 2, change=5))
    told = f"{int(digest(OSINT, GEO), 16) ^ 5:016x}"
    view.apply(Synced(cursor(2), told, "ready", 0.0))
    assert complete(view)


def test_a_skipped_line_is_reported_and_its_change_is_found_by_the_digest(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    watched.view.apply(PassedOver("a line has more than 4 bytes"))
    assert watched.view.unreadable == "a line has more than 4 bytes"
    assert watched.names() == ["osint_service"], "it continues with what it has"
    assert complete(watched.view)
    assert watched.view.apply(sync(OSINT, GEO, revision=2)) is Advice.RESYNC
    assert not complete(watched.view)
    watched.view.apply(everything(OSINT, GEO, revision=2))
    assert watched.view.unreadable == ""
    assert complete(watched.view)


def test_a_skipped_line_is_not_counted_to_the_rest() -> None:
    view = AgentView(FakeClock(), room=ViewLimits(services=1))
    staging = view.staging()
    staging.add([lived(OSINT), lived(GEO)])
    instances, rest = staging.taken()
    view.apply(Replaced(instances, cursor(1), digest(OSINT, GEO), "ready", "start", rest))
    (absent,) = set(view.labels()) - set(view.catalog.labels())
    record = OSINT if absent == "osint-service" else GEO
    view.apply(PassedOver("a line has more than 4 bytes"))
    view.apply(Happened(StatusChanged(at(2), record.key, Status.WARNING), cursor(2)))  # no change in version 1
    view.apply(Synced(cursor(2), "00000000000000ff", "ready", 0.0))
    assert not view.complete


def test_an_incomplete_snapshot_drops_nothing(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO))
    holed = msgspec.structs.replace(everything(OSINT, revision=2), whole=False, digest=digest(OSINT, GEO))
    watched.view.apply(holed)
    assert watched.names() == ["geo", "osint_service"]


# -- a registry that has not read its whole store


def test_the_read_shards_are_followed_and_the_unread_ones_reported(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, state="warming"))
    watched.view.apply(Synced(cursor(1), digest(OSINT), "warming", 0.0, ("redis-b",)))
    assert watched.names() == ["osint_service"]
    assert watched.view.trust.unread == ("redis-b",)
    assert watched.view.age_s() == 0.0
    assert not complete(watched.view), "a name that is missing may be in the other shard"
    watched.view.apply(everything(OSINT, GEO, epoch="e2"))
    watched.view.apply(Synced(cursor(1, "e2"), digest(OSINT, GEO), "ready", 0.0))
    assert complete(watched.view)


def test_a_registry_that_has_read_nothing_confirms_nothing(watched: Watched) -> None:
    watched.view.apply(everything(OSINT))
    watched.clock.pass_time(20)
    watched.view.apply(Synced(cursor(1), digest(OSINT), "warming", None, ("redis-a", "redis-b")))
    assert watched.names() == ["osint_service"]
    assert watched.view.age_s() == 20.0


def test_a_lagging_replica_removes_nothing(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO, revision=5))
    assert watched.view.apply(Synced(cursor(5), "", "ready", 0.0)) is Advice.NOTHING
    assert complete(watched.view)


def test_a_warming_registry_promises_nothing_about_leases(watched: Watched) -> None:
    watched.view.opened(1_764_000_000.0)
    watched.view.apply(everything(OSINT))
    watched.view.apply(Synced(cursor(1), digest(OSINT), "warming", 0.0, (), LeaseReport(45.0, {})))
    assert watched.view.heartbeat_at(OSINT.key) == 1.0, "the value in its record"


def test_the_rest_of_a_lease_is_a_lower_bound(watched: Watched) -> None:
    watched.view.opened(1_764_000_000.0)
    watched.view.apply(everything(OSINT))
    watched.view.apply(Synced(cursor(1), digest(OSINT), "ready", 0.0, (), LeaseReport(45.0, {})))
    assert watched.view.ttl_remaining_s(OSINT.key) == 15.0
    assert watched.view.heartbeat_at(OSINT.key) == 1_764_000_000.0 - 45.0


# -- drains

LEAVES = instance("osint_service", "10.0.0.1", status=Status.DRAINING)
STAYS = instance("osint_service", "10.0.0.9")


def drained(watched: Watched) -> list[str]:
    return [i.host for i in watched.view.catalog if watched.view.has_drained(i)]


def test_an_instance_that_drains_leaves_srv_after_a_moment_and_that_is_told(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, STAYS))
    watched.view.apply(Happened(StatusChanged(at(2), OSINT.key, Status.DRAINING), cursor(2)))
    watched.told.clear()
    watched.clock.pass_time(1.4)
    watched.view.tick()
    assert (drained(watched), watched.told) == ([], [])
    watched.clock.pass_time(0.1)
    watched.view.tick()
    assert (drained(watched), watched.told) == (["10.0.0.1"], [{"osint-service"}])
    watched.view.apply(Happened(StatusChanged(at(3), OSINT.key, Status.PASSING), cursor(3)))
    assert drained(watched) == []


@pytest.mark.parametrize("way", ["a snapshot", "a move", "the file of the last run"])
def test_who_drains_when_the_view_first_hears_of_it_is_named_for_as_long(watched: Watched, way: str) -> None:
    if way == "a snapshot":
        watched.view.apply(everything(LEAVES, STAYS))
    elif way == "a move":
        watched.view.apply(everything(OSINT, STAYS))
        moved = Moved((lived(LEAVES),), cursor(1, "e2"), digest(LEAVES, STAYS), "ready")
        watched.view.apply(moved)
    else:
        before = AgentView(watched.clock)
        before.apply(everything(LEAVES, STAYS))
        watched.view.restore(before.snapshot(watched.clock.wall()), watched.clock.wall())
    watched.clock.pass_time(1.4)
    watched.view.tick()
    assert drained(watched) == []
    watched.clock.pass_time(0.1)
    watched.view.tick()
    assert drained(watched) == ["10.0.0.1"]


def test_a_snapshot_read_again_does_not_bring_back_who_has_left(watched: Watched) -> None:
    watched.view.apply(everything(LEAVES, STAYS))
    watched.clock.pass_time(1.5)
    watched.view.tick()
    watched.view.apply(everything(LEAVES, STAYS, GEO, revision=2))
    assert drained(watched) == ["10.0.0.1"]


def test_a_drain_that_was_acknowledged_before_its_service_was_read_is_in_no_srv_answer() -> None:
    """The acknowledgement says that no answer of this agent names the instance any more."""
    drains = instance("geo", "10.0.0.2", status=Status.DRAINING)
    stays = instance("geo", "10.0.0.3")
    view = AgentView(FakeClock(), room=ViewLimits(services=1))
    rest = Rest({"geo": absent_of([drains, stays])})
    whole = everything(OSINT)
    view.apply(msgspec.structs.replace(whole, digest=digest(OSINT, drains, stays), rest=rest))
    assert view.lacks("geo")
    view.expect("geo")
    read = Replaced((lived(drains), lived(stays)), cursor(1), digest(drains, stays), "ready", "start")
    assert view.take("geo", read)
    assert [view.has_drained(one) for one in (drains, stays)] == [True, False]


def test_a_service_that_is_held_and_read_again_names_its_new_drain_for_a_moment(watched: Watched) -> None:
    watched.view.apply(everything(OSINT, GEO))
    watched.view.apply(unknown("geo", 2))
    watched.view.expect("geo")
    drains = msgspec.structs.replace(GEO, status=Status.DRAINING)
    assert watched.view.take("geo", Replaced((lived(drains),), cursor(2), digest(drains), "ready", "start"))
    assert not watched.view.has_drained(drains)
    watched.clock.pass_time(2)
    watched.view.tick()
    assert watched.view.has_drained(drains)
