"""How old an answer may be, and what to do about it. Never a reason to withhold it."""

from __future__ import annotations

import enum

import msgspec


class Freshness(enum.StrEnum):
    """The age class of an entry, counted from the last time upstream confirmed it."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


class Refresh(enum.StrEnum):
    """What to do about the age of a requested entry."""

    NONE = "none"
    BACKGROUND = "background"
    FIRST = "first"


class FreshnessLimits(msgspec.Struct, frozen=True):
    """Fresh below `fresh_s`, stale up to `stale_s`, expired beyond. Seconds."""

    fresh_s: float = 30.0
    stale_s: float = 60.0


class FreshnessVerdict(msgspec.Struct, frozen=True):
    """How to label an entry, and whether to refresh it. The entry is always served."""

    freshness: Freshness
    refresh: Refresh


DEFAULT_LIMITS = FreshnessLimits()


def freshness_of(age_s: float, limits: FreshnessLimits = DEFAULT_LIMITS) -> Freshness:
    """Return the class of an entry confirmed `age_s` seconds ago."""
    if age_s < limits.fresh_s:
        return Freshness.FRESH
    if age_s <= limits.stale_s:
        return Freshness.STALE
    return Freshness.EXPIRED


def decide(age_s: float, upstream_reachable: bool, limits: FreshnessLimits = DEFAULT_LIMITS) -> FreshnessVerdict:
    """Return how to serve an entry of this age.

    Only an expired entry is worth asking upstream first, and only while upstream is reachable.
    """
    freshness = freshness_of(age_s, limits)
    match freshness:
        case Freshness.FRESH:
            return FreshnessVerdict(freshness, Refresh.NONE)
        case Freshness.STALE:
            return FreshnessVerdict(freshness, Refresh.BACKGROUND)
        case Freshness.EXPIRED:
            return FreshnessVerdict(freshness, Refresh.FIRST if upstream_reachable else Refresh.BACKGROUND)
