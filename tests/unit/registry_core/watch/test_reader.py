"""The reader of the watch stream: what it takes for broken, and what it passes over."""

from __future__ import annotations

import pytest

from registry_core.domain.events import Deregistered, Position, Registered
from registry_core.domain.records import InstanceKey
from registry_core.watch.cursor import Cursor, cursor_of
from registry_core.watch.lines import event_line, moved_line, renewed_lines, snapshot_lines, sync_line
from registry_core.watch.reader import (
    MAX_LINE_BYTES,
    BrokenStream,
    Happened,
    Heard,
    Moved,
    Replaced,
    Synced,
    WatchChange,
    WatchReader,
)
from tests.samples import instance, lived

OSINT = instance("osint_service")


def cursor(revision: int, epoch: str = "e1") -> Cursor:
    return cursor_of([Position(0, epoch, revision)])


def registered(revision: int, epoch: str = "e1") -> bytes:
    return event_line(Registered(Position(0, epoch, revision), OSINT, 1.0), "osint_service", cursor(revision, epoch))


def sync(revision: int) -> bytes:
    return sync_line(cursor(revision), digest="d", state="ready", store_age_s=0.0)


def read(stream: bytes, since: Cursor | None = None, max_line_bytes: int = MAX_LINE_BYTES) -> list[WatchChange]:
    reader = WatchReader(since if since is not None else cursor(1), max_line_bytes=max_line_bytes)
    return list(reader.feed(stream))


def test_lines_become_changes() -> None:
    gone = event_line(Deregistered(Position(0, "e1", 3), OSINT.key), "osint_service", cursor(3))
    renewed = renewed_lines([("osint_service", "a", 5.0)])[0]
    assert read(registered(2) + gone + renewed + sync(3)) == [
        Happened(Registered(Position(0, "e1", 2), OSINT, 1.0), cursor(2)),
        Happened(Deregistered(Position(0, "e1", 3), OSINT.key), cursor(3)),
        Heard(((InstanceKey("osint-service", "a"), 5.0),)),
        Synced(cursor(3), "d", "ready", 0.0),
    ]


def test_a_snapshot_may_come_at_any_time() -> None:
    parts = b"".join(snapshot_lines([lived(OSINT)], reason="lagged", state="ready", cursor=cursor(9), digest="d"))
    changes = read(registered(2) + parts + registered(10))
    assert isinstance(changes[1], Replaced)
    assert changes[1].reason == "lagged"
    assert isinstance(changes[2], Happened)


def moved(revision: int) -> bytes:
    return moved_line([lived(OSINT)], state="ready", cursor=cursor(revision, "e2"), digest="d")


def test_who_was_taken_out_where_history_goes_on_is_told() -> None:
    line = moved_line([], state="ready", cursor=cursor(7, "e2"), digest="d", removed=[("osint-service", "a", 2)])
    (change,) = read(line)
    assert change == Moved((), cursor(7, "e2"), "d", "ready", ((InstanceKey("osint-service", "a"), 2),))


def test_a_history_that_goes_on_elsewhere_is_followed_there() -> None:
    change, happened = read(moved(7) + registered(8, "e2"))
    assert change == Moved((lived(OSINT),), cursor(7, "e2"), "d", "ready")
    assert isinstance(happened, Happened)


def test_an_event_that_was_read_before_is_not_applied_again() -> None:
    assert len(read(registered(2) + registered(2) + registered(1) + registered(3))) == 2


def test_a_line_of_a_later_registry_is_passed_over() -> None:
    assert read(b'{"type":"weather","sun":1}\n\n \n' + sync(1)) == [Synced(cursor(1), "d", "ready", 0.0)]


PART = b'{"type":"snapshot","reason":"start","first":%s,"last":%s,"state":"ready"}\n'


@pytest.mark.parametrize(
    ("stream", "because"),
    [
        (b"no json\n", "cannot be read"),
        (b"{}\n", "cannot be read"),
        (b'{"type":"sync"}\n', "cannot be read"),
        (b'\xff\xfe{"type":"sync"}\n', "cannot be read"),
        (b"[" * 5000 + b"\n", "cannot be read"),
        (registered(3), "events are missing"),
        (registered(2, "e2"), "an event at"),
        (sync(2), "a sign of life for"),
        (sync_line(Cursor(), digest="", state="", store_age_s=0.0).replace(b'""', b'"?"', 1), "cursor cannot be read"),
        (PART % (b"false", b"true"), "without its first"),
        (PART % (b"true", b"false") + registered(2), "an event within"),
        (PART % (b"true", b"false") + sync(1), "a sign of life"),
        (PART % (b"true", b"false") + moved(2), "not begun"),
    ],
)
def test_what_a_registry_never_sends_breaks_the_stream(stream: bytes, because: str) -> None:
    with pytest.raises(BrokenStream, match=because):
        read(stream)


def test_what_stands_before_the_broken_line_is_still_taken() -> None:
    changes = WatchReader(cursor(1)).feed(registered(2) + b"?\n")
    assert isinstance(next(changes), Happened)
    with pytest.raises(BrokenStream):
        next(changes)


def test_a_line_without_end_is_given_up() -> None:
    with pytest.raises(BrokenStream, match="more than 10 bytes"):
        read(b"x" * 11, max_line_bytes=10)


def test_a_reader_with_several_shards_moves_one_of_them() -> None:
    both = cursor_of([Position(0, "a", 4), Position(1, "b", 7)])
    moved = both.moved_to(Position(1, "b", 8))
    line = event_line(Registered(Position(1, "b", 8), OSINT, 1.0), "osint_service", moved)
    assert read(line, both) == [Happened(Registered(Position(1, "b", 8), OSINT, 1.0), moved)]
    with pytest.raises(BrokenStream):
        read(line, both.moved_to(Position(0, "a", 3)))
