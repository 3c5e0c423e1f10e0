"""Reads OpenMetrics as a strict scraper does: with the parser of Prometheus' own Python library."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families


def families_in(text: bytes) -> dict[str, Metric]:
    """Return the families of an OpenMetrics text, by name. Raises ValueError for text that is not OpenMetrics."""
    found = text_string_to_metric_families(text.decode())  # type: ignore[no-untyped-call]  # it has no types
    return {family.name: family for family in found}
