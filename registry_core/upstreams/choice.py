"""Chooses the registry to use: by zone, by latency, and by recent failures. Pure.

The watch and the writes choose independently: a replica that cannot write at the moment may still serve the
watch. A registry that fails is left at once; agents return to it after a random delay, which grows with each
further failure. `now` is monotonic, in seconds; draws are floats in [0, 1).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Final

import msgspec

from registry_core.domain.backoff import Backoff

# Latencies within this are equal: two busy event loops add about as much. Zones of one region are closer than
# this to each other, which is why zones have names.
NEAR_S: Final = 0.010
# An agent moves to a nearer registry only if the current latency exceeds GAIN times the new one plus GAIN_S.
GAIN: Final = 2.0
GAIN_S: Final = 0.020
# The weight of a new measurement in the moving average.
SMOOTHING: Final = 0.3
_NEVER: Final = -math.inf


class Use(enum.StrEnum):
    """What a registry is used for."""

    WATCH = "watch"
    WRITE = "write"


class Trouble(enum.StrEnum):
    """How a registry failed."""

    SILENT = "silent"  # unreachable or not answering: unusable for everything
    REFUSING = "refusing"  # it answers, but does not serve the request


class Why(enum.StrEnum):
    """Why a registry was chosen."""

    FIRST = "first"  # there was none before
    FAILED = "failed"  # the previous one failed
    GONE = "gone"  # the previous one is no longer configured
    PREFERRED = "preferred"  # it is healthy (again), and better than the previous one
    FASTER = "faster"


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How soon an agent returns to a registry. Seconds; each is drawn between half and one and a half times."""

    # A failed registry is avoided for this long, doubling from the first to the most.
    rest_first_s: float = 10.0
    rest_most_s: float = 300.0
    # One that was unreachable must be healthy for this long.
    return_s: float = 10.0
    # After a move to a preferred registry, no other such move for this long.
    stay_s: float = 20.0
    # Earlier failures are forgotten after this long without a new one. Not drawn.
    forgive_s: float = 300.0


class RegistryAddress(msgspec.Struct, frozen=True):
    """One address of the registry. `zone` is the configured one; lower tiers always come first."""

    url: str
    zone: str = ""
    tier: int = 0


class UseHealth(msgspec.Struct, frozen=True):
    """The health of one registry for one use."""

    failures: int = 0  # since they were last forgotten
    failed_at: float = _NEVER
    rests_until: float = _NEVER


class Upstream(msgspec.Struct, frozen=True):
    """The state of one registry."""

    address: RegistryAddress
    learnt_zone: str = ""
    has_many_zones: bool = False  # replicas of several zones are behind this address
    latency_s: float | None = None
    reachable: bool = True
    health_by_use: tuple[UseHealth, UseHealth] = (UseHealth(), UseHealth())  # in the order of `Use`

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def zone(self) -> str:
        """The zone that the registry reports, else the configured one."""
        return "" if self.has_many_zones else self.learnt_zone or self.address.zone

    def health(self, use: Use) -> UseHealth:
        return self.health_by_use[_PLACES[use]]

    def is_well(self, use: Use, now: float) -> bool:
        """Return whether it may be chosen while there are others."""
        return self.reachable and now >= self.health(use).rests_until


class Choice(msgspec.Struct, frozen=True):
    """The registry in use, and until when a merely preferred one does not replace it."""

    url: str
    why: Why
    stays_until: float


_PLACES: Final = {use: place for place, use in enumerate(Use)}
DEFAULT_PACE: Final = Pace()


def spread(seconds: float, draw: float) -> float:
    """Return between half and one and a half times `seconds`, so that agents that failed together return apart."""
    return seconds * (0.5 + draw)


# -- observations


def after_failure(
    upstream: Upstream, use: Use, trouble: Trouble, *, now: float, draw: float, pace: Pace = DEFAULT_PACE
) -> Upstream:
    """Return `upstream` after it failed. A silent registry fails for every use."""
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


def after_farewell(upstream: Upstream, *, now: float, draw: float, pace: Pace = DEFAULT_PACE) -> Upstream:
    """Return `upstream` after it said that it stops: avoided for a while for every use, without having failed."""
    until = now + spread(pace.rest_first_s, draw)
    health_by_use = tuple(msgspec.structs.replace(health, rests_until=until) for health in upstream.health_by_use)
    return msgspec.structs.replace(upstream, health_by_use=health_by_use)


def after_answer(upstream: Upstream, use: Use) -> Upstream:
    """Return `upstream` after it served a request for `use`."""
    health = upstream.health(use)
    if upstream.reachable and health.rests_until == _NEVER:
        return upstream
    well = msgspec.structs.replace(health, rests_until=_NEVER)
    health_by_use = tuple(well if one is use else upstream.health(one) for one in Use)
    return msgspec.structs.replace(upstream, health_by_use=health_by_use, reachable=True)


def after_sign_of_life(upstream: Upstream, *, now: float, draw: float, pace: Pace = DEFAULT_PACE) -> Upstream:
    """Return `upstream` after any answer; one that was unreachable must stay healthy for a while first."""
    if upstream.reachable:
        return upstream
    until = now + spread(pace.return_s, draw)
    health_by_use = tuple(
        msgspec.structs.replace(health, rests_until=max(health.rests_until, until)) for health in upstream.health_by_use
    )
    return msgspec.structs.replace(upstream, reachable=True, health_by_use=health_by_use)


def after_measurement(upstream: Upstream, latency_s: float) -> Upstream:
    """Return `upstream` after a probe, which only the network and its load delay, took `latency_s`."""
    known_s = upstream.latency_s
    mean_s = latency_s if known_s is None else known_s + SMOOTHING * (latency_s - known_s)
    return msgspec.structs.replace(upstream, latency_s=mean_s)


def after_request(upstream: Upstream, latency_s: float) -> Upstream:
    """Return `upstream` after a request took `latency_s`.

    A request may also wait for a connection or the store, so it can only lower the estimate, never raise it.
    """
    if upstream.latency_s is not None and latency_s >= upstream.latency_s:
        return upstream
    return after_measurement(upstream, latency_s)


def after_zone(upstream: Upstream, zone: str) -> Upstream:
    """Return `upstream` after an answer named its zone.

    A load balancer in front of several zones counts as having none.
    """
    if not zone or zone == upstream.learnt_zone:
        return upstream
    return msgspec.structs.replace(upstream, learnt_zone=zone, has_many_zones=bool(upstream.learnt_zone))


# -- the choice


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
    """Return the registry to use from now on; None if there are no addresses.

    `upstreams` are in configured order; `choice` is the current one.
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
        # The current one is unhealthy and not the best: it has just failed, or another one is healthy.
        return Choice(best.url, Why.FAILED, stays_until)
    why = _why_better(upstreams, best, current, zone)
    if why is None or now < choice.stays_until:
        return choice
    return Choice(best.url, why, stays_until)


def preferred(upstreams: Sequence[Upstream], use: Use, zone: str, now: float) -> Upstream | None:
    """Return the best healthy registry, else the one whose failure is longest ago."""
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
    """Return why to move to `best` from `current`, which is healthy; None if the move is not worth it."""
    if _rank(best, zone) < _rank(current, zone):
        return Why.PREFERRED
    if (
        best.latency_s is not None
        and current.latency_s is not None
        and current.latency_s > GAIN * best.latency_s + GAIN_S
    ):
        return Why.FASTER
    # About equally near: the configured order decides.
    return Why.PREFERRED if upstreams.index(best) < upstreams.index(current) else None
