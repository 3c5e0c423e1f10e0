"""Forms a verdict from consecutive check results: passing, warning or critical. Pure.

It takes `rise` better results in a row to improve and `fall` worse ones to degrade, so that one lost packet
changes nothing. The verdict moves only as far as all results of the row agree: after a warning and a failure a
passing service is on warning. Before the first verdict, one result that is not critical is enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from registry_core.domain.records import Status

# Results of checks, from best to worst.
SEVERITY: Final = {Status.PASSING: 0, Status.WARNING: 1, Status.CRITICAL: 2}


class CheckVerdict(msgspec.Struct, frozen=True):
    """The current status, how many results in a row contradict it, and the status they point to."""

    status: Status | None = None  # None: no verdict yet
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
        # The nearer of the two is what the whole row agrees on.
        towards = min(verdict.towards, result, key=lambda status: abs(SEVERITY[status] - here))
        against = verdict.against + 1
    return (
        CheckVerdict(towards)
        if against >= (fall if worse else rise)
        else CheckVerdict(verdict.status, against, towards)
    )


def worst(statuses: Iterable[Status | None]) -> Status | None:
    """Return the worst status of the checks of a service at one address.

    None, for unknown, while a check has no status and none is critical.
    """
    said = list(statuses)
    if Status.CRITICAL in said or None not in said:
        return max((status for status in said if status is not None), key=SEVERITY.__getitem__, default=None)
    return None


def best(statuses: Iterable[Status | None]) -> Status | None:
    """Return the status of a service from those at its addresses: it is well while it is well at one of them.

    None, for unknown, while an address has no status and none is well.
    """
    said = list(statuses)
    known = [status for status in said if status is not None]
    status = min(known, key=SEVERITY.__getitem__, default=None)
    return None if status is Status.CRITICAL and None in said else status
