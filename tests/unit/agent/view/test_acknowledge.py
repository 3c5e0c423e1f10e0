"""What an agent acknowledges to the registry, and how often."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.registration.decisions import RequestOutcome
from agent.registries.client import RegistryReply
from agent.view.acknowledge import MOST_PENDING, TRIES, Acknowledger, is_waited_for
from registry_core.domain.events import Deregistered, Expired, Position, Registered, StatusChanged
from registry_core.domain.records import Instance, Status
from registry_core.watch.changes import Happened, Heard, Replaced, Synced, WatchChange
from registry_core.watch.cursor import Cursor, parse_cursor
from registry_core.watch.stage import Rest, absent_of
from tests.programs import eventually
from tests.samples import instance, lived
from tests.virtual_time import in_virtual_time

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
        self.log: list[tuple[str, float]] = []

    def tick(self) -> None:
        self.log.append(("tick", asyncio.get_running_loop().time()))

    async def send(self, cursor: Cursor) -> RegistryReply:
        self.heard.append(cursor)
        self.log.append((str(cursor), asyncio.get_running_loop().time()))
        return RegistryReply(self.answers.pop(0) if self.answers else RequestOutcome.DONE)


class NoJitter:
    def random(self) -> float:
        return 0.0


class LoopClock:
    """The time of the running loop."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    wall = monotonic


def acknowledger_of(
    registry: Registry, send: Callable[[Cursor], Awaitable[RegistryReply]], **settings: Any
) -> Acknowledger:
    shown_s = settings.pop("drain_srv_s", 0.0)
    return Acknowledger(
        send,
        lambda: registry.cursor,
        NoJitter(),
        clock=LoopClock(),
        tick=registry.tick,
        drain_srv_s=lambda: shown_s,
        **settings,
    )


@contextlib.asynccontextmanager
async def acknowledging(
    registry: Registry, *, asked: bool = True, pace_s: float = 0.001, drain_srv_s: float = 0.0
) -> AsyncIterator[Acknowledger]:
    acknowledger = acknowledger_of(registry, registry.send, asked=asked, pace_s=pace_s, drain_srv_s=drain_srv_s)
    task = asyncio.create_task(acknowledger.run())
    try:
        yield acknowledger
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_many_simultaneous_drains_are_acknowledged_once() -> None:
    registry = Registry()
    async with acknowledging(registry) as acknowledger:
        for number in range(8, 108):
            registry.cursor = parse_cursor(f"0.e1.{number}")
            acknowledger.see(snapshot(LEAVES))
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

    acknowledger = acknowledger_of(registry, send, pace_s=0.001)
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


SHOWN_S = 1.5


def acknowledged(drains_at: list[float], *answers: RequestOutcome) -> list[tuple[str, float]]:
    """Return what happens, and when, as instances begin to drain at these times; each drain moves the cursor by one."""
    registry = Registry(*answers)

    async def work() -> None:
        async with acknowledging(registry, pace_s=0.2, drain_srv_s=SHOWN_S) as acknowledger:
            loop = asyncio.get_running_loop()
            for number, at in enumerate(drains_at, 1):
                await asyncio.sleep(at - loop.time())
                registry.cursor = parse_cursor(f"0.e1.{number}")
                acknowledger.see(snapshot(LEAVES))
            await asyncio.sleep(60.0)

    with capture_logs():
        in_virtual_time(work())
    return registry.log


def test_a_drain_is_acknowledged_when_its_srv_record_has_gone_and_not_before() -> None:
    assert acknowledged([0.0]) == [("tick", SHOWN_S), ("0.e1.1", SHOWN_S)]


def test_a_later_drain_neither_delays_nor_rides_on_an_earlier_acknowledgement() -> None:
    sent = [(what, at) for what, at in acknowledged([0.0, 0.5, 1.0]) if what != "tick"]
    assert sent == [("0.e1.1", 1.5), ("0.e1.2", 2.0), ("0.e1.3", 2.5)]


def test_drains_without_end_wait_for_no_more_than_one_pace_longer() -> None:
    times = [0.05 * number for number in range(200)]
    log = [(what, at) for what, at in acknowledged(times) if what != "tick"]
    for number, began in enumerate(times, 1):
        first = min(at for what, at in log if int(what.split(".")[2]) >= number)
        assert SHOWN_S <= round(first - began, 6) <= SHOWN_S + 0.5, number


def test_a_registry_that_does_not_answer_makes_no_queue_without_end() -> None:
    registry = Registry()

    async def work() -> None:
        async with acknowledging(registry, pace_s=0.001, drain_srv_s=SHOWN_S) as acknowledger:
            for number in range(3 * MOST_PENDING):
                registry.cursor = parse_cursor(f"0.e1.{number + 1}")
                acknowledger.see(snapshot(LEAVES))
                await asyncio.sleep(0.01)
            await asyncio.sleep(60.0)

    in_virtual_time(work())
    assert len(registry.heard) <= MOST_PENDING
    assert registry.heard[-1] == parse_cursor(f"0.e1.{3 * MOST_PENDING}")
