"""Decides what the agent does next for each of its services. Pure: `now` and every random draw are arguments.

A service waits for its first good check, registers, and is then kept registered:

    WAITING ──good check, or waited long enough──▶ DUE ──registered──▶ REGISTERED
                                                   ▲ │ refused, unavailable or late: later again
                                                   │ └───────────────────────────────────▶ DUE
                       unknown to the registry, or told to re-assert ── from REGISTERED ──▶ DUE
            shown by the registry otherwise than it was told ── from REGISTERED ──▶ DUE, or REGISTERED with a
                                                                status to be told
                                                   newer owner ── from DUE or REGISTERED ─▶ FENCED
                        the newer owner is gone, or its lease may be over: it tries again ─▶ REGISTERED

A refused request is repeated when the registry says that it may succeed, and at once when something happens that may
have been its cause (`after_cause`).

`next_step` returns what to do, the `after_...` functions the state after an outcome. Times are seconds of the
agent's monotonic clock; draws are floats in [0, 1).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from agent.registration.lease_retries import lease_retry_s
from registry_core.domain.backoff import Backoff, Jitter
from registry_core.domain.records import Status

NEVER: Final = float("inf")


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """The pace of an agent. Seconds."""

    heartbeat_s: float = 30.0
    initial_wait_s: float = 60.0
    backoff_first_s: float = 1.0
    backoff_most_s: float = 60.0
    # A refused registration only succeeds after someone changes something. For a registry that does not say when to
    # come again.
    refused_retry_s: float = 60.0
    reassert_spread_s: float = 0.5
    # As long as the lease of a newer owner that is dead. An older epoch takes nothing from a live owner, and an
    # agent whose clock was set back must not stay fenced for ever.
    fenced_retry_s: float = 75.0
    # How often a host name is resolved again: a container may have a new address.
    relocate_s: float = 5.0
    # How long SRV answers name a draining instance, with weight 0: longer than the second after which HAProxy asks
    # again, and short enough for everything to be over within the 10 s after which Docker kills.
    drain_srv_s: float = 1.5
    # The view may lag behind what was confirmed: it gets between half and all of this time to catch up.
    contradicted_wait_s: float = 0.5
    # Two writers that contradict each other must not race: the waits between corrections double.
    contradicted_first_s: float = 1.0
    contradicted_most_s: float = 30.0
    # How soon the view is checked again if it could not tell.
    look_again_s: float = 1.0


class RequestOutcome(enum.StrEnum):
    """The outcome of a request to the registry."""

    DONE = "done"
    UNKNOWN = "unknown"  # the registry does not know the instance
    FENCED = "fenced"  # a newer owner has claimed the instance
    LATE = "late"  # the registry has applied a newer request of this owner
    REFUSED = "refused"  # the request is invalid, or conflicts with another service
    UNAVAILABLE = "unavailable"  # no answer, or the registry cannot serve it now
    LIMITED = "limited"  # a limit of the registry was reached: by this agent, or by others at its address


class Sight(enum.StrEnum):
    """How the view shows an instance of this agent, compared with what the registry has confirmed."""

    SAME = "same"
    STATUS = "status"  # another status
    RECORD = "record"  # another record, or none
    UNKNOWN = "unknown"  # the view does not match the registry at the moment


class Phase(enum.StrEnum):
    """Where a service stands between the start of its agent and its registration."""

    WAITING = "waiting"
    DUE = "due"
    REGISTERED = "registered"
    FENCED = "fenced"


class Contradiction(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an instance that the view shows differently from what the registry confirmed."""

    due_at: float = NEVER  # when to send it again, if it still differs then; NEVER: it does not differ
    times: int = 0  # corrections in a row
    last_at: float = -NEVER


