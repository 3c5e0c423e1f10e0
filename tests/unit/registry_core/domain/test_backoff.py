"""Back-off: waits that grow up to a limit, with the requested jitter."""

from __future__ import annotations

import pytest

from registry_core.domain.backoff import Backoff, Jitter


def test_waits_double_up_to_the_maximum() -> None:
    backoff = Backoff(0.5, 5.0)
    assert [backoff.wait_s(failures) for failures in range(7)] == [0.0, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_waits_grow_by_the_factor() -> None:
    assert [Backoff(1.0, 50.0, factor=3.0).wait_s(failures) for failures in (1, 2, 3, 4, 5)] == [1, 3, 9, 27, 50]
    assert Backoff(1.0, 50.0, factor=1.0).wait_s(1000) == 1.0


@pytest.mark.parametrize(
    ("jitter", "waits"), [(Jitter.NONE, [4, 4, 4]), (Jitter.HALF, [2, 3, 4]), (Jitter.FULL, [0, 2, 4])]
)
def test_jitter_shortens_a_wait_and_never_lengthens_it(jitter: Jitter, waits: list[float]) -> None:
    backoff = Backoff(1.0, 30.0, jitter=jitter)
    assert [backoff.wait_s(3, draw) for draw in (0.0, 0.5, 1.0)] == waits


def test_any_number_of_failures_is_accepted() -> None:
    assert Backoff(0.01, 60.0).wait_s(10**9) == 60.0
    assert Backoff(0.01, 60.0, factor=1000.0).wait_s(10**9) == 60.0


@pytest.mark.parametrize(("first_s", "most_s", "factor"), [(-1, 1, 2), (1, -1, 2), (1, 2, 0.5), (1, 2, 1e9)])
def test_numbers_without_growing_waits_are_refused(first_s: float, most_s: float, factor: float) -> None:
    with pytest.raises(ValueError, match="is not a back-off"):
        Backoff(first_s, most_s, factor)
