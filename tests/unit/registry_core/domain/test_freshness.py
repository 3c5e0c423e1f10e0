"""Freshness: the class of an age, and its consequences."""

from __future__ import annotations

import pytest

from registry_core.domain.freshness import Freshness, Refresh, decide


@pytest.mark.parametrize(
    ("age_s", "freshness"),
    [(0.0, "fresh"), (29.99, "fresh"), (30.0, "stale"), (60.0, "stale"), (60.01, "expired"), (1e9, "expired")],
)
def test_the_class_of_an_age(age_s: float, freshness: str) -> None:
    assert decide(age_s, upstream_reachable=True).freshness == freshness


def test_only_an_expired_entry_is_refreshed_first_and_only_while_upstream_is_reachable() -> None:
    assert decide(10.0, upstream_reachable=True).refresh is Refresh.NONE
    assert decide(45.0, upstream_reachable=True).refresh is Refresh.BACKGROUND
    assert decide(90.0, upstream_reachable=True).refresh is Refresh.FIRST
    gone = decide(90.0, upstream_reachable=False)
    assert (gone.freshness, gone.refresh) == (Freshness.EXPIRED, Refresh.BACKGROUND)
