"""A write that is sent again to another master: its caller gets the first answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from registry_core.ports.clock import SystemClock
from registry_core.store.redis.link import Link
from registry_core.store.redis.scripts import ScriptName
from registry_core.store.redis.writes import TRANSITIONS, Write, WriteEvent, WriteState


def link() -> Link:
    """Return a link to no server."""
    return Link(Redis(), object(), SystemClock())


async def answered(name: ScriptName, first: Any, again: Any) -> Any:
    """Return the answer of a write that two masters accepted with these answers."""
    old, new = link(), link()
    write = Write(name, (), 0.0, asyncio.get_running_loop().create_future())
    write.take(first, old)
    write.happens(WriteEvent.LEFT)
    write.take(again, new)
    assert write.link is new, "whose replicas must confirm it"
    write.happens(WriteEvent.CONFIRMED)
    write.tell()
    return await write.done


@pytest.mark.parametrize(
    ("name", "first", "again"),
    [
        # It is missing because the first try removed it; it was swept by this sweep.
        (ScriptName.DEREGISTER, [b"ok", b"e1", b"7", b"record", b"5 1 1 7"], [b"missing"]),
        (ScriptName.SWEEP, [b"ok", b"e1", b"7", b"1", b"0", b"a/1"], [b"stale"]),
        # It is held because this write restored it.
        (ScriptName.RESTORE, [b"ok", b"e1", b"7", b"record"], [b"held", b"5"]),
        # An amnesty is given once, and a guard is released once.
        (ScriptName.CENSUS, [b"100", b"10", b"90"], [b"100", b"100", b"0"]),
        (ScriptName.RELEASE, [b"1"], [b"0"]),
    ],
)
async def test_a_repetition_that_finds_its_work_done_is_ignored(name: ScriptName, first: Any, again: Any) -> None:
    assert await answered(name, first, again) == first


async def test_a_new_master_gives_its_own_position_and_a_first_registration_stays_created() -> None:
    first = [b"ok", b"e1", b"7", b"record", b"1", b"1000", b"1"]
    again = [b"ok", b"e2", b"6", b"record", b"0", b"2000", b"1"]
    assert await answered(ScriptName.REGISTER, first, again) == [b"ok", b"e2", b"6", b"record", b"1", b"2000", b"1"]


async def test_an_answer_that_asks_for_a_retry_is_not_kept() -> None:
    assert await answered(ScriptName.CENSUS, [b"more"], [b"100", b"100", b"0"]) == [b"100", b"100", b"0"]


def test_a_write_is_acknowledged_only_by_the_server_that_has_it() -> None:
    """Whatever happens to it, in any order: only a write that was accepted and not abandoned since is confirmed."""
    reached = {WriteState.HELD}
    while True:
        after = reached | {to for (state, _), to in TRANSITIONS.items() if state in reached}
        if after == reached:
            break
        reached = after
    assert reached == set(WriteState)
    ways = {(state, event) for (state, event), to in TRANSITIONS.items() if to is WriteState.ACKNOWLEDGED}
    assert ways == {(WriteState.TAKEN, WriteEvent.CONFIRMED)}
    assert {
        state for (state, event), to in TRANSITIONS.items() if to is WriteState.TAKEN and state is WriteState.HELD
    } == {WriteState.HELD}
    assert TRANSITIONS[WriteState.TAKEN, WriteEvent.LEFT] is WriteState.HELD
    ends = {WriteState.ACKNOWLEDGED, WriteState.FAILED}
    assert not [pair for pair in TRANSITIONS if pair[0] in ends], "an ended write does not change"


async def test_an_impossible_event_of_a_write_is_an_error_and_no_acknowledgement() -> None:
    write = Write(ScriptName.REGISTER, (), 0.0, asyncio.get_running_loop().create_future())
    with pytest.raises(KeyError):
        write.happens(WriteEvent.CONFIRMED)
    write.tell()
    assert not write.done.done()
