"""How often readers are asked to acknowledge: seldom enough for the replica, soon enough for a drain."""

from __future__ import annotations

import pytest

from registry_core.watch.limits import ACKS_PER_S, LEAST_ACK_EVERY_S, MOST_ACK_EVERY_S, ack_every_s


@pytest.mark.parametrize(
    ("readers", "every_s"),
    [(0, LEAST_ACK_EVERY_S), (300, 0.2), (301, 301 / 1500), (1000, 2 / 3), (1500, 1.0), (20_000, MOST_ACK_EVERY_S)],
)
def test_many_readers_share_what_a_replica_takes(readers: int, every_s: float) -> None:
    assert ack_every_s(readers) == pytest.approx(every_s)


@pytest.mark.parametrize("readers", [400, 1000, 1500])
def test_all_together_acknowledge_no_more_often_than_said(readers: int) -> None:
    assert readers / (1.5 * ack_every_s(readers)) == pytest.approx(ACKS_PER_S)
