"""Which requests may be older than a gap of the loop: by times alone, and at the operations of a replica."""

from __future__ import annotations

import asyncio
import random
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from registry_core.api.auth import Caller
from registry_core.api.calls import WriteCall
from registry_core.api.lookup_operations import Policy
from registry_core.api.operations import Operations
from registry_core.api.refusal_log import RefusalLog
from registry_core.api.schemas import HeartbeatBody, RegisterBody, RestoreBody, StatusBody
from registry_core.api.standstill import WriteGate, boot_s
from registry_core.api.view import ReplicaView
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import Protocol, Status
from registry_core.domain.registration import Rules
from registry_core.domain.selection import WhenNonePass
from registry_core.domain.standstill import GRACE_S, MOST_GRACE_S, MOST_LATE_S, TURN_EVERY_S, Standstills
from registry_core.errors import StoodStill
from registry_core.resolution import Resolver
from registry_core.store.memory import MemoryStore
from registry_core.telemetry.metrics import ReplicaMetrics
from tests.samples import FakeClock

ANYBODY = Caller()
B = TypeVar("B")
GAP_S = TURN_EVERY_S + MOST_LATE_S


def call(body: B, **path: str) -> WriteCall[B]:
    """Return a caller's request for a writing operation."""
    return WriteCall(caller=ANYBODY, body=body, path=path)


def turning(until: float) -> Standstills:
    """Return a loop that has run on time, with the last turn at `until`."""
    standstills = Standstills()
    for number in range(9):
        assert standstills.turned(until - (8 - number) * TURN_EVERY_S) is None
    return standstills


def test_a_running_loop_casts_no_doubt() -> None:
    standstills = turning(100.0)
    assert not standstills.doubts(100.1, 100.1)
    assert not standstills.doubts(60.0, 100.1), "however long a request takes"


def test_a_late_turn_is_a_gap_only_beyond_the_limit() -> None:
    standstills = turning(100.0)
    assert not standstills.doubts(100.0 + GAP_S, 100.0 + GAP_S)
    assert standstills.turned(100.0 + GAP_S) is None


def test_a_request_read_before_the_loop_notices_the_gap_is_doubted() -> None:
    """On waking, sockets are read before timers run."""
    assert turning(100.0).doubts(111.0, 111.0)


def woken(at: float) -> Standstills:
    """Return a loop that stood still for 11 s and has noticed it."""
    standstills = turning(at - 11.0)
    assert standstills.turned(at) == pytest.approx(11.0)
    return standstills


def test_a_request_read_soon_after_a_gap_stays_doubted() -> None:
    standstills = woken(111.0)
    for number in range(1, 4):
        assert standstills.turned(111.0 + number * TURN_EVERY_S) is None, "a gap ends once"
    assert standstills.doubts(111.9, 111.9)
    standstills.turned(111.0 + GRACE_S)
    assert standstills.doubts(111.9, 112.1)
    assert standstills.doubts(111.9, 200.0), "also when its body took a long time"
    assert not standstills.doubts(112.0, 112.0)


def test_a_request_that_was_in_progress_during_a_gap_is_doubted() -> None:
    standstills = turning(100.0)
    assert not standstills.doubts(99.9, 100.1)
    standstills.turned(111.0)
    assert standstills.doubts(99.9, 111.1)
    standstills.turned(112.0)
    assert standstills.doubts(99.9, 120.0)


def test_only_a_turn_of_the_loop_ends_the_grace() -> None:
    standstills = woken(111.0)
    assert standstills.doubts(112.9, 112.9)
    standstills.turned(113.0)
    assert standstills.doubts(112.9, 113.1)
    assert not standstills.doubts(113.0, 113.1)


def test_the_grace_lasts_while_connections_wait_to_be_accepted_but_not_for_ever() -> None:
    standstills = woken(111.0)
    for second in range(1, int(MOST_GRACE_S)):
        standstills.turned(111.0 + second, waiting=True)
        assert standstills.doubts(111.0 + second, 111.0 + second)
    standstills.turned(111.0 + MOST_GRACE_S, waiting=True)
    assert not standstills.doubts(111.0 + MOST_GRACE_S, 111.0 + MOST_GRACE_S)
    emptied = woken(111.0)
    emptied.turned(113.0, waiting=True)
    emptied.turned(113.25)
    assert emptied.doubts(113.3, 113.3), "the last of them is accepted, and not read yet"
    emptied.turned(114.0)
    assert emptied.doubts(113.3, 114.0)
    assert not emptied.doubts(114.0, 114.0)


def test_waiting_connections_are_no_gap() -> None:
    standstills = turning(100.0)
    standstills.turned(100.25, waiting=True)
    assert not standstills.doubts(100.3, 100.3)


def test_a_second_gap_restarts_the_grace() -> None:
    standstills = woken(111.0)
    assert standstills.turned(114.0) == pytest.approx(3.0)
    standstills.turned(114.9)
    assert standstills.doubts(114.9, 114.9)
    standstills.turned(115.0)
    assert not standstills.doubts(115.0, 115.0)


