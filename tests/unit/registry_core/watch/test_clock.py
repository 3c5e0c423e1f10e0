"""The registry's time, from the dates that it sends."""

from __future__ import annotations

import pytest

from registry_core.watch.clock import time_of


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
def test_an_invalid_date_gives_no_time(date: str) -> None:
    assert time_of(date) is None
