"""OpenTelemetry's SDK behind our spans: sampling, bounds, and what a collector would get."""

from __future__ import annotations

import pytest

from registry_core.telemetry.otel import BATCH, MOST_ASKED_PER_S, OtelTracer
from registry_core.telemetry.spans import NONE, SpanKind
from registry_core.telemetry.trace_context import TraceContext
from registry_core.telemetry.trace_settings import TraceSettings

ABOVE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)


def tracer(sampler: str = "parentbased_always_on", queue: int = 2048, ratio: float = 1.0) -> OtelTracer:
    settings = TraceSettings("http://c", sampler=sampler, ratio=ratio, queue=queue, attributes=(("team", "core"),))
    return OtelTracer(settings, "vertice-registry", {"host.name": "h1"})


def test_a_span_has_its_place_its_attributes_and_the_program_s_name() -> None:
    own = tracer()
    context, span = own.begin("registry.register", SpanKind.SERVER, ABOVE, {"http.route": "/register"})
    assert (context.trace_id, context.sampled) == (ABOVE.trace_id, True)
    assert span is not None
    span.set("long", "x" * 10_000)
    span.failed("503")
    span.end()
    (ended,) = own.queue.take(10)
    assert ended.parent is not None
    assert (f"{ended.parent.span_id:016x}", ended.name) == (ABOVE.span_id, "registry.register")
    assert dict(ended.attributes or {}) == {"http.route": "/register", "long": "x" * 256, "error.type": "503"}
    named = {"service.name": "vertice-registry", "host.name": "h1", "team": "core"}
    assert named.items() <= ended.resource.attributes.items()
    assert not ended.status.is_ok


@pytest.mark.parametrize(
    ("sampler", "new", "sampled", "unsampled"),
    [
        ("parentbased_always_on", True, True, False),
        ("parentbased_always_off", False, True, False),
        ("parentbased_traceidratio", True, True, False),
        ("always_on", True, True, True),
        ("always_off", False, False, False),
    ],
)
def test_a_sampler_decides_over_new_traces_and_those_of_others(
    sampler: str, new: bool, sampled: bool, unsampled: bool
) -> None:
    own = tracer(sampler)
    not_sampled = TraceContext(ABOVE.trace_id, ABOVE.span_id)
    for above, expected in ((None, new), (ABOVE, sampled), (not_sampled, unsampled)):
        context, span = own.begin("registry.drain", SpanKind.SERVER, above, NONE)
        assert (context.sampled, span is not None) == (expected, expected)


def test_a_ratio_keeps_about_that_share_and_never_part_of_a_trace() -> None:
    own = tracer("parentbased_traceidratio", ratio=0.25)
    sampled = [own.begin("x", SpanKind.INTERNAL, None, NONE)[0].sampled for _ in range(2000)]
    assert 300 < sum(sampled) < 700


def test_the_queue_has_a_bound_and_counts_what_it_drops() -> None:
    own = tracer(queue=BATCH + 10)
    for _ in range(BATCH + 30):
        _, span = own.begin("x", SpanKind.INTERNAL, None, NONE)
        assert span is not None
        span.end()
    assert (len(own.queue), own.queue.dropped, own.queue.has_batch.is_set()) == (BATCH + 10, 20, True)
    assert len(own.queue.take(BATCH)) == BATCH
    assert (len(own.queue), own.queue.has_batch.is_set()) == (10, False)


def test_others_cannot_have_more_traces_recorded_than_a_bound_in_a_second() -> None:
    own = tracer("parentbased_always_off")
    begun = [own.begin("x", SpanKind.SERVER, ABOVE, NONE) for _ in range(5 * MOST_ASKED_PER_S)]
    recorded = sum(span is not None for _, span in begun)
    assert MOST_ASKED_PER_S <= recorded <= 2 * MOST_ASKED_PER_S  # the second may change meanwhile
    refused = next(context for context, span in begun if span is None)
    assert refused == TraceContext(ABOVE.trace_id, ABOVE.span_id, sampled=False)
