"""What becomes of one write: its states, what may happen to it, and which of its answers its caller is told. Pure.

    HELD ──a server took it──▶ TAKEN ──those that may lead next have it──▶ ACKNOWLEDGED
      ▲                          │
      └──that server was left────┘      HELD or TAKEN ──its time is over, or hopeless──▶ FAILED

Sending and waiting is `queue.py`'s matter; it tells each write what happened, and asks the table what follows.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from registry_core.domain.breaker import BreakerTerms, Seen
from registry_core.store.redis.link import Link
from registry_core.store.redis.scripts import ScriptName


class QueueTerms(msgspec.Struct, frozen=True):
    """The numbers of the queue. Seconds where it says `_s`."""

    gather_s: float = 0.001
    batch: int = 500
    held: int = 5_000
    operation_s: float = 5.0  # from the call to the answer, failovers and all
    wait_s: float = 0.5  # for the word of the replicas, each time it is asked for
    # How long a write is held by a master that answers and whose replicas do not. A failover takes it to
    # another master within 1 s, and that one has a replica within another: what lasts longer is no failover,
    # but a master that was cut off, and its callers are better off at another registry replica.
    replicas_s: float = 1.5
    # Between two tries while no other master is heard of; then the operation's time is over.
    retries_s: tuple[float, ...] = (1.0, 2.0, 4.0)
    # While the master is well and its replicas are not: in a failover, that is over soon. When it is not,
    # hundreds of writes are not sent fifty times a second for as long as it lasts.
    again_s: float = 0.02
    again_for_s: float = 2.0
    again_later_s: float = 0.25
    breaker: BreakerTerms = BreakerTerms()


DEFAULT_TERMS: Final = QueueTerms()


class WriteState(enum.StrEnum):
    """Where a write stands."""

    HELD = "held"  # no server is known to have it; it may have been taken by one that is gone
    TAKEN = "taken"  # the server at the other end of a link has carried it out
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"


class WriteEvent(enum.StrEnum):
    """What happens to a write."""

    ANSWERED = "answered"  # a server carried it out
    PUT_OFF = "put off"  # a server refused it, and may take it in a moment
    CONFIRMED = "confirmed"  # those that may lead next have it, and nobody else leads
    UNCONFIRMED = "unconfirmed"
    LEFT = "left"  # the link to its server has ended, or another life has begun
    GIVEN_UP = "given up"  # its time is over, or trying again is of no use


# What is not in it cannot happen.
TRANSITIONS: Final[Mapping[tuple[WriteState, WriteEvent], WriteState]] = {
    (WriteState.HELD, WriteEvent.ANSWERED): WriteState.TAKEN,
    (WriteState.HELD, WriteEvent.PUT_OFF): WriteState.HELD,
    (WriteState.HELD, WriteEvent.LEFT): WriteState.HELD,
    (WriteState.HELD, WriteEvent.GIVEN_UP): WriteState.FAILED,
    (WriteState.TAKEN, WriteEvent.CONFIRMED): WriteState.ACKNOWLEDGED,
    (WriteState.TAKEN, WriteEvent.UNCONFIRMED): WriteState.TAKEN,
    (WriteState.TAKEN, WriteEvent.LEFT): WriteState.HELD,
    (WriteState.TAKEN, WriteEvent.GIVEN_UP): WriteState.FAILED,
}

# What a repetition is answered that finds its own work done.
_DONE_BEFORE: Final = ([b"missing"], [b"stale"])
# What these answer is of the first time only: an amnesty is given once, a guard released once.
_TOLD_ONCE: Final = (ScriptName.CENSUS, ScriptName.RELEASE)


class Write:
    """One write, from its call to its end."""

    __slots__ = ("arguments", "called_at", "done", "link", "name", "result", "seen", "state")

    def __init__(
        self, name: ScriptName, arguments: tuple[str | bytes, ...], called_at: float, done: asyncio.Future[Any]
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.called_at = called_at
        self.done = done
        # What its failure says of the shard: SUCCESS when a master answers, be it with a refusal, and needs no sparing;
        # None when it failed for a reason of ours.
        self.seen: Seen | None = Seen.FAILURE
        self.result: Any = None  # what its caller is told
        self.link: Link | None = None  # to the server that has it
        self.state = WriteState.HELD

    def ends_at(self, terms: QueueTerms) -> float:
        """Return when its time is over, by the clock by which it was called."""
        return self.called_at + terms.operation_s

    def happens(self, event: WriteEvent) -> None:
        """Move to the state that follows. Raises KeyError for what cannot happen."""
        self.state = TRANSITIONS[self.state, event]
        if self.state is WriteState.HELD:
            self.link = None

    def take(self, result: Any, link: Link) -> None:
        """Keep an answer. A repetition finds its own work done: the first answer is the true one."""
        self.happens(WriteEvent.ANSWERED)
        self.link = link
        repeated = isinstance(result, list) and (result[:1] in _DONE_BEFORE or self._is_held_by_itself(result))
        begun = self.result == [b"more"]  # an answer that asks to be asked again is none to be kept
        if self.result is None or begun or not (repeated or self.name in _TOLD_ONCE):
            created = (
                self.result[4] if self.name is ScriptName.REGISTER and self.result and len(self.result) > 4 else None
            )
            self.result = result
            if created is not None and len(result) > 4:
                result[4] = created

    def _is_held_by_itself(self, result: list[Any]) -> bool:
        return self.name is ScriptName.RESTORE and result[:1] == [b"held"]

    def acknowledge(self) -> None:
        """Tell its caller that it is done."""
        self.happens(WriteEvent.CONFIRMED)
        if not self.done.done():
            self.done.set_result(self.result)

    def fail(self, error: Exception, seen: Seen | None = Seen.FAILURE) -> None:
        """Tell its caller that it was not done, or is not known to be; nothing when its caller knows already.

        `seen`: what that says of the shard.
        """
        if self.state in (WriteState.ACKNOWLEDGED, WriteState.FAILED):
            return
        self.happens(WriteEvent.GIVEN_UP)
        self.seen = seen
        if not self.done.done():
            self.done.set_exception(error)
