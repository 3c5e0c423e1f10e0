"""The state of a replica's parts is in its metrics at each scrape."""

from __future__ import annotations

import random

from registry_core.api.connections import Connections
from registry_core.api.gauges import add_gauges
from registry_core.api.limit_settings import LimitSettings
from registry_core.api.request_limits import RequestLimits
from registry_core.api.view import ReplicaView
from registry_core.api.write_access import WriteAccess
from registry_core.domain.connection_slots import Closing
from registry_core.domain.leases import LeaseTerms
from registry_core.errors import Unauthorized
from registry_core.store.memory import MemoryStore
from registry_core.supervision import Background
from registry_core.telemetry.metrics import ReplicaMetrics
from registry_core.telemetry.system import SystemSampler
from tests.samples import FakeClock, claim


async def test_each_part_shows_its_present_state() -> None:
    clock, metrics = FakeClock(), ReplicaMetrics()
    view = ReplicaView(clock, ttl_s=60.0, warming_s=60.0, store_age_s=lambda: 0.0)
    store = MemoryStore(clock, LeaseTerms(), "e1", random.Random(1))
    access, connections = WriteAccess(view, clock), Connections()
    connections.closed[Closing.IDLE] = 7
    add_gauges(
        metrics,
        view,
        store,
        access,
        limits=RequestLimits(LimitSettings(), LeaseTerms(), view, clock),
        connections=connections,
        sampler=SystemSampler(),
        background=Background(clock),
    )
    await store.start(view)

    def value(name: str) -> float | None:
        labels = {"registry_writes_refused_total": {"error": "Unauthorized"}}.get(name)
        return metrics.registry.get_sample_value(name, labels)

    assert metrics.registry.get_sample_value("registry_connections_closed_total", {"reason": "idle"}) == 7

    assert (value("registry_ready"), value("registry_active_services")) == (0, 0)
    assert value("registry_connections") == 0
    assert (value("registry_refuses_all_writes"), value("registry_writes_refused_total")) == (0, None)
    await store.register(claim())
    access.refused(Unauthorized("the token is wrong"))
    clock.pass_time(61)
    assert (value("registry_ready"), value("registry_active_services"), value("registry_instances")) == (1, 1, 1)
    assert (value("registry_refuses_all_writes"), value("registry_writes_refused_total")) == (1, 1)
