"""What a replica does by itself: an unreachable shard hides nothing of the others, and does not flood the log."""

from __future__ import annotations

import asyncio
import random

import pytest
from structlog.testing import capture_logs

from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import InstanceKey
from registry_core.errors import StoreUnavailable
from registry_core.ports.store import SweepReport
from registry_core.replica import Replica
from registry_core.replica_health import SWEEP_OVERDUE_S
from registry_core.replica_settings import ReplicaSettings
from registry_core.settings import Listen
from registry_core.store.memory import MemoryStore
from tests.programs import eventually
from tests.samples import FakeClock

GONE = InstanceKey("ip-intel", "10.0.0.7:8034")
AWAY = (("b", "no master is known"), ("c", "it takes too long"))


class PartlySwept(MemoryStore):
    """A store of several shards, of which some cannot be swept."""

    unswept: tuple[tuple[str, str], ...] = AWAY

    async def sweep(self) -> SweepReport:
        return SweepReport((GONE,), 0.0, unswept=self.unswept)


def replica_on(clock: FakeClock) -> tuple[Replica, PartlySwept]:
    replica = Replica(ReplicaSettings(listen=Listen("127.0.0.1", 0), warming_s=0.0), clock=clock)
    store = PartlySwept(clock, LeaseTerms(), "e1", random.Random(1))
    replica.store = replica.sweeping.store = store
    return replica, store


async def test_expiries_of_other_shards_are_counted_and_logged_while_some_are_unreachable() -> None:
    replica, _ = replica_on(FakeClock())
    with capture_logs() as lines, pytest.raises(StoreUnavailable) as refusal:
        await replica.sweeping.sweep()
    assert refusal.value.message == "shard 'b': no master is known; shard 'c': it takes too long"
    assert [(line["event"], line["instances"]) for line in lines] == [("instances expired", ["ip-intel/10.0.0.7:8034"])]
    assert b"expired_services_total 1.0" in replica.metrics.exposition()


async def test_a_shard_without_a_recent_sweep_shows_in_the_health() -> None:
    clock = FakeClock()
    replica, store = replica_on(clock)
    clock.pass_time(SWEEP_OVERDUE_S + 1)
    with pytest.raises(StoreUnavailable):
        await replica.sweeping.sweep()
    assert replica.health.view().components.store.status == "failing"
    store.unswept = ()
    await replica.sweeping.sweep()
    assert replica.health.view().components.store.status == "ok"


async def test_a_loop_that_fails_unexpectedly_is_restarted_and_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica = Replica(ReplicaSettings(listen=Listen("127.0.0.1", 0), warming_s=0.0), clock=FakeClock())
    tick, failed = replica.hub.tick, asyncio.Event()

    def broken() -> None:
        if not failed.is_set():
            failed.set()
            raise LookupError("nobody thought of it")
        tick()

    monkeypatch.setattr(replica.hub, "tick", broken)
    with capture_logs() as lines:
        replica._run("sync", replica._sync, lambda: 0.0)
        await eventually(lambda: replica.health.view().components.background[0].restarts == 1, "it goes on")
        await replica.close()
    (died,) = [line for line in lines if line["event"] == "background_task_died"]
    assert (died["task"], died["because"]) == ("sync", "LookupError: nobody thought of it")
    (shown,) = replica.health.view().components.background
    assert (shown.task, shown.restarts, shown.problem) == ("sync", 1, "LookupError: nobody thought of it")
    exposition = replica.metrics.exposition()
    assert b'registry_background_restarts_total{task="sync"} 1.0' in exposition
    assert b'registry_background_failures_total{task="sync"} 1.0' in exposition
