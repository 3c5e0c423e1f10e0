"""The targets of a replica: the same bytes for readers at the same time, and no answer while some may be missing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from registry_core.api import prometheus_discovery as module
from registry_core.api.prometheus_discovery import MAX_SHARED, SLICE, PrometheusDiscovery, TargetQuery, TargetsAnswer
from registry_core.api.view import ReplicaView, StoreAge
from registry_core.domain.events import Deregistered, Position
from registry_core.domain.records import Instance
from registry_core.domain.selection import ANY, Filter
from registry_core.errors import StoreUnavailable, Warming
from registry_core.ports.store import Snapshot
from registry_core.watch.cursor import Cursor
from tests.samples import FakeClock, instance, lived

ALL = TargetQuery("", ANY)


class Replica:
    """A view with these instances, and what it lists."""

    def __init__(self, *instances: Instance, warming_s: float = 0.0) -> None:
        self.clock = FakeClock()
        self.store = StoreAge(0.0)
        self.view = ReplicaView(
            self.clock, ttl_s=60.0, warming_s=warming_s, store_age_s=lambda: 0.0, store=lambda: self.store
        )
        self.view.reset(Snapshot(instances=tuple(map(lived, instances)), cursor=Cursor()))
        self.discovery = PrometheusDiscovery(self.view)

    async def targets(self, query: TargetQuery = ALL) -> list[Any]:
        return decoded(await self.discovery.answer(query))


def decoded(answer: TargetsAnswer) -> list[Any]:
    body = b"".join(answer.pieces)
    assert len(body) == answer.size
    found: list[Any] = msgspec.json.decode(body)
    return found


def fleet(count: int) -> list[Instance]:
    return [instance("billing" if number % 2 else "auth", port=1024 + number) for number in range(count)]


async def test_readers_at_the_same_time_share_the_very_bytes() -> None:
    replica = Replica(*fleet(300))
    first, second = await asyncio.gather(replica.discovery.answer(ALL), replica.discovery.answer(ALL))
    assert first is second


async def test_together_the_pieces_are_all_targets() -> None:
    for count in (0, 1, SLICE, SLICE + 1, 300):
        targets = await Replica(*fleet(count)).targets()
        assert {one["targets"][0] for one in targets} == {f"10.0.0.7:{1024 + number}" for number in range(count)}


async def test_slices_without_a_match_leave_no_gap() -> None:
    instances = [instance(port=1024 + number, zone="z2" if number > SLICE else "z1") for number in range(2 * SLICE)]
    for zone, count in (("z1", SLICE + 1), ("z2", SLICE - 1), ("z3", 0)):
        assert len(await Replica(*instances).targets(TargetQuery("", Filter(zone=zone)))) == count


async def test_the_targets_of_one_service_and_of_none() -> None:
    replica = Replica(*fleet(10))
    found = await replica.targets(TargetQuery("billing", ANY))
    assert {one["labels"]["__meta_vertice_service"] for one in found} == {"billing"}
    assert len(found) == 5
    assert await replica.targets(TargetQuery("nobody", ANY)) == []


async def test_a_change_makes_another_list() -> None:
    replica = Replica(*fleet(2))
    first = await replica.discovery.answer(ALL)
    gone = instance("auth", port=1024)
    replica.view.apply([Deregistered(Position(0, "e", 1), gone.key)])
    second = await replica.discovery.answer(ALL)
    assert second.digest != first.digest
    assert (len(decoded(first)), len(decoded(second))) == (2, 1)


async def test_only_so_many_lists_are_kept_and_only_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARED_S", 0.0)
    replica = Replica(*fleet(2))
    before = await replica.discovery.answer(ALL)
    await asyncio.sleep(0.01)
    monkeypatch.setattr(module, "SHARED_S", 60.0)
    assert await replica.discovery.answer(ALL) is not before
    first = await replica.discovery.answer(ALL)
    for number in range(MAX_SHARED):
        assert await replica.discovery.answer(ALL) is first
        await replica.discovery.answer(TargetQuery("", Filter(zone=f"z{number}")))
    assert await replica.discovery.answer(ALL) is not first


async def test_a_warming_replica_gives_no_answer_although_it_knows_some() -> None:
    replica = Replica(warming_s=60.0)
    replica.view.catalog.merge([lived(instance())])
    with pytest.raises(Warming) as raised:
        await replica.targets()
    assert raised.value.retry_after_s == module.RETRY_AFTER_S
    replica.clock.pass_time(45)
    with pytest.raises(Warming) as raised:
        await replica.targets()
    assert raised.value.retry_after_s == 15
    replica.clock.pass_time(15)
    assert len(await replica.targets()) == 1


async def test_a_shard_that_was_never_read_leaves_no_answer() -> None:
    replica = Replica(*fleet(2))
    replica.store = StoreAge(1.0, unread=("b",))
    with pytest.raises(StoreUnavailable, match="shard 'b'"):
        await replica.targets()
    # Its age is no reason: what was read remains known.
    replica.store = StoreAge(3600.0)
    assert len(await replica.targets()) == 2
