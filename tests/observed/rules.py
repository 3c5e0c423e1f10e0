"""The rules of compose/observability, and every expression in them and in the dashboards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tests.observed.durations import quick_rule
from tests.programs import ROOT
from tools.dashboards.every import DASHBOARDS

FOLDER: Final = ROOT / "compose" / "observability"
RULE_FILES: Final = ("rules.yml", "slo.yml")
# What Grafana fills in, for windows of a scrape each second; every other variable is `All`.
GRAFANA: Final = {"__rate_interval": "5s", "__range": "60s", "__interval": "1s"}


class Expression(NamedTuple):
    """One expression, and where it stands: `panel:<dashboard>/<title>/<number>`, `rule:<name>`, `alert:<name>`."""

    place: str
    promql: str


class Rules(NamedTuple):
    """The groups of a file, as Prometheus reads them."""

    groups: Sequence[Mapping[str, Any]]

    def named(self, key: str) -> list[Mapping[str, Any]]:
        """Return every rule that has `key`: `alert` or `record`."""
        return [rule for group in self.groups for rule in group["rules"] if key in rule]


def product_rules() -> Rules:
    """Return the rules that operators get."""
    return Rules([group for name in RULE_FILES for group in _read(FOLDER / name)])


def quick_rules(thresholds: Mapping[str, tuple[str, str]]) -> Rules:
    """Return the rules with short durations.

    `thresholds` has, for alerts about an age of minutes or a date far ahead, what stands there and what instead.
    """
    groups = []
    for group in product_rules().groups:
        rules = [quick_rule(rule) for rule in group["rules"]]
        for rule in rules:
            for name, (old, new) in thresholds.items():
                if rule.get("alert") == name:
                    if old not in rule["expr"]:
                        raise ValueError(f"{name} has no {old!r}: {rule['expr']}")
                    rule["expr"] = rule["expr"].replace(old, new)
        groups.append({"name": group["name"], "interval": "1s", "rules": rules})
    return Rules(groups)


def _read(path: Path) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return groups


def filled_in(promql: str) -> str:
    """Return an expression of a panel as Grafana sends it, with `All` of each variable."""
    return re.sub(r"\$(\w+)", lambda found: GRAFANA.get(found[1], ".*"), promql)


def panel_expressions() -> list[Expression]:
    """Return every expression of every panel, and of the marks that are drawn on them."""
    found = [
        Expression(f"panel:{dashboard.name}/{row.title}/{panel.title}/{number}", filled_in(query.expr))
        for dashboard in DASHBOARDS
        for row in dashboard.rows
        for panel in row.panels
        for number, query in enumerate(panel.queries, 1)
    ]
    marks = [(dashboard, *mark) for dashboard in DASHBOARDS for mark in dashboard.marks]
    return found + [
        Expression(f"mark:{dashboard.name}/{name}", filled_in(query.expr)) for dashboard, name, query in marks
    ]


def rule_expressions(rules: Rules) -> list[Expression]:
    """Return every expression of a recording rule and of an alert."""
    return [
        *(Expression(f"rule:{rule['record']}", rule["expr"]) for rule in rules.named("record")),
        *(Expression(f"alert:{rule['alert']}", rule["expr"]) for rule in rules.named("alert")),
    ]


def metrics_in(promql: str) -> set[str]:
    """Return the metrics that an expression reads."""
    without_labels = re.sub(r"\{[^{}]*\}|\"[^\"]*\"", "", promql)
    return set(
        re.findall(
            r"\b(?:(?:registry|agent|cache|expired|vertice)_[a-z_]+|(?:slo|vertice):[\w:]+|up)\b", without_labels
        )
    )
