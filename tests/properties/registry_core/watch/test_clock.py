"""Any Date header gives a time or none, and never breaks the request that it came with."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_core.watch.clock import time_of

ZONES = st.one_of(st.sampled_from(["GMT", "-0000", "EST"]), st.integers(0, 10**16).map(lambda n: f"+{n:04}"))
NUMBERS = st.sampled_from([0, 1, 9, 12, 23, 31, 59, 99, 1994, 10**20])
DATES = st.builds("Sun, {} Nov {} {}:{}:{} {}".format, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, ZONES)


@given(DATES | st.text(max_size=40))
def test_any_text_gives_a_time_or_none(date: str) -> None:
    assert isinstance(time_of(date), float | None)