class MemberState(msgspec.Struct, frozen=True, kw_only=True):
    """All state that the decisions for one service depend on."""

    phase: Phase
    status: Status | None = None  # by its checks; None: no result yet
    unchecked: bool = False  # there is none because the agent itself was in trouble
    held: Status | None = None  # set by an operator, overrides the checks
    told: Status | None = None  # what the registry has confirmed
    leased: bool = False  # the registry has granted it a lease, which may still run
    due_at: float = 0.0  # no request before this time
    failures: int = 0  # in a row
    busy: bool = False  # a request for it is under way
    again: bool = False  # register once more after that request
    anew: bool = False  # a refusal of that request may have had a cause that is gone
    look_at: float = NEVER  # when to check the view; NEVER: nothing has changed there
    contradiction: Contradiction = Contradiction()


class Register(msgspec.Struct, frozen=True):
    """Register the service with this status."""

    status: Status


class TellStatus(msgspec.Struct, frozen=True):
    """Tell the registry that the service's status changed."""

    status: Status


class Look(msgspec.Struct, frozen=True):
    """Check how the view shows the service."""


class Wait(msgspec.Struct, frozen=True):
    """Do nothing before `until`, unless something happens."""

    until: float


Step: TypeAlias = Register | TellStatus | Look | Wait


def started(now: float, timings: Timings, *, checked: bool) -> MemberState:
    """Return the initial state of a service; one without checks counts as passing."""
    if not checked:
        return MemberState(phase=Phase.DUE, status=Status.PASSING, due_at=now)
    return MemberState(phase=Phase.WAITING, due_at=now + timings.initial_wait_s)


def next_step(state: MemberState, now: float) -> Step:
    """Return what to do for `state` at `now`."""
    if state.busy:
        return Wait(NEVER)
    # Without a result the service is critical: it may still be starting. The agent's own trouble shows nothing of it.
    status = state.held or state.status or (Status.WARNING if state.unchecked else Status.CRITICAL)
    match state.phase:
        case Phase.WAITING:
            ready = state.status in (Status.PASSING, Status.WARNING) or now >= state.due_at
            return Register(status) if ready else Wait(state.due_at)
        case Phase.DUE | Phase.FENCED:
            return Register(status) if now >= state.due_at else Wait(state.due_at)
        case Phase.REGISTERED:
            if state.told is status:
                return Look() if now >= state.look_at else Wait(state.look_at)
            return TellStatus(status) if now >= state.due_at else Wait(state.due_at)


def begun(state: MemberState) -> MemberState:
    """Return `state` with a request under way."""
    return msgspec.structs.replace(state, busy=True)


def after_check(state: MemberState, status: Status | None) -> MemberState:
    """Return `state` after a new verdict of its checks: one that passes now has more right to a refused address."""
    is_refused = state.phase is Phase.DUE and state.failures and status is Status.PASSING
    return msgspec.structs.replace(state, status=status, due_at=-NEVER if is_refused else state.due_at)


def after_unchecked(state: MemberState) -> MemberState:
    """Return `state` after a check that the agent could not carry out."""
    return msgspec.structs.replace(state, unchecked=True)


def after_hold(state: MemberState, status: Status | None, now: float) -> MemberState:
    """Return `state` held at `status`; None releases it, and its checks decide again.

    An operator waits for it, so it is sent at once, without waiting for the backoff to end.
    """
    is_known = state.phase in (Phase.DUE, Phase.REGISTERED)
    return msgspec.structs.replace(state, held=status, due_at=min(state.due_at, now) if is_known else state.due_at)


def after_call_off(state: MemberState, now: float) -> MemberState:
    """Return `state` after its request was cancelled: the next step is decided again, and is due at once."""
    state = msgspec.structs.replace(state, busy=False, due_at=now)
    return _due(state, now) if state.again else state


