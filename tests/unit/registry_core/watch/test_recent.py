"""What a reader gets that returns to a replica which began its history after the reader's cursor."""

from __future__ import annotations

import msgspec

from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Position
from registry_core.domain.records import InstanceKey, Status
from registry_core.watch.changes import Moved
from registry_core.watch.cursor import Cursor, cursor_of
from registry_core.watch.reader import WatchReader
from registry_core.watch.recent import LatestEvents, beginning_of
from tests.samples import instance, lived

OSINT, GEO, GONE = instance("osint_service"), instance("geo", "10.0.0.2"), InstanceKey("billing", "a")


def at(revision: int, epoch: str = "e1", shard: int = 0) -> Position:
    return Position(shard, epoch, revision)


def catalog() -> Catalog:
    made = Catalog()
    made.merge([lived(OSINT), lived(GEO)])
    return made


def recent(last: int = 9, since: int = 5, *changed: tuple[int, InstanceKey], epoch: str = "e1") -> LatestEvents:
    return LatestEvents(at(last, epoch), since, changed)


CHANGES = ((6, OSINT.key), (7, GONE), (8, GEO.key), (9, OSINT.key))


def read(line: bytes, cursor: Cursor) -> Moved:
    (moved,) = WatchReader(cursor).feed(line)
    assert isinstance(moved, Moved)
    return moved


def test_a_reader_gets_what_changed_after_its_cursor_as_it_is_now() -> None:
    begun = beginning_of(catalog(), cursor_of([at(9)]), [recent(9, 5, *CHANGES)])
    assert begun.is_reached_from(cursor_of([at(7)]))
    moved = read(begun.line_after(cursor_of([at(7)]), None, "ready"), cursor_of([at(7)]))
    assert moved == Moved(
        (lived(GEO), lived(OSINT)), cursor_of([at(9)]), catalog().digest, "ready", (), is_resumed=True
    )
    moved = read(begun.line_after(cursor_of([at(5)]), None, "ready"), cursor_of([at(5)]))
    assert [one.instance for one in moved.instances] == [OSINT, GEO]
    assert moved.removed == ((GONE, 0),)


def test_a_reader_of_one_service_gets_only_that() -> None:
    begun = beginning_of(catalog(), cursor_of([at(9)]), [recent(9, 5, *CHANGES)])
    moved = read(begun.line_after(cursor_of([at(5)]), "geo", "ready"), cursor_of([at(5)]))
    assert ([one.instance for one in moved.instances], moved.removed, moved.digest) == ([GEO], (), "")


def test_a_reader_reads_everything_when_part_of_what_it_lacks_is_not_known() -> None:
    two = cursor_of([at(9), at(3, shard=1)])
    begun = beginning_of(catalog(), two, [recent(9, 5, *CHANGES)])
    assert begun.is_reached_from(cursor_of([at(5), at(3, shard=1)])), "it lacks nothing of the other shard"
    for lacking in (
        Cursor(),
        cursor_of([at(7)]),
        cursor_of([at(4), at(3, shard=1)]),
        cursor_of([at(7), at(2, shard=1)]),
        cursor_of([at(7), at(3, "e0", shard=1)]),
        cursor_of([at(7, "e0"), at(3, shard=1)]),
        cursor_of([at(10), at(3, shard=1)]),  # ahead of the beginning
    ):
        assert not begun.is_reached_from(lacking), lacking


def test_what_came_after_the_beginning_is_left_to_the_history() -> None:
    later = recent(11, 5, *CHANGES, (10, GEO.key), (11, GEO.key))
    begun = beginning_of(catalog(), cursor_of([at(9)]), [later])
    assert begun.shards[0].changed == CHANGES
    assert beginning_of(catalog(), cursor_of([at(9)]), [recent(8, 5, *CHANGES[:3])]).shards == {}
    assert beginning_of(catalog(), cursor_of([at(9)]), [recent(9, 5, *CHANGES, epoch="e0")]).shards == {}


def test_later_changes_of_the_catalogue_change_nothing() -> None:
    changing = catalog()
    begun = beginning_of(changing, cursor_of([at(9)]), [recent(9, 5, *CHANGES)])
    line = begun.line_after(cursor_of([at(5)]), None, "ready")
    changing.merge([lived(msgspec.structs.replace(GEO, status=Status.CRITICAL))])
    assert begun.line_after(cursor_of([at(5)]), None, "ready") == line
