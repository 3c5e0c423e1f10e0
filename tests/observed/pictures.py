"""Draws each panel of each dashboard as a picture (SVG), from what a real Prometheus answers.

No Grafana is needed to see whether a panel shows what it says: lines over time, the legend, the thresholds and the
unit. It is for looking at, and is not how Grafana draws.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape

from tests.observed.prometheus import ObservingPrometheus
from tests.observed.rules import filled_in
from tools.dashboards.every import DASHBOARDS
from tools.dashboards.panels import BYTES, BYTES_PER_S, PER_SECOND, PERCENT, SECONDS, SHARE, Kind, Panel

COLUMN: Final = 60
LINE: Final = 34
COLOURS: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#17becf")
MOST_IN_LEGEND: Final = 8


class Drawn(NamedTuple):
    """A line: its name and its points (Unix time, value)."""

    name: str
    points: Sequence[tuple[float, float]]


def write_pictures(prometheus: ObservingPrometheus, start: float, end: float, folder: Path) -> None:
    """Write a picture of each dashboard, `<name>.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    for dashboard in DASHBOARDS:
        parts, y = [], 0
        for row in dashboard.rows:
            parts.append(f'<text x="4" y="{y + 20}" font-size="16" font-weight="bold">{escape(row.title)}</text>')
            x, y, tallest = 0, y + LINE, 0
            for panel in row.panels:
                if x + panel.width > 24:
                    x, y, tallest = 0, y + tallest * LINE, 0
                lines = [line for query in panel.queries for line in _lines(prometheus, query, start, end)]
                parts.append(_panel(panel, lines, (start, end), (x * COLUMN, y)))
                x, tallest = x + panel.width, max(tallest, panel.height)
            y += tallest * LINE
        whole = "\n".join(parts)
        (folder / f"{dashboard.name}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{24 * COLUMN}" height="{y}" font-family="sans-serif">'
            f'<rect width="100%" height="100%" fill="white"/>{whole}</svg>\n',
            encoding="utf-8",
        )


def _lines(prometheus: ObservingPrometheus, query: Any, start: float, end: float) -> list[Drawn]:
    found = prometheus.over(filled_in(query.expr), start, end)
    return [Drawn(_name(query.legend, one["metric"]), one["values"]) for one in found]


def _name(legend: str, labels: dict[str, str]) -> str:
    if legend:
        return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()) if key not in {"__name__", "job"})


def _panel(panel: Panel, lines: Sequence[Drawn], times: tuple[float, float], corner: tuple[int, int]) -> str:
    x, y = corner
    width, height = panel.width * COLUMN - 8, panel.height * LINE - 8
    parts = [
        f'<g transform="translate({x + 4},{y})"><rect width="{width}" height="{height}" fill="none" stroke="#bbb"/>',
        f'<text x="6" y="15" font-size="12" font-weight="bold">{escape(panel.title)}</text>',
    ]
    if not lines:
        parts.append(f'<text x="{width / 2}" y="{height / 2}" font-size="12" fill="#a00">No data</text>')
    elif panel.kind is Kind.FIGURE:
        parts.append(_figure(panel, lines, width, height))
    elif panel.kind is Kind.TABLE:
        rows = [f"{line.name}: {shown(line.points[-1][1], panel.unit)}" for line in lines[:12]]
        parts += [f'<text x="8" y="{34 + 15 * n}" font-size="11">{escape(each)}</text>' for n, each in enumerate(rows)]
    else:
        parts.append(_series(panel, lines, times, (width, height)))
    return "".join(parts) + "</g>"


def _colour_of(panel: Panel, value: float) -> str:
    colour = panel.below if panel.steps else "black"
    for step in panel.steps:
        if value >= step.at:
            colour = step.colour
    return colour


def _figure(panel: Panel, lines: Sequence[Drawn], width: int, height: int) -> str:
    value = lines[0].points[-1][1]
    return (
        f'<text x="{width / 2}" y="{height / 2 + 14}" font-size="26" text-anchor="middle" '
        f'fill="{_colour_of(panel, value)}">{escape(shown(value, panel.unit))}</text>'
    )


def _series(panel: Panel, lines: Sequence[Drawn], times: tuple[float, float], size: tuple[int, int]) -> str:
    (width, height), (start, end) = size, times
    left, top, right, bottom = 70, 26, width - 10, height - 40
    values = [value for line in lines for _, value in line.points]
    low, high = min(0.0, *values), max(values) or 1.0
    high = max(high, panel.most or high)

    def at(time: float, value: float) -> str:
        across = left + (right - left) * (time - start) / max(end - start, 1)
        return f"{across:.1f},{bottom - (bottom - top) * (value - low) / max(high - low, 1e-12):.1f}"

    parts = []
    for value in (low, (low + high) / 2, high):
        height_at = at(start, value).split(",")[1]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{height_at}" y2="{height_at}" stroke="#eee"/>')
        label = escape(shown(value, panel.unit))
        parts.append(f'<text x="{left - 4}" y="{height_at}" font-size="10" text-anchor="end">{label}</text>')
    for step in panel.steps:
        if low <= step.at <= high:
            height_at = at(start, step.at).split(",")[1]
            parts.append(
                f'<line x1="{left}" x2="{right}" y1="{height_at}" y2="{height_at}" stroke="{step.colour}" '
                'stroke-dasharray="4 3"/>'
            )
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        # A gap in time is a gap in the line.
        stretches: list[list[str]] = [[]]
        last = None
        for time, value in line.points:
            if last is not None and time - last > 2.5:
                stretches.append([])
            stretches[-1].append(at(time, value))
            last = time
        parts += [
            f'<polyline points="{" ".join(each)}" fill="none" stroke="{colour}" stroke-width="1.2"/>'
            for each in stretches
        ]
    step_x = max(1, (width - 20) // MOST_IN_LEGEND)
    for number, line in enumerate(lines[:MOST_IN_LEGEND]):
        name = escape(line.name[: max(6, step_x // 6)])
        parts.append(
            f'<text x="{10 + number * step_x}" y="{height - 10}" font-size="9" '
            f'fill="{COLOURS[number % len(COLOURS)]}">{name}</text>'
        )
    return "".join(parts)


def shown(value: float, unit: str) -> str:
    """Return a number with its unit, roughly as Grafana writes it."""
    match unit:
        case _ if unit == SHARE:
            return f"{value * 100:.4g}%"
        case _ if unit == PERCENT:
            return f"{value:.3g}%"
        case _ if unit == SECONDS:
            return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.4g} s"
        case _ if unit in (BYTES, BYTES_PER_S):
            return f"{value / 1024 / 1024:.3g} MiB{'/s' if unit == BYTES_PER_S else ''}"
        case _ if unit == PER_SECOND:
            return f"{value:.3g}/s"
        case _:
            return f"{value:.4g}"