def after_request(
    state: MemberState,
    step: Register | TellStatus,
    outcome: RequestOutcome,
    *,
    now: float,
    draw: float,
    timings: Timings,
    retry_after_s: float | None = None,
    unseen: bool = False,
) -> MemberState:
    """Return `state` after the request of `step` ended with `outcome`.

    `retry_after_s` is when the registry says that a refused one may succeed. `unseen`: the view does not show the
    instance that it was refused for, so the refusal may be outdated.
    """
    anew, failures = state.anew, state.failures + 1
    state = msgspec.structs.replace(state, busy=False, anew=False)
    match outcome:
        case RequestOutcome.FENCED:
            wait_s = _refused_s(timings.fenced_retry_s, retry_after_s, draw, timings)
            wait_s = min(wait_s, backoff_s(failures, draw, timings)) if unseen else wait_s
            return _fenced(state, now if anew else now + wait_s, failures)
        case RequestOutcome.DONE if state.again:
            return _due(msgspec.structs.replace(state, leased=True), now)
        case RequestOutcome.DONE:
            return msgspec.structs.replace(
                state, phase=Phase.REGISTERED, told=step.status, leased=True, failures=0, due_at=now, again=False
            )
        case RequestOutcome.UNKNOWN if isinstance(step, TellStatus):
            return _due(state, now)
        case (
            RequestOutcome.UNKNOWN
            | RequestOutcome.REFUSED
            | RequestOutcome.UNAVAILABLE
            | RequestOutcome.LATE
            | RequestOutcome.LIMITED
        ):
            # A late request says nothing about the current record: it is sent again with a newer sequence number.
            slow = outcome not in (RequestOutcome.UNAVAILABLE, RequestOutcome.LATE, RequestOutcome.LIMITED)
            soon_s = _retry_s(state, failures, draw, timings)
            if outcome is RequestOutcome.LIMITED:
                soon_s = max(soon_s, _limited_s(retry_after_s, draw, timings))
            refused_s = _refused_s(timings.refused_retry_s, retry_after_s, draw, timings)
            wait_s = min(soon_s, refused_s) if slow and unseen else refused_s if slow else soon_s
            phase = Phase.REGISTERED if isinstance(step, TellStatus) and not state.again else Phase.DUE
            due_at = now if anew else now + wait_s
            return msgspec.structs.replace(state, phase=phase, failures=failures, due_at=due_at, again=False)


def after_beat(state: MemberState, outcome: RequestOutcome, now: float, draw: float, timings: Timings) -> MemberState:
    """Return `state` after the registry answered its heartbeat."""
    if state.phase is not Phase.REGISTERED:
        return state
    if outcome is RequestOutcome.FENCED:
        return _fenced(state, now + _refused_s(timings.fenced_retry_s, None, draw, timings))
    return _asserted_anew(state, now) if outcome is RequestOutcome.UNKNOWN else state


def after_reassert(state: MemberState, now: float, draw: float, timings: Timings) -> MemberState:
    """Return `state` after the registry lost its data: registered again soon, spread over a short time."""
    if state.phase is Phase.WAITING or state.phase is Phase.FENCED:
        return state
    return _asserted_anew(state, now + draw * timings.reassert_spread_s)


def after_move(state: MemberState, now: float) -> MemberState:
    """Return `state` after its addresses changed: registered again at once, even if it was refused before."""
    if state.phase in (Phase.DUE, Phase.REGISTERED) or state.busy:
        return _asserted_anew(state, now)
    return state


def after_change(state: MemberState, now: float) -> MemberState:
    """Return `state` after its service's settings changed: registered again at once, even if it was refused before."""
    if state.phase is Phase.WAITING or state.phase is Phase.FENCED:
        return state
    return _asserted_anew(state, now)


def after_cause(state: MemberState, now: float, draw: float, timings: Timings) -> MemberState:
    """Return `state` after something happened that may have been the cause of a failure: it tries again at once.

    The tries are spread over a short time, because the same may have happened to a whole fleet.
    """
    if state.busy:
        return msgspec.structs.replace(state, anew=True)
    if state.phase is Phase.WAITING or not state.failures:
        return state
    return msgspec.structs.replace(state, due_at=min(state.due_at, now + draw * timings.reassert_spread_s))


def after_news(state: MemberState, now: float) -> MemberState:
    """Return `state` after the view changed for its service: the view is to be checked."""
    return msgspec.structs.replace(state, look_at=min(now, state.look_at))


