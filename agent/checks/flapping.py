"""Flap damping: a service that comes and goes all the time is kept out for a while. Pure.

Each time that it comes or goes, every agent and every client has to follow, and whoever is sent there
meets it gone. A change between passing and warning is no flap: it is served either way.
"""

from __future__ import annotations

import msgspec

from registry_core.domain.records import Status


class FlapLimits(msgspec.Struct, frozen=True):
    """More than `changes` within `window_s` seconds keep a check critical for `hold_s`. Zero changes: never.

    With checks every 3 s and two in a row, the fastest flap there can be is one change every 6 s. A
    restart makes two, so three restarts within two minutes are borne, and what goes on after them is not.
    """

    changes: int = 6
    window_s: float = 120.0
    hold_s: float = 60.0


class Damper(msgspec.Struct, frozen=True):
    """When the verdict came and went lately, and until when it is held."""

    changed_at: tuple[float, ...] = ()
    held_until: float = 0.0

    def holds(self, now: float) -> bool:
        """Whether the check counts as critical, whatever it finds."""
        return now < self.held_until


def after_verdict(
    damper: Damper, before: Status | None, after: Status | None, now: float, limits: FlapLimits
) -> Damper:
    """Return the damper after the verdict went from `before` to `after` at `now` (seconds, monotonic).

    While it is held, further changes begin the hold anew: it ends when there was quiet.
    """
    # What was not known before has not changed: a start is no flap.
    if before is None or after is None or (before is Status.CRITICAL) == (after is Status.CRITICAL):
        return damper
    if limits.changes == 0:
        return damper
    if damper.holds(now):
        return Damper((), now + limits.hold_s)
    recent = (*(at for at in damper.changed_at if now - at < limits.window_s), now)
    return Damper((), now + limits.hold_s) if len(recent) > limits.changes else Damper(recent)
