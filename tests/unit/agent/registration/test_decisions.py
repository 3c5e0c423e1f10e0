"""What an agent does next: every phase, every outcome, and the waits between them."""

from __future__ import annotations

import msgspec
import pytest

from agent.registration.decisions import (
    NEVER,
    Look,
    MemberState,
    Phase,
    Register,
    RequestOutcome,
    Sight,
    TellStatus,
    Timings,
    Wait,
    after_beat,
    after_call_off,
    after_cause,
    after_change,
    after_check,
    after_hold,
    after_look,
    after_move,
    after_news,
    after_reassert,
    after_request,
    after_unchecked,
    batches,
    begun,
    next_step,
    started,
)
from registry_core.domain.records import Status

T = Timings()
PASSING, CRITICAL = Status.PASSING, Status.CRITICAL
REGISTER = Register(PASSING)


def after(
    member: MemberState, step: Register | TellStatus, outcome: RequestOutcome, now: float = 0.0, draw: float = 0.5
) -> MemberState:
    return after_request(begun(member), step, outcome, now=now, draw=draw, timings=T)


def registered() -> MemberState:
    return after(started(0.0, T, checked=False), REGISTER, RequestOutcome.DONE)


def test_an_unchecked_service_registers_at_once_as_passing() -> None:
    assert next_step(started(5.0, T, checked=False), 5.0) == Register(PASSING)


def test_a_checked_service_waits_for_its_first_good_check() -> None:
    member = started(0.0, T, checked=True)
    assert next_step(member, 1.0) == Wait(60.0)
    assert next_step(after_check(member, CRITICAL), 1.0) == Wait(60.0)
    assert next_step(after_check(member, PASSING), 1.0) == Register(PASSING)
    assert next_step(after_check(member, Status.WARNING), 1.0) == Register(Status.WARNING)


@pytest.mark.parametrize("status", [None, CRITICAL])
def test_a_service_that_stays_unhealthy_registers_as_critical_in_time(status: Status | None) -> None:
    member = after_check(started(0.0, T, checked=True), status)
    assert next_step(member, 60.0) == Register(CRITICAL)


def test_a_service_that_the_agent_could_not_check_registers_with_a_warning_until_something_is_known() -> None:
    state = after_unchecked(started(0.0, T, checked=True))
    assert next_step(state, 0.0) == Wait(T.initial_wait_s)
    assert next_step(state, T.initial_wait_s) == Register(Status.WARNING)
    for status in (PASSING, CRITICAL):
        assert next_step(after_check(state, status), T.initial_wait_s) == Register(status)
        assert next_step(after_unchecked(after_check(state, status)), T.initial_wait_s) == Register(status)


def test_nothing_else_is_done_during_a_request() -> None:
    assert next_step(begun(started(0.0, T, checked=False)), 0.0) == Wait(NEVER)


def test_a_status_change_of_a_registered_service_is_sent_at_once() -> None:
    member = registered()
    assert next_step(member, 9.0) == Wait(NEVER)
    member = after_check(member, CRITICAL)
    assert next_step(member, 9.0) == TellStatus(CRITICAL)
    member = after(member, TellStatus(CRITICAL), RequestOutcome.DONE, now=9.0)
    assert next_step(member, 9.0) == Wait(NEVER)


def test_all_services_look_again_at_the_same_moments() -> None:
    looked = [after_look(registered(), Sight.UNKNOWN, now=20.0 + n / 10, draw=0.5, timings=T) for n in range(10)]
    assert {state.look_at for state in looked} == {21.0}


def test_a_hold_is_sent_at_once_even_during_a_back_off() -> None:
    member = after_check(registered(), CRITICAL)
    for _ in range(10):
        member = after(member, TellStatus(CRITICAL), RequestOutcome.UNAVAILABLE, now=9.0)
    assert member.due_at > 11.0
    assert next_step(after_hold(member, Status.DRAINING, 10.0), 10.0) == TellStatus(Status.DRAINING)
    refused = after(started(0.0, T, checked=False), REGISTER, RequestOutcome.REFUSED, now=9.0)
    assert next_step(after_hold(refused, Status.DRAINING, 10.0), 10.0) == Register(Status.DRAINING)
    # A status that no lookup returns yet can wait.
    waiting = after_hold(started(0.0, T, checked=True), Status.DRAINING, 10.0)
    assert next_step(waiting, 10.0) == Wait(60.0)


