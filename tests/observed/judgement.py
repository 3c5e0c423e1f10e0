"""Judges every expression against a running Prometheus: which are empty that should not be."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from tests.observed.empty import EMPTY_WITHOUT_A_FAULT, excused
from tests.observed.prometheus import ObservingPrometheus
from tests.observed.rules import Expression, Rules, metrics_in, panel_expressions, product_rules, rule_expressions

# How long series may take to appear, on a busy machine.
APPEARS_S: Final = 60.0
# Metrics that alerts read and that a deployment without a fault, without TLS and without an authority lacks.
ABSENT_WITHOUT_A_FAULT: Final[Mapping[str, str]] = {
    "registry_certificate_ends_seconds": "the replicas have no TLS",
    "agent_certificate_ends_seconds": "no agent has certificates of its authority",
    "agent_tls_certificate_ends_seconds": "no agent shows a certificate",
}


def every_expression(rules: Rules) -> list[Expression]:
    """Return every expression of a panel, a mark, a recording rule and an alert."""
    return [*panel_expressions(), *rule_expressions(rules)]


def empty_now(prometheus: ObservingPrometheus, expressions: Sequence[Expression]) -> list[str]:
    """Return the places of the expressions that give no number now."""
    return [place for place, promql in expressions if not prometheus.query(promql)]


def empty_that_should_not_be(prometheus: ObservingPrometheus, rules: Rules) -> tuple[list[str], list[str]]:
    """Return which expressions are empty without an excuse, and which excuses nothing needs.

    Waits until the first list is empty, at most APPEARS_S.
    """
    waiting = [one for one in every_expression(rules) if excused(one.place, EMPTY_WITHOUT_A_FAULT) is None]
    ends = time.monotonic() + APPEARS_S
    while True:
        empty = set(empty_now(prometheus, waiting))
        waiting = [one for one in waiting if one.place in empty]
        if not waiting or time.monotonic() > ends:
            break
        time.sleep(1)
    places = [one.place for one in every_expression(rules)]
    needless = [line for line in EMPTY_WITHOUT_A_FAULT if not any(place.startswith(line) for place in places)]
    return [one.place for one in waiting], needless


def absent_metrics(prometheus: ObservingPrometheus) -> list[str]:
    """Return the metrics that alerts read and that do not exist: such an alert would never fire."""
    read = {name for rule in product_rules().named("alert") for name in metrics_in(rule["expr"])}
    return sorted(
        name
        for name in read - ABSENT_WITHOUT_A_FAULT.keys()
        if not prometheus.query(f'count({{__name__=~"{name}(_bucket|_sum|_count)?"}})')
    )


def empty_over(
    prometheus: ObservingPrometheus, expressions: Sequence[Expression], start: float, end: float
) -> list[str]:
    """Return the places of the expressions that gave no number at any time of the range (Unix time)."""
    return [place for place, promql in expressions if not prometheus.over(promql, start, end)]
