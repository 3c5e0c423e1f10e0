"""How a request is treated before the store has delivered anything."""

from __future__ import annotations

import asyncio

import pytest

from registry_core.api import first_delivery
from registry_core.api.first_delivery import FirstDelivery
from registry_core.api.view import ReplicaState, ReplicaView
from registry_core.domain.events import Position
from registry_core.errors import Warming
from registry_core.ports.store import Snapshot
from registry_core.watch.cursor import Cursor, cursor_of
from tests.samples import FakeClock, instance, lived

NOTHING_YET = Snapshot(Cursor(), (), whole=False)
ONE_SHARD_OF_TWO = Snapshot(cursor_of([Position(0, "e1", 3)]), (lived(instance()),), whole=False)


def view() -> ReplicaView:
    return ReplicaView(FakeClock(), ttl_s=60.0, warming_s=0.0, store_age_s=lambda: 0.0)


async def test_an_early_request_waits_for_the_store_and_is_served() -> None:
    known = view()
    first = FirstDelivery(known)
    first.begin()
    waiting = [asyncio.create_task(first.require()) for _ in range(3)]
    await asyncio.sleep(0)
    known.reset(Snapshot(cursor_of([Position(0, "e1", 0)]), ()))
    await asyncio.gather(*waiting)


async def test_a_store_that_delivers_nothing_is_waited_for_once_and_then_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_delivery, "WAIT_S", 0.05)
    known = view()
    first = FirstDelivery(known)
    first.begin()
    known.reset(NOTHING_YET)
    for _ in range(2):
        with pytest.raises(Warming):
            await first.require()
    await first.wait()  # a watch shows that it is warming
    assert (known.loaded, known.state) == (False, ReplicaState.WARMING)
    known.reset(ONE_SHARD_OF_TWO)
    await first.require()
    assert (known.loaded, known.state) == (True, ReplicaState.WARMING)


def test_nothing_is_known_before_the_first_delivery_however_short_the_warming() -> None:
    assert view().state is ReplicaState.WARMING
