"""The metrics of one replica, in its own Prometheus registry, with a bounded number of labels.

It only counts; the callers decide what. What is counted at each request is kept in plain numbers, without the locks of
prometheus_client's own counters: one thread counts, and a lookup takes little longer than counting it with locks would.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from registry_core.telemetry.histograms import LabelledHistogram, TracedCounts
from registry_core.telemetry.logs import trace_id

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
SUCCESS: Final = "success"
CRITICAL: Final = "critical"
LOOKUP: Final = "lookup"
FOUND: Final = "found"
ABSENT: Final = "absent"
UNKNOWN: Final = "unknown"
REFUSED: Final = "refused"
# The result of a lookup by how its operation ended; anything else is a refusal.
LOOKUP_RESULTS: Final[Mapping[str, str]] = {
    SUCCESS: FOUND,
    "NotFound": ABSENT,
    "Warming": UNKNOWN,
    "StoreUnavailable": UNKNOWN,
}
# The value of one label, or of several.
L = TypeVar("L", bound=str | tuple[str, ...])


class _FamilyAtScrape(Collector, Generic[L]):
    """Yields one family, with the values that a function returns when it is read."""

    def __init__(
        self,
        family: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        meaning: str,
        labels: str | tuple[str, ...],
        values: Callable[[], Mapping[L, float]],
    ) -> None:
        self._family, self._name, self._meaning, self._values = family, name, meaning, values
        self._labels = (labels,) if isinstance(labels, str) else labels

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        family = self._family(self._name, self._meaning, labels=self._labels)
        for labels, value in self._values().items():
            family.add_metric((labels,) if isinstance(labels, str) else labels, value)
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


class _Outcome:
    """How often one operation ended in one way, and the durations of that operation, however it ended."""

    __slots__ = ("count", "durations")

    def __init__(self, durations: TracedCounts) -> None:
        self.count = 0
        self.durations = durations


class CountAtOnce:
    """Counts answers to one kind of request, as `request` and `ended` would, with fewer steps."""

    __slots__ = ("_begin", "_outcome", "_requests")

    def __init__(self, begin: Callable[[], tuple[TracedCounts, _Outcome | None]]) -> None:
        """`begin` returns the series, when there is something to count."""
        self._begin = begin
        self._requests: TracedCounts | None = None
        self._outcome: _Outcome | None = None

    def add(self, took_s: float) -> None:
        """Count one that took so long, in the current trace if there is one."""
        if self._requests is None:
            self._requests, self._outcome = self._begin()
        trace = trace_id.get()
        self._requests.observe_in(trace, took_s)
        if self._outcome is not None:
            self._outcome.count += 1
            self._outcome.durations.observe_in(trace, took_s)


class ReplicaMetrics:
    """What one replica counts and measures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._outcomes: dict[tuple[str, str], _Outcome] = {}
        self._requests: dict[tuple[str, str, int], TracedCounts] = {}
        self.counters(
            "registry_operations", "Operations, by outcome.", ("operation", "status"), self._operations_by_outcome
        )
        self.counters(
            "registry_lookups",
            "Lookups of a service by name: found, certainly absent, unknown at present, or refused.",
            "result",
            self.lookups,
        )
        self.operation_duration = self.histogram(
            "registry_operation_duration_seconds", "Duration of operations.", ("operation",)
        )
        self.request_duration = self.histogram(
            "registry_request_duration_seconds",
            "Duration of HTTP requests, without streams.",
            ("endpoint", "method", "status"),
        )
        self.breakers = Gauge(
            "registry_circuit_breaker_state",
            "Shards whose circuit breaker is in this state.",
            ["state"],
            registry=self.registry,
        )
        self.redis_latency = self.histogram(
            "registry_redis_latency_seconds",
            "Duration of one pipeline of writes to a shard, including the confirmation of its replicas.",
            ("shard",),
        )
        self.store_confirm = self.histogram(
            "registry_store_confirm_seconds",
            "How long the replicas of a shard took to confirm the writes of a pipeline, or failed to (WAIT).",
            ("shard",),
        )
        self.watch_lag = self.histogram(
            "registry_watch_lag_seconds",
            "Time from a change of the view until it was written to the connection of a reader, for a sample of them.",
        )
        self.standstills = Counter("registry_standstills", "Times this process stood still.", registry=self.registry)
        self.stale_writes = Counter(
            "registry_stale_writes_refused",
            "Writes refused because they may have waited while this process stood still.",
            registry=self.registry,
        )
        self.expired = Counter("expired_services", "Instances that the sweep removed.", registry=self.registry)
        self._turned_critical = Counter(
            "registry_health_check_failures",
            "Changes of an instance to critical that this replica took: its check failed.",
            registry=self.registry,
        )

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Export `value()` as the gauge `name` at each scrape."""
        Gauge(name, meaning, registry=self.registry).set_function(value)

    def gauges(
        self,
        name: str,
        meaning: str,
        labels: str | tuple[str, ...],
        values: Callable[[], Mapping[L, float]],
    ) -> None:
        """Export `values()`, by label value or by a tuple of them, as the gauge `name` at each scrape."""
        self.registry.register(_FamilyAtScrape(GaugeMetricFamily, name, meaning, labels, values))

    def counter(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Export `value()` as the counter `name` at each scrape. It must only grow."""
        self.registry.register(_FamilyAtScrape(CounterMetricFamily, name, meaning, (), lambda: {(): value()}))

    def counters(
        self,
        name: str,
        meaning: str,
        labels: str | tuple[str, ...],
        values: Callable[[], Mapping[L, float]],
    ) -> None:
        """Export `values()`, by label value or by a tuple of them, as the counter `name`. They must only grow."""
        self.registry.register(_FamilyAtScrape(CounterMetricFamily, name, meaning, labels, values))

    def histogram(self, name: str, meaning: str, labels: tuple[str, ...] = ()) -> LabelledHistogram:
        """Return a new histogram of seconds, exported at each scrape."""
        made = LabelledHistogram(name, meaning, labels)
        self.registry.register(made)
        return made

    def request(self, endpoint: str, method: str, status: int, duration_s: float, trace: str | None = None) -> None:
        """Count one HTTP request in the trace of this id. `endpoint` is its route template, never its path."""
        self._requests_of(endpoint, method if method in METHODS else "other", status).observe_in(trace, duration_s)

    def _requests_of(self, endpoint: str, method: str, status: int) -> TracedCounts:
        durations = self._requests.get((endpoint, method, status))
        if durations is None:
            durations = self.request_duration.of(endpoint, method, str(int(status)))
            self._requests[endpoint, method, status] = durations
        return durations

    def at_once(self, endpoint: str, status: int, operation: str = "") -> CountAtOnce:
        """Return what counts GET requests that end so, each as a success of `operation`, if one is given."""

        def begin() -> tuple[TracedCounts, _Outcome | None]:
            requests = self._requests_of(endpoint, "GET", status)
            return requests, self._outcome_of(operation, SUCCESS) if operation else None

        return CountAtOnce(begin)

    def requests(self) -> Iterator[Sample]:
        """Return the samples of the histogram of requests."""
        for family in self.request_duration.collect():
            yield from family.samples

    def operation(self, name: str) -> MeasuredOperation:
        """Measure one operation in a `with` block; the outcome is `success`, or the class of the raised error."""
        return MeasuredOperation(self, name)

    def ended(self, operation: str, outcome: str, duration_s: float) -> None:
        """Count one operation of the current trace."""
        counted = self._outcome_of(operation, outcome)
        counted.count += 1
        counted.durations.observe_in(trace_id.get(), duration_s)

    def _outcome_of(self, operation: str, outcome: str) -> _Outcome:
        counted = self._outcomes.get((operation, outcome))
        if counted is None:
            counted = self._outcomes[operation, outcome] = _Outcome(self.operation_duration.of(operation))
        return counted

    def turned(self, before: str | None, status: str) -> None:
        """Count a changed status of an instance if it has become critical."""
        if status == CRITICAL and before != CRITICAL:
            self._turned_critical.inc()

    def pipeline(self, shard: str, took_s: float, confirmed_s: float | None) -> None:
        """Count a pipeline of writes to a shard, and the wait for its replicas, if it waited."""
        self.redis_latency.of(shard).observe(took_s)
        if confirmed_s is not None:
            self.store_confirm.of(shard).observe(confirmed_s)

    def lookups(self) -> dict[str, float]:
        """Return how many lookups of a service there were, by result."""
        counts = dict.fromkeys((FOUND, ABSENT, UNKNOWN, REFUSED), 0.0)
        for (operation, outcome), counted in self._outcomes.items():
            if operation == LOOKUP:
                counts[LOOKUP_RESULTS.get(outcome, REFUSED)] += counted.count
        return counts

    def _operations_by_outcome(self) -> Mapping[tuple[str, str], float]:
        return {labels: counted.count for labels, counted in self._outcomes.items()}

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
