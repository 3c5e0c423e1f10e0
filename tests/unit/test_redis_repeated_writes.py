"""A write that is sent again, to another master: its caller gets the answer of the first time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from registry_core.store.redis.queue import _Write
from registry_core.store.redis.scripts import Name

OLD_MASTER, NEW_MASTER = Redis(), Redis()


async def answered(name: Name, first: Any, again: Any) -> Any:
    """Return what the caller of a write is told that two masters took, and answered like this."""
    write = _Write(name, (), 0.0, asyncio.get_running_loop().create_future())
    write.take(first, OLD_MASTER)
    write.take(again, NEW_MASTER)
    assert write.taken_by is NEW_MASTER, "whose replicas have to confirm it"
    return write.result


@pytest.mark.parametrize(
    ("name", "first", "again"),
    [
        # It is gone because it was taken out the first time; it is swept because this was the sweep.
        (Name.DEREGISTER, [b"ok", b"e1", b"7", b"record"], [b"missing"]),
        (Name.SWEEP, [b"ok", b"e1", b"7", b"1", b"0", b"a/1"], [b"stale"]),
        # An amnesty is given once, and a guard released once.
        (Name.CENSUS, [b"100", b"10", b"90"], [b"100", b"100", b"0"]),
        (Name.RELEASE, 1, 0),
    ],
)
async def test_a_repetition_that_finds_its_work_done_does_not_count(name: Name, first: Any, again: Any) -> None:
    assert await answered(name, first, again) == first


async def test_a_new_master_that_never_had_it_tells_its_own_position_and_who_registered_first_stays_created() -> None:
    first = [b"ok", b"e1", b"7", b"record", b"1", b"1000", b"1"]
    again = [b"ok", b"e2", b"6", b"record", b"0", b"2000", b"1"]
    assert await answered(Name.REGISTER, first, again) == [b"ok", b"e2", b"6", b"record", b"1", b"2000", b"1"]


async def test_an_answer_that_asks_to_be_asked_again_is_none_to_be_kept() -> None:
    assert await answered(Name.CENSUS, [b"more"], [b"100", b"100", b"0"]) == [b"100", b"100", b"0"]
