"""The metrics of one replica, in its own Prometheus registry, with a bounded number of labels.

It only counts; the callers decide what.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
SUCCESS: Final = "success"
# Chosen around the service levels: lookups 2/10/50 ms, registrations 10/50/100 ms.
_BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class _CountersAtScrape(Collector):
    def __init__(self, name: str, meaning: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        self._name, self._meaning, self._label, self._values = name, meaning, label, values

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._meaning, labels=[self._label])
        for label, value in self._values().items():
            family.add_metric([label], value)
        yield family


class _GaugesAtScrape(Collector):
    def __init__(
        self, name: str, meaning: str, labels: tuple[str, ...], values: Callable[[], Mapping[tuple[str, ...], float]]
    ) -> None:
        self._name, self._meaning, self._labels, self._values = name, meaning, labels, values

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._meaning, labels=self._labels)
        for labels, value in self._values().items():
            family.add_metric(labels, value)
        yield family


class MeasuredOperation:
    """Measures one operation in a `with` block."""

    __slots__ = ("_metrics", "_name", "_started")

    def __init__(self, metrics: ReplicaMetrics, name: str) -> None:
        self._metrics = metrics
        self._name = name
        self._started = time.perf_counter()

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        outcome = SUCCESS if kind is None else kind.__name__
        self._metrics.ended(self._name, outcome, time.perf_counter() - self._started)


class ReplicaMetrics:
    """What one replica counts and measures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.operations = Counter(
            "registry_operations", "Operations, by outcome.", ["operation", "status"], registry=self.registry
        )
        self.operation_duration = Histogram(
            "registry_operation_duration_seconds",
            "Duration of operations.",
            ["operation"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.request_duration = Histogram(
            "registry_request_duration_seconds",
            "Duration of HTTP requests, without streams.",
            ["endpoint", "method", "status"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.breakers = Gauge(
            "registry_circuit_breaker_state",
            "Shards whose circuit breaker is in this state.",
            ["state"],
            registry=self.registry,
        )
        self.redis_latency = Histogram(
            "registry_redis_latency_seconds",
            "Duration of one pipeline of writes to a shard, including the confirmation of its replicas.",
            ["shard"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.standstills = Counter("registry_standstills", "Times this process stood still.", registry=self.registry)
        self.stale_writes = Counter(
            "registry_stale_writes_refused",
            "Writes refused because they may have waited while this process stood still.",
            registry=self.registry,
        )
        # Caches the results of `labels`, which takes longer than counting.
        self._requests: dict[tuple[str, str, int], Histogram] = {}
        self._outcomes: dict[tuple[str, str], Counter] = {}
        self._durations: dict[str, Histogram] = {}
        self.expired = Counter("expired_services", "Instances that the sweep removed.", registry=self.registry)

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Export `value()` as the gauge `name` at each scrape."""
        Gauge(name, meaning, registry=self.registry).set_function(value)

    def gauges(
        self, name: str, meaning: str, labels: tuple[str, ...], values: Callable[[], Mapping[tuple[str, ...], float]]
    ) -> None:
        """Export `values()`, by a tuple of label values, as the gauge `name` at each scrape."""
        self.registry.register(_GaugesAtScrape(name, meaning, labels, values))

    def counters(self, name: str, meaning: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        """Export `values()`, by label value, as the counter `name` at each scrape. They must only grow."""
        self.registry.register(_CountersAtScrape(name, meaning, label, values))

    def request(self, endpoint: str, method: str, status: int, duration_s: float) -> None:
        """Count one HTTP request. `endpoint` is its route template, never its path."""
        labels = (endpoint, method if method in METHODS else "other", status)
        duration = self._requests.get(labels)
        if duration is None:
            duration = self._requests[labels] = self.request_duration.labels(*labels)
        duration.observe(duration_s)

    def requests(self) -> Iterator[Sample]:
        """Return the samples of the histogram of requests."""
        for family in self.request_duration.collect():
            yield from family.samples

    def operation(self, name: str) -> MeasuredOperation:
        """Measure one operation in a `with` block; the outcome is `success`, or the class of the raised error."""
        return MeasuredOperation(self, name)

    def ended(self, operation: str, outcome: str, duration_s: float) -> None:
        """Count one operation."""
        counter = self._outcomes.get((operation, outcome))
        if counter is None:
            counter = self._outcomes[operation, outcome] = self.operations.labels(operation, outcome)
        counter.inc()
        duration = self._durations.get(operation)
        if duration is None:
            duration = self._durations[operation] = self.operation_duration.labels(operation)
        duration.observe(duration_s)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
