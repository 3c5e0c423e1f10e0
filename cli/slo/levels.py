"""The service levels: each promise with its figure, and how Prometheus or a benchmark tells whether it was kept.

This is the one home of the figures. It asks nobody: it says what is to be asked.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final, NamedTuple

# A percentile of fewer requests says nothing; a level over fewer was not measured.
LEAST_REQUESTS: Final = 100

# Milliseconds, each as (p50, p95, p99).
LOOKUP_MS: Final = (2.0, 10.0, 50.0)
REGISTRATION_MS: Final = (10.0, 50.0, 100.0)
HEARTBEAT_MS: Final = (5.0, 20.0, 50.0)
LOOKUPS_PER_S: Final = 10_000.0
VISIBLE_S: Final = 1.0
VISIBLE_P99_MS: Final = 100.0
DEAD_GONE_S: Final = 75.0
FAILED_CHECK_S: Final = 10.0
RESTART_S: Final = 5.0
COLD_START_S: Final = 10.0
AVAILABILITY: Final = 0.9995
# Of Prometheus: how a scrape names the two programs.
REGISTRY_JOB: Final = "registry"
AGENT_JOB: Final = "agent"


class LevelUnit(enum.Enum):
    """What a level is measured in."""

    SECONDS = "s"
    PER_SECOND = "1/s"
    REQUESTS = "requests"
    SHARE = "share"


class Decides(enum.Enum):
    """Which way a measurement can decide a level."""

    BOTH = "met or missed"
    # A load that is low says nothing about how much could have been served.
    MET = "only that it is met"
    # A part of the way that is in time says nothing about the rest of it.
    MISSED = "only that it is missed"


class PromQuery(NamedTuple):
    """What Prometheus is asked for a level; `{window}` stands for the window, such as `3600s`.

    The level was measured when `condition` is at least `least`; otherwise it is unknown, because of `otherwise`.
    """

    value: str
    condition: str
    least: float
    otherwise: str
    decides: Decides = Decides.BOTH


class BenchRow(NamedTuple):
    """Where a benchmark's file says it: the row whose name matches `pattern`, and `field` of it.

    `field` is, of a spread, `p50_ms`, `p95_ms`, `p99_ms` or `max_ms`; of a number it is not looked at. `scale` makes
    the level's unit of it.
    """

    pattern: str
    field: str
    scale: float = 1.0
    decides: Decides = Decides.BOTH


class Level(NamedTuple):
    """One promise: `bound` is the most that is allowed, or the least with `at_least`; in `unit`."""

    name: str
    promise: str
    unit: LevelUnit
    bound: float
    at_least: bool = False
    prometheus: PromQuery | None = None
    bench: BenchRow | None = None

    def keeps(self, measured: float) -> bool:
        """Return whether a measurement keeps the promise."""
        return measured >= self.bound if self.at_least else measured <= self.bound


# Refusals by a limit are held back on purpose, and are not what a level is about.
_SERVED: Final = f'job="{REGISTRY_JOB}",status!="429"'
_DURATIONS: Final = "registry_request_duration_seconds"


def latency_query(endpoint: str, method: str, quantile: float, window: str = "{window}") -> str:
    """Return the PromQL of a percentile of an endpoint's durations, over all replicas."""
    selected = f'{{{_SERVED},endpoint="{endpoint}",method="{method}"}}'
    return f"histogram_quantile({quantile}, sum by (le) (rate({_DURATIONS}_bucket{selected}[{window}])))"


def _latencies(
    what: str,
    endpoint: str,
    method: str,
    bounds_ms: tuple[float, float, float],
    *,
    row: str = "",
) -> Iterator[Level]:
    counted = f'sum(increase({_DURATIONS}_count{{{_SERVED},endpoint="{endpoint}",method="{method}"}}[{{window}}]))'
    for percentile, bound_ms in zip((50, 95, 99), bounds_ms, strict=True):
        query = PromQuery(
            latency_query(endpoint, method, percentile / 100),
            counted,
            LEAST_REQUESTS,
            f"fewer than {LEAST_REQUESTS} in the window",
        )
        bench = BenchRow(row, f"p{percentile}_ms", 0.001) if row else None
        yield Level(
            f"{what}_p{percentile}",
            f"{what} at a replica, p{percentile}",
            LevelUnit.SECONDS,
            bound_ms / 1000,
            prometheus=query,
            bench=bench,
        )


# Probes and scrapes are no requests of clients. A replica that warms up or has too much to do says 503 to an agent,
# which asks the next one; these count as faults all the same, since nobody can tell them apart.
PROBES: Final = "/live|/ready|/health|/metrics|/whoami|/openapi.json|unmatched"
_ASKED: Final = f'job="{REGISTRY_JOB}",endpoint!~"{PROBES}"'
_ANSWERS: Final = f"{_DURATIONS}_count{{{_ASKED}}}"
_FAULTS: Final = f'{_DURATIONS}_count{{{_ASKED},status=~"5.."}}'
AVAILABILITY_QUERY: Final = f"1 - (sum(rate({_FAULTS}[{{window}}])) or vector(0)) / sum(rate({_ANSWERS}[{{window}}]))"

