"""Spans without OpenTelemetry: when one is recorded, below what, and what a trace costs that nobody records."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry_core.telemetry.spans import (
    Attributes,
    AttributeValue,
    RecordedSpan,
    SpanKind,
    operation,
    serving,
    span,
    traced,
    tracing,
)
from registry_core.telemetry.trace_context import TraceContext, parent, trace_headers, trace_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


class Recorded:
    def __init__(self, name: str, kind: SpanKind, above: TraceContext | None, attributes: Attributes) -> None:
        self.name, self.kind, self.above = name, kind, above
        self.attributes: dict[str, AttributeValue] = dict(attributes)
        self.failure, self.ended = "", False

    def set(self, name: str, value: AttributeValue) -> None:
        self.attributes[name] = value

    def failed(self, kind: str) -> None:
        self.failure = kind

    def end(self) -> None:
        self.ended = True


class ParentBased:
    """Records what is below a sampled span, and of new traces every one or none."""

    def __init__(self, *, new: bool) -> None:
        self.new, self.spans, self.calls = new, list[Recorded](), 0

    def begin(
        self, name: str, kind: SpanKind, above: TraceContext | None, attributes: Attributes
    ) -> tuple[TraceContext, RecordedSpan | None]:
        self.calls += 1
        sampled = self.new if above is None else above.sampled
        trace = TRACE if above is None else above.trace_id
        context = TraceContext(trace, f"{len(self.spans) + 1:016x}", sampled)
        if not sampled:
            return context, None
        self.spans.append(Recorded(name, kind, above, attributes))
        return context, self.spans[-1]


@pytest.fixture(autouse=True)
def nothing_recorded() -> Iterator[None]:
    yield
    tracing.tracer = None


def test_without_a_tracer_there_is_a_trace_id_and_the_context_is_passed_on_as_it_came() -> None:
    with serving("registry.register", SAMPLED) as server, span("validation") as inner:
        assert (trace_id.get(), trace_headers()["traceparent"]) == (TRACE, SAMPLED)
        assert not server.is_recorded
        inner.set("name", 1)
    with operation("agent.register"):
        own = parent.get()
        assert own is not None
        assert not own.sampled
        with operation("agent.load"):
            assert parent.get() == own
    assert (trace_id.get(), parent.get()) == (None, None)


def test_a_step_outside_of_every_request_is_nothing() -> None:
    tracing.tracer = tracer = ParentBased(new=True)
    with span("redis.set"):
        assert trace_id.get() is None
    assert tracer.calls == 0


def test_steps_lie_below_each_other_and_end() -> None:
    tracing.tracer = tracer = ParentBased(new=True)
    with serving("registry.register", None), span("validation"):
        pass
    with pytest.raises(ValueError, match="x"), operation("agent.load"), span("redis.set", SpanKind.CLIENT):
        raise ValueError("x")
    server, validation, load, redis = tracer.spans
    assert [one.name for one in tracer.spans] == ["registry.register", "validation", "agent.load", "redis.set"]
    assert (server.above, load.above) == (None, None)
    assert validation.above == TraceContext(TRACE, f"{1:016x}", sampled=True)
    assert (redis.failure, load.failure, server.failure) == ("ValueError", "ValueError", "")
    assert all(one.ended for one in tracer.spans)


def test_below_a_span_that_is_not_sampled_nobody_is_asked() -> None:
    tracing.tracer = tracer = ParentBased(new=False)
    with serving("registry.register", NOT_SAMPLED):
        assert tracer.calls == 1
        with span("validation"), operation("agent.load"):
            assert trace_id.get() == TRACE
    assert (tracer.calls, tracer.spans) == (1, [])


def test_a_remote_context_that_is_sampled_is_recorded_and_so_is_a_server_without_a_name_not() -> None:
    tracing.tracer = tracer = ParentBased(new=False)
    with serving("registry.drain", SAMPLED) as server:
        assert server.is_recorded
        server.failed("503")
    with serving("", SAMPLED) as quiet:
        assert (trace_id.get(), quiet.is_recorded) == (TRACE, False)
    assert [(one.name, one.failure) for one in tracer.spans] == [("registry.drain", "503")]


async def test_each_call_of_a_traced_function_is_an_operation() -> None:
    tracing.tracer = tracer = ParentBased(new=True)

    @traced("agent.heartbeat")
    async def send(number: int) -> int:
        assert trace_id.get() == TRACE
        return number

    assert await send(3) == 3
    assert [one.name for one in tracer.spans] == ["agent.heartbeat"]
