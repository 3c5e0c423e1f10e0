"""The latency of a Redis master: the median of its latest answers."""

from __future__ import annotations

from registry_core.store.redis.latency import ANSWERS, Latency


def test_one_slow_answer_does_not_make_a_server_slow() -> None:
    latency = Latency()
    assert latency.median_ms is None
    for took_s in (0.001, 0.9, 0.002):
        latency.heard(took_s)
    assert latency.median_ms == 2.0


def test_a_server_that_became_slow_shows_after_a_few_answers() -> None:
    latency = Latency()
    for took_s in [0.001] * 100 + [0.05] * (ANSWERS // 2 + 1):
        latency.heard(took_s)
    assert latency.median_ms == 50.0


def test_another_server_starts_with_no_samples() -> None:
    latency = Latency()
    latency.heard(0.5)
    latency.forget()
    assert latency.median_ms is None
