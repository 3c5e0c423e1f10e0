"""The rate of hits: over the last minute, and only of enough lookups."""

from __future__ import annotations

from registry_core.telemetry.hit_rate import WINDOW_S, HitRate


def test_there_is_a_rate_from_the_fewest_lookups_on() -> None:
    rate = HitRate(100)
    assert rate.rate(0, 0) is None
    assert rate.rate(99, 0) is None
    assert rate.rate(75, 25) == 0.75


def test_what_lies_a_minute_back_does_not_count() -> None:
    rate = HitRate(100)
    rate.note(0.0, 0, 0)
    rate.note(5.0, 0, 1000)  # an outage
    assert rate.rate(100, 1000) == 100 / 1100
    for at in range(10, 61, 5):
        rate.note(float(at), 0, 1000)
    assert rate.rate(100, 1000) == 100 / 1100  # the outage began within the minute
    rate.note(5.0 + WINDOW_S, 0, 1000)
    assert rate.rate(100, 1000) == 1.0
    assert rate.rate(99, 1000) is None


def test_notes_are_bounded_whatever_their_pace() -> None:
    rate = HitRate(1)
    for number in range(10_000):
        rate.note(number / 1000, number, 0)
    assert len(rate._notes) <= 64
