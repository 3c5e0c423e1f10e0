"""Which instances the latest events of a shard were about, as they are added one by one."""

from __future__ import annotations

from registry_core.domain.events import Position
from registry_core.domain.records import InstanceKey
from registry_core.store.redis.recent_keys import RecentKeys
from registry_core.watch.recent import MAX_RECENT

KEY = InstanceKey("ip-intel", "a")


def at(revision: int, epoch: str = "e1") -> Position:
    return Position(0, epoch, revision)


def following(first: int, last: int) -> RecentKeys:
    """Return what is known after the events from `first` to `last`, of which the first one began it."""
    keys = RecentKeys()
    for revision in range(first, last + 1):
        keys.add(at(revision), KEY)
    return keys


def test_the_latest_events_are_known_and_so_many_of_them() -> None:
    keys = following(1, MAX_RECENT + 11)
    shown = keys.shown()
    assert (shown.last, shown.since, len(keys)) == (at(MAX_RECENT + 11), 11, MAX_RECENT)
    assert shown.changed[0] == (12, KEY)


def test_nothing_before_a_gap_or_an_unknown_instance_or_another_epoch_is_known() -> None:
    for position, key in ((at(9), KEY), (at(6), None), (at(6, "e2"), KEY)):
        keys = following(1, 5)
        keys.add(position, key)
        shown = keys.shown()
        assert (shown.last, shown.since, shown.changed) == (position, position.revision, ())
        following_one = Position(0, position.epoch, position.revision + 1)
        keys.add(following_one, KEY)
        assert keys.shown().changed == ((following_one.revision, KEY),)
