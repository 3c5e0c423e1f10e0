"""What time it is at the registry, as far as what it says tells. Pure.

Never found by comparing its clock with ours, which may be set at any time: from what it says of the time
itself, and from heartbeats that it speaks of, which are not in its future.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Final

ERROR_S: Final = 2.0  # HTTP tells the time in whole seconds


def time_of(date: str) -> float | None:
    """Return the Unix time that a Date header tells (RFC 9110 section 6.6.1), or None."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, OSError):  # no date, one that no machine can hold, one before the clock began
        return None


class RegistryClock:
    """The difference between the registry's Unix time and a monotonic time of ours, which callers pass as `now`."""

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def at(self, now: float) -> float | None:
        """Return the registry's Unix time; None while nothing is known of it."""
        return None if self._offset_s is None else now + self._offset_s

    def set(self, unix: float, now: float) -> None:
        """Take the registry's own word."""
        self._offset_s = unix - now

    def heard_of(self, heartbeats: Iterable[float], now: float, most_age_s: float) -> None:
        """Take note of heartbeats (Unix seconds) that it spoke of now; the newest is from 0 to `most_age_s` old.

        What was known and does not fit is of before a jump of its clock.
        """
        newest = max(heartbeats, default=None)
        if newest is None:
            return
        offset_s, known_s = newest - now, self._offset_s
        if known_s is None or offset_s > known_s + ERROR_S or offset_s < known_s - most_age_s - ERROR_S:
            self._offset_s = offset_s
