"""The turns of readers who need everything: first come, first served, and when the others come back."""

from __future__ import annotations

import asyncio
import random

import pytest

from registry_core.api.snapshot_turns import (
    LEAST_SPREAD_S,
    LONGEST_WAIT_S,
    MOST_SPREAD_S,
    ReaderTurns,
    SnapshotTurn,
    SnapshotTurns,
)
from registry_core.errors import Overloaded
from tests.programs import eventually
from tests.samples import FakeClock

NOW = 0.0  # do not wait


def turns(at_once: int = 2, most_waiting: int = 100, clock: FakeClock | None = None) -> SnapshotTurns:
    return SnapshotTurns(
        clock if clock is not None else FakeClock(), random.Random(7), at_once=at_once, most_waiting=most_waiting
    )


async def reading(queued: list[SnapshotTurn]) -> list[int]:
    return [number for number, turn in enumerate(queued) if await turn.has_come(NOW)]


async def test_so_many_read_at_once_and_the_next_follow_in_their_order() -> None:
    every = turns()
    queued = [every.queue() for _ in range(5)]
    assert await reading(queued) == [0, 1]
    queued[1].end()
    queued[1].end()
    assert await reading(queued) == [0, 1, 2]
    queued[0].end()
    queued[2].end()
    assert await reading(queued) == [0, 1, 2, 3, 4]
    assert len(every) == 0


async def test_a_reader_that_leaves_while_it_waits_takes_no_turn() -> None:
    every = turns(at_once=1)
    queued = [every.queue() for _ in range(3)]
    queued[1].end()
    assert len(every) == 1
    queued[0].end()
    assert await reading(queued) == [0, 2]
    queued[2].end()


async def test_a_slow_reader_keeps_its_place_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_core.api.snapshot_turns.TURN_S", 0.01)
    every = turns(at_once=1)
    slow, next_one = every.queue(), every.queue()
    assert await slow.has_come(NOW)
    assert await next_one.has_come(20.0)
    next_one.end()


async def test_readers_that_would_wait_for_too_long_come_back_at_different_times() -> None:
    clock = FakeClock()
    every = turns(at_once=1, clock=clock)
    for _ in range(60):
        turn = every.queue()
        clock.pass_time(2.0)
        turn.end()
    every.admit()
    queued = [every.queue() for _ in range(30)]
    assert every.expected_s > LONGEST_WAIT_S
    waits = []
    for _ in range(200):
        with pytest.raises(Overloaded) as refused:
            every.admit()
        waits.append(refused.value.retry_after_s)
    assert every.refused == 200
    assert len({int(wait) for wait in waits}) > 20, "spread over whole seconds, since Retry-After has no others"
    assert min(waits) >= 1.0
    assert max(waits) <= 1.0 + min(MOST_SPREAD_S, every.expected_s)
    for turn in queued:
        turn.end()


async def test_only_so_many_wait() -> None:
    every = turns(at_once=1, most_waiting=2)
    queued = [every.queue() for _ in range(3)]
    with pytest.raises(Overloaded) as refused:
        every.admit()
    assert 1.0 <= refused.value.retry_after_s <= 1.0 + LEAST_SPREAD_S
    queued[0].end()
    every.admit()
    for turn in queued:
        turn.end()


async def test_nobody_begins_while_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_core.api.snapshot_turns.ROOM_S", 0.01)
    room: list[bool] = []
    every = SnapshotTurns(FakeClock(), random.Random(7), has_room=lambda: bool(room))
    queued = [every.queue() for _ in range(3)]
    assert await reading(queued) == []
    room.append(True)
    assert await queued[2].has_come(20.0)
    assert await reading(queued) == [0, 1, 2]
    for turn in queued:
        turn.end()


async def test_all_begin_when_the_replica_stops() -> None:
    every = turns(at_once=1)
    queued = [every.queue() for _ in range(3)]
    every.close()
    assert await reading(queued) == [0, 1, 2]
    for turn in queued:
        turn.end()


async def test_a_reader_takes_a_turn_for_each_snapshot_that_it_is_owed() -> None:
    every = turns(at_once=1)
    other = every.queue()
    with ReaderTurns(every) as own:
        assert await own.may_read(NOW, owes=False)
        assert not await own.may_read(NOW, owes=True)
        assert len(every) == 1
        other.end()
        assert await own.may_read(NOW, owes=True)
        await own.has_read(everything=False)
        assert await own.may_read(NOW, owes=False), "it goes on with the snapshot"
        waiting = every.queue()
        await own.has_read(everything=True)
        assert await waiting.has_come(NOW)
        assert not await own.may_read(NOW, owes=True)
    assert len(every) == 0
    waiting.end()


async def test_a_fast_reader_lets_others_have_their_turn_of_the_loop() -> None:
    every, done = turns(), asyncio.Event()
    with ReaderTurns(every) as own:
        await own.may_read(NOW, owes=True)
        asyncio.get_running_loop().call_soon(done.set)
        await own.has_read(everything=False)
        assert done.is_set()
    await eventually(lambda: len(every) == 0, "all are gone")
