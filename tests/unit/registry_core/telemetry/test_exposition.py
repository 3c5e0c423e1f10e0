"""The text of the metrics: fresh for a scraper, made a bounded number of times for a flood."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from registry_core.telemetry.exposition import MOST_A_SECOND, Exposition
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
