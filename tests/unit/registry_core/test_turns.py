"""LoopTurns: how many go on at once."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from registry_core.turns import LoopTurns


async def test_only_so_many_go_on_in_one_turn_of_the_loop_and_all_do_in_the_end() -> None:
    turns = LoopTurns(16)
    waiting = [asyncio.ensure_future(turns.next()) for _ in range(50)]
    waiting[0].cancel()
    done = [0]
    while done[-1] < len(waiting):
        await asyncio.sleep(0)
        done.append(sum(each.done() for each in waiting))
    assert max(after - before for before, after in pairwise(done)) <= 17, "and the cancelled one"
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_first_come_goes_on_first() -> None:
    turns, order = LoopTurns(1), list[int]()

    async def each(number: int) -> None:
        await turns.next()
        order.append(number)

    await asyncio.gather(*map(each, range(5)))
    assert order == [0, 1, 2, 3, 4]


async def test_the_owners_take_turns_however_many_of_one_wait() -> None:
    turns, order = LoopTurns(1), list[str]()
    for name in ("greedy 1", "greedy 2", "greedy 3", "good 1", "good 2"):
        turns.call(lambda name=name: order.append(name), name.split()[0])  # type: ignore[misc]  # the default binds it
    for _ in range(6):
        await asyncio.sleep(0)
    assert order == ["greedy 1", "good 1", "greedy 2", "good 2", "greedy 3"]


async def test_who_waits_no_more_takes_no_turn_and_no_memory() -> None:
    turns, order = LoopTurns(1), list[str]()
    turns.call(lambda: order.append("other"), "other")
    gone = [asyncio.ensure_future(turns.next("gone")) for _ in range(100)]
    await asyncio.sleep(0)
    for each in gone:
        each.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    assert len(turns) == 0
    assert order == ["other"]
    turns.drop(lambda: None, "nobody")
    turns.call(lambda: order.append("last"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["other", "last"]
