"""What one check found, and the protocol of what finds it."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from registry_core.domain.records import Status

MAX_REASON: Final = 200


class CheckResult(msgspec.Struct, frozen=True):
    """What one check found, and why it was not good."""

    status: Status
    because: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return self.status is Status.PASSING


WELL: Final = CheckResult(Status.PASSING)


def critical(because: str) -> CheckResult:
    """Return a bad result, and why."""
    return CheckResult(Status.CRITICAL, shown(because))


def shown(text: str) -> str:
    """Return `text`, which somebody else wrote, as one short line without control characters."""
    line = " ".join(text[: 4 * MAX_REASON].split())
    return "".join(c for c in line if c.isprintable())[:MAX_REASON]


class Probe(Protocol):
    """Asks one instance. Returns in bounded time and raises nothing of its own."""

    async def __call__(self) -> CheckResult: ...
