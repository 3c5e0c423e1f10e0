"""The states that a record allows: tests of the judge of `make chaos`."""

from __future__ import annotations

import pytest

from tests.chaos.history import (
    InstanceHistory,
    Possible,
    RecordedWrite,
    Shown,
    WriteKind,
    Wrong,
    availability,
    breaches,
)

KEY = "billing/w0-1"


def registered(content: int, code: int = 201, said: str = "replaced") -> RecordedWrite:
    return write(WriteKind.REGISTER, content, code=code, said=said)


def drained(code: int = 200, content: int = 1) -> RecordedWrite:
    shown = (content, "draining") if code == 200 else None
    return write(WriteKind.SET_STATUS, status="draining", code=code, shown=shown)


def deregistered(code: int = 200) -> RecordedWrite:
    return write(WriteKind.DEREGISTER, code=code)


def restored(content: int, code: int = 200, said: str = "restored") -> RecordedWrite:
    return write(WriteKind.RESTORE, content, code=code, said=said)


def write(
    kind: WriteKind,
    content: int = 0,
    *,
    status: str = "passing",
    code: int,
    said: str = "",
    shown: Shown | None = None,
    at: float = 0.0,
) -> RecordedWrite:
    return RecordedWrite(
        number=0,
        key=KEY,
        kind=kind,
        content=content,
        status=status,
        sequence=None,
        replica=0,
        asked_at=at,
        told_at=at + 0.01,
        code=code,
        said=said,
        shown=shown,
    )


def possible(*writes: RecordedWrite) -> set[Possible]:
    history = InstanceHistory()
    for each in writes:
        assert history.take(each) is None
    return set(history.possible())


def wrong(*writes: RecordedWrite, found: Possible) -> Wrong | None:
    views = {"a view": {} if found is None else {KEY: found}}
    found_wrong = breaches(writes, views)
    return found_wrong[0].wrong if found_wrong else None


def test_an_acknowledged_write_determines_the_state() -> None:
    assert possible(registered(1)) == {(1, "passing")}
    assert possible(registered(1), drained()) == {(1, "draining")}
    assert possible(registered(1), deregistered()) == {None}
    assert possible(registered(1), deregistered(), restored(1)) == {(1, "passing")}


@pytest.mark.parametrize("code", [503, 500, 0])
def test_a_write_that_was_refused_or_not_answered_may_have_happened(code: int) -> None:
    assert possible(registered(1), deregistered(code)) == {(1, "passing"), None}
    assert possible(registered(1), drained(code)) == {(1, "passing"), (1, "draining")}
    assert possible(registered(1, code)) == {(1, "passing"), None}
    assert possible(registered(1), deregistered(), restored(1, code)) == {None, (1, "passing")}


def test_doubtful_writes_may_have_happened_in_any_order_until_the_next_acknowledged_one() -> None:
    in_doubt = [registered(1), drained(503), registered(2, 503)]
    assert possible(*in_doubt) == {(1, "passing"), (1, "draining"), (2, "passing"), (2, "draining")}
    assert possible(*in_doubt, registered(3)) == {(3, "passing")}


def test_a_status_answer_shows_which_doubtful_registration_took_effect() -> None:
    assert possible(registered(1), registered(2, 503), drained(content=1)) == {(1, "draining")}
    assert possible(registered(1), registered(2, 503), drained(content=2)) == {(2, "draining")}


def test_a_missing_instance_is_lost() -> None:
    assert wrong(registered(1), found=None) is Wrong.LOST
    assert wrong(registered(1), deregistered(), restored(1), found=None) is Wrong.LOST
    assert wrong(registered(1), deregistered(503), found=None) is None


def test_an_instance_that_is_shown_after_its_deregistration_came_back() -> None:
    assert wrong(registered(1), deregistered(), found=(1, "passing")) is Wrong.CAME_BACK
    assert wrong(registered(1), deregistered(), registered(2, 503), found=(1, "passing")) is Wrong.UNDONE
    assert wrong(registered(1), deregistered(), registered(2, 503), found=(2, "passing")) is None


def test_an_older_status_or_registration_must_not_come_back() -> None:
    assert wrong(registered(1), drained(), found=(1, "passing")) is Wrong.STATUS_UNDONE
    assert wrong(registered(1), registered(2), found=(1, "passing")) is Wrong.UNDONE
    assert wrong(registered(1), registered(2), found=(2, "passing")) is None


def test_an_answer_reveals_an_earlier_loss_even_after_a_rewrite() -> None:
    assert wrong(registered(1), registered(2, said="created"), found=(2, "passing")) is Wrong.LOST
    assert wrong(registered(1), drained(404), found=None) is Wrong.LOST
    assert wrong(registered(1), restored(1), found=(1, "passing")) is Wrong.LOST
    assert wrong(registered(1), registered(2), drained(content=1), found=(1, "draining")) is Wrong.UNDONE
    assert wrong(registered(1), deregistered(), drained(), found=(1, "draining")) is Wrong.CAME_BACK


def test_a_store_that_retries_may_find_its_own_work_done() -> None:
    assert wrong(registered(1), deregistered(404), found=None) is None
    assert wrong(registered(1), deregistered(), restored(1, said="present"), found=(1, "passing")) is None
    assert wrong(registered(1), found=(1, "passing")) is None


def test_the_breach_names_only_the_views_that_show_it() -> None:
    (breach,) = breaches([registered(1)], {"the old": {KEY: (1, "passing")}, "the new": {}})
    assert (breach.wrong, breach.by) == (Wrong.LOST, "the new")
    (breach,) = breaches([registered(1)], {"the old": {}, "the new": {}})
    assert breach.by == "the old and the new"
    assert "acknowledged at +0.010 s" in breach.told(0.0)


def test_unacknowledged_writes_promise_nothing() -> None:
    assert wrong(registered(1, 503), found=None) is None
    assert wrong(registered(1, 503), found=(1, "passing")) is None


def test_refusals_are_timed_from_the_last_doubt_before_them() -> None:
    writes = [write(WriteKind.REGISTER, 1, code=code, at=at) for at, code in [(1, 201), (2, 201), (5, 503), (9, 503)]]
    served = availability(writes, 3.0, doubts=[3.0, 8.0])
    assert (served.refused, served.acknowledged) == (2, 2)
    assert served.stalled_s == pytest.approx(1.0)
    assert served.refusing_s == pytest.approx(2.01)
    assert served.steady_per_s == pytest.approx(2 / (3.0 - 1.0))
