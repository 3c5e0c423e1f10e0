from __future__ import annotations

from collections.abc import Sequence

from registry_core.api.view import ReplicaState
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Event, Position, Registered
from registry_core.domain.freshness import Freshness
from registry_core.domain.records import Instance, InstanceKey
from registry_core.follow.stage import MOST_DIFFERENCES
from registry_core.follow.view import FollowerView, Then
from registry_core.watch.changes import (
    Happened,
    Heard,
    LeaseReport,
    Moved,
    PassedOver,
    Replaced,
    Synced,
    UnknownEvent,
)
from registry_core.watch.cursor import Cursor, cursor_of
from tests.samples import FakeClock, instance, lived

GEO = instance("geo", "10.0.0.1")
BILLING = instance("billing", "10.0.0.2")


def at(revision: int, epoch: str = "e") -> Cursor:
    return cursor_of([Position(0, epoch, revision)])


def digest(*records: Instance) -> str:
    catalog = Catalog()
    catalog.merge(map(lived, records))
    return catalog.digest


class Listener:
    """Notes what a view says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def on_event(self, event: Event, service_name: str) -> None:
        self.said.append(f"{type(event).__name__} {service_name}")

    def on_moved(self, differences: Sequence[Event]) -> None:
        self.said.append(f"moved {len(differences)}")

    def on_reset(self) -> None:
        self.said.append("reset")


class Followed:
    """A follower's view, and what an upstream may send it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.view = FollowerView(self.clock, ttl_s=60.0)
        self.listener = Listener()
        self.view.subscribe(self.listener)

    def snapshot(self, *records: Instance, cursor: Cursor, state: str = "ready", whole: bool = True) -> Then:
        self.view.stage().add(Lived(one, self.clock.wall() - 10.0) for one in records)
        return self.view.take(Replaced((), cursor, digest(*records), state, "start", whole=whole))

    def sync(
        self, *records: Instance, cursor: Cursor, state: str = "ready", age_s: float | None = 0.0, **more: object
    ) -> Then:
        late = more.pop("late", {})
        assert isinstance(late, dict)
        leases = LeaseReport(45.0, late)
        return self.view.take(Synced(cursor, digest(*records), state, age_s, leases=leases, **more))  # type: ignore[arg-type]


def test_before_the_first_snapshot_nothing_is_known() -> None:
    view = Followed().view
    assert (view.loaded, view.state, view.confidence) == (False, ReplicaState.WARMING, "partial")
    assert view.lacking() == "the registry that this one follows has not been read yet"
    assert view.store().age_s is None
    assert view.warm_in_s() > 0


def test_a_snapshot_and_events_are_taken_under_the_positions_of_the_registry() -> None:
    of = Followed()
    assert of.snapshot(GEO, cursor=at(7)) is Then.GO_ON
    assert of.view.take(Happened(Registered(Position(0, "e", 8), BILLING, 1.0), at(8))) is Then.GO_ON
    assert (of.view.catalog.names(), of.view.cursor) == (["billing", "geo"], at(8))
    assert of.listener.said == ["reset", "Registered billing"]
    assert (of.view.state, of.view.lacking(), of.view.snapshots) == (ReplicaState.READY, "", 1)


def test_an_upstream_that_has_read_nothing_itself_gives_no_data() -> None:
    of = Followed()
    of.snapshot(cursor=Cursor(), state="warming")
    assert (of.view.loaded, of.view.snapshots) == (False, 0)
    of.snapshot(GEO, cursor=at(1))
    assert (of.view.loaded, of.view.state) == (True, ReplicaState.READY)


def test_it_ages_while_the_upstream_is_away_and_says_so() -> None:
    of = Followed()
    of.snapshot(GEO, cursor=at(1))
    assert of.sync(GEO, cursor=at(1)) is Then.TELL
    of.clock.pass_time(4.0)
    assert (of.view.age_s(), of.view.confidence) == (0.0, "fresh")
    of.view.lost()
    for passed_s, age_s, freshness in ((6.0, 10.0, "fresh"), (30.0, 40.0, "stale"), (86_400.0, 86_440.0, "expired")):
        of.clock.pass_time(passed_s)
        assert (of.view.age_s(), of.view.confidence) == (age_s, freshness)
        assert of.view.store().age_s == age_s
    assert of.view.freshness is Freshness.EXPIRED
    assert of.view.lacking() == "the registry that this one follows has confirmed nothing for 86440 s"
    assert of.view.state is ReplicaState.READY, "that is what the registry last said"
    of.sync(GEO, cursor=at(1))
    assert (of.view.age_s(), of.view.lacking()) == (0.0, "")


def test_the_age_of_the_upstreams_own_store_counts() -> None:
    of = Followed()
    of.snapshot(GEO, cursor=at(1))
    of.sync(GEO, cursor=at(1), age_s=50.0)
    assert (of.view.age_s(), of.view.freshness) == (50.0, Freshness.STALE)


