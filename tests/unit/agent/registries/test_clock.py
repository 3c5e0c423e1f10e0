"""The time at the registry, from what it says of it."""

from __future__ import annotations

import pytest

from agent.registries.clock import time_of


def test_a_date_is_read() -> None:
    assert time_of("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777.0


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Sun, 06 Nov 1994 25:00:00 GMT",
        "Sun, 06 Nov 1994 08:49:37 +99999999999999",
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
    ],
)
def test_what_is_no_date_tells_no_time(date: str) -> None:
    assert time_of(date) is None
