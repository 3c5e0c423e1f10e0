"""What a row of check results says of a service: passing, warning or critical. Pure.

It takes `rise` better results in a row to become better and `fall` worse ones to become worse, so that
one lost packet changes nothing. The verdict goes no further than the whole row agrees upon: after a
warning and a failure a passing service is on warning. Until something is known, the first result that
is not critical is enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from registry_core.domain.records import Status

# What checks can say, from good to bad.
SEVERITY: Final = {Status.PASSING: 0, Status.WARNING: 1, Status.CRITICAL: 2}


class CheckVerdict(msgspec.Struct, frozen=True):
    """Where a service stands: what is known of it, how many results in a row speak against that, and for what."""

    status: Status | None = None  # None: nothing is known yet
    against: int = 0
    towards: Status | None = None


UNKNOWN = CheckVerdict()


def after_result(verdict: CheckVerdict, result: Status, *, rise: int, fall: int) -> CheckVerdict:
    """Return the verdict after one more check result: passing, warning or critical."""
    if verdict.status is None:
        if result is not Status.CRITICAL:
            return CheckVerdict(result)
        against = verdict.against + 1
        return CheckVerdict(result) if against >= fall else CheckVerdict(None, against, result)
    here, there = SEVERITY[verdict.status], SEVERITY[result]
    if here == there:
        return CheckVerdict(verdict.status)
    worse = there > here
    towards, against = result, 1
    if verdict.towards is not None and (SEVERITY[verdict.towards] > here) == worse:
        # The nearer of the two is what all of the row agree upon.
        towards = min(verdict.towards, result, key=lambda status: abs(SEVERITY[status] - here))
        against = verdict.against + 1
    return (
        CheckVerdict(towards)
        if against >= (fall if worse else rise)
        else CheckVerdict(verdict.status, against, towards)
    )


def worst(statuses: Iterable[Status | None]) -> Status | None:
    """Return what several checks say of one service: the worst that any says.

    None, for not known yet, while one of them knows nothing and none is critical.
    """
    said = list(statuses)
    if Status.CRITICAL in said or None not in said:
        return max((status for status in said if status is not None), key=SEVERITY.__getitem__, default=None)
    return None
