"""Which registry is used: by zone, by latency, and by how each has answered lately. Pure.

The watch and the writes choose apart from each other: a replica that cannot write at present still has a
good watch. Who fails is left at once; who came back is returned to after a while that each agent draws for
itself, and after a longer one each time that it fails again. `now` is the monotonic clock's, in seconds;
draws are floats in [0, 1).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Final

import msgspec

from registry_core.domain.backoff import Backoff

# What counts as equally near: as much as the loops of two busy programs make of it. Zones of one region are
# closer than this to each other; that is what the names of zones are for.
NEAR_S: Final = 0.010
# Nobody moves for less than half of the time, and this on top (seconds).
GAIN: Final = 2.0
GAIN_S: Final = 0.020
# How much a new measurement counts against those before it.
SMOOTHING: Final = 0.3
_NEVER: Final = -math.inf


class Use(enum.StrEnum):
    """What a registry is used for."""

    WATCH = "watch"
    WRITE = "write"


class Trouble(enum.StrEnum):
    """How a registry failed."""

    SILENT = "silent"  # it cannot be reached or says nothing: of no use for anything
    REFUSING = "refusing"  # it is there, and does not do what was asked of it


class Why(enum.StrEnum):
    """Why a registry is the one in use."""

    FIRST = "first"  # nothing was known yet
    FAILED = "failed"  # the one before it failed
    GONE = "gone"  # the one before it is none of the addresses any more
    PREFERRED = "preferred"  # it is well (again), and better than the one before it
    FASTER = "faster"


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How soon an agent goes back. Seconds; each is drawn between half of it and one and a half."""

    # One that failed is left alone: doubling from the first to the most.
    rest_first_s: float = 10.0
    rest_most_s: float = 300.0
    # One that could not be reached has to be well for this long.
    return_s: float = 10.0
    # After a move to a better one there is no other move of that kind for this long.
    stay_s: float = 20.0
    # Without failure for this long, the ones before are forgotten. Not drawn.
    forgive_s: float = 300.0


class RegistryAddress(msgspec.Struct, frozen=True):
    """One address of the registry. `zone` is what was configured; lower tiers go first whatever else is known."""

    url: str
    zone: str = ""
    tier: int = 0


class UseHealth(msgspec.Struct, frozen=True):
    """How one registry does for one use."""

    failures: int = 0  # since they were last forgotten
    failed_at: float = _NEVER
    rests_until: float = _NEVER


class Upstream(msgspec.Struct, frozen=True):
    """All that is known of one registry."""

    address: RegistryAddress
    learnt_zone: str = ""
    has_many_zones: bool = False  # replicas of several zones stand behind that address
    latency_s: float | None = None
    reachable: bool = True
    health_by_use: tuple[UseHealth, UseHealth] = (UseHealth(), UseHealth())  # by the order of `Use`

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def zone(self) -> str:
        """What the registry says of itself is better than what somebody wrote down once."""
        return "" if self.has_many_zones else self.learnt_zone or self.address.zone

    def health(self, use: Use) -> UseHealth:
        return self.health_by_use[_PLACES[use]]

    def is_well(self, use: Use, now: float) -> bool:
        """Whether it may be chosen while there are others."""
        return self.reachable and now >= self.health(use).rests_until


class Choice(msgspec.Struct, frozen=True):
    """The registry in use, and until when no other is merely preferred to it."""

    url: str
    why: Why
    stays_until: float


_PLACES: Final = {use: place for place, use in enumerate(Use)}
DEFAULT_PACE: Final = Pace()


def spread(seconds: float, draw: float) -> float:
    """Return between half of `seconds` and one and a half of it: whoever failed together returns apart."""
    return seconds * (0.5 + draw)


# -- what is learnt


def after_failure(
    upstream: Upstream, use: Use, trouble: Trouble, *, now: float, draw: float, pace: Pace = DEFAULT_PACE
) -> Upstream:
    """Return `upstream` after it failed. Who is silent is so for every use."""
    uses = tuple(Use) if trouble is Trouble.SILENT else (use,)
    health_by_use = tuple(
        _failed(upstream.health(one), now, draw, pace) if one in uses else upstream.health(one) for one in Use
    )
    reachable = upstream.reachable and trouble is not Trouble.SILENT
    return msgspec.structs.replace(upstream, health_by_use=health_by_use, reachable=reachable)


def _failed(health: UseHealth, now: float, draw: float, pace: Pace) -> UseHealth:
    failures = 1 if now - health.failed_at > pace.forgive_s else health.failures + 1
    rest_s = Backoff(pace.rest_first_s, pace.rest_most_s).wait_s(failures)
    return UseHealth(failures, now, now + spread(rest_s, draw))


