"""What watchers begin with: made once for all who come together."""

from __future__ import annotations

from registry_core.api.hub import HubLimits
from registry_core.api.openings import KEPT_TICKS, MAX_MISSED
from registry_core.watch.changes import Happened, Replaced
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import PROTOCOL
from registry_core.watch.reader import WatchReader
from tests.samples import claim
from tests.unit.registry_core.api.test_hub import Parts


async def fleet(count: int, limits: HubLimits | None = None) -> Parts:
    parts = Parts(limits)
    await parts.start()
    for port in range(8001, 8001 + count):
        await parts.store.register(claim(port=port, metadata={"filler": "x" * 500}))
    return parts


def snapshot(parts: Parts, reason: str = "start", *, is_kept: bool = False) -> list[bytes]:
    return list(parts.hub.openings.snapshot(None, reason, PROTOCOL, is_packed=True, is_kept=is_kept))


async def test_readers_with_different_reasons_share_the_packed_parts() -> None:
    parts = await fleet(600)
    one = parts.hub.openings.snapshot(None, "start", PROTOCOL, is_packed=True, is_kept=False)
    first, *packed, last = one
    other_first, *other, other_last = snapshot(parts, "behind")
    assert (b'"start"' in first, b'"behind"' in other_first, b'"behind"' in other_last) == (True, True, True)
    assert last != other_last
    assert len(packed) > 1
    assert packed == other


async def test_a_snapshot_is_kept_for_those_who_come_in_turn() -> None:
    parts = await fleet(600)
    _, packed, *_ = snapshot(parts, is_kept=True)
    _, again, *_ = snapshot(parts, is_kept=True)
    assert again is packed
    for _ in range(KEPT_TICKS):
        parts.hub.tick()
    _, anew, *_ = snapshot(parts)
    assert anew is not packed


async def test_a_kept_snapshot_is_followed_by_what_happened_since() -> None:
    parts = await fleet(20)
    snapshot(parts, is_kept=True)
    await parts.store.register(claim(port=9001))
    reader = WatchReader(Cursor())
    changes = list(reader.feed(b"".join(snapshot(parts, is_kept=True))))
    assert [type(change) for change in changes] == [Replaced, Happened]
    assert isinstance(changes[-1], Happened)
    assert changes[-1].cursor == parts.view.cursor


async def test_many_missed_changes_are_packed_and_few_are_not() -> None:
    parts = await fleet(0)
    start = parts.view.cursor
    for port in range(8001, 8101):
        await parts.store.register(claim(port=port, metadata={"filler": "x" * 500}))
    openings = parts.hub.openings
    plain = list(openings.missed(start, None, PROTOCOL, is_packed=False))
    (packed,) = openings.missed(start, None, PROTOCOL, is_packed=True)
    (again,) = openings.missed(start, None, PROTOCOL, is_packed=True)
    assert packed is again
    assert len(packed) < sum(map(len, plain)) / 5
    reader = WatchReader(start)
    assert len(list(reader.feed(packed))) == len(plain) == 100
    near = plain[-1]
    await parts.store.register(claim(port=9001))
    late = parts.hub.history.after(start, None, PROTOCOL)
    assert late[-2] == near
    assert list(openings.missed(reader_cursor(parts, 1), None, PROTOCOL, is_packed=True)) == [late[-1]]


def reader_cursor(parts: Parts, behind: int) -> Cursor:
    (position,) = parts.view.cursor.positions
    return Cursor((type(position)(position.shard, position.epoch, position.revision - behind),))


async def test_only_so_many_openings_are_kept() -> None:
    parts = await fleet(3 * MAX_MISSED)
    for behind in range(3 * MAX_MISSED):
        lines = list(parts.hub.openings.missed(reader_cursor(parts, behind), None, PROTOCOL, is_packed=False))
        assert len(lines) == behind
    assert len(parts.hub.openings._missed) == MAX_MISSED
    parts.hub.tick()
    assert not parts.hub.openings._missed
