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
