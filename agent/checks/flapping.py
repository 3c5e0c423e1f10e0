"""Flap damping: holds a service critical for a while if it keeps failing and recovering. Pure.

Every agent and client must follow each such change, and requests sent to the service fail. A change between
passing and warning does not count: the service is used either way.
"""

from __future__ import annotations

import msgspec

from registry_core.domain.records import Status


class FlapLimits(msgspec.Struct, frozen=True):
    """More than `changes` within `window_s` seconds hold a check critical for `hold_s`. 0 disables damping.

    With checks every 3 s and two results in a row, the fastest flap is one change every 6 s. A restart makes two
    changes, so three restarts within two minutes are tolerated, and further ones are not.
    """

    changes: int = 6
    window_s: float = 120.0
    hold_s: float = 60.0


class Damper(msgspec.Struct, frozen=True):
    """The times of recent changes, and until when the check is held."""

    changed_at: tuple[float, ...] = ()
    held_until: float = 0.0

    def holds(self, now: float) -> bool:
        """Return whether the check counts as critical, whatever its results."""
        return now < self.held_until


def after_verdict(
    damper: Damper, before: Status | None, after: Status | None, now: float, limits: FlapLimits
) -> Damper:
    """Return the damper after the verdict changed from `before` to `after` at `now` (seconds, monotonic).

    Further changes during a hold restart it: it ends after `hold_s` without a change.
    """
    # A first verdict is not a change: starting does not count as a flap.
    if before is None or after is None or (before is Status.CRITICAL) == (after is Status.CRITICAL):
        return damper
    if limits.changes == 0:
        return damper
    if damper.holds(now):
        return Damper((), now + limits.hold_s)
    recent = (*(at for at in damper.changed_at if now - at < limits.window_s), now)
    return Damper((), now + limits.hold_s) if len(recent) > limits.changes else Damper(recent)
