"""The text of the metrics: fresh for a scraper, made a bounded number of times for a flood."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from registry_core.telemetry.exposition import MAX_ACCEPT, MOST_A_SECOND, Exposition, MetricsFormat, format_for
from tests.samples import FakeClock


class Scrapes(Collector):
    """Exposes how many times it was read."""

    def __init__(self) -> None:
        self.count = 0

    def collect(self) -> Iterable[GaugeMetricFamily]:
        self.count += 1
        yield GaugeMetricFamily("scrapes", "How many there were.", value=self.count)


def test_a_flood_of_scrapes_is_given_the_last_text_until_a_second_is_over() -> None:
    registry, scrapes, clock = CollectorRegistry(auto_describe=False), Scrapes(), FakeClock()
    registry.register(scrapes)
    exposition = Exposition(registry, clock)
    for number in range(1, 3 * MOST_A_SECOND):
        shown = min(number, MOST_A_SECOND)
        assert f"scrapes {shown}.0".encode() in exposition.text()[0]
        assert scrapes.count == shown
    clock.pass_time(1.0)
    assert f"scrapes {MOST_A_SECOND + 1}.0".encode() in exposition.text()[0]


def test_scrapes_that_come_now_and_then_are_each_fresh() -> None:
    registry, scrapes, clock = CollectorRegistry(auto_describe=False), Scrapes(), FakeClock()
    registry.register(scrapes)
    exposition = Exposition(registry, clock)
    for number in range(1, 5 * MOST_A_SECOND):
        assert f"scrapes {number}.0".encode() in exposition.text()[0]
        clock.pass_time(1.0 / MOST_A_SECOND)


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (PROMETHEUS, MetricsFormat.OPENMETRICS),
        ("Application/OpenMetrics-Text", MetricsFormat.OPENMETRICS),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.5", MetricsFormat.OPENMETRICS),
        ("", MetricsFormat.PLAIN),
        ("*/*", MetricsFormat.PLAIN),
        ("text/plain, application/openmetrics-text;q=0.9", MetricsFormat.PLAIN),
        ("application/openmetrics-text;q=0", MetricsFormat.PLAIN),
        ("application/openmetrics-text;q=nan", MetricsFormat.PLAIN),
        ("application/openmetrics-text;q=9", MetricsFormat.PLAIN),
        ("application/openmetrics-text;q=x;q=1", MetricsFormat.PLAIN),
        (";;,=,;q=", MetricsFormat.PLAIN),
        ("," * MAX_ACCEPT + "application/openmetrics-text", MetricsFormat.PLAIN),  # the rest is not read
    ],
)
def test_a_scraper_gets_openmetrics_if_it_likes_that_as_much_as_plain_text(accept: str, form: MetricsFormat) -> None:
    assert format_for(accept) is form


def test_both_formats_share_what_may_be_made_in_a_second() -> None:
    registry, scrapes, clock = CollectorRegistry(auto_describe=False), Scrapes(), FakeClock()
    registry.register(scrapes)
    exposition = Exposition(registry, clock)
    for _ in range(MOST_A_SECOND):
        text, content_type = exposition.text(PROMETHEUS)
        assert text.endswith(b"# EOF\n")
        assert content_type.startswith("application/openmetrics-text; version=1.0.0")
        exposition.text()
    assert scrapes.count == MOST_A_SECOND
