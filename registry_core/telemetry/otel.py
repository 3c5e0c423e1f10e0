"""Records spans with OpenTelemetry's SDK. Only a program with traces loads this; it needs the extra `traces`.

Spans that have ended wait in one queue with a bound, which `span_export.py` empties: no thread, and nothing that a
request would wait for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import SpanKind as SdkKind

from registry_core.installed import VERSION
from registry_core.telemetry.spans import Attributes, AttributeValue, RecordedSpan, SpanKind
from registry_core.telemetry.trace_context import SAMPLED, TraceContext, begun
from registry_core.telemetry.trace_settings import PARENT_BASED, TraceSettings

# Traces that others ask for: the sender of a sampled context decides that its trace is recorded here as well.
MOST_ASKED_PER_S: Final = 200
# How many are sent at once; as many that wait are sent before their time.
BATCH: Final = 128
_LIMITS: Final = SpanLimits(max_attributes=32, max_events=8, max_links=4, max_attribute_length=256)
_KINDS: Final = {
    SpanKind.INTERNAL: SdkKind.INTERNAL,
    SpanKind.SERVER: SdkKind.SERVER,
    SpanKind.CLIENT: SdkKind.CLIENT,
}
_SCOPE: Final = "vertice"
# Of new traces, where the settings name no ratio.
_SHARES: Final = {"always_on": 1.0, "always_off": 0.0}


class SpanQueue(SpanProcessor):
    """The spans that have ended and wait; beyond `most` of them, further ones are dropped and counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._spans: deque[ReadableSpan] = deque()
        self.has_batch = asyncio.Event()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._spans)

    def on_end(self, span: ReadableSpan) -> None:
        """Take in a span."""
        if len(self._spans) >= self._most:
            self.dropped += 1
        else:
            self._spans.append(span)
            if len(self._spans) == BATCH:
                self.has_batch.set()

    def take(self, most: int) -> list[ReadableSpan]:
        """Return the spans that have waited longest, and forget them."""
        self.has_batch.clear()
        return [self._spans.popleft() for _ in range(min(most, len(self._spans)))]


class OtelSpan:
    """A span of the SDK, as far as `spans.py` knows one."""

    __slots__ = ("_span",)

    def __init__(self, span: SdkSpan) -> None:
        self._span = span

    def set(self, name: str, value: AttributeValue) -> None:
        """Set an attribute."""
        self._span.set_attribute(name, value)

    def failed(self, kind: str) -> None:
        """Say that it failed."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        """End it now."""
        self._span.end()


class _TraceIds(RandomIdGenerator):
    """Gives a new trace the id by which it was chosen."""

    trace_id = 0

    def generate_trace_id(self) -> int:
        """Return that id."""
        return self.trace_id


class OtelTracer:
    """Records the spans that `settings` ask for, and leaves them in `queue`."""

    def __init__(self, settings: TraceSettings, program: str, attributes: Attributes) -> None:
        resource = {
            **attributes,
            **dict(settings.attributes),
            "service.name": settings.service_name or program,
            "service.version": VERSION,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
        }
        self.queue = SpanQueue(settings.queue)
        sampler = settings.sampler.removeprefix(PARENT_BASED)
        self._is_parent_based = sampler != settings.sampler
        self._bound = round(_SHARES.get(sampler, settings.ratio) * 2**64)
        self._ids = _TraceIds()
        provider = TracerProvider(
            sampler=sampling.ALWAYS_ON,
            resource=Resource(resource),
            span_limits=_LIMITS,
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self.queue)
        self._tracer = provider.get_tracer(_SCOPE, VERSION)
        self._second = 0
        self._asked = 0

    def begin(
        self, name: str, kind: SpanKind, above: TraceContext | None, attributes: Attributes
    ) -> tuple[TraceContext, RecordedSpan | None]:
        """Begin a span below `above`, or a trace; return its context, and the span if it is recorded."""
        # Decided here, before anything is made: most requests are in no trace that is recorded.
        context = above if above is not None else begun()
        is_new = above is None or (kind is SpanKind.SERVER and not self._is_parent_based)
        if not (self._is_chosen(context.trace_id) if is_new else context.sampled):
            return TraceContext(context.trace_id, context.span_id), None
        if kind is SpanKind.SERVER and context.sampled and not self._may_ask():
            return TraceContext(context.trace_id, context.span_id), None
        within = None
        if above is None:
            self._ids.trace_id = int(context.trace_id, 16)
        else:
            sampled = SpanContext(
                int(above.trace_id, 16),
                int(above.span_id, 16),
                is_remote=kind is SpanKind.SERVER,
                trace_flags=TraceFlags(SAMPLED),
            )
            within = set_span_in_context(NonRecordingSpan(sampled))
        span = self._tracer.start_span(name, within, _KINDS[kind], attributes)
        own = span.get_span_context()
        return TraceContext(f"{own.trace_id:032x}", f"{own.span_id:016x}", sampled=True), OtelSpan(span)

    def _is_chosen(self, trace_id: str) -> bool:
        """Return whether a new trace is recorded: by its id, so that programs with one ratio choose the same ones."""
        return int(trace_id[16:], 16) < self._bound

    def _may_ask(self) -> bool:
        """Return whether one more sampled context of others counts in this second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._asked = second, 0
        self._asked += 1
        return self._asked <= MOST_ASKED_PER_S
