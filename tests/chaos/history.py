"""Decides which states a writer's record allows its instances to have. Pure.

Every instance has one writer, which sends one write after the other. An acknowledged write determines the state from
then on. A write that was refused with 503, or never answered, may have happened or not, at any moment until the next
acknowledged one. So an instance has a set of possible states, and a registry must show one of them.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

# The shown state of an instance: the number in its metadata, unique per registration, and its status.
Shown: TypeAlias = tuple[int, str]
# None: it is not registered.
Possible: TypeAlias = Shown | None


class WriteKind(enum.StrEnum):
    """The kind of a write."""

    REGISTER = "registration"
    SET_STATUS = "status"
    DEREGISTER = "deregistration"
    RESTORE = "restoration"


class RecordedWrite(msgspec.Struct, array_like=True, kw_only=True):
    """One write, and its answer. Times are the machine's monotonic clock, which processes share."""

    number: int  # rises with every write of one writer
    key: str  # service/instance
    kind: WriteKind
    content: int  # the number in the metadata; meaningless for a status or a deregistration
    status: str
    sequence: int | None
    replica: int  # the registry replica that was asked
    asked_at: float = 0.0
    told_at: float = 0.0
    code: int = 0  # the HTTP status; 0 without an answer
    said: str = ""  # an error's name, "created", or the outcome of a restoration
    shown: Shown | None = None  # what the answer to a status write shows

    @property
    def acknowledged(self) -> bool:
        """Whether the answer determines the state. A 404 does, too."""
        return self.code in _ACKNOWLEDGED[self.kind]

    @property
    def took_s(self) -> float:
        return self.told_at - self.asked_at


_ACKNOWLEDGED: Final = {
    WriteKind.REGISTER: frozenset({201}),
    WriteKind.SET_STATUS: frozenset({200, 404}),
    WriteKind.DEREGISTER: frozenset({200, 404}),
    WriteKind.RESTORE: frozenset({200}),
}


class Wrong(enum.StrEnum):
    """How the shown state differs from the acknowledged one."""

    LOST = "lost"
    CAME_BACK = "came back"
    STATUS_UNDONE = "status undone"
    UNDONE = "registration undone"


class Breach(msgspec.Struct, frozen=True):
    """One instance whose state contradicts what its writer was told."""

    wrong: Wrong
    key: str
    found: Possible
    allowed: tuple[Possible, ...]
    last: RecordedWrite  # the last acknowledged write before that was found
    by: str  # who shows it

    def told(self, since: float) -> str:
        """Return a line for people, with times relative to `since`."""
        last = self.last
        order = "plain" if last.sequence is None else f"sequence {last.sequence}"
        allowed = " or ".join(_said(state) for state in self.allowed)
        return (
            f"{self.wrong}: {self.key} is {_said(self.found)} at {self.by}, but may only be {allowed}: {last.kind} "
            f"({order}) sent to replica {last.replica} at {last.asked_at - since:+.3f} s, "
            f"acknowledged at {last.told_at - since:+.3f} s"
        )


class InstanceHistory:
    """The possible states of one instance, after each write of its record."""

    def __init__(self) -> None:
        self._states: frozenset[Possible] = frozenset({None})
        self._doubtful: list[RecordedWrite] = []  # since the last acknowledged one
        self.last: RecordedWrite | None = None  # acknowledged

    def possible(self) -> frozenset[Possible]:
        """Return every state that the writes so far may have led to, with the doubtful ones in any order."""
        states = self._states
        while True:
            more = states.union(_after(state, write) for state in states for write in self._doubtful)
            if more == states:
                return states
            states = more

    def take(self, write: RecordedWrite) -> Breach | None:
        """Add the next write; return a breach if its answer contradicts the possible states before it."""
        if not write.acknowledged:
            self._doubtful.append(write)
            return None
        before, found = self.possible(), _seen_before(write)
        breach = None
        if not any(_is_seen(found, state) for state in before):
            state = None if found is _ABSENT else write.shown
            after = frozenset(_after(each, write) for each in before)
            breach = self._breach(state, before if state is None else after, f"the answer to a {write.kind}")
        self._states, self._doubtful, self.last = _decided(before, write), [], write
        return breach

    def judge(self, found: Possible, by: str) -> Breach | None:
        """Return a breach if the state that `by` shows in the end is not possible."""
        possible = self.possible()
        return None if found in possible else self._breach(found, possible, by)

    def _breach(self, found: Possible, allowed: frozenset[Possible], by: str) -> Breach | None:
        if self.last is None:  # nothing was promised
            return None
        in_order = tuple(sorted(allowed, key=str))
        return Breach(_wrong(found, allowed), self.last.key, found, in_order, self.last, by)


class _Seen(enum.Enum):
    """What an answer tells about the moment before its write."""

    NOTHING = enum.auto()
    ABSENT = enum.auto()


_ABSENT: Final = _Seen.ABSENT


