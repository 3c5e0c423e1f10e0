"""The result of one check, and the protocol of a probe."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from registry_core.domain.records import Status

MAX_REASON: Final = 200


class CheckResult(msgspec.Struct, frozen=True):
    """The status that one check found, and why it is not passing."""

    status: Status
    because: str = ""

    @property
    def good(self) -> bool:
        """Whether the status is passing."""
        return self.status is Status.PASSING


WELL: Final = CheckResult(Status.PASSING)


def critical(because: str) -> CheckResult:
    """Return a critical result with its reason."""
    return CheckResult(Status.CRITICAL, shown(because))


def shown(text: str) -> str:
    """Return `text`, which is untrusted, as one short line without control characters."""
    kept = "".join(c for c in text[: 4 * MAX_REASON] if c.isprintable() or c.isspace())
    return " ".join(kept.split())[:MAX_REASON].rstrip()


class Probe(Protocol):
    """Checks one instance. Returns in bounded time and does not raise."""

    async def __call__(self) -> CheckResult: ...