def test_what_a_registry_that_lost_its_memory_lacks_stays_until_it_is_ready() -> None:
    of = Followed()
    of.snapshot(GEO, cursor=at(7))
    of.snapshot(BILLING, cursor=at(1, "f"), state="warming")
    assert (of.view.catalog.names(), of.view.cursor) == (["billing", "geo"], at(1, "f"))
    assert (of.view.state, of.listener.said) == (ReplicaState.WARMING, ["reset", "reset"])
    assert of.sync(BILLING, cursor=at(1, "f"), state="warming") is Then.TELL
    assert of.sync(BILLING, cursor=at(1, "f")) is Then.READ_ALL, "it is ready: what it lacks is gone"
    of.snapshot(BILLING, cursor=at(1, "f"))
    assert of.view.catalog.names() == ["billing"]


def test_readers_get_the_differences_of_a_second_snapshot() -> None:
    of = Followed()
    of.snapshot(GEO, BILLING, cursor=at(7))
    other = instance("billing", "10.0.0.2", weight=7)
    of.snapshot(other, cursor=at(9))
    assert list(of.view.catalog) == [other]
    assert (of.view.cursor, of.view.snapshots, of.view.lacking()) == (at(9), 2, "")
    assert of.listener.said == ["reset", "moved 2"]
    assert of.view.stale.names() == ["billing"], "the catalogue that was read is not needed"


def test_readers_get_a_snapshot_when_too_much_differs() -> None:
    of = Followed()
    of.snapshot(*(instance("geo", f"10.1.{n // 250}.{n % 250}") for n in range(MOST_DIFFERENCES + 1)), cursor=at(7))
    of.snapshot(BILLING, cursor=at(9))
    assert of.view.catalog.names() == ["billing"]
    assert of.listener.said == ["reset", "reset"]
    assert of.view.stale.names() == ["geo"], "the old one is to be shed"


def test_shards_that_the_upstream_cannot_read_make_a_missing_name_uncertain() -> None:
    of = Followed()
    of.snapshot(GEO, cursor=at(7))
    of.sync(GEO, cursor=at(7), unread=("b",))
    assert of.view.lacking() == "the registry that this one follows cannot read 'b'"
    assert (of.view.confidence, of.view.store().unread) == ("partial", ("b",))


def test_a_move_to_another_history_keeps_what_is_known() -> None:
    of = Followed()
    of.snapshot(GEO, BILLING, cursor=at(7))
    other = instance("osint_service", "10.0.0.3")
    removed = ((InstanceKey("geo", GEO.instance_id), 0),)
    of.view.take(Moved((lived(other),), at(3, "f"), digest(BILLING, other), "ready", removed))
    assert (of.view.catalog.names(), of.view.cursor) == (["billing", "osint_service"], at(3, "f"))
    assert (of.listener.said, of.view.lacking()) == (["reset", "moved 2"], "")


def test_a_move_of_a_warming_registry_removes_nothing() -> None:
    of = Followed()
    of.snapshot(GEO, cursor=at(7))
    removed = ((InstanceKey("geo", GEO.instance_id), 0),)
    of.view.take(Moved((), at(3, "f"), digest(GEO), "warming", removed))
    assert of.view.catalog.names() == ["geo"]


def test_what_cannot_be_read_has_everything_read_again() -> None:
    of = Followed()
    of.snapshot(GEO, cursor=at(7))
    assert of.view.take(UnknownEvent("geo", at(8), None, "an event")) is Then.READ_ALL
    assert of.view.take(PassedOver("a line")) is Then.READ_ALL


def test_leases_are_as_the_upstream_reports_them() -> None:
    of = Followed()
    of.view.opened(of.clock.wall())
    of.snapshot(GEO, BILLING, cursor=at(7))
    of.clock.pass_time(100.0)
    late_at = of.clock.wall() - 50.0
    of.sync(GEO, BILLING, cursor=at(7), late={BILLING.key: late_at})
    view = of.view
    assert view.late_after_s == 45.0
    assert view.late(10) == ((("billing", BILLING.instance_id, late_at),), 1)
    assert view.late(10, "geo") == ((), 0)
    assert view.ttl_remaining_s(BILLING.key) == 10.0
    assert view.ttl_remaining_s(GEO.key) == 15.0, "it was renewed within the last 45 s"
    assert view.heartbeat_at(lived(GEO)) == of.clock.wall() - 45.0
    assert view.heartbeat_at(lived(BILLING)) == late_at
    assert view.oldest_age_s() == 45.0
    view.lost()
    assert (view.late_after_s, view.late(10)) == (0.0, ((), 0)), "nobody says that they are in time"


def test_renewals_of_a_registry_of_version_1_are_taken() -> None:
    of = Followed()
    of.view.opened(of.clock.wall())
    of.snapshot(GEO, cursor=at(7))
    of.clock.pass_time(50.0)
    of.view.take(Heard(((GEO.key, of.clock.wall()),)))
    assert of.view.catalog.heartbeat_at(GEO.key) == of.clock.wall()
    assert of.view.ttl_remaining_s(GEO.key) == 60.0
    assert of.view.cursor == at(7)
