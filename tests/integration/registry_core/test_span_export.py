"""Spans reach a real collector; what it refuses is tried again or lost, and nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from registry_core.ports.clock import SystemClock
from registry_core.span_export import RETRIES_S, SpanExport
from registry_core.supervision import Background
from registry_core.telemetry.otel import BATCH, OtelTracer
from registry_core.telemetry.spans import NONE, SpanKind, operation, span, tracing
from registry_core.telemetry.trace_settings import TraceSettings
from registry_core.traces import Traces
from tests.otlp_collector import Collector, collecting
from tests.programs import eventually, free_port


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def settings(url: str, every_s: float = 0.05) -> TraceSettings:
    return TraceSettings(f"{url}/v1/traces", sampler="always_on", every_s=every_s, headers=(("api-key", "k"),))


@contextlib.asynccontextmanager
async def exporting(to: TraceSettings) -> AsyncIterator[tuple[OtelTracer, SpanExport, Background]]:
    tracer = OtelTracer(to, "vertice-agent", {})
    export, background = SpanExport(to, tracer.queue, SystemClock()), Background()
    task = background.keep("traces", export.run)
    try:
        yield tracer, export, background
    finally:
        task.cancel()
        await background.close()
        await export.close()


def ended(tracer: OtelTracer, count: int) -> None:
    for _ in range(count):
        _, recorded = tracer.begin("x", SpanKind.INTERNAL, None, NONE)
        assert recorded is not None
        recorded.end()


async def test_a_full_batch_is_sent_before_its_time(collector: Collector) -> None:
    async with exporting(settings(collector.url, every_s=3600.0)) as (tracer, export, _):
        await asyncio.sleep(0)
        ended(tracer, BATCH + 1)
        await eventually(lambda: len(collector.spans) == BATCH + 1, "all are sent")
        await eventually(lambda: export.sent == BATCH + 1, "they are counted")
    assert len(collector.bodies) == 2
    assert collector.headers["api-key"] == "k"


async def test_what_a_collector_puts_off_is_sent_again_and_what_it_refuses_is_lost(collector: Collector) -> None:
    collector.statuses = [503, 400]
    with capture_logs() as lines:
        async with exporting(settings(collector.url)) as (tracer, export, _):
            ended(tracer, 3)
            await eventually(lambda: export.lost == 3, "the second answer was a refusal", timeout_s=5 * RETRIES_S[0])
            ended(tracer, 2)
            await eventually(lambda: export.sent == 2, "the next ones are sent")
    assert [(line["event"], line.get("because")) for line in lines] == [
        ("traces_not_exported", "the collector answers with the HTTP status 400"),
        ("traces_exported_again", None),
    ]


async def test_what_waits_at_the_end_is_sent_and_a_dead_collector_holds_nothing_up(collector: Collector) -> None:
    async with exporting(settings(collector.url, every_s=3600.0)) as (tracer, _, _):
        ended(tracer, 5)
    assert len(collector.spans) == 5
    async with exporting(settings(f"http://127.0.0.1:{free_port()}", every_s=3600.0)) as (tracer, export, _):
        ended(tracer, 5)
    assert (export.sent, export.lost) == (0, 5)


async def test_a_program_records_from_its_start_to_its_end(collector: Collector) -> None:
    background, traces = Background(), Traces(settings(collector.url), "vertice-agent", "eu-1a", SystemClock())
    traces.start(background)
    with operation("agent.register"), span("inside"):
        pass
    await traces.close()
    await background.close()
    assert tracing.tracer is None
    assert [(one.name, one.program) for one in collector.spans] == [
        ("inside", "vertice-agent"),
        ("agent.register", "vertice-agent"),
    ]


@pytest.mark.parametrize(
    ("to", "because"),
    [
        (TraceSettings(problem="the protocol is 'grpc': there is http/protobuf alone"), "the protocol is 'grpc'"),
        (TraceSettings("http://c/v1/traces"), "is not installed: install Vértice with its extra `traces`"),
    ],
)
async def test_without_traces_there_is_one_line_and_no_tracer(
    to: TraceSettings, because: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "registry_core.span_export", None)
    monkeypatch.delitem(sys.modules, "registry_core.telemetry.otel", raising=False)
    traces = Traces(to, "vertice-agent", "", SystemClock())
    with capture_logs() as lines:
        traces.start(Background())
    await traces.close()
    assert tracing.tracer is None
    assert [line["event"] for line in lines] == ["traces_off"]
    assert because in lines[0]["because"]


LOADED = """
import sys, asyncio
from registry_core.replica import Replica
from registry_core.replica_settings import replica_settings
async def main():
    replica = Replica(replica_settings({"REGISTRY_LISTEN": "127.0.0.1:0"}))
    await replica.start()
    await replica.close()
asyncio.run(main())
import agent.sidecar
print([name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "google")])
"""


async def test_a_program_without_traces_loads_nothing_of_opentelemetry() -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOADED, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    out, _ = await program.communicate()
    assert out.decode().splitlines()[-1] == "[]"
