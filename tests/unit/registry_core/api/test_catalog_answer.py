"""The catalogue as JSON: encoded once for those who ask at about the same time."""

from __future__ import annotations

import asyncio

import msgspec

from registry_core.api import catalog_answer as module
from registry_core.api.catalog_answer import SHARED_S, CatalogAnswers
from registry_core.api.schemas import CatalogView, InstanceView, instance_view
from registry_core.domain.catalog import Lived
from tests.samples import FakeClock, instance, lived


class Fleet:
    """A catalogue of so many instances, and how many were shown."""

    def __init__(self, count: int) -> None:
        self.clock = FakeClock()
        self.instances = tuple(lived(instance(port=1024 + number)) for number in range(count))
        self.cursor = "c1"
        self.shown = 0
        self.partial = False
        self.answers = CatalogAnswers(
            self.catalog, self.show, self.clock, position=lambda: self.cursor, may_lack=lambda: self.partial
        )

    def catalog(self) -> tuple[CatalogView, tuple[Lived, ...]]:
        frame = CatalogView(cursor=self.cursor, digest="d", state="ready", store_age_s=0.0, instances=[])
        return frame, self.instances

    def show(self, one: Lived) -> InstanceView:
        self.shown += 1
        return instance_view(one.instance, one.heartbeat_at, 60.0)


async def test_readers_at_the_same_time_share_the_very_bytes() -> None:
    fleet = Fleet(500)
    first, second = await asyncio.gather(fleet.answers.current(), fleet.answers.current())
    assert first is second
    assert fleet.shown == 500


async def test_together_the_pieces_are_the_catalogue() -> None:
    for count in (0, 1, module.SLICE, module.SLICE + 1, 500):
        fleet = Fleet(count)
        answer = await fleet.answers.current()
        found = msgspec.json.decode(b"".join(answer.pieces))
        assert (found["cursor"], len(found["instances"])) == ("c1", count)


async def test_a_change_and_the_passing_of_time_make_another_one() -> None:
    fleet = Fleet(3)
    first = await fleet.answers.current()
    fleet.cursor = "c2"
    second = await fleet.answers.current()
    assert second.frame.cursor == "c2"
    assert first.frame.cursor == "c1", "who reads the first goes on reading it"
    fleet.clock.pass_time(SHARED_S + 0.1)
    assert await fleet.answers.current() is not second
