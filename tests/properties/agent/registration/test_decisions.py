"""Whatever happens in whatever order, a service that can be registered ends up registered, and waits are bounded."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from agent.checks.verdict import SEVERITY, UNKNOWN, after_result
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
    after_check,
    after_look,
    after_move,
    after_news,
    after_reassert,
    after_request,
    backoff_s,
    batches,
    begun,
    next_step,
    started,
)
from agent.registration.pace import next_beat_after_failure, next_beat_at
from registry_core.domain.records import Status

T = Timings()
DRAWS = st.floats(0.0, 1.0, exclude_max=True)
STATUSES = st.sampled_from([Status.PASSING, Status.WARNING, Status.CRITICAL])
Happening: TypeAlias = tuple[str, RequestOutcome, Status, Sight, float, float]
# The event, its outcome and verdict, the time until it, and the draw.
HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(["step", "beat", "check", "move", "news", "reassert", "reassert while busy"]),
        st.sampled_from(RequestOutcome),
        STATUSES,
        st.sampled_from(Sight),
        st.floats(0.0, 30.0),
        DRAWS,
    ),
    max_size=40,
)


def done(
    member: MemberState, now: float, outcome: RequestOutcome, draw: float, sight: Sight = Sight.SAME
) -> MemberState:
    step = next_step(member, now)
    if isinstance(step, Look):
        member = after_look(member, sight, now=now, draw=draw, timings=T)
        step = next_step(member, now)
        assert not isinstance(step, Look), "the view has been checked"
    if isinstance(step, Wait):
        return member
    return after_request(begun(member), step, outcome, now=now, draw=draw, timings=T)


def happen(member: MemberState, now: float, happening: Happening) -> MemberState:
    kind, outcome, status, sight, _, draw = happening
    match kind:
        case "step":
            return done(member, now, outcome, draw, sight)
        case "news":
            return after_news(member, now)
        case "beat":
            return after_beat(member, outcome, now, draw, T)
        case "move":
            return after_move(member, now)
        case "check":
            return after_check(member, status)
        case "reassert":
            return after_reassert(member, now, draw, T)
        case _:
            step = next_step(member, now)
            if isinstance(step, Wait | Look):
                return after_reassert(member, now, draw, T)
            busy = after_reassert(begun(member), now, draw, T)
            return after_request(busy, step, outcome, now=now, draw=draw, timings=T)


@given(HAPPENINGS, st.booleans())
def test_from_every_state_the_service_ends_up_registered_with_its_true_status(
    happenings: list[Happening], checked: bool
) -> None:
    now = 0.0
    member = started(now, T, checked=checked)
    for happening in happenings:
        now += happening[4]
        member = happen(member, now, happening)
        assert not member.busy
        step = next_step(member, now)
        if isinstance(step, Wait) and step.until != NEVER:
            assert now < step.until <= now + 75.0, "no wait exceeds the longest one"
    # From now on the registry answers: after two requests everything is as it should be.
    for _ in range(3):
        step = next_step(member, now)
        if isinstance(step, Wait) and step.until != NEVER:
            now = step.until
        member = done(member, now, RequestOutcome.DONE, 0.5)
    assert member.phase is Phase.REGISTERED
    assert member.told is (member.status or Status.CRITICAL)
    assert next_step(member, now) == Wait(NEVER)


@given(HAPPENINGS)
def test_nothing_is_sent_about_an_unregistered_service(happenings: list[Happening]) -> None:
    now = 0.0
    member = started(now, T, checked=True)
    for happening in happenings:
        now += happening[4]
        member = happen(member, now, happening)
        step = next_step(member, now)
        if isinstance(step, TellStatus):
            assert member.phase is Phase.REGISTERED
        elif isinstance(step, Register):
            assert member.phase is not Phase.REGISTERED


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.sampled_from(Sight), DRAWS), max_size=60))
def test_whatever_the_registry_shows_an_instance_is_sent_again_at_most_once_a_second(
    looks: list[tuple[float, Sight, float]],
) -> None:
    now = 0.0
    member = done(started(now, T, checked=False), now, RequestOutcome.DONE, 0.5)
    told: list[float] = []
    for after_s, sight, draw in looks:
        now += after_s
        member = after_look(after_news(member, now), sight, now=now, draw=draw, timings=T)
        step = next_step(member, now)
        assert not isinstance(step, Look)
        if not isinstance(step, Wait):
            told.append(now)
            member = after_request(begun(member), step, RequestOutcome.DONE, now=now, draw=draw, timings=T)
    assert all(later - earlier >= 1.0 - 1e-6 for earlier, later in pairwise(told))
    assert len(told) <= 5 + now / 15, "and soon less often"


@given(st.integers(1, 10_000), DRAWS)
def test_backoff_is_bounded_and_never_zero(failures: int, draw: float) -> None:
    assert 0.5 <= backoff_s(failures, draw, T) <= 60.0


@given(st.floats(0.0, 1e9), DRAWS, st.integers(1, 100))
def test_a_heartbeat_is_never_late(now: float, draw: float, failures: int) -> None:
    assert now < next_beat_at(now, draw, T) <= now + T.heartbeat_s
    assert now < next_beat_after_failure(failures, now, draw, T) <= now + T.heartbeat_s / 3


@given(st.lists(st.binary(max_size=9), max_size=30), st.integers(1, 5), st.integers(1, 40))
def test_batches_lose_nothing(items: list[bytes], most_items: int, most_bytes: int) -> None:
    cut = batches(items, most_items=most_items, most_bytes=most_bytes)
    assert [item for batch in cut for item in batch] == items
    for batch in cut:
        assert 0 < len(batch) <= most_items
        assert len(batch) == 1 or len(b",".join(batch)) <= most_bytes


RESULTS = st.lists(st.sampled_from(list(SEVERITY)), max_size=60)


@given(RESULTS, st.integers(1, 5), st.integers(1, 5))
def test_a_verdict_changes_only_after_a_row_of_equal_results(results: list[Status], rise: int, fall: int) -> None:
    verdict = UNKNOWN
    for number, result in enumerate(results, 1):
        before = verdict.status
        verdict = after_result(verdict, result, rise=rise, fall=fall)
        if verdict.status is before or verdict.status is None:
            continue
        if before is None:
            assert verdict.status is result
            assert result is not Status.CRITICAL or results[number - fall : number] == [result] * fall
            continue
        worse = SEVERITY[verdict.status] > SEVERITY[before]
        row = [SEVERITY[one] for one in results[number - (fall if worse else rise) : number]]
        assert SEVERITY[verdict.status] == (min(row) if worse else max(row)), "as far as the whole row agrees"


@given(RESULTS, st.integers(1, 5), st.integers(1, 5), st.sampled_from(list(SEVERITY)))
def test_constant_results_become_the_verdict(results: list[Status], rise: int, fall: int, result: Status) -> None:
    verdict = UNKNOWN
    # Twice: where a row starts with something milder, the verdict stops there first.
    for one in [*results, *[result] * (2 * max(rise, fall))]:
        verdict = after_result(verdict, one, rise=rise, fall=fall)
    assert verdict.status is result
    assert verdict.against == 0
