"""The agent's metrics, in a Prometheus registry of its own.

Nothing is counted here: the parts keep their own counts, which are read at scrape time, so that the hot paths (a
DNS answer takes a few microseconds) pay nothing for metrics. The parts also bound the label values.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.http.samples import CounterSample, GaugeSample, HistogramSample, Sample, counter, gauge
from registry_core.blocking import NoThread, Threads
from registry_core.ports.clock import Clock
from registry_core.telemetry.exposition import Exposition

READ_S: Final = 1.0
MOST_AT_ONCE: Final = 4
_STATM: Final = Path("/proc/self/statm")


class _AtScrape(Collector):
    def __init__(self, read: Callable[[], Iterable[Sample]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        for sample in self._read():
            match sample:
                case HistogramSample():
                    histogram = HistogramMetricFamily(sample.name, sample.meaning, labels=sample.labels)
                    for labels, counts in sample.values.items():
                        histogram.add_metric(labels, counts.cumulative, counts.sum)
                    yield histogram
                case CounterSample() | GaugeSample():
                    kind = CounterMetricFamily if isinstance(sample, CounterSample) else GaugeMetricFamily
                    family = kind(sample.name, sample.meaning, labels=sample.labels)
                    for labels, value in sample.values.items():
                        family.add_metric(labels, value)
                    yield family


class AgentMetrics:
    """Exposes what `read` returns. `read` is called in the event loop's thread, at most once per scrape."""

    def __init__(self, read: Callable[[], Iterable[Sample]], clock: Clock) -> None:
        self._read = read
        registry = CollectorRegistry(auto_describe=False)
        self._exposition = Exposition(registry, clock)
        self._threads = Threads("memory", MOST_AT_ONCE)
        self._memory_bytes = 0
        registry.register(_AtScrape(self._samples))

    async def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics in the format that this Accept header asks for, and its content type."""
        if self._exposition.is_due():  # a thread for each of a flood of requests would hold up the lookups
            with contextlib.suppress(TimeoutError, NoThread):  # the old value stays
                self._memory_bytes = await self._threads.run(resident_bytes, timeout_s=READ_S)
        return self._exposition.text(accept)

    def _samples(self) -> Iterable[Sample]:
        yield gauge("agent_memory_bytes", "Resident memory of this process.", self._memory_bytes)
        yield counter("agent_cpu_seconds", "Processor time of this process.", time.process_time())
        yield from self._read()


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes; 0 if the kernel does not tell. Reads a file."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