def after_answer(upstream: Upstream, use: Use) -> Upstream:
    """Return `upstream` after it did what it was asked for that use."""
    health = upstream.health(use)
    if upstream.reachable and health.rests_until == _NEVER:
        return upstream
    well = msgspec.structs.replace(health, rests_until=_NEVER)
    health_by_use = tuple(well if one is use else upstream.health(one) for one in Use)
    return msgspec.structs.replace(upstream, health_by_use=health_by_use, reachable=True)


def after_sign_of_life(upstream: Upstream, *, now: float, draw: float, pace: Pace = DEFAULT_PACE) -> Upstream:
    """Return `upstream` after it answered, whatever; one that was away has to stay well for a while first."""
    if upstream.reachable:
        return upstream
    until = now + spread(pace.return_s, draw)
    health_by_use = tuple(
        msgspec.structs.replace(health, rests_until=max(health.rests_until, until)) for health in upstream.health_by_use
    )
    return msgspec.structs.replace(upstream, reachable=True, health_by_use=health_by_use)


def after_measurement(upstream: Upstream, latency_s: float) -> Upstream:
    """Return `upstream` after a question that only its way and its load delay took `latency_s`."""
    known_s = upstream.latency_s
    mean_s = latency_s if known_s is None else known_s + SMOOTHING * (latency_s - known_s)
    return msgspec.structs.replace(upstream, latency_s=mean_s)


def after_request(upstream: Upstream, latency_s: float) -> Upstream:
    """Return `upstream` after a request took `latency_s`.

    That waited for a connection or for the store, too: it may show that a registry is nearer, and never farther.
    """
    if upstream.latency_s is not None and latency_s >= upstream.latency_s:
        return upstream
    return after_measurement(upstream, latency_s)


def after_zone(upstream: Upstream, zone: str) -> Upstream:
    """Return `upstream` after an answer named its zone.

    A load balancer before replicas of several zones has none.
    """
    if not zone or zone == upstream.learnt_zone:
        return upstream
    return msgspec.structs.replace(upstream, learnt_zone=zone, has_many_zones=bool(upstream.learnt_zone))


# -- what is chosen


def chosen(
    upstreams: Sequence[Upstream],
    choice: Choice | None,
    use: Use,
    *,
    zone: str,
    now: float,
    draw: float,
    pace: Pace = DEFAULT_PACE,
) -> Choice | None:
    """Return the registry to be used from now on; None when there is none at all.

    `upstreams` stand in the order in which they were configured, `choice` is the one so far.
    """
    current = next((one for one in upstreams if choice is not None and one.url == choice.url), None)
    best = preferred(upstreams, use, zone, now)
    if best is None:
        return None
    stays_until = now + spread(pace.stay_s, draw)
    if choice is None or current is None:
        return Choice(best.url, Why.FIRST if choice is None else Why.GONE, stays_until)
    if best is current:
        return choice
    if not current.is_well(use, now):
        # Not well and the best of nobody: it has just failed, or somebody else is well.
        return Choice(best.url, Why.FAILED, stays_until)
    why = _why_better(upstreams, best, current, zone)
    if why is None or now < choice.stays_until:
        return choice
    return Choice(best.url, why, stays_until)


def preferred(upstreams: Sequence[Upstream], use: Use, zone: str, now: float) -> Upstream | None:
    """Return the best one: of those that are well, else the one whose failure is longest ago."""
    well = [one for one in upstreams if one.is_well(use, now)]
    if not well:
        return min(upstreams, key=lambda one: (not one.reachable, one.health(use).failed_at), default=None)
    rank = min(_rank(one, zone) for one in well)
    nearest = [one for one in well if _rank(one, zone) == rank]
    most_s = min((one.latency_s for one in nearest if one.latency_s is not None), default=0.0) + NEAR_S
    return next(one for one in nearest if one.latency_s is None or one.latency_s <= most_s)


def _rank(upstream: Upstream, zone: str) -> tuple[int, bool]:
    return upstream.address.tier, bool(zone) and upstream.zone != zone


def _why_better(upstreams: Sequence[Upstream], best: Upstream, current: Upstream, zone: str) -> Why | None:
    """Return why `best` is worth a move away from `current`, which is well; None: it is not."""
    if _rank(best, zone) < _rank(current, zone):
        return Why.PREFERRED
    if (
        best.latency_s is not None
        and current.latency_s is not None
        and current.latency_s > GAIN * best.latency_s + GAIN_S
    ):
        return Why.FASTER
    # They are about equally near: the order in which they were configured decides.
    return Why.PREFERRED if upstreams.index(best) < upstreams.index(current) else None
