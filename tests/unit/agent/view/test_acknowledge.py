"""What an agent acknowledges to the registry, and how often."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.registration.decisions import RequestOutcome
from agent.registries.client import RegistryReply
from agent.view.acknowledge import TRIES, Acknowledger, is_waited_for
from registry_core.domain.events import Deregistered, Expired, Position, Registered, StatusChanged
from registry_core.domain.records import Instance, Status
from registry_core.watch.changes import Happened, Heard, Replaced, Synced, WatchChange
from registry_core.watch.cursor import Cursor, parse_cursor
from registry_core.watch.stage import Rest, absent_of
from tests.programs import eventually
from tests.samples import instance, lived

AT = Position(0, "e1", 7)
CURSOR = Cursor((AT,))
LEAVES = instance(status=Status.DRAINING)


def happened(event: Registered | StatusChanged | Deregistered | Expired) -> Happened:
    return Happened(event, CURSOR)


def snapshot(*instances: Instance) -> Replaced:
    return Replaced(tuple(lived(i) for i in instances), CURSOR, "", "ready", "start")


@pytest.mark.parametrize(
    "change",
    [
        happened(StatusChanged(AT, LEAVES.key, Status.DRAINING)),
        happened(Registered(AT, LEAVES, 1.0)),
        snapshot(instance(port=8035), LEAVES),
        msgspec.structs.replace(snapshot(instance()), rest=Rest({"billing": absent_of([instance("billing")])})),
    ],
    ids=["a status", "a registration", "a snapshot", "a snapshot of which the view holds a part"],
)
def test_a_drain_waits_for_its_acknowledgement(change: WatchChange) -> None:
    assert is_waited_for(change)


@pytest.mark.parametrize(
    "change",
    [
        *(happened(StatusChanged(AT, LEAVES.key, status)) for status in Status if status is not Status.DRAINING),
        happened(Registered(AT, instance(), 1.0)),
        happened(Deregistered(AT, LEAVES.key)),
        happened(Expired(AT, LEAVES.key)),
        snapshot(instance()),
        Heard(((LEAVES.key, 1.0),)),
        Synced(CURSOR, "", "ready", 0.0),
    ],
)
def test_other_changes_are_not_acknowledged(change: WatchChange) -> None:
    assert not is_waited_for(change)


class Registry:
    """Accepts acknowledgements, or answers as scripted."""

    def __init__(self, *answers: RequestOutcome) -> None:
        self.answers = list(answers)
        self.heard: list[Cursor] = []
        self.cursor = CURSOR

    async def send(self, cursor: Cursor) -> RegistryReply:
        self.heard.append(cursor)
        return RegistryReply(self.answers.pop(0) if self.answers else RequestOutcome.DONE)


class NoJitter:
    def random(self) -> float:
        return 0.0


@contextlib.asynccontextmanager
async def acknowledging(
    registry: Registry, *, asked: bool = True, pace_s: float = 0.001
) -> AsyncIterator[Acknowledger]:
    acknowledger = Acknowledger(registry.send, lambda: registry.cursor, NoJitter(), asked=asked, pace_s=pace_s)
    task = asyncio.create_task(acknowledger.run())
    try:
        yield acknowledger
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_many_simultaneous_drains_are_acknowledged_once() -> None:
    registry = Registry()
    async with acknowledging(registry) as acknowledger:
        for _ in range(100):
            acknowledger.see(snapshot(LEAVES))
        registry.cursor = parse_cursor("0.e1.107")
        await eventually(lambda: registry.heard != [], "it is acknowledged")
        await asyncio.sleep(0.02)  # several times the interval
    assert registry.heard == [parse_cursor("0.e1.107")]


async def test_a_drain_during_an_acknowledgement_is_acknowledged_too() -> None:
    registry = Registry()
    async with acknowledging(registry) as acknowledger:
        acknowledger.see(snapshot(LEAVES))
        await eventually(lambda: len(registry.heard) == 1, "the first is acknowledged")
        acknowledger.see(snapshot(LEAVES))
        await eventually(lambda: len(registry.heard) == 2, "the second is acknowledged")


async def test_a_replica_that_does_not_know_the_watch_is_retried() -> None:
    registry = Registry(RequestOutcome.UNKNOWN, RequestOutcome.UNAVAILABLE, RequestOutcome.UNKNOWN)
    async with acknowledging(registry) as acknowledger:
        acknowledger.see(snapshot(LEAVES))
        await eventually(lambda: len(registry.heard) == 4, "it is acknowledged in the end")


async def test_a_registry_that_accepts_no_acknowledgement_is_not_retried_for_ever() -> None:
    registry = Registry(*[RequestOutcome.UNKNOWN] * (3 * TRIES))
    async with acknowledging(registry) as acknowledger:
        acknowledger.see(snapshot(LEAVES))
        await eventually(lambda: len(registry.heard) == TRIES, "it was tried")
        await asyncio.sleep(0.02)
        assert len(registry.heard) == TRIES


async def test_an_unexpected_answer_does_not_end_the_acknowledging() -> None:
    registry = Registry()
    errors = [OverflowError("the answer says something odd")]

    async def send(cursor: Cursor) -> RegistryReply:
        if errors:
            raise errors.pop()
        return await registry.send(cursor)

    acknowledger = Acknowledger(send, lambda: CURSOR, NoJitter(), pace_s=0.001)
    with capture_logs() as logs:
        task = asyncio.create_task(acknowledger.run())
        acknowledger.see(snapshot(LEAVES))
        await eventually(lambda: bool(logs), "it is sent")
        acknowledger.see(snapshot(LEAVES))
        await eventually(lambda: registry.heard == [CURSOR], "the next drain is acknowledged")
        task.cancel()
        await asyncio.wait([task])
    assert [line["event"] for line in logs] == ["acknowledgement_failed"]


async def test_a_registry_that_gave_no_id_gets_no_acknowledgement() -> None:
    registry = Registry()
    async with acknowledging(registry, asked=False) as acknowledger:
        acknowledger.see(snapshot(LEAVES))
        await asyncio.sleep(0.02)
    assert registry.heard == []
