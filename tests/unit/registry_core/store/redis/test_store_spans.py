"""What the span of a write to Redis says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry_core.store.redis.scripts import ScriptName
from registry_core.store.redis.store_spans import store_span
from registry_core.telemetry.otel import OtelTracer
from registry_core.telemetry.spans import operation, tracing
from registry_core.telemetry.trace_settings import TraceSettings


@pytest.fixture
def tracer() -> Iterator[OtelTracer]:
    tracing.tracer = own = OtelTracer(TraceSettings("http://c", sampler="always_on"), "vertice-registry", {})
    yield own
    tracing.tracer = None


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (ScriptName.REGISTER, "redis.set"),
        (ScriptName.RENEW, "redis.expire"),
        (ScriptName.DEREGISTER, "redis.del"),
        (ScriptName.SET_STATUS, "redis.set_status"),
    ],
)
def test_its_name_says_what_becomes_of_the_record(tracer: OtelTracer, script: ScriptName, name: str) -> None:
    with operation("x"), store_span(script, "a", "[::1]:6379"):
        pass
    span, _ = tracer.queue.take(2)
    assert span.name == name
    assert dict(span.attributes or {}) == {
        "db.system.name": "redis",
        "db.operation.name": "EVALSHA",
        "db.stored_procedure.name": script.value,
        "vertice.shard": "a",
        "server.address": "::1",
        "server.port": 6379,
    }


def test_outside_of_a_recorded_trace_there_is_none(tracer: OtelTracer) -> None:
    with store_span(ScriptName.SWEEP, "a", ""):
        pass
    assert len(tracer.queue) == 0
