"""What a dashboard is made of: queries, panels, rows of panels, variables.

It knows nothing of Grafana's JSON, which `tools/dashboards/grafana.py` writes.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

# Grafana's unit ids.
SECONDS: Final = "s"
BYTES: Final = "bytes"
BYTES_PER_S: Final = "binBps"
PER_SECOND: Final = "cps"
SHARE: Final = "percentunit"
PERCENT: Final = "percent"
COUNT: Final = "short"
SINCE: Final = "dateTimeFromNow"
# Of a counter's rate: over four scrapes at least, as Grafana chooses it.
RATE: Final = "$__rate_interval"
REGISTRY: Final = 'job="registry",instance=~"$instance"'
AGENT: Final = 'job="agent",instance=~"$instance"'
WIDTH: Final = 24


class Kind(enum.Enum):
    """How a panel draws its queries."""

    SERIES = "timeseries"
    FIGURE = "stat"
    TABLE = "table"


class PanelQuery(NamedTuple):
    """One PromQL expression, and what its series are called (`{{label}}` stands for a label's value)."""

    expr: str
    legend: str = ""


class ThresholdStep(NamedTuple):
    """From this value on, this colour."""

    at: float
    colour: str


class Panel(NamedTuple):
    """One panel. `alerts` are those that fire on what it shows: each is a link to its runbook."""

    title: str
    meaning: str
    queries: tuple[PanelQuery, ...]
    unit: str = COUNT
    kind: Kind = Kind.SERIES
    steps: tuple[ThresholdStep, ...] = ()
    below: str = "green"  # the colour below the first step
    alerts: tuple[str, ...] = ()
    width: int = 12
    height: int = 8
    stacked: bool = False
    most: float | None = None  # the top of the axis
    to: str = ""  # the uid of the dashboard that shows more; a series' labels become its variables


class PanelRow(NamedTuple):
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


class Variable(NamedTuple):
    """A variable: the values of a label, by PromQL's `label_values`; always with `All`, several at once."""

    name: str
    label: str
    query: str
    meaning: str


class Dashboard(NamedTuple):
    """One dashboard; its uid stands in links and must never change."""

    name: str  # of its file
    title: str
    meaning: str
    rows: tuple[PanelRow, ...]
    variables: tuple[Variable, ...] = ()
    # PromQL that is 1 while something stands out, drawn as a mark on every panel, and the mark's text.
    marks: tuple[tuple[str, PanelQuery], ...] = ()

    @property
    def uid(self) -> str:
        return f"vertice-{self.name}"

    @property
    def panels(self) -> list[Panel]:
        """Every panel, row after row."""
        return [panel for row in self.rows for panel in row.panels]


def series(title: str, meaning: str, *queries: PanelQuery, unit: str = COUNT, **more: Any) -> Panel:
    """Return a panel of lines over time."""
    return Panel(title, meaning, queries, unit)._replace(**more)


def figure(title: str, meaning: str, query: str, unit: str = COUNT, **more: Any) -> Panel:
    """Return a panel of one number, or of a few."""
    panel = Panel(title, meaning, (PanelQuery(query),), unit, Kind.FIGURE, width=4, height=5)
    return panel._replace(**more)


def table(title: str, meaning: str, *queries: PanelQuery, unit: str = COUNT, **more: Any) -> Panel:
    """Return a table: a line for each series, a column for each label."""
    return Panel(title, meaning, queries, unit, Kind.TABLE)._replace(**more)


def above(*steps: tuple[float, str]) -> tuple[ThresholdStep, ...]:
    """Return the steps of a value that is fine while it is low."""
    return tuple(ThresholdStep(*step) for step in steps)


def concern(orange: float, red: float | None = None) -> tuple[ThresholdStep, ...]:
    """Return steps: orange from the first value on, red from the second."""
    return above((orange, "orange"), *(() if red is None else ((red, "red"),)))


def percentiles(
    metric: str, selected: str, percents: Sequence[int] = (50, 95, 99), by: str = ""
) -> tuple[PanelQuery, ...]:
    """Return a query for each percentile of a histogram; `by` names one more label that tells lines apart."""
    labels = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return tuple(
        PanelQuery(
            f"histogram_quantile({percent / 100:g}, sum by ({labels}) (rate({metric}_bucket{{{selected}}}[{RATE}])))",
            f"{legend}p{percent}",
        )
        for percent in percents
    )


def rate_by(metric: str, selected: str, *labels: str) -> PanelQuery:
    """Return the rate of a counter, summed by labels."""
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return PanelQuery(f"sum by ({', '.join(labels)}) (rate({metric}{{{selected}}}[{RATE}]))", legend)


INSTANCES_OF_REGISTRY: Final = (
    Variable(
        "zone",
        "Zone",
        'label_values(vertice_build_info{component="registry"}, zone)',
        "The zone of the replicas (REGISTRY_ZONE).",
    ),
    Variable(
        "instance",
        "Replica",
        'label_values(vertice_build_info{component="registry",zone=~"$zone"}, instance)',
        "The replicas of those zones.",
    ),
)
INSTANCES_OF_AGENTS: Final = (
    Variable(
        "zone",
        "Zone",
        'label_values(vertice_build_info{component="agent"}, zone)',
        "The zone of the agents (AGENT_ZONE).",
    ),
    Variable(
        "instance",
        "Agent",
        'label_values(vertice_build_info{component="agent",zone=~"$zone"}, instance)',
        "The agents of those zones.",
    ),
)
