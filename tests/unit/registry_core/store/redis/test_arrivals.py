"""A caller that waits for a revision wakes on its delivery, and not by an older epoch that came back."""

from __future__ import annotations

import asyncio

from registry_core.domain.events import Position
from registry_core.store.redis.arrivals import Arrivals


def at(epoch: str, revision: int) -> Position:
    return Position(0, epoch, revision)


async def waits(arrivals: Arrivals, epoch: str, revision: int) -> bool:
    """Return whether a caller that waits for that is still waiting after a turn of the loop."""
    waiting = asyncio.ensure_future(arrivals.reached(epoch, revision))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    is_waiting = not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return is_waiting


async def test_a_delivered_revision_is_not_waited_for() -> None:
    arrivals = Arrivals()
    arrivals.tell(at("one", 5))
    assert not await waits(arrivals, "one", 5)
    assert await waits(arrivals, "one", 6)
    assert await waits(arrivals, "an epoch to come", 1)


async def test_a_past_epoch_is_not_waited_for() -> None:
    arrivals = Arrivals()
    arrivals.tell(at("one", 5))
    arrivals.tell(at("two", 1))
    assert not await waits(arrivals, "one", 9), "its writes are in the next epoch, or lost"


async def test_an_epoch_that_came_back_is_waited_for_again() -> None:
    arrivals = Arrivals()
    for position in (at("one", 5), at("two", 1), at("one", 6)):
        arrivals.tell(position)
    assert await waits(arrivals, "one", 7)
    assert not await waits(arrivals, "two", 9)