def _seen_before(write: RecordedWrite) -> _Seen | Shown:
    """Return the state of the instance before the write, as far as the answer tells.

    A store that retries after a lost answer may find its own work done. So the answers "not created", "present" and
    "not there to deregister" prove nothing.
    """
    match write.kind:
        case WriteKind.SET_STATUS if write.code == 404:
            return _Seen.ABSENT
        case WriteKind.SET_STATUS if write.shown is not None:
            return write.shown
        case WriteKind.REGISTER if write.said == "created":
            return _Seen.ABSENT
        case WriteKind.RESTORE if write.said == "restored":
            return _Seen.ABSENT
        case _:
            return _Seen.NOTHING


def _is_seen(seen: _Seen | Shown, state: Possible) -> bool:
    match seen:
        case _Seen.NOTHING:
            return True
        case _Seen.ABSENT:
            return state is None
        case (content, _):
            return state is not None and state[0] == content


def _after(state: Possible, write: RecordedWrite) -> Possible:
    """Return the state after a write."""
    match write.kind:
        case WriteKind.REGISTER:
            return (write.content, write.status)
        case WriteKind.SET_STATUS:
            return None if state is None else (state[0], write.status)
        case WriteKind.DEREGISTER:
            return None
        case WriteKind.RESTORE:
            return (write.content, write.status) if state is None else state


def _decided(before: frozenset[Possible], write: RecordedWrite) -> frozenset[Possible]:
    """Return the possible states after an acknowledged write."""
    match write.kind:
        case WriteKind.SET_STATUS:
            return frozenset({write.shown})
        case WriteKind.RESTORE if write.said != "restored":
            there = frozenset(state for state in before if state is not None)
            return there | {(write.content, write.status)}
        case _:
            return frozenset({_after(None, write)})


def _wrong(found: Possible, allowed: frozenset[Possible]) -> Wrong:
    if found is None:
        return Wrong.LOST
    contents = {state[0] for state in allowed if state is not None}
    if not contents:
        return Wrong.CAME_BACK
    return Wrong.STATUS_UNDONE if found[0] in contents else Wrong.UNDONE


def _said(state: Possible) -> str:
    return "not registered" if state is None else f"registration {state[0]}, {state[1]}"


def breaches(writes: Iterable[RecordedWrite], views: Mapping[str, Mapping[str, Shown]]) -> list[Breach]:
    """Return every instance that a view, or an answer along the way, shows in a state that it cannot have.

    `writes` of one instance are in the order in which they were sent. There is one breach per instance at most.
    """
    histories: dict[str, InstanceHistory] = {}
    found: dict[str, Breach] = {}
    for write in writes:
        breach = histories.setdefault(write.key, InstanceHistory()).take(write)
        if breach is not None:
            found.setdefault(write.key, breach)
    for key, history in histories.items():
        wrong = [each for name, view in views.items() if (each := history.judge(view.get(key), name)) is not None]
        if wrong:
            by = " and ".join(each.by for each in wrong if each.found == wrong[0].found)
            found.setdefault(key, msgspec.structs.replace(wrong[0], by=by))
    return list(found.values())


class Availability(msgspec.Struct, frozen=True):
    """How writes were served, before the fault and after it."""

    steady_per_s: float
    p50_ms: float
    p99_ms: float
    acknowledged: int
    refused: int  # with 503
    unanswered: int
    refusing_s: float  # the longest time from the start of a doubt to a refusal
    because: str  # the message of that refusal
    stalled_s: float  # the longest time without any acknowledgement

    def __str__(self) -> str:
        return (
            f"{self.steady_per_s:.0f} writes/s before it, p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms; refused "
            f"{self.refused}, the last {self.refusing_s:.2f} s after its doubt began; unanswered {self.unanswered}; "
            f"longest without an acknowledgement {self.stalled_s:.2f} s"
        )


def availability(writes: Sequence[RecordedWrite], fault_at: float, doubts: Sequence[float]) -> Availability:
    """Return how `writes` were served before and after a fault; `doubts` are the moments at which one began."""
    before = sorted(write.took_s for write in writes if write.acknowledged and write.told_at < fault_at)
    began_at = min((write.asked_at for write in writes), default=fault_at)
    told = sorted(write.told_at for write in writes if write.acknowledged)
    refusals = [(_since_doubt(write.told_at, doubts), write.said) for write in writes if write.code == 503]
    refusing_s, because = max(refusals, default=(0.0, ""))
    return Availability(
        steady_per_s=len(before) / max(0.001, fault_at - began_at),
        p50_ms=1000 * _quantile(before, 0.5),
        p99_ms=1000 * _quantile(before, 0.99),
        acknowledged=len(told),
        refused=len(refusals),
        unanswered=sum(write.code == 0 for write in writes),
        refusing_s=refusing_s,
        because=because,
        stalled_s=max((later - at for at, later in itertools.pairwise(told)), default=0.0),
    )


def _since_doubt(at: float, doubts: Sequence[float]) -> float:
    """Return the seconds since the last doubt began; `at` itself when there was none."""
    return min((at - doubt for doubt in doubts if doubt <= at), default=at)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
