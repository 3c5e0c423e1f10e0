"""The figures of a master: how many replicas hold its data, and how often another server took its place."""

from __future__ import annotations

from registry_core.store.redis.choice import Sighting
from registry_core.store.redis.master_figures import COPIED_WITHIN_S, MasterFigures


def master(offset: int, *confirmed: int) -> Sighting:
    return Sighting(is_master=True, run_id="m", offset=offset, confirmed=confirmed)


def test_a_replica_is_a_copy_while_it_has_what_the_master_had_some_seconds_ago() -> None:
    assert MasterFigures().copies is None
    figures = MasterFigures()
    figures.heard(master(100, 100, 90), 0.001, 0.0)
    assert figures.copies == 1  # the other one has not caught up since the first look
    figures.heard(master(200, 190, 150), 0.001, 1.0)
    assert figures.copies == 2  # each report is a second old
    figures.heard(master(300, 290, 150), 0.001, 2.0)
    figures.heard(master(400, 390, 150), 0.001, 2.0 + COPIED_WITHIN_S)
    assert figures.copies == 1  # the second one stands still
    figures.heard(master(400), 0.001, 10.0)
    assert figures.copies == 0


def test_copies_are_unknown_without_a_master_and_counted_anew_for_the_next_one() -> None:
    figures = MasterFigures()
    figures.placed("10.0.0.1:6379")
    figures.heard(master(900, 900), 0.001, 0.0)
    figures.lost()
    assert (figures.copies, figures.latency_ms) == (None, None)
    figures.placed("10.0.0.2:6379")
    figures.heard(master(10, 10), 0.004, 0.5)  # another history, with other offsets
    assert (figures.copies, figures.latency_ms) == (1, 4.0)


def test_only_another_server_is_a_failover() -> None:
    figures = MasterFigures()
    for address in ("10.0.0.1:6379", "10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.1:6379"):
        figures.placed(address)
    assert figures.failovers == 2


def test_what_is_remembered_of_offsets_is_bounded() -> None:
    figures = MasterFigures()
    for number in range(1000):
        figures.heard(master(number, number), 0.001, number / 1000)
    assert len(figures._offsets) <= 128
