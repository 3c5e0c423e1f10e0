"""The reader of the watch stream: what it applies, what it skips and reports, and what breaks the stream."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from registry_core.domain.digest import instance_digest
from registry_core.domain.events import Deregistered, Position, Registered, StatusChanged
from registry_core.domain.records import InstanceKey, Protocol, Status
from registry_core.watch.changes import (
    Happened,
    Heard,
    LeaseReport,
    Moved,
    PassedOver,
    Replaced,
    SentOn,
    Synced,
    UnknownEvent,
    WatchChange,
)
from registry_core.watch.cursor import Cursor, cursor_of
from registry_core.watch.limits import GOODBYE_LEAST_S, GOODBYE_MOST_S, MAX_LINE_BYTES
from registry_core.watch.lines import SyncLine, encoded, goodbye_line, moved_line, renewed_lines, sync_line_of_version_1
from registry_core.watch.reader import BrokenStream, WatchReader
from tests.samples import instance, lived
from tests.watch_lines import event, event_of_version_1, snapshot, sync

OSINT = instance("osint_service")
KEY = OSINT.key


def at(revision: int, epoch: str = "e1", shard: int = 0) -> Position:
    return Position(shard, epoch, revision)


def cursor(revision: int, epoch: str = "e1") -> Cursor:
    return cursor_of([at(revision, epoch)])


def registered(revision: int, epoch: str = "e1") -> bytes:
    return event(Registered(at(revision, epoch), OSINT, 1.0), "osint_service", change=7)


def registered_1(revision: int, epoch: str = "e1", digest: int = 0) -> bytes:
    happened = Registered(at(revision, epoch), OSINT, 1.0)
    return event_of_version_1(happened, "osint_service", cursor(revision, epoch), digest=digest)


def read(
    stream: bytes, since: Cursor | None = None, *, max_line_bytes: int = MAX_LINE_BYTES, part: bool = False
) -> list[WatchChange]:
    reader = WatchReader(since if since is not None else cursor(1), max_line_bytes=max_line_bytes, part=part)
    return list(reader.feed(stream))


def test_lines_become_changes() -> None:
    gone = event(Deregistered(at(3), KEY), "osint_service", change=9, count=0)
    assert read(registered(2) + gone + sync(cursor(3), digest="d")) == [
        Happened(Registered(at(2), OSINT, 1.0), cursor(2), 7, 1),
        Happened(Deregistered(at(3), KEY), cursor(3), 9, 0),
        Synced(cursor(3), "d", "ready", 0.0),
    ]


def test_lines_of_version_1_become_the_same_changes() -> None:
    gone = event_of_version_1(Deregistered(at(3), KEY), "osint_service", cursor(3), digest=6)
    renewed = renewed_lines([("osint_service", "a", 5.0)])[0]
    signs = sync_line_of_version_1(cursor(3), digest="d", state="ready", store_age_s=0.0)
    assert read(registered_1(2, digest=5) + gone + renewed + signs) == [
        Happened(Registered(at(2), OSINT, 1.0), cursor(2), None, 1),
        Happened(Deregistered(at(3), KEY), cursor(3), 5 ^ 6, 1),
        Heard(((InstanceKey("osint-service", "a"), 5.0),)),
        Synced(cursor(3), "d", "ready", 0.0),
    ]


def test_a_snapshot_may_come_at_any_time() -> None:
    parts = b"".join(snapshot([lived(OSINT)], reason="lagged", cursor=cursor(9), digest="d"))
    changes = read(registered(2) + parts + registered(10))
    assert isinstance(changes[1], Replaced)
    assert changes[1].reason == "lagged"
    assert isinstance(changes[2], Happened)


def moved(revision: int) -> bytes:
    return moved_line([lived(OSINT)], state="ready", cursor=cursor(revision, "e2"), digest="d")


def test_instances_removed_during_a_move_are_reported() -> None:
    line = moved_line([], state="ready", cursor=cursor(7, "e2"), digest="d", removed=[("osint-service", "a", 2)])
    (change,) = read(line)
    assert change == Moved((), cursor(7, "e2"), "d", "ready", ((InstanceKey("osint-service", "a"), 2),))


def test_a_history_that_continues_elsewhere_is_followed() -> None:
    change, happened = read(moved(7) + registered(8, "e2"))
    assert change == Moved((lived(OSINT),), cursor(7, "e2"), "d", "ready")
    assert isinstance(happened, Happened)


@pytest.mark.parametrize("one", [registered, registered_1])
def test_an_event_is_not_applied_twice(one: Callable[[int], bytes]) -> None:
    assert len(read(one(2) + one(2) + one(1) + one(3))) == 2


# -- sync lines


def test_a_sync_without_a_cursor_means_that_nothing_happened_since_the_last_one() -> None:
    silent = encoded(SyncLine(digest="d", state="ready", store_age_s=0.0))
    assert read(sync(cursor(1), digest="d") + silent)[1] == Synced(cursor(1), "d", "ready", 0.0)
    with pytest.raises(BrokenStream, match="nothing happened since"):
        read(sync(cursor(1), digest="d") + registered(2) + silent)


def test_a_sync_names_the_late_leases() -> None:
    line = SyncLine(digest="d", state="ready", store_age_s=0.0, late_after_s=45.0, late=(("osint_service", "a", 5.0),))
    (change,) = read(encoded(line))
    assert isinstance(change, Synced)
    assert change.leases == LeaseReport(45.0, {InstanceKey("osint-service", "a"): 5.0})
    line.late_total = 900
    (change,) = read(encoded(line))
    assert isinstance(change, Synced)
    assert change.leases is not None
    assert not change.leases.all_named


def test_a_registry_that_has_not_read_all_of_its_store_is_followed() -> None:
    line = SyncLine(cursor="0.e1.1", digest="d", state="warming", store_age_s=None, unread=("redis-b",))
    assert read(encoded(line)) == [Synced(cursor(1), "d", "warming", None, ("redis-b",))]


def test_a_replica_that_lags_is_believed_once_it_has_caught_up() -> None:
    changes = read(
        sync(cursor(3), digest="old") + registered(4) + registered(5) + sync(cursor(5), digest="d"), cursor(5)
    )
    assert changes == [Synced(cursor(5), "", "ready", 0.0), Synced(cursor(5), "d", "ready", 0.0)]


def test_a_replica_that_has_read_nothing_is_followed_by_a_reader_that_resumes() -> None:
    nothing = b"".join(snapshot([], reason="epoch", cursor=Cursor(), digest="0", state="warming"))
    sign = sync(Cursor(), digest="0", state="warming", store_age_s=None)
    replaced, *signs = read(nothing + sign + sign, cursor(5))
    assert isinstance(replaced, Replaced)
    assert signs == [Synced(Cursor(), "0", "warming", None)] * 2


# -- lines of a later release


def later(line: bytes, **more: object) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(line), **more}) + b"\n"


def test_a_line_of_unknown_type_without_an_event_is_skipped() -> None:
    assert read(b'{"type":"weather","sun":1}\n\n \n' + sync(cursor(1), digest="d")) == [
        Synced(cursor(1), "d", "ready", 0.0)
    ]


def test_a_replica_that_stops_sends_the_reader_on_within_a_bound() -> None:
    assert read(goodbye_line(2000, ["http://10.0.0.2:8888"])) == [SentOn(2.0, ("http://10.0.0.2:8888",))]
    assert read(goodbye_line(0)) == [SentOn(GOODBYE_LEAST_S)]
    assert read(goodbye_line(1_000_000)) == [SentOn(GOODBYE_MOST_S)]
    assert read(b'{"type":"goodbye","within_s":1e9}\n') == [SentOn(GOODBYE_MOST_S)]
    assert read(b'{"type":"goodbye","within_s":-1}\n') == [SentOn(0.0)]


def test_an_unknown_field_is_ignored() -> None:
    record = {**msgspec.to_builtins(OSINT), "planet": "earth"}
    assert read(later(registered(2), instance=record, mood="fine")) == read(registered(2))


def test_an_event_of_unknown_type_makes_its_service_be_read_again() -> None:
    line = later(event(Deregistered(at(2), KEY), "osint_service", change=9), type="frozen")
    unknown, happened = read(line + registered(3))
    assert isinstance(unknown, UnknownEvent)
    assert (unknown.label, unknown.cursor, unknown.change) == ("osint-service", cursor(2), 9)
    assert "'frozen'" in unknown.problem
    assert isinstance(happened, Happened)
    assert read(line, cursor(2)) == [], "it was read already"


def test_an_event_of_an_unknown_service_is_reported_too() -> None:
    (unknown,) = read(b'{"type":"frozen","position":"0.e1.2"}\n')
    assert isinstance(unknown, UnknownEvent)
    assert unknown.label == ""


def test_an_unreadable_event_makes_its_service_be_read_again() -> None:
    (unknown,) = read(later(registered(2), heartbeat_at="soon"))
    assert isinstance(unknown, UnknownEvent)
    assert (unknown.label, unknown.cursor) == ("osint-service", cursor(2))


def test_an_unknown_status_and_protocol_are_kept_unchanged() -> None:
    record = {**msgspec.to_builtins(OSINT), "status": "quarantined", "protocol": "quic"}
    changed = event(StatusChanged(at(3), KEY, Status.CRITICAL), "osint_service")
    first, second = read(later(registered(2), instance=record) + later(changed, status="resting"))
    assert isinstance(first, Happened)
    assert isinstance(first.event, Registered)
    kept = first.event.instance
    assert (kept.status, kept.protocol) == ("quarantined", "quic")
    assert kept.status not in list(Status)
    assert kept.protocol not in list(Protocol)
    assert msgspec.to_builtins(kept) == record
    assert instance_digest(kept) != instance_digest(OSINT)
    assert isinstance(second, Happened)
    assert isinstance(second.event, StatusChanged)
    assert second.event.status == "resting"


def test_a_snapshot_with_records_of_a_later_registry_is_accepted() -> None:
    (line,) = snapshot([lived(OSINT)], cursor=cursor(9), digest="d")
    raw = msgspec.json.decode(line)
    raw["instances"][0]["instance"]["status"] = "quarantined"
    (change,) = read(msgspec.json.encode(raw) + b"\n")
    assert isinstance(change, Replaced)
    assert change.whole
    assert [one.instance.status for one in change.instances] == ["quarantined"]


@pytest.mark.parametrize(
    "bad", [{"port": "eighty"}, {"status": ["odd"]}, {"status": "x" * 100}, {"service_name": None}]
)
def test_a_snapshot_with_an_unreadable_record_is_incomplete(bad: dict[str, object]) -> None:
    other = lived(instance("billing"))
    (line,) = snapshot([lived(OSINT), other], cursor=cursor(9), digest="d")
    raw = msgspec.json.decode(line)
    raw["instances"][0]["instance"].update(bad)
    unreadable, change = read(msgspec.json.encode(raw) + b"\n")
    assert isinstance(unreadable, PassedOver)
    assert isinstance(change, Replaced)
    assert not change.whole
    assert change.instances == (other,)


# -- unreadable lines


def test_a_line_that_is_too_long_is_reported_and_skipped() -> None:
    long = later(registered(2), filler="x" * 1000)
    signs = sync(cursor(3), digest="d")
    changes = read(long + registered(3) + signs + registered(4), max_line_bytes=700)
    assert [type(change) for change in changes] == [PassedOver, Happened, Synced, Happened]
    assert changes[0] == PassedOver("a line has more than 700 bytes")
    assert changes[2] == Synced(cursor(3), "d", "ready", 0.0), "its digest tells whether anything is missing"


def test_the_next_sync_gives_the_position_after_a_skipped_line() -> None:
    changes = read(b'{"type":"sync"}\n' + sync(cursor(8), digest="d") + registered(9))
    assert [type(change) for change in changes] == [PassedOver, Synced, Happened]
    assert isinstance(changes[1], Synced)
    assert changes[1].cursor == cursor(8)


def test_an_unreadable_line_of_a_lagging_replica_does_not_move_the_reader_back() -> None:
    unreadable = b'{"type":"sync"}\n'
    changes = read(unreadable + sync(cursor(3), digest="old") + registered(4) + registered(6), cursor(5))
    assert [type(change) for change in changes] == [PassedOver, Synced, Happened]
    assert changes[1] == Synced(cursor(5), "", "ready", 0.0)


def test_a_snapshot_with_a_part_that_is_too_long_is_incomplete() -> None:
    parts = snapshot([lived(OSINT)], cursor=cursor(9), digest="d")
    begin = parts[0].replace(b'"last":true', b'"last":false')
    end = parts[0].replace(b'"first":true', b'"first":false')
    changes = read(begin + b"x" * 1000 + b"\n" + end, max_line_bytes=900)
    assert [type(change) for change in changes] == [PassedOver, Replaced]
    assert isinstance(changes[1], Replaced)
    assert not changes[1].whole


@pytest.mark.parametrize("line", [b"no json\n", b"{}\n", b'\xff\xfe{"type":"sync"}\n', b"[" * 5000 + b"\n", b"7\n"])
def test_a_foreign_line_is_skipped_except_as_the_first_one(line: bytes) -> None:
    assert [type(change) for change in read(registered(2) + line + registered(3))] == [Happened, PassedOver, Happened]
    with pytest.raises(BrokenStream, match="this is not a watch"):
        read(line)


PART = b'{"type":"snapshot","reason":"start","first":%s,"last":%s,"state":"ready"}\n'


@pytest.mark.parametrize(
    ("stream", "because"),
    [
        (registered(3), "events are missing"),
        (registered_1(3), "events are missing"),
        (registered(2, "e2"), "an event at"),
        (registered_1(2, "e2"), "an event at"),
        (sync(cursor(2), digest="d"), "a sign of life for"),
        (b'{"type":"sync","cursor":"?","digest":"","state":"ready","store_age_s":0}\n', "cursor cannot be read"),
        (registered(2).replace(b"0.e1.2", b"0.e1.2~1.e1.2"), "has one position"),
        (PART % (b"false", b"true"), "without its first part"),
        (PART % (b"true", b"false") + registered(2), "an event within"),
        (PART % (b"true", b"false") + b'{"type":"frozen","position":"0.e1.2"}\n', "an event within"),
        (PART % (b"true", b"false") + sync(cursor(1), digest="d"), "a sign of life"),
        (PART % (b"true", b"false") + moved(2), "never began"),
    ],
)
def test_a_contradiction_to_earlier_lines_breaks_the_stream(stream: bytes, because: str) -> None:
    with pytest.raises(BrokenStream, match=because):
        read(stream)


def test_lines_before_the_broken_one_are_still_applied() -> None:
    changes = WatchReader(cursor(1)).feed(registered(2) + registered(4))
    assert isinstance(next(changes), Happened)
    with pytest.raises(BrokenStream):
        next(changes)


# -- several shards, and one service


def test_an_event_moves_only_its_own_shard() -> None:
    both = cursor_of([at(4, "a"), at(7, "b", 1)])
    line = event(Registered(at(8, "b", 1), OSINT, 1.0), "osint_service")
    assert read(line, both) == [Happened(Registered(at(8, "b", 1), OSINT, 1.0), both.moved_to(at(8, "b", 1)), 0, 1)]
    elsewhere = both.moved_to(at(3, "a"))
    (change,) = read(line, elsewhere)
    assert isinstance(change, Happened)
    assert change.cursor == elsewhere.moved_to(at(8, "b", 1)), "the sender's position in other shards does not matter"


def test_an_event_of_version_1_moves_one_shard() -> None:
    both = cursor_of([at(4, "a"), at(7, "b", 1)])
    after = both.moved_to(at(8, "b", 1))
    line = event_of_version_1(Registered(at(8, "b", 1), OSINT, 1.0), "osint_service", after)
    assert read(line, both) == [Happened(Registered(at(8, "b", 1), OSINT, 1.0), after, None, 1)]
    with pytest.raises(BrokenStream):
        read(line, both.moved_to(at(3, "a")))


@pytest.mark.parametrize("one", [registered, registered_1])
def test_in_a_watch_of_one_service_events_of_others_are_no_gap(one: Callable[[int], bytes]) -> None:
    changes = read(one(5) + sync(cursor(9), digest=""), part=True)
    assert [type(change) for change in changes] == [Happened, Synced]