# What clients saw: lookups that an agent could not answer (SERVFAIL, 503), and queries that hit an error of its own.
_CLIENT_ERRORS: Final = (
    f'sum(increase(agent_answers_total{{job="{AGENT_JOB}",freshness="unknown"}}[{{window}}])) '
    f'+ sum(increase(agent_dns_failures_total{{job="{AGENT_JOB}"}}[{{window}}]))'
)
_REGISTRY_UP: Final = f'up{{job="{REGISTRY_JOB}"}}'


def _without_errors(name: str, promise: str, condition: str, otherwise: str) -> Level:
    query = PromQuery(_CLIENT_ERRORS, condition, 1, otherwise)
    return Level(name, promise, LevelUnit.REQUESTS, 0, prometheus=query)


LEVELS: Final[tuple[Level, ...]] = (
    *_latencies("lookup", "/services/{service}", "GET", LOOKUP_MS, row=r"lookup at a steady \d+/s"),
    Level(
        "lookups_per_second",
        "lookups sustained by the deployment",
        LevelUnit.PER_SECOND,
        LOOKUPS_PER_S,
        at_least=True,
        prometheus=PromQuery(
            f"max_over_time(sum(rate({_DURATIONS}_count"
            f'{{job="{REGISTRY_JOB}",endpoint="/services/{{service}}"}}[1m]))[{{window}}:30s])',
            f'sum(increase({_DURATIONS}_count{{job="{REGISTRY_JOB}",endpoint="/services/{{service}}"}}[{{window}}]))',
            LEAST_REQUESTS,
            f"fewer than {LEAST_REQUESTS} in the window",
            Decides.MET,
        ),
        # A deployment has more than one replica, and a benchmark measures one.
        bench=BenchRow(r"lookups sustained by one replica .*", "measured", decides=Decides.MET),
    ),
    *_latencies("registration", "/register", "POST", REGISTRATION_MS, row=r"registration at a steady \d+/s"),
    *_latencies("heartbeat", "/heartbeat", "POST", HEARTBEAT_MS, row=r"heartbeat at a steady \d+/s"),
    Level(
        "visible",
        "a registration is visible to every agent, at most",
        LevelUnit.SECONDS,
        VISIBLE_S,
        prometheus=PromQuery(
            "histogram_quantile(1, sum by (le) (rate("
            f'registry_watch_lag_seconds_bucket{{job="{REGISTRY_JOB}"}}[{{window}}])))',
            f'sum(increase(registry_watch_lag_seconds_count{{job="{REGISTRY_JOB}"}}[{{window}}]))',
            1,
            "no change reached a watcher in the window",
            Decides.MISSED,
        ),
        bench=BenchRow(r"propagation: .*", "max_ms", 0.001),
    ),
    Level(
        "visible_p99",
        "a registration is visible to every agent, p99 (goal)",
        LevelUnit.SECONDS,
        VISIBLE_P99_MS / 1000,
        prometheus=PromQuery(
            "histogram_quantile(0.99, sum by (le) (rate("
            f'registry_watch_lag_seconds_bucket{{job="{REGISTRY_JOB}"}}[{{window}}])))',
            f'sum(increase(registry_watch_lag_seconds_count{{job="{REGISTRY_JOB}"}}[{{window}}]))',
            LEAST_REQUESTS,
            f"fewer than {LEAST_REQUESTS} changes reached watchers in the window",
            Decides.MISSED,
        ),
        bench=BenchRow(r"propagation: .*", "p99_ms", 0.001),
    ),
    Level("dead_gone", "a dead service is gone", LevelUnit.SECONDS, DEAD_GONE_S),
    Level("failed_check", "a failed check shows", LevelUnit.SECONDS, FAILED_CHECK_S),
    Level("restart", "a replica restarts", LevelUnit.SECONDS, RESTART_S),
    Level(
        "cold_start",
        "a cold start",
        LevelUnit.SECONDS,
        COLD_START_S,
        bench=BenchRow(r"start with [\d,]+ instances until it serves", "measured"),
    ),
    _without_errors(
        "replica_down",
        "client errors while a replica was down",
        f"max_over_time((count({_REGISTRY_UP} == 0) or vector(0))[{{window}}:])",
        "no replica was down in the window",
    ),
    _without_errors(
        "redis_down",
        "client errors while a Redis master was down",
        "sum(increase(registry_store_failovers_total[{window}]))",
        "no Redis master failed over in the window",
    ),
    _without_errors(
        "all_down",
        "client errors while everything central was down",
        f"1 - min_over_time((max({_REGISTRY_UP}))[{{window}}:])",
        "some replica was up all the time",
    ),
    Level(
        "availability",
        "requests that a replica answered without a fault of its own",
        LevelUnit.SHARE,
        AVAILABILITY,
        at_least=True,
        prometheus=PromQuery(
            AVAILABILITY_QUERY,
            f"sum(increase({_ANSWERS}[{{window}}]))",
            LEAST_REQUESTS,
            f"fewer than {LEAST_REQUESTS} requests in the window",
        ),
    ),
)
