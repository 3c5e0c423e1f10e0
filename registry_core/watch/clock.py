"""Estimates the registry's current time. Pure.

It never compares the registry's clock with ours, which may be set at any time. It uses the time that the registry
reports, and heartbeats that it reports, which are not in its future.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Final

ERROR_S: Final = 2.0  # a Date header has whole seconds


def time_of(date: str) -> float | None:
    """Return the Unix time of a Date header (RFC 9110 section 6.6.1), or None when it is invalid."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, OSError):  # no date, one that no machine can hold, one before the clock began
        return None


class RegistryClock:
    """The offset between the registry's Unix time and our monotonic time, which callers pass as `now`."""

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def at(self, now: float) -> float | None:
        """Return the registry's Unix time; None while it is unknown."""
        return None if self._offset_s is None else now + self._offset_s

    def set(self, unix: float, now: float) -> None:
        """Set the time that the registry reports."""
        self._offset_s = unix - now

    def heard_of(self, heartbeats: Iterable[float], now: float, most_age_s: float) -> None:
        """Record heartbeats (Unix seconds) that it just reported; the newest is between 0 and `most_age_s` old.

        An earlier estimate that does not fit dates from before a jump of the registry's clock.
        """
        newest = max(heartbeats, default=None)
        if newest is None:
            return
        offset_s, known_s = newest - now, self._offset_s
        if known_s is None or offset_s > known_s + ERROR_S or offset_s < known_s - most_age_s - ERROR_S:
            self._offset_s = offset_s
