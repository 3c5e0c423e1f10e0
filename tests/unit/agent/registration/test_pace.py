"""When an agent sends its heartbeats."""

from __future__ import annotations

import math

import pytest

from agent.registration.decisions import Timings
from agent.registration.pace import SHORTEST_BEAT_S, paced


@pytest.mark.parametrize(
    ("ttl_s", "asked_s", "used_s"),
    [
        (60.0, 30.0, 10.0),  # the agent's own is shorter
        (15.0, 5.0, 5.0),
        (15.0, 15.0, 5.0),  # no interval for such a lease
        (15.0, 0.0, 5.0),
        (15.0, -1.0, 5.0),
        (15.0, math.nan, 5.0),
        (math.inf, math.inf, 10.0),
        (0.0, 0.0, 10.0),
        (1e-9, 1e-10, SHORTEST_BEAT_S),
    ],
)
def test_the_shorter_interval_is_used_and_a_senseless_one_is_not(ttl_s: float, asked_s: float, used_s: float) -> None:
    assert paced(Timings(heartbeat_s=10.0), ttl_s, asked_s).heartbeat_s == used_s
