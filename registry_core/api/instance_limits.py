"""Limits for each instance: how often it may be registered, and its lease renewed. Pure.

They stop a client that is stuck in a loop, and never one that keeps its schedule: only repeats for a fresh lease count,
and are refused. A lease that has used half of its TTL is always renewed, and what the registry does not hold may always
be registered, however often it was tried before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from registry_core.api.limit_settings import RequestRate
from registry_core.api.limits import Allowance, RateLimiter
from registry_core.domain.names import label_of
from registry_core.domain.records import InstanceKey

# Heartbeats in one interval that are on schedule: the due one, and two retries.
HEARTBEATS_EACH_INTERVAL: Final = 3
_WINDOW_S: Final = 60

# Whether this instance is registered with this epoch (None: any), with more than half of its TTL left.
IsFresh: TypeAlias = Callable[[InstanceKey, int | None], bool]


class Claimant(NamedTuple):
    """The sender that registers or renews an instance: what the request claims, and the client's address."""

    service_name: str
    instance_id: str
    epoch: int | None
    client: str

    @property
    def name(self) -> str:
        """What it is counted under."""
        return f"{label_of(self.service_name)}/{self.instance_id}/{self.epoch or 0}/{self.client}"


def enough(limit: RequestRate | None, heartbeat_s: float) -> RequestRate | None:
    """Return the limit of heartbeats, raised to what the schedule of `heartbeat_s` needs."""
    if limit is None or limit.per_s * heartbeat_s >= HEARTBEATS_EACH_INTERVAL:
        return limit
    return RequestRate(math.ceil(HEARTBEATS_EACH_INTERVAL * _WINDOW_S / heartbeat_s), _WINDOW_S)


class InstanceLimits:
    """The limits of all instances. Each method returns the allowance, or None where there is no limit.

    The epoch and the client's address are part of who is counted: a former owner's requests, or a stranger's, which are
    refused for their credentials only later, do not use up the limit of the present owner.
    """

    def __init__(
        self,
        registrations: RequestRate | None,
        heartbeats: RequestRate | None,
        *,
        heartbeat_s: float,
        is_fresh: IsFresh,
    ) -> None:
        beats = enough(heartbeats, heartbeat_s)
        self._registrations = None if registrations is None else RateLimiter("instance-registrations", registrations)
        self._heartbeats = None if beats is None else RateLimiter("instance-heartbeats", beats)
        self._is_fresh = is_fresh

    @property
    def limits_registrations(self) -> bool:
        """Whether registrations are counted at all."""
        return self._registrations is not None

    @property
    def limits_heartbeats(self) -> bool:
        """Whether heartbeats are counted at all."""
        return self._heartbeats is not None

    def registration(self, who: Claimant, now: float) -> Allowance | None:
        """Count a registration."""
        return self._taken(self._registrations, who, now)

    def registration_failed(self, who: Claimant, now: float) -> None:
        """Take a registration back that the registry could not carry out: its retry is no repeat."""
        if self._registrations is not None:
            self._registrations.give_back(who.name, now)

    def heartbeat(self, who: Claimant, now: float) -> Allowance | None:
        """Count a heartbeat."""
        return self._taken(self._heartbeats, who, now)

    def _taken(self, limiter: RateLimiter | None, who: Claimant, now: float) -> Allowance | None:
        if limiter is None or not self._is_fresh(InstanceKey(label_of(who.service_name), who.instance_id), who.epoch):
            return None
        return limiter.take(who.name, now)
