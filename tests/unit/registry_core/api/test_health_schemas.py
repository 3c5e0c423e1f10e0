"""A replica's report about itself, as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from registry_core.api.health_schemas import (
    AccessHealth,
    CacheHealth,
    CircuitBreakerHealth,
    ComponentsHealth,
    GuardView,
    HealthView,
    LiveView,
    RedisHealth,
    ShardGuardView,
    StoreHealth,
    SystemHealth,
    WatchHealth,
    WhoamiView,
)
from registry_core.domain.breaker import BreakerState
from registry_core.domain.guard import GuardPhase
from registry_core.ports.audit import AuditReport
from registry_core.ports.reports import PoolReport

BREAKER = CircuitBreakerHealth(state=BreakerState.CLOSED, failure_count=0, last_failure=None, reason="")
REDIS = RedisHealth(status="failing", latency_ms=None, connection_pool=PoolReport(in_use=0, idle=0, most=50))


def components(**more: Any) -> ComponentsHealth:
    return ComponentsHealth(
        store=StoreHealth(kind="memory", status="ok", last_sweep_age_s=None),
        guard=GuardView(phase=GuardPhase.CLEAR, suspects=0, shards=[]),
        cache=CacheHealth(size=3, services=2, age_s=0.0, hit_rate=None, memory_mb=0.1, oldest_entry_age_s=None),
        system=SystemHealth(cpu_percent=None, memory_percent=None, tasks=9),
        watch=WatchHealth(watchers=4),
        access=AccessHealth(status="ok", refused_recently=0, refused_total=0, last_refusal=""),
        audit=AuditReport(status="off"),
        background=[],
        **more,
    )


def written(view: msgspec.Struct) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(view))
    return decoded


def test_a_memory_store_reports_no_redis_and_no_breaker() -> None:
    said = written(components())
    assert list(said) == ["store", "guard", "cache", "system", "watch", "access", "audit", "background"]


def test_a_redis_store_reports_redis_and_its_breaker() -> None:
    said = written(components(redis=REDIS, circuit_breaker=BREAKER))
    assert said["redis"] == {
        "status": "failing",
        "latency_ms": None,
        "connection_pool": {"in_use": 0, "idle": 0, "most": 50},
    }
    assert said["circuit_breaker"] == {"state": "closed", "failure_count": 0, "last_failure": None, "reason": ""}


def test_an_unmeasured_value_is_null_and_not_left_out() -> None:
    said = written(components())
    assert said["system"] == {"cpu_percent": None, "memory_percent": None, "tasks": 9}
    assert said["store"] == {"kind": "memory", "status": "ok", "last_sweep_age_s": None, "shards": []}


def test_a_guard_that_does_not_hold_shows_null_for_its_release() -> None:
    shard = ShardGuardView(
        shard="a",
        phase=GuardPhase.RELEASING,
        reason="released",
        instances=9,
        suspects=1,
        held_seconds=0.1,
        releases_in_seconds=None,
        budget_per_minute=3.0,
    )
    said = written(shard)
    assert said["phase"] == "releasing"
    assert said["releases_in_seconds"] is None


@pytest.mark.parametrize("more", [{}, {"redis": REDIS, "circuit_breaker": BREAKER}])
def test_health_survives_a_round_trip(more: dict[str, Any]) -> None:
    view = HealthView(
        status="degraded",
        reasons=["the leases were last swept 12 s ago"],
        timestamp="2025-11-24T16:00:00+00:00",
        uptime_seconds=1.5,
        state="warming",
        active_services=2,
        instances=3,
        components=components(**more),
    )
    read = msgspec.json.decode(msgspec.json.encode(view), type=HealthView)
    assert read == view
    assert (read.components.redis is UNSET) is not bool(more)


@pytest.mark.parametrize("kind", [HealthView, LiveView, WhoamiView, GuardView])
def test_an_answer_without_a_field_is_refused(kind: type[msgspec.Struct]) -> None:
    with pytest.raises(msgspec.ValidationError, match="missing required field"):
        msgspec.json.decode(b"{}", type=kind)


def test_an_unknown_phase_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value"):
        msgspec.json.decode(b'{"phase":"asleep","suspects":0,"shards":[]}', type=GuardView)
