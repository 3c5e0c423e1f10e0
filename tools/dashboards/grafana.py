"""Writes a dashboard as the JSON that Grafana reads from a file: its classic model, schema version 41."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tools.dashboards.panels import WIDTH, Dashboard, Kind, Panel, Variable

SCHEMA_VERSION: Final = 41
TAG: Final = "vertice"
SOURCE: Final[Mapping[str, str]] = {"type": "prometheus", "uid": "${source}"}
# Where the pages of docs/runbooks are served: a text box of each dashboard, since every house has its own place.
RUNBOOKS: Final = "/public/runbooks"
# A new scrape every ten seconds, in compose/observability/prometheus.yml.
LEAST_INTERVAL: Final = "10s"


def dashboard_text(dashboard: Dashboard) -> str:
    """Return the file of a dashboard."""
    return json.dumps(_dashboard(dashboard), indent=2, ensure_ascii=False) + "\n"


def _dashboard(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.meaning,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [_other_dashboards()],
        "annotations": {"list": list(_annotations(dashboard))},
        "templating": {"list": list(_variables(dashboard))},
        "panels": list(_panels(dashboard)),
    }


def _other_dashboards() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "Vértice",
        "tags": [TAG],
        "asDropdown": True,
        "includeVars": False,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "The other dashboards, at the same time",
    }


def _annotations(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    alerts = 'ALERTS{alertstate="firing"}'
    yield _annotation("Alerts", alerts, "{{alertname}} {{instance}}", "red")
    for name, query in dashboard.marks:
        yield _annotation(name, query.expr, query.legend, "blue")


def _annotation(name: str, expr: str, title: str, colour: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": dict(SOURCE),
        "enable": True,
        "iconColor": colour,
        "expr": expr,
        "titleFormat": title,
        "step": LEAST_INTERVAL,
    }


def _variables(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    yield {
        "type": "datasource",
        "name": "source",
        "label": "Prometheus",
        "description": "The Prometheus that scrapes the deployment.",
        "query": "prometheus",
        "hide": 0,
    }
    for variable in dashboard.variables:
        yield _variable(variable)
    yield {
        "type": "textbox",
        "name": "runbooks",
        "label": "Runbooks at",
        "description": "Where the pages of docs/runbooks are served; panels link to them.",
        "query": RUNBOOKS,
        "current": {"text": RUNBOOKS, "value": RUNBOOKS},
        "hide": 0,
    }


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "description": variable.meaning,
        "datasource": dict(SOURCE),
        "query": {"query": variable.query, "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        # Series without the label as well.
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """Yield the rows and their panels, each row of panels filled from the left."""
    number, y = 1, 0
    for row in dashboard.rows:
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            "panels": [],
        }
        number, y, x, tallest = number + 1, y + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height})
            number, x, tallest = number + 1, x + panel.width, max(tallest, panel.height)
        y += tallest


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind.value,
        "title": panel.title,
        "description": panel.meaning,
        "datasource": dict(SOURCE),
        "gridPos": dict(place),
        "links": [_runbook(alert) for alert in panel.alerts],
        "interval": LEAST_INTERVAL,
        "targets": [_target(panel, index) for index in range(len(panel.queries))],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        **({"transformations": _TABLE} if panel.kind is Kind.TABLE else {}),
    }


def _runbook(alert: str) -> dict[str, Any]:
    return {
        "type": "link",
        "title": f"Runbook: {alert}",
        "url": f"${{runbooks}}/{alert}.md",
        "icon": "doc",
        "tooltip": f"What {alert} means, and what to do",
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "targetBlank": True,
    }


def _target(panel: Panel, index: int) -> dict[str, Any]:
    query = panel.queries[index]
    at_once = panel.kind is Kind.TABLE
    return {
        "refId": chr(ord("A") + index),
        "datasource": dict(SOURCE),
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "range": not at_once,
        "instant": at_once,
        "format": "table" if at_once else "time_series",
    }


def _field(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"value": None, "color": panel.below if panel.steps else "green"}]
    steps += [{"value": step.at, "color": step.colour} for step in panel.steps]
    field: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "thresholds" if panel.kind is Kind.FIGURE else "palette-classic"},
    }
    if panel.most is not None:
        field |= {"min": 0, "max": panel.most}
    if panel.to:
        url = f"/d/{panel.to}?${{__url_time_range}}&var-instance=${{__field.labels.instance}}"
        field["links"] = [{"title": "More of ${__field.labels.instance}", "url": url, "targetBlank": False}]
    if panel.kind is Kind.SERIES:
        field["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 20 if panel.stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
        }
    return field


_OPTIONS: Final[Mapping[Kind, Mapping[str, Any]]] = {
    Kind.SERIES: {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    Kind.FIGURE: {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "textMode": "auto",
        "orientation": "auto",
    },
    Kind.TABLE: {"showHeader": True, "cellHeight": "sm"},
}
# Of an instant query's table, the labels and the value are columns; the time and the metric's name say nothing.
_TABLE: Final = (
    {"id": "merge", "options": {}},
    {"id": "organize", "options": {"excludeByName": {"Time": True, "__name__": True, "job": True}}},
)
