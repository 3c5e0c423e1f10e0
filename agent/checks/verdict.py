"""What a row of check results says of a service: passing or critical. Pure.

It takes `rise` good results in a row to become passing and `fall` bad ones to become critical, so
that one lost packet changes nothing. Until something is known, the first good result is enough.
"""

from __future__ import annotations

import msgspec

from registry_core.domain.records import Status


class Verdict(msgspec.Struct, frozen=True):
    """Where a service stands: what is known of it, and how many results in a row speak against that."""

    status: Status | None = None  # None: nothing is known yet
    against: int = 0


UNKNOWN = Verdict()


def after_result(verdict: Verdict, good: bool, *, rise: int, fall: int) -> Verdict:
    """Return the verdict after one more check result."""
    result = Status.PASSING if good else Status.CRITICAL
    if result is verdict.status:
        return Verdict(verdict.status)
    needed = 1 if verdict.status is None and good else rise if good else fall
    against = verdict.against + 1
    return Verdict(result) if against >= needed else Verdict(verdict.status, against)