def test_a_cancelled_request_is_decided_again() -> None:
    member = after_hold(begun(after_reassert(registered(), 9.0, 0.0, T)), Status.DRAINING, 9.0)
    assert next_step(after_call_off(member, 10.0), 10.0) == Register(Status.DRAINING)
    member = after_hold(begun(after_check(registered(), CRITICAL)), Status.DRAINING, 9.0)
    assert next_step(after_call_off(member, 10.0), 10.0) == TellStatus(Status.DRAINING)


def test_a_pending_registration_survives_a_cancelled_request() -> None:
    member = after_change(begun(after_check(registered(), CRITICAL)), 9.0)
    assert next_step(after_call_off(member, 10.0), 10.0) == Register(CRITICAL)


def test_a_status_that_changed_during_its_request_is_sent_again() -> None:
    member = begun(after_check(registered(), CRITICAL))
    member = after_check(member, PASSING)
    member = after_request(member, TellStatus(CRITICAL), RequestOutcome.DONE, now=1.0, draw=0.5, timings=T)
    assert next_step(member, 1.0) == TellStatus(PASSING)


def test_a_status_that_could_not_be_sent_is_sent_later() -> None:
    member = after(after_check(registered(), CRITICAL), TellStatus(CRITICAL), RequestOutcome.UNAVAILABLE, now=10.0)
    assert next_step(member, 10.0) == Wait(10.5)
    assert next_step(member, 10.5) == TellStatus(CRITICAL)


def test_an_instance_that_the_registry_does_not_know_registers_again() -> None:
    told = after(after_check(registered(), CRITICAL), TellStatus(CRITICAL), RequestOutcome.UNKNOWN, now=10.0)
    assert next_step(told, 10.0) == Register(CRITICAL)
    beaten = after_beat(registered(), RequestOutcome.UNKNOWN, 10.0, 0.5, T)
    assert next_step(beaten, 10.0) == Register(PASSING)


def test_heartbeats_change_nothing_else() -> None:
    for outcome in (RequestOutcome.DONE, RequestOutcome.UNAVAILABLE, RequestOutcome.REFUSED):
        assert after_beat(registered(), outcome, 10.0, 0.5, T) == registered()
    waiting = started(0.0, T, checked=True)
    assert after_beat(waiting, RequestOutcome.UNKNOWN, 10.0, 0.5, T) == waiting


