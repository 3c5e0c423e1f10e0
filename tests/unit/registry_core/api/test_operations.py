"""The operations of a replica in cases that are hard to reach over HTTP: races, and a failing name server."""

from __future__ import annotations

import random

import pytest
from structlog.testing import capture_logs

from registry_core.api.auth import Caller
from registry_core.api.calls import WriteCall
from registry_core.api.lookup_operations import Policy
from registry_core.api.operations import _MAX_WARNED, Operations
from registry_core.api.refusal_log import RefusalLog
from registry_core.api.schemas import RegisterBody
from registry_core.api.standstill import WriteGate
from registry_core.api.view import ReplicaView
from registry_core.domain.events import Position
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import Instance, InstanceKey
from registry_core.domain.registration import Rules
from registry_core.domain.selection import WhenNonePass
from registry_core.errors import NotFound
from registry_core.ports.store import Snapshot
from registry_core.replica import Replica
from registry_core.replica_settings import ReplicaSettings
from registry_core.resolution import Resolver
from registry_core.settings import Listen
from registry_core.store.memory import MemoryStore
from registry_core.telemetry.metrics import ReplicaMetrics
from registry_core.watch.cursor import cursor_of
from registry_core.watch.limits import SYNC_EVERY_S
from tests.samples import FakeClock

ANYBODY = Caller()
EVERY_ONE = WriteCall(caller=ANYBODY, body=None, path={"service": "ip_intel"}, query={"all": "true"})


class Fixed:
    def random(self) -> float:
        return 0.0


class LosingStore(MemoryStore):
    """A store in which another caller removes one instance a moment earlier."""

    faster: str = ""

    async def deregister(self, key: InstanceKey, epoch: int | None = None, *, sequence: int | None = None) -> Instance:
        if key.instance_id == self.faster:
            await super().deregister(key)
        return await super().deregister(key, epoch, sequence=sequence)


class Parts:
    def __init__(self, *, serves_loopback_alone: bool = False) -> None:
        self.clock = FakeClock()
        self.store = LosingStore(self.clock, LeaseTerms(), "e1", random.Random(1))
        self.view = ReplicaView(self.clock, ttl_s=60, warming_s=0, store_age_s=self.store.age_s)
        self.addresses: list[str] = ["10.0.0.7"]
        metrics = ReplicaMetrics()
        self.operations = Operations(
            self.store,
            self.view,
            Policy(Rules(), LeaseTerms(), "", WhenNonePass.ALL, serves_loopback_alone=serves_loopback_alone),
            metrics=metrics,
            gate=WriteGate(metrics),
            refusals=RefusalLog(self.clock),
            resolver=Resolver(lambda _: self.addresses),
            random=Fixed(),
            clock=self.clock,
        )

    async def register(self, port: int = 8034) -> None:
        body = RegisterBody(service_name="ip_intel", host="a-name", port=port)
        await self.operations.register(WriteCall(caller=ANYBODY, body=body))


async def started(*, serves_loopback_alone: bool = False) -> Parts:
    parts = Parts(serves_loopback_alone=serves_loopback_alone)
    await parts.store.start(parts.view)
    return parts


async def test_a_failing_name_server_removes_no_known_address() -> None:
    parts = await started()
    await parts.register()
    parts.addresses = []
    digest = parts.view.catalog.digest
    await parts.register()
    assert parts.view.catalog.digest == digest
    (held,) = parts.view.catalog
    assert held.addresses == ("10.0.0.7",)


async def test_a_host_that_moved_gets_its_new_address() -> None:
    parts = await started()
    await parts.register()
    parts.addresses = ["10.0.0.8"]
    await parts.register()
    (held,) = parts.view.catalog
    assert held.addresses == ("10.0.0.8",)


async def warned_of(parts: Parts, *ports: int) -> list[str]:
    with capture_logs() as lines:
        for port in ports:
            await parts.register(port)
    return [line["instance"] for line in lines if line["event"] == "loopback registered"]


async def test_an_instance_on_loopback_is_warned_of_once_by_a_replica_that_others_can_reach() -> None:
    parts = await started()
    parts.addresses = ["127.0.1.1", "::1"]
    assert await warned_of(parts, 8001, 8002, 8001) == ["a-name:8001", "a-name:8002"]
    parts.addresses = ["127.0.1.1", "10.0.0.7"]
    assert await warned_of(parts, 8003) == []
    parts.addresses = []
    assert await warned_of(parts, 8004) == []


async def test_what_is_remembered_of_warnings_is_bounded() -> None:
    parts = await started()
    parts.addresses = ["127.0.1.1"]
    await warned_of(parts, *range(10_000, 10_000 + _MAX_WARNED + 10))
    assert len(parts.operations._warned) == 10


async def test_a_replica_on_loopback_says_nothing_about_its_likes() -> None:
    parts = await started(serves_loopback_alone=True)
    parts.addresses = ["127.0.1.1"]
    assert await warned_of(parts, 8001) == []


async def test_removing_every_instance_does_not_mind_that_one_went_by_itself() -> None:
    parts = await started()
    for port in (8001, 8002, 8003):
        await parts.register(port)
    parts.store.faster = "a-name:8002"
    gone = await parts.operations.deregister(EVERY_ONE)
    assert gone.instances == ["a-name:8001", "a-name:8003"]
    assert len(parts.view.catalog) == 0


async def test_removing_one_that_is_already_gone_is_reported() -> None:
    parts = await started()
    await parts.register(8001)
    parts.store.faster = "a-name:8001"
    with pytest.raises(NotFound):
        await parts.operations.deregister(EVERY_ONE)


def test_the_next_sync_is_due_when_the_warming_ends() -> None:
    clock = FakeClock()
    replica = Replica(ReplicaSettings(listen=Listen("127.0.0.1", 0), warming_s=8.0), clock=clock)
    replica.view.reset(Snapshot(cursor_of([Position(0, "e1", 0)]), ()))
    assert replica._next_sync_s() == SYNC_EVERY_S
    clock.pass_time(6)
    assert replica._next_sync_s() == 2.0
    clock.pass_time(2)
    assert replica._next_sync_s() == SYNC_EVERY_S
