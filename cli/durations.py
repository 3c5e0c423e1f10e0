"""Durations for people: `40 s`, `7 min`, `2 h`, `3 d`. Pure."""

from __future__ import annotations


def lasting(seconds: float) -> str:
    """Return a duration in its largest unit of which there are two at least."""
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def lag(seconds: float | None) -> str:
    """Return how far something is behind; `never` when it never arrived."""
    if seconds is None:
        return "never"
    return f"{seconds:.1f} s" if seconds < 10 else lasting(seconds)
