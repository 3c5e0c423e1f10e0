"""The traces of one program: who records its spans and sends them. It loads OpenTelemetry, if traces are on."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import structlog

from registry_core.ports.clock import Clock
from registry_core.supervision import Background, end
from registry_core.telemetry.spans import tracing
from registry_core.telemetry.trace_settings import TraceSettings

if TYPE_CHECKING:  # it needs a package that a program without traces does not
    from registry_core.span_export import SpanExport
    from registry_core.telemetry.otel import OtelTracer

_log = structlog.get_logger(component="telemetry")
EXTRA = "install Vértice with its extra `traces`, or build the image with EXTRAS=traces"


class Traces:
    """The traces of one program, which is called `program` in them unless the settings name it."""

    def __init__(self, settings: TraceSettings, program: str, zone: str, clock: Clock) -> None:
        self._settings = settings
        self._program = program
        self._zone = zone
        self._clock = clock
        self._tracer: OtelTracer | None = None
        self._export: SpanExport | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, background: Background) -> None:
        """Begin to record, if the settings say where to. Without the package there are no traces, and a warning."""
        if not self._settings.endpoint:
            if self._settings.problem:
                _log.warning("traces_off", because=self._settings.problem)
            return
        try:
            from registry_core.span_export import SpanExport  # noqa: PLC0415 - it loads OpenTelemetry
            from registry_core.telemetry.otel import OtelTracer  # noqa: PLC0415 - it loads OpenTelemetry
        except ModuleNotFoundError as error:
            _log.warning("traces_off", because=f"the Python package {error.name} is not installed: {EXTRA}")
            return
        attributes = {"host.name": socket.gethostname()}
        if self._zone:
            attributes["cloud.availability_zone"] = self._zone
        self._tracer = tracing.tracer = OtelTracer(self._settings, self._program, attributes)
        self._export = SpanExport(self._settings, self._tracer.queue, self._clock)
        self._task = background.keep("traces", self._export.run)
        _log.info("traces_on", sampler=self._settings.sampler, ratio=self._settings.ratio)

    async def close(self) -> None:
        """Stop recording, and send what waits, for a second at most. Safe to call twice."""
        if tracing.tracer is self._tracer:
            tracing.tracer = None
        if self._export is not None:
            await end([self._task])
            await self._export.close()
