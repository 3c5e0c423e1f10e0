"""The outcome of one check, and the protocol of a probe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

import msgspec

from registry_core.causes import cause_of
from registry_core.domain.records import Status
from registry_core.shortages import is_shortage

MAX_REASON: Final = 200
# A time limit that fires this much too late was missed by the agent: it stood still, or got no processor. Meanwhile
# it read no answer.
STOOD_STILL_S: Final = 1.0


class CheckResult(msgspec.Struct, frozen=True):
    """The status that one check found, and why it is not passing."""

    status: Status
    because: str = ""

    @property
    def good(self) -> bool:
        """Whether the status is passing."""
        return self.status is Status.PASSING


class NotChecked(msgspec.Struct, frozen=True):
    """A check that the agent could not carry out: its own trouble, which says nothing about the service."""

    because: str


CheckOutcome: TypeAlias = CheckResult | NotChecked
# Work of the agent that gives the outcome once the service has answered. It does not count as the service's time.
Judgement: TypeAlias = Callable[[], Awaitable[CheckOutcome]]

WELL: Final = CheckResult(Status.PASSING)


def critical(because: str) -> CheckResult:
    """Return a critical result with its reason."""
    return CheckResult(Status.CRITICAL, shown(because))


def after_error(error: Exception, because: str = "") -> CheckOutcome:
    """Return the outcome of a check that ended with `error`; `because` replaces the error's own text."""
    said = because or cause_of(error)
    return NotChecked(shown(said)) if is_shortage(error) else critical(said)


def after_timeout(because: str, late_s: float) -> CheckOutcome:
    """Return the outcome of a check whose time limit fired `late_s` seconds after it was due."""
    if late_s > STOOD_STILL_S:
        return NotChecked(f"the agent itself stood still for {late_s:.1f} s")
    return critical(because)


def shown(text: str) -> str:
    """Return `text`, which is untrusted, as one short line without control characters."""
    kept = "".join(c for c in text[: 4 * MAX_REASON] if c.isprintable() or c.isspace())
    return " ".join(kept.split())[:MAX_REASON].rstrip()


class Probe(Protocol):
    """Checks one instance at one address. Returns in bounded time and does not raise."""

    async def __call__(self) -> CheckOutcome: ...


# Makes the probe of a check for one address; a check that connects to none is given an empty one.
ProbeAt: TypeAlias = Callable[[str], Probe]