def after_look(state: MemberState, sight: Sight, *, now: float, draw: float, timings: Timings) -> MemberState:
    """Return `state`, which is registered, after a check of the view.

    A difference that lasts is corrected, by a new registration or a status change: at most once a second, and
    less and less often while it is contradicted again.
    """
    known = state.contradiction
    match sight:
        case Sight.SAME:
            known = msgspec.structs.replace(known, due_at=NEVER)
            return msgspec.structs.replace(state, look_at=NEVER, contradiction=known)
        case Sight.UNKNOWN:
            # All of an agent's services look again at the same moments: each wakes the loop that goes through them.
            return msgspec.structs.replace(state, look_at=(now // timings.look_again_s + 1) * timings.look_again_s)
        case Sight.STATUS | Sight.RECORD if now < known.due_at != NEVER:
            return msgspec.structs.replace(state, look_at=known.due_at)
        case Sight.STATUS | Sight.RECORD if known.due_at == NEVER:
            is_over = now - known.last_at > 2 * timings.contradicted_most_s
            times = 0 if is_over else known.times
            gap_s = Backoff(timings.contradicted_first_s, timings.contradicted_most_s).wait_s(times)
            due_at = max(now + timings.contradicted_wait_s * (0.5 + draw / 2), known.last_at + gap_s)
            known = Contradiction(due_at=due_at, times=times, last_at=known.last_at)
            return msgspec.structs.replace(state, look_at=due_at, contradiction=known)
        case Sight.STATUS | Sight.RECORD:
            known = Contradiction(times=known.times + 1, last_at=now)
            state = msgspec.structs.replace(state, look_at=NEVER, contradiction=known)
            if sight is Sight.RECORD:
                return _due(state, now)
            return msgspec.structs.replace(state, told=None, due_at=now)


def _fenced(state: MemberState, due_at: float, failures: int = 1) -> MemberState:
    return msgspec.structs.replace(
        state, phase=Phase.FENCED, told=None, leased=False, failures=failures, due_at=due_at, again=False
    )


def _refused_s(most_s: float, retry_after_s: float | None, draw: float, timings: Timings) -> float:
    """Return the seconds to wait after a refusal; spread, because a fleet that starts together is refused together."""
    if retry_after_s is None:
        return most_s * (0.5 + draw / 2)
    within_s = min(max(retry_after_s, timings.backoff_first_s), max(most_s, timings.fenced_retry_s))
    return within_s + draw * timings.reassert_spread_s


def _limited_s(retry_after_s: float | None, draw: float, timings: Timings) -> float:
    """Return the seconds to wait at a limit; spread, because others at the same address were told the same."""
    least_s = min(max(retry_after_s or 0.0, timings.backoff_first_s), timings.heartbeat_s / 2)
    return least_s * (1 + draw)


def _asserted_anew(state: MemberState, at: float) -> MemberState:
    # A request under way may have been answered before the registry changed.
    return msgspec.structs.replace(state, again=True) if state.busy else _due(state, at)


def _due(state: MemberState, at: float) -> MemberState:
    return msgspec.structs.replace(state, phase=Phase.DUE, told=None, failures=0, due_at=at, again=False)


def _retry_s(state: MemberState, failures: int, draw: float, timings: Timings) -> float:
    """Return the seconds until an unanswered request is sent again: soon enough to keep a lease, which it renews."""
    wait_s = backoff_s(failures, draw, timings)
    return lease_retry_s(wait_s, failures, timings.heartbeat_s) if state.leased else wait_s


def backoff_s(failures: int, draw: float, timings: Timings) -> float:
    """Return the seconds to wait after that many failures in a row (1 or more).

    It doubles from `backoff_first_s` to `backoff_most_s`, with full jitter above the first half second, so that
    agents that failed together do not return together.
    """
    backoff = Backoff(timings.backoff_first_s, timings.backoff_most_s, jitter=Jitter.FULL)
    return max(timings.backoff_first_s / 2, backoff.wait_s(failures, draw))


def batches(items: Sequence[bytes], *, most_items: int, most_bytes: int) -> list[list[bytes]]:
    """Return `items` in order, split into batches within both limits (a single item may exceed the bytes)."""
    cut: list[list[bytes]] = []
    size = 0
    for item in items:
        if not cut or len(cut[-1]) >= most_items or size + len(item) + 1 > most_bytes:
            cut.append([])
            size = 0
        cut[-1].append(item)
        size += len(item) + 1  # the comma
    return cut