def test_an_unavailable_registry_is_retried_for_ever_with_growing_waits() -> None:
    member = started(0.0, T, checked=False)
    waits = []
    for _ in range(40):
        member = after(member, REGISTER, RequestOutcome.UNAVAILABLE, now=100.0, draw=1.0)
        waits.append(member.due_at - 100.0)
    assert waits[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert set(waits[7:]) == {60.0}
    assert after(member, REGISTER, RequestOutcome.DONE).failures == 0


@pytest.mark.parametrize("told_s", [1.0, 6.0, None])
def test_an_agent_at_a_limit_waits_as_it_is_told_and_not_with_all_the_others(told_s: float | None) -> None:
    for leased in (True, False):
        member = begun(msgspec.structs.replace(started(0.0, T, checked=False), leased=leased))
        dues = []
        for draw in (0.0, 0.5, 0.999):
            limited = after_request(
                member, REGISTER, RequestOutcome.LIMITED, now=100.0, draw=draw, timings=T, retry_after_s=told_s
            )
            assert limited.phase is Phase.DUE
            dues.append(limited.due_at - 100.0)
        least = told_s or T.backoff_first_s
        assert min(dues) >= least
        assert max(dues) <= 2 * least
        assert len(set(dues)) == 3


def test_a_limit_does_not_cost_a_lease() -> None:
    member = after_request(
        begun(registered()), REGISTER, RequestOutcome.LIMITED, now=0.0, draw=0.999, timings=T, retry_after_s=3600.0
    )
    assert member.due_at <= T.heartbeat_s


def test_a_late_write_is_sent_again_soon_and_fences_no_owner() -> None:
    unregistered = after(started(0.0, T, checked=False), REGISTER, RequestOutcome.LATE, now=5.0)
    assert unregistered.phase is Phase.DUE
    assert next_step(unregistered, 5.0) == Wait(5.5)
    assert next_step(unregistered, 5.5) == REGISTER
    told = after(after_check(registered(), CRITICAL), TellStatus(CRITICAL), RequestOutcome.LATE, now=10.0)
    assert told.phase is Phase.REGISTERED
    assert next_step(told, 10.0) == Wait(10.5)
    assert next_step(told, 10.5) == TellStatus(CRITICAL)


@pytest.mark.parametrize("outcome", [RequestOutcome.REFUSED, RequestOutcome.UNKNOWN])
def test_a_refused_registration_is_retried_slowly(outcome: RequestOutcome) -> None:
    member = after(started(0.0, T, checked=False), REGISTER, outcome, now=0.0, draw=0.0)
    assert next_step(member, 29.0) == Wait(30.0)
    assert next_step(member, 30.0) == Register(PASSING)


def test_a_fenced_agent_retries_when_the_newer_owners_lease_may_have_expired() -> None:
    for member in (
        after(registered(), REGISTER, RequestOutcome.FENCED, draw=0.0),
        after_beat(registered(), RequestOutcome.FENCED, 0.0, 0.0, T),
    ):
        assert member.phase is Phase.FENCED
        assert after_reassert(member, 1.0, 0.5, T) == member
        assert after_move(member, 1.0) == member
        assert next_step(after_check(member, CRITICAL), 37.0) == Wait(37.5)
        assert next_step(after_check(member, CRITICAL), 37.5) == Register(CRITICAL)
        again = after(member, REGISTER, RequestOutcome.FENCED, now=37.5, draw=0.999)
        assert again.phase is Phase.FENCED
        assert 110 < again.due_at <= 37.5 + 75
        assert after(member, REGISTER, RequestOutcome.DONE, now=37.5).phase is Phase.REGISTERED


@pytest.mark.parametrize(("asked_s", "waited_s"), [(12.0, 12.0), (0.0, 1.0), (70.0, 70.0), (86_400.0, 75.0)])
@pytest.mark.parametrize("outcome", [RequestOutcome.REFUSED, RequestOutcome.FENCED])
def test_a_refused_agent_comes_again_when_the_registry_says_within_bounds(
    outcome: RequestOutcome, asked_s: float, waited_s: float
) -> None:
    for draw in (0.0, 0.999):
        member = after_request(
            begun(started(0.0, T, checked=False)),
            REGISTER,
            outcome,
            now=100.0,
            draw=draw,
            timings=T,
            retry_after_s=asked_s,
        )
        assert member.due_at == pytest.approx(100.0 + waited_s + draw * T.reassert_spread_s)


@pytest.mark.parametrize("outcome", [RequestOutcome.REFUSED, RequestOutcome.FENCED])
def test_a_refusal_that_the_view_does_not_confirm_is_checked_again_soon_and_then_less_often(
    outcome: RequestOutcome,
) -> None:
    member, waits = started(0.0, T, checked=False), []
    for _ in range(8):
        member = after_request(
            begun(member), REGISTER, outcome, now=0.0, draw=0.999, timings=T, retry_after_s=60.0, unseen=True
        )
        waits.append(member.due_at)
    assert waits[0] < 2.0
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(60.0, abs=1.0)


@pytest.mark.parametrize(
    "outcome", [RequestOutcome.REFUSED, RequestOutcome.FENCED, RequestOutcome.UNKNOWN, RequestOutcome.UNAVAILABLE]
)
def test_a_failed_request_is_repeated_when_its_cause_may_be_gone(outcome: RequestOutcome) -> None:
    member = after(started(0.0, T, checked=False), REGISTER, outcome)
    for _ in range(5):
        member = after(member, REGISTER, outcome)
    again = after_cause(member, 10.0, 0.5, T)
    assert next_step(again, 10.0 + 0.5 * T.reassert_spread_s) == REGISTER
    assert after_cause(again, 11.0, 0.5, T) == again, "it is due already"
    during = after_cause(begun(member), 10.0, 0.5, T)
    assert next_step(during, 10.0) == Wait(NEVER)
    refused = after_request(during, REGISTER, outcome, now=11.0, draw=0.5, timings=T)
    assert next_step(refused, 11.0) == REGISTER
    refused = after_request(begun(refused), REGISTER, outcome, now=12.0, draw=0.5, timings=T)
    assert next_step(refused, 12.0) != REGISTER, "once"
    untold = after(registered(), TellStatus(CRITICAL), RequestOutcome.REFUSED)
    assert next_step(after_cause(after_check(untold, CRITICAL), 10.0, 0.0, T), 10.0) == TellStatus(CRITICAL)


def test_a_cause_that_is_gone_changes_nothing_where_nothing_failed() -> None:
    for member in (registered(), started(0.0, T, checked=True), started(0.0, T, checked=False)):
        assert after_cause(member, 10.0, 0.5, T) == member
    done = after_request(
        after_cause(begun(registered()), 1.0, 0.5, T), REGISTER, RequestOutcome.DONE, now=2.0, draw=0.5, timings=T
    )
    assert next_step(done, 2.0) == Wait(NEVER)


def test_a_refused_service_that_passes_now_registers_again_at_once() -> None:
    member = after(after_check(started(0.0, T, checked=True), CRITICAL), Register(CRITICAL), RequestOutcome.REFUSED)
    assert next_step(after_check(member, Status.WARNING), 1.0) == Wait(member.due_at)
    assert next_step(after_check(member, PASSING), 1.0) == Register(PASSING)


def test_an_instance_that_moved_registers_again_at_once() -> None:
    assert next_step(after_move(registered(), 9.0), 9.0) == Register(PASSING)
    waiting = started(0.0, T, checked=True)
    assert after_move(waiting, 9.0) == waiting
    busy = after_move(begun(registered()), 9.0)
    assert next_step(after_request(busy, REGISTER, RequestOutcome.DONE, now=9.5, draw=0.5, timings=T), 9.5) == REGISTER


def test_a_registry_that_lost_its_records_gets_everything_again_within_half_a_second() -> None:
    member = after_reassert(registered(), 100.0, 0.999, T)
    assert 100.0 < member.due_at <= 100.5
    assert next_step(member, 100.5) == Register(PASSING)
    waiting = started(0.0, T, checked=True)
    assert after_reassert(waiting, 1.0, 0.5, T) == waiting


@pytest.mark.parametrize("outcome", [RequestOutcome.DONE, RequestOutcome.UNAVAILABLE])
def test_a_request_sent_before_the_loss_does_not_count(outcome: RequestOutcome) -> None:
    member = after_reassert(begun(registered()), 100.0, 0.5, T)
    member = after_request(member, TellStatus(PASSING), outcome, now=101.0, draw=0.5, timings=T)
    assert member.phase is Phase.DUE
    assert next_step(member, 102.0) == Register(PASSING)


def test_batches_keep_the_order_and_both_bounds() -> None:
    cut = batches([b"aa", b"bb", b"cc", b"dddddddd"], most_items=2, most_bytes=6)
    assert cut == [[b"aa", b"bb"], [b"cc"], [b"dddddddd"]]
    assert batches([], most_items=2, most_bytes=6) == []


def test_decisions_are_values() -> None:
    with pytest.raises(AttributeError):
        registered().phase = Phase.DUE  # type: ignore[misc]
    assert msgspec.structs.replace(registered(), failures=1) != registered()


def look(member: MemberState, sight: Sight, now: float, draw: float = 0.999) -> MemberState:
    """Check the view, since it changed."""
    assert next_step(member, now) == Look()
    return after_look(member, sight, now=now, draw=draw, timings=T)


def contradicted(member: MemberState, sight: Sight, now: float) -> tuple[MemberState, float]:
    """Return a member whose record in the view differs from `now` on, after it was sent again, and that time."""
    member = look(after_news(member, now), sight, now)
    step = next_step(member, now)
    assert isinstance(step, Wait)
    return look(member, sight, step.until), step.until


def test_the_view_is_checked_only_after_it_changed() -> None:
    assert next_step(registered(), 9.0) == Wait(NEVER)
    assert next_step(after_news(registered(), 9.0), 9.0) == Look()
    assert next_step(look(after_news(registered(), 9.0), Sight.SAME, 9.0), 9.0) == Wait(NEVER)


def test_a_status_that_differs_for_a_while_is_sent_again() -> None:
    member, at = contradicted(registered(), Sight.STATUS, 9.0)
    assert 9.25 <= at <= 9.5
    assert next_step(member, at) == TellStatus(PASSING)
    assert member.phase is Phase.REGISTERED, "its heartbeats go on"


def test_an_instance_that_differs_for_a_while_registers_again() -> None:
    member, at = contradicted(registered(), Sight.RECORD, 9.0)
    assert next_step(member, at) == REGISTER


def test_a_difference_that_vanishes_was_only_propagation() -> None:
    member = look(after_news(registered(), 9.0), Sight.STATUS, 9.0)
    member = look(after_news(member, 9.1), Sight.SAME, 9.1)
    assert next_step(member, 9.1) == Wait(NEVER)
    assert member.contradiction.times == 0


def test_more_events_neither_hasten_nor_delay_the_answer_to_a_contradiction() -> None:
    member = look(after_news(registered(), 9.0), Sight.STATUS, 9.0)
    due = next_step(member, 9.0)
    for at in (9.1, 9.2):
        member = look(after_news(member, at), Sight.RECORD, at)
        assert next_step(member, at) == due


def test_an_undecided_view_is_checked_again_and_nothing_is_sent_meanwhile() -> None:
    member = look(after_news(registered(), 9.0), Sight.UNKNOWN, 9.0)
    assert next_step(member, 9.0) == Wait(10.0)
    assert next_step(look(member, Sight.UNKNOWN, 10.0), 10.0) == Wait(11.0)


def test_the_view_is_not_checked_during_a_request_but_after_it() -> None:
    member = after_news(begun(after_check(registered(), CRITICAL)), 9.0)
    assert next_step(member, 9.0) == Wait(NEVER)
    member = after_request(member, TellStatus(CRITICAL), RequestOutcome.DONE, now=9.5, draw=0.5, timings=T)
    assert next_step(member, 9.5) == Look()


@pytest.mark.parametrize("outcome", [RequestOutcome.REFUSED, RequestOutcome.FENCED])
def test_an_unregistered_instance_does_not_check_the_view(outcome: RequestOutcome) -> None:
    member = after_news(after(registered(), REGISTER, outcome), 1.0)
    step = next_step(member, 1.0)
    assert isinstance(step, Wait)
    assert step.until == member.due_at


@pytest.mark.parametrize("sight", [Sight.STATUS, Sight.RECORD])
def test_repeated_contradictions_are_answered_with_growing_waits(sight: Sight) -> None:
    member, now, waits = registered(), 9.0, []
    for _ in range(9):
        member, at = contradicted(member, sight, now)
        waits.append(at - now)
        step = next_step(member, at)
        assert not isinstance(step, Look | Wait)
        now = at
        member = after(member, step, RequestOutcome.DONE, now=now)
    assert waits[1:] == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0])
    _, at = contradicted(member, sight, now + 61.0)
    assert at <= now + 61.5, "after a quiet minute it counts from zero"


