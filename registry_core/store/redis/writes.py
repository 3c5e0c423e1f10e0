"""The life of one write: its states, its events, and which answer its caller gets. Pure.

    HELD ──a server took it──▶ TAKEN ──those that may lead next have it──▶ ACKNOWLEDGED
      ▲                          │
      └──that server was left────┘      HELD or TAKEN ──its time is over, or hopeless──▶ FAILED

`queue.py` sends and waits; it reports each event to the write, and the table gives the next state.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from registry_core.domain.breaker import BreakerTerms, Seen
from registry_core.ports.once import SignedOnce
from registry_core.store.redis.link import Link
from registry_core.store.redis.scripts import ScriptName

# Is called with the seconds that a pipeline of writes took, and those of the wait for the replicas in it, if there was.
Observe: TypeAlias = Callable[[float, float | None], None]


def unobserved(_took_s: float, _confirmed_s: float | None) -> None:
    """Measure nothing."""


class QueueTerms(msgspec.Struct, frozen=True):
    """The parameters of the queue. `_s` means seconds."""

    gather_s: float = 0.001
    batch: int = 500
    held: int = 5_000
    operation_s: float = 5.0  # from the call to the answer, including failovers
    wait_s: float = 0.5  # for the replicas to confirm, at each try
    # How long a write is held while the master answers and its replicas do not. A failover takes it to
    # another master within 1 s, and that one has a replica within another: anything longer is not a failover
    # but a master that was cut off, and its callers are better off at another registry replica.
    replicas_s: float = 1.5
    # Between two tries while no other master appears; then the operation's time is over.
    retries_s: tuple[float, ...] = (1.0, 2.0, 4.0)
    # While the master is healthy and its replicas are not. In a failover that ends soon; when it lasts,
    # hundreds of writes must not be sent fifty times a second all the time.
    again_s: float = 0.02
    again_for_s: float = 2.0
    again_later_s: float = 0.25
    breaker: BreakerTerms = BreakerTerms()


DEFAULT_TERMS: Final = QueueTerms()


class WriteState(enum.StrEnum):
    """The state of a write."""

    HELD = "held"  # no server is known to have it; one that is gone may have taken it
    TAKEN = "taken"  # the server at the other end of a link has carried it out
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"


class WriteEvent(enum.StrEnum):
    """What happens to a write."""

    ANSWERED = "answered"  # a server ran it
    PUT_OFF = "put off"  # a server refused it for now
    CONFIRMED = "confirmed"  # all that may lead next have it, and there is no other master
    UNCONFIRMED = "unconfirmed"
    LEFT = "left"  # the link to its server has ended, or another life has begun
    GIVEN_UP = "given up"  # its time is over, or a retry cannot help


# Any other transition is impossible.
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

# The answers to a repetition that finds its own work done.
_DONE_BEFORE: Final = ([b"missing"], [b"stale"])
# The first answer of these counts: an amnesty is given once, a guard released once.
_TOLD_ONCE: Final = (ScriptName.CENSUS, ScriptName.RELEASE)


class Write:
    """One write, from call to completion."""

    __slots__ = ("arguments", "called_at", "done", "link", "name", "once", "result", "seen", "state")

    def __init__(
        self,
        name: ScriptName,
        arguments: tuple[str | bytes, ...],
        called_at: float,
        done: asyncio.Future[Any],
        once: SignedOnce | None = None,
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.called_at = called_at
        self.once = once
        self.done = done
        # What its failure tells the breaker: SUCCESS when a master answered, even with a refusal; None when the cause
        # was on our side.
        self.seen: Seen | None = Seen.FAILURE
        self.result: Any = None  # the answer for its caller
        self.link: Link | None = None  # to the server that has it
        self.state = WriteState.HELD

    def ends_at(self, terms: QueueTerms) -> float:
        """Return the write's deadline, on the clock of its call time."""
        return self.called_at + terms.operation_s

    def happens(self, event: WriteEvent) -> None:
        """Move to the next state. Raises KeyError for an impossible transition."""
        self.state = TRANSITIONS[self.state, event]
        if self.state is WriteState.HELD:
            self.link = None

    def take(self, result: Any, link: Link) -> None:
        """Keep an answer. A repetition finds its own work done, so the first answer is the true one."""
        self.happens(WriteEvent.ANSWERED)
        self.link = link
        repeated = isinstance(result, list) and (result[:1] in _DONE_BEFORE or self._is_held_by_itself(result))
        begun = self.result == [b"more"]  # an answer that asks for another call is not kept
        if self.result is None or begun or not (repeated or self.name in _TOLD_ONCE):
            created = (
                self.result[4] if self.name is ScriptName.REGISTER and self.result and len(self.result) > 4 else None
            )
            self.result = result
            if created is not None and len(result) > 4:
                result[4] = created

    def _is_held_by_itself(self, result: list[Any]) -> bool:
        return self.name is ScriptName.RESTORE and result[:1] == [b"held"]

    def tell(self) -> None:
        """Give the caller the result, if the write is acknowledged."""
        if self.state is WriteState.ACKNOWLEDGED and not self.done.done():
            self.done.set_result(self.result)

    def fail(self, error: Exception, seen: Seen | None = Seen.FAILURE) -> None:
        """Report to the caller that the write failed, or may have; does nothing when the caller has its result.

        `seen`: what this tells the breaker.
        """
        if self.state in (WriteState.ACKNOWLEDGED, WriteState.FAILED):
            return
        self.happens(WriteEvent.GIVEN_UP)
        self.seen = seen
        if not self.done.done():
            self.done.set_exception(error)


def tell(writes: Iterable[Write]) -> None:
    """Give the callers of acknowledged writes their results."""
    for write in writes:
        write.tell()
