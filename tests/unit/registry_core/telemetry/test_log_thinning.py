"""Which failures get a log line: the first of each cause, then a few, and the end."""

from __future__ import annotations

from registry_core.telemetry.log_thinning import MAX_CAUSES, TOLD_EVERY_S, OutageEnd, Thinning


def test_a_first_failure_is_logged_at_once() -> None:
    assert Thinning().failed("no master", 100.0) == 1


def test_a_lasting_failure_is_logged_now_and_then_with_its_count() -> None:
    thinning = Thinning()
    told = {second: count for second in range(61) if (count := thinning.failed("no master", second)) is not None}
    assert told == {0: 1, 30: 30, 60: 30}


def test_another_cause_is_logged_at_once() -> None:
    thinning = Thinning()
    assert [thinning.failed(cause, 100.0) for cause in ("no master", "no route", "no master", "no route")] == [
        1,
        1,
        None,
        None,
    ]


def test_the_end_is_logged_once() -> None:
    thinning = Thinning()
    assert thinning.succeeded(99.0) is None, "nothing was wrong"
    for second in range(5):
        thinning.failed("no master", 100.0 + second)
    assert thinning.succeeded(105.0) == OutageEnd(failures=5, lasted_s=5.0)
    assert thinning.succeeded(106.0) is None


def test_an_intermittent_failure_is_logged_no_more_often_than_a_lasting_one() -> None:
    thinning = Thinning()
    lines = 0
    for second in range(0, 120, 2):
        lines += thinning.failed("no master", second) is not None
        lines += thinning.succeeded(second + 1) is not None
    assert lines <= 2 * 120 / TOLD_EVERY_S


def test_ever_new_causes_fill_neither_the_log_nor_the_memory() -> None:
    thinning = Thinning()
    lines = sum(thinning.failed(f"no answer after {number} ms", number / 10) is not None for number in range(3000))
    assert lines <= (MAX_CAUSES + 1) * (1 + 300 / TOLD_EVERY_S)
    assert len(thinning._told_at) <= MAX_CAUSES + 1
    assert len(thinning._untold) <= MAX_CAUSES + 1


def test_a_burst_of_lines_may_pass_before_the_rest_is_left_out() -> None:
    thinning = Thinning(burst=3)
    told = {second: count for second in range(61) if (count := thinning.failed("no master", second)) is not None}
    assert told == {0: 1, 1: 1, 2: 1, 30: 28, 31: 1, 32: 1, 60: 28}


def test_as_many_causes_as_wanted_have_lines_of_their_own() -> None:
    thinning = Thinning(causes=100)
    assert sum(thinning.failed(f"cause {number}", 0.0) is not None for number in range(1000)) == 101
    assert sum(thinning.failed(f"cause {number}", 30.0) is not None for number in range(1000, 1100)) == 100