@pytest.mark.parametrize("outcome", [RequestOutcome.UNAVAILABLE, RequestOutcome.LATE])
@pytest.mark.parametrize("step", [REGISTER, TellStatus(CRITICAL)])
def test_an_instance_with_a_lease_is_retried_soon_enough_to_keep_it(
    outcome: RequestOutcome, step: Register | TellStatus
) -> None:
    """No heartbeats are sent for an instance that is to be registered again, however long the registry is away."""
    member, now = registered(), 0.0
    if isinstance(step, Register):
        member = after_reassert(member, now, 0.5, T)
    for _ in range(20):
        member = after(member, step, outcome, now=now, draw=0.999)
        assert now < member.due_at <= now + T.heartbeat_s / 3
        now = member.due_at
    assert next_step(after_check(member, step.status), now) == step


def test_an_instance_without_a_lease_is_retried_more_and_more_rarely() -> None:
    member, now = started(0.0, T, checked=False), 0.0
    for _ in range(20):
        member = after(member, REGISTER, RequestOutcome.UNAVAILABLE, now=now, draw=0.999)
    assert member.due_at > now + T.heartbeat_s
    fenced = after(registered(), REGISTER, RequestOutcome.FENCED)
    for _ in range(20):
        fenced = after(fenced, REGISTER, RequestOutcome.UNAVAILABLE, now=now, draw=0.999)
    assert fenced.due_at > now + T.heartbeat_s, "its lease is another agent's"
