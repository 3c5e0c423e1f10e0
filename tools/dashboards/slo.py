"""The dashboard of service levels: what was promised, what is kept, and how fast the error budget burns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.slo.levels import AVAILABILITY, LEVELS, Decides, Level, LevelUnit
from cli.slo.verdicts import shown_value
from tools.dashboards.panels import (
    COUNT,
    PER_SECOND,
    SECONDS,
    SHARE,
    Dashboard,
    Panel,
    PanelQuery,
    PanelRow,
    ThresholdStep,
    above,
    figure,
    series,
)

BUDGET: Final = 1 - AVAILABILITY
# How many times too fast the budget burns when an alert fires: see slo.yml.
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_UNITS: Final = {
    LevelUnit.SECONDS: SECONDS,
    LevelUnit.PER_SECOND: PER_SECOND,
    LevelUnit.REQUESTS: COUNT,
    LevelUnit.SHARE: SHARE,
}


def _errors(window: str) -> str:
    return f"slo:availability_errors:ratio_{window}"


def _burn(window: str) -> PanelQuery:
    return PanelQuery(f"{_errors(window)} / {BUDGET:g}", window)


def _levels() -> Iterator[Panel]:
    for level in LEVELS:
        if level.prometheus is not None and not level.at_least:
            yield _level(level)


def _level(level: Level) -> Panel:
    assert level.prometheus is not None
    meaning = (
        f"Over the time shown: {level.promise}. Promised: {shown_value(level.bound, level.unit)} at most. Empty: "
        f"{level.prometheus.otherwise}."
    )
    if level.prometheus.decides is Decides.MISSED:
        meaning += " Only the way from a replica to its readers' sockets is measured, so it can be missed, but not met."
    query = level.prometheus.value.replace("{window}", "$__range")
    condition = level.prometheus.condition.replace("{window}", "$__range")
    measured = f"({query}) and on () (({condition}) >= {level.prometheus.least:g})"
    # The bound itself is still met.
    steps = (ThresholdStep(level.bound * 1.001 or 0.5, "red"),)
    return figure(
        level.promise[0].upper() + level.promise[1:], meaning, measured, _UNITS[level.unit], steps=steps, width=6
    )


BUDGETS: Final = PanelRow(
    "Availability",
    (
        figure(
            "Availability, 7 days",
            f"The share of requests that were answered without a fault of the registry. Promised: {AVAILABILITY:.2%}.",
            f"1 - {_errors('7d')}",
            SHARE,
            below="red",
            steps=above((AVAILABILITY, "green")),
            width=6,
            alerts=("AvailabilityBelowObjective",),
        ),
        figure(
            "Error budget left, 7 days",
            "1: nothing went wrong; 0: the promise is just kept; below: it is broken.",
            f"1 - {_errors('7d')} / {BUDGET:g}",
            SHARE,
            below="red",
            steps=above((0, "orange"), (0.5, "green")),
            width=6,
            alerts=("AvailabilityBelowObjective",),
        ),
        figure(
            "Burn rate, 1 hour",
            "How many times faster than allowed the budget was used in the last hour. At 14.4, a month's budget lasts "
            "two days.",
            _burn("1h").expr,
            steps=above((1, "orange"), (14.4, "red")),
            width=6,
            alerts=("AvailabilityBurnsFast",),
        ),
        figure(
            "Burn rate, 6 hours",
            "The same over six hours.",
            _burn("6h").expr,
            steps=above((1, "orange"), (6, "red")),
            width=6,
            alerts=("AvailabilityBurnsFast", "AvailabilityBurnsSlowly"),
        ),
        series(
            "Burn rates",
            "How many times faster than allowed the budget was used, over windows of several lengths. An alert needs "
            "a long window and a short one: the long one says that it matters, the short one that it goes on.",
            *(_burn(window) for window in WINDOWS),
            steps=above((1, "orange"), (6, "orange"), (14.4, "red")),
            alerts=("AvailabilityBurnsFast", "AvailabilityBurnsSlowly"),
        ),
        series(
            "Requests and errors",
            "Requests at all replicas, and those that failed for a fault of the registry. While no replica answers at "
            "all, there is nothing to count, and the time itself counts as failed.",
            PanelQuery("slo:registry_requests:rate5m", "requests"),
            PanelQuery("slo:registry_errors:rate5m", "errors"),
            PanelQuery("slo:registry_unreachable:bool", "no replica answers"),
            unit=PER_SECOND,
            alerts=("RegistryDown",),
        ),
    ),
)
SLO: Final = Dashboard(
    "slo",
    "Vértice: service levels",
    "Each service level that Prometheus can measure, and how fast the error budget burns. `vertice slo` prints all.",
    (BUDGETS, PanelRow("Levels in the time shown", tuple(_levels()))),
)
