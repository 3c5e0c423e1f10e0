"""The catalogue as JSON: encoded once for those who ask at about the same time."""

from __future__ import annotations

import asyncio
import gzip

import msgspec
import pytest

from registry_core.api import catalog_answer as module
from registry_core.api.catalog_answer import SHARED_S, CatalogAnswers, takes_gzip
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


async def test_those_who_wait_share_the_next_one_however_often_the_catalogue_changes() -> None:
    fleet = Fleet(300)

    async def asked(number: int) -> str:
        await asyncio.sleep(0)
        fleet.cursor = f"c{number}"
        return (await fleet.answers.current()).frame.cursor

    found = await asyncio.gather(*map(asked, range(50)))
    # Nobody gets one from before the question.
    assert all(int(cursor[1:]) >= number for number, cursor in enumerate(found))
    assert fleet.shown <= 3 * 300


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


async def test_the_catalogue_is_at_hand_until_it_changes_or_a_second_has_passed() -> None:
    fleet = Fleet(3)
    assert fleet.answers.at_hand("ready") is None
    made = await fleet.answers.current()
    assert fleet.answers.at_hand("ready") is made
    assert fleet.answers.at_hand("warming") is None
    fleet.cursor = "c2"
    assert fleet.answers.at_hand("ready") is None
    made = await fleet.answers.current()
    fleet.clock.pass_time(SHARED_S + 0.1)
    assert fleet.answers.at_hand("ready") is None
    assert not made.is_partial


async def test_a_catalogue_is_compressed_once_for_all_who_take_that() -> None:
    fleet = Fleet(500)
    answer = await fleet.answers.current()
    first, second = await asyncio.gather(fleet.answers.zipped(answer), fleet.answers.zipped(answer))
    assert first is second
    assert gzip.decompress(b"".join(first)) == b"".join(answer.pieces)
    assert sum(map(len, first)) * 5 < sum(map(len, answer.pieces))


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("br", False),
        ("gzipped", False),
    ],
)
def test_a_reader_says_whether_it_takes_gzip(accepted: str, *, takes: bool) -> None:
    assert takes_gzip(accepted) is takes
