"""A write that is sent again, to another master: its caller gets the answer of the first time."""

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
    """Return a link to nobody."""
    return Link(Redis(), object(), SystemClock())


async def answered(name: ScriptName, first: Any, again: Any) -> Any:
    """Return what the caller of a write is told that two masters took, and answered like this."""
    old, new = link(), link()
    write = Write(name, (), 0.0, asyncio.get_running_loop().create_future())
    write.take(first, old)
    write.happens(WriteEvent.LEFT)
    write.take(again, new)
    assert write.link is new, "whose replicas have to confirm it"
    write.acknowledge()
    return await write.done


@pytest.mark.parametrize(
    ("name", "first", "again"),
    [
        # It is gone because it was taken out the first time; it is swept because this was the sweep.
        (ScriptName.DEREGISTER, [b"ok", b"e1", b"7", b"record", b"5 1 1 7"], [b"missing"]),
        (ScriptName.SWEEP, [b"ok", b"e1", b"7", b"1", b"0", b"a/1"], [b"stale"]),
        # It is held because this brought it back.
        (ScriptName.RESTORE, [b"ok", b"e1", b"7", b"record"], [b"held", b"5"]),
        # An amnesty is given once, and a guard released once.
        (ScriptName.CENSUS, [b"100", b"10", b"90"], [b"100", b"100", b"0"]),
        (ScriptName.RELEASE, [b"1"], [b"0"]),
    ],
)
async def test_a_repetition_that_finds_its_work_done_does_not_count(name: ScriptName, first: Any, again: Any) -> None:
    assert await answered(name, first, again) == first


async def test_a_new_master_that_never_had_it_tells_its_own_position_and_who_registered_first_stays_created() -> None:
    first = [b"ok", b"e1", b"7", b"record", b"1", b"1000", b"1"]
    again = [b"ok", b"e2", b"6", b"record", b"0", b"2000", b"1"]
    assert await answered(ScriptName.REGISTER, first, again) == [b"ok", b"e2", b"6", b"record", b"1", b"2000", b"1"]


async def test_an_answer_that_asks_to_be_asked_again_is_none_to_be_kept() -> None:
    assert await answered(ScriptName.CENSUS, [b"more"], [b"100", b"100", b"0"]) == [b"100", b"100", b"0"]


def test_a_write_is_acknowledged_only_by_the_server_that_has_it() -> None:
    """Whatever happens to it, and in whatever order: only what was taken, and not left since, is confirmed."""
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
    assert not [pair for pair in TRANSITIONS if pair[0] in ends], "what has ended stays as it is"


async def test_what_cannot_happen_to_a_write_is_an_error_and_not_an_acknowledgement() -> None:
    write = Write(ScriptName.REGISTER, (), 0.0, asyncio.get_running_loop().create_future())
    with pytest.raises(KeyError):
        write.acknowledge()
    assert not write.done.done()