def test_a_loop_that_has_not_started_casts_no_doubt() -> None:
    standstills = Standstills()
    assert not standstills.doubts(100.0, 100.0)
    assert standstills.turned(500.0) is None


def test_the_clock_of_gaps_never_goes_back() -> None:
    times = [boot_s() for _ in range(100)]
    assert times == sorted(times)


# -- at the operations


class Gated:
    """The operations of a replica whose loop turns when told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = ReplicaMetrics()
        self.gate = WriteGate(self.metrics, now=self.clock.monotonic)
        self.store = MemoryStore(self.clock, LeaseTerms(), "e1", random.Random(1))
        self.view = ReplicaView(self.clock, ttl_s=60, warming_s=0, store_age_s=self.store.age_s)
        self.resolving = asyncio.Event()
        self.resolved = asyncio.Event()
        self.operations = Operations(
            self.store,
            self.view,
            Policy(Rules(), LeaseTerms(), "", WhenNonePass.ALL),
            metrics=self.metrics,
            gate=self.gate,
            refusals=RefusalLog(self.clock),
            resolver=SlowResolver(self),
            random=random.Random(1),
            clock=self.clock,
        )

    async def turn(self, times: int = 1, every_s: float = TURN_EVERY_S) -> None:
        for _ in range(times):
            self.clock.pass_time(every_s)
            await self.gate.turn()


class SlowResolver(Resolver):
    """Answers when it is told to."""

    def __init__(self, gated: Gated) -> None:
        super().__init__()
        self._gated = gated

    async def resolve(self, host: str) -> tuple[str, ...]:
        self._gated.resolving.set()
        await self._gated.resolved.wait()
        return ("10.0.0.7",) if host else ()


BODY = RegisterBody(service_name="ip_intel", host="a-name", port=8034)
SAVED = RestoreBody(
    service_name="billing",
    instance_id="b",
    host="10.0.0.8",
    port=8035,
    addresses=(),
    health_endpoint="/health",
    protocol=Protocol.HTTP,
    version="",
    weight=1,
    tags=(),
    metadata={},
    zone="",
    status=Status.PASSING,
    epoch=1,
    registered_at=1764000000.0,
)


async def started() -> Gated:
    """Return the gated operations with one instance registered, and a loop that turns."""
    gated = Gated()
    await gated.store.start(gated.view)
    gated.resolved.set()
    await gated.turn(4)
    await gated.operations.register(call(BODY))
    return gated


async def test_a_registration_in_progress_during_a_gap_does_not_reach_the_store() -> None:
    gated = await started()
    digest = gated.view.catalog.digest
    gated.resolving.clear()
    gated.resolved.clear()
    gated.gate.enter()
    under_way = asyncio.ensure_future(
        gated.operations.register(call(RegisterBody(service_name="billing", host="a-name", port=9000)))
    )
    await gated.resolving.wait()
    await gated.turn(1, every_s=11.0)
    await gated.turn(40)
    gated.resolved.set()
    with pytest.raises(StoodStill):
        await under_way
    assert gated.view.catalog.digest == digest


@pytest.mark.parametrize("noticed", [False, True])
async def test_every_write_is_refused_around_the_end_of_a_gap(*, noticed: bool) -> None:
    gated = await started()
    before = (gated.view.catalog.digest, gated.view.ttl_remaining_s(next(iter(gated.view.catalog)).key))
    gated.clock.pass_time(11.0)
    if noticed:
        await gated.gate.turn()
    operations = gated.operations
    for write in (
        operations.register(call(RegisterBody(service_name="billing", host="10.0.0.8", port=9000))),
        operations.heartbeat(call(HeartbeatBody(service_name="ip_intel"))),
        operations.set_status(call(StatusBody(status=Status.CRITICAL), service="ip_intel", instance="a-name:8034")),
        operations.deregister(call(None, service="ip_intel")),
        operations.restore(call(SAVED)),
        operations.release_guard(call(None)),
    ):
        with pytest.raises(StoodStill, match="send it again"):
            await write
    assert (gated.view.catalog.digest, gated.view.ttl_remaining_s(next(iter(gated.view.catalog)).key)) == (
        before[0],
        before[1] - 11.0,
    )
    assert b"registry_stale_writes_refused_total 6.0" in gated.metrics.exposition()
    await gated.turn()
    await gated.turn(int(GRACE_S / TURN_EVERY_S))
    await operations.heartbeat(call(HeartbeatBody(service_name="ip_intel")))


async def test_a_gap_is_logged_once_and_counted() -> None:
    gated = await started()
    with capture_logs() as lines:
        await gated.turn(1, every_s=11.0)
        await gated.turn(10)
    assert [(line["event"], line["gap_s"]) for line in lines] == [
        ("stood still: writes that may have waited are refused", 11.0)
    ]
    assert b"registry_standstills_total 1.0" in gated.metrics.exposition()
