"""Records spans with OpenTelemetry's SDK. Only a program with traces loads this; it needs the extra `traces`.

Spans that have ended wait in one queue with a bound, which `span_export.py` empties: no thread, and nothing that a
request would wait for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import SpanKind as SdkKind

from registry_core.telemetry.spans import Attributes, AttributeValue, RecordedSpan, SpanKind
from registry_core.telemetry.trace_context import SAMPLED, TraceContext
from registry_core.telemetry.trace_settings import PARENT_BASED, RATIO, TraceSettings

# Traces that others ask for: whoever sends a sampled context decides that its trace is recorded here as well.
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


def _version() -> str:
    try:
        return version("vertice-registry")
    except PackageNotFoundError:  # run from a checkout without installing
        return "0"


_VERSION: Final = _version()


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


class OtelTracer:
    """Records the spans that `settings` ask for, and leaves them in `queue`."""

    def __init__(self, settings: TraceSettings, program: str, attributes: Attributes) -> None:
        resource = {
            **attributes,
            **dict(settings.attributes),
            "service.name": settings.service_name or program,
            "service.version": _VERSION,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
        }
        self.queue = SpanQueue(settings.queue)
        provider = TracerProvider(
            sampler=_sampler(settings), resource=Resource(resource), span_limits=_LIMITS, shutdown_on_exit=False
        )
        provider.add_span_processor(self.queue)
        self._tracer = provider.get_tracer(_SCOPE, _VERSION)
        self._second = 0
        self._asked = 0

    def begin(
        self, name: str, kind: SpanKind, above: TraceContext | None, attributes: Attributes
    ) -> tuple[TraceContext, RecordedSpan | None]:
        """Begin a span below `above`, or a trace; return its context, and the span if it is recorded."""
        if kind is SpanKind.SERVER and above is not None and above.sampled and not self._may_ask():
            return TraceContext(above.trace_id, above.span_id), None
        within = None
        if above is not None:
            flags = TraceFlags(SAMPLED if above.sampled else 0)
            context = SpanContext(
                int(above.trace_id, 16), int(above.span_id, 16), is_remote=kind is SpanKind.SERVER, trace_flags=flags
            )
            within = set_span_in_context(NonRecordingSpan(context))
        span = self._tracer.start_span(name, within, _KINDS[kind], attributes)
        own = span.get_span_context()
        told = TraceContext(f"{own.trace_id:032x}", f"{own.span_id:016x}", own.trace_flags.sampled)
        return told, OtelSpan(span) if span.is_recording() else None

    def _may_ask(self) -> bool:
        """Return whether one more sampled context of others counts in this second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._asked = second, 0
        self._asked += 1
        return self._asked <= MOST_ASKED_PER_S


def _sampler(settings: TraceSettings) -> sampling.Sampler:
    name = settings.sampler.removeprefix(PARENT_BASED)
    if name == RATIO:
        root: sampling.Sampler = sampling.TraceIdRatioBased(settings.ratio)
    else:
        root = sampling.ALWAYS_ON if name == "always_on" else sampling.ALWAYS_OFF
    return sampling.ParentBased(root) if settings.sampler.startswith(PARENT_BASED) else root
