"""Which client registered which instance, as far as this replica knows: for clients that name only their service.

Sidecars older than instance ids register an endpoint and from then on name only the service. When a service has several
instances, the name does not say which lease to renew: renewing the wrong one lets a living instance expire although
each of its heartbeats was answered with 200. So such a heartbeat renews what the same client registered, and when that
is not certain it is answered with 404, on which these clients register again. That renews the right lease.

A client is known by its address, and by the addresses that proxies report. Several clients may share one: all those
on one machine, or behind one NAT. Two things show that: they registered several instances of the service, or heartbeats
come more often than one client sends them.

Agents name their instances, which have an epoch; a heartbeat by name never means one of those.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from registry_core.domain.records import Instance, InstanceKey

# Beyond that, the least recently registered are forgotten, and register again.
MAX_KNOWN: Final = 20_000
# Two clients that each send a heartbeat every T seconds cannot both keep T/2 apart from the other's; one client that
# sends them on time, give or take a quarter, never comes sooner than this share of T.
SOONEST: Final = 0.75
# This share of T after a registration, a heartbeat is by the same client: some send one at once.
AT_ONCE: Final = 0.1
# This share of T a client has to register, after another one at its address has shown that there are two.
SHARED: Final = 2.0


class Origin(NamedTuple):
    """The sender of a request: the address of its connection, and X-Forwarded-For as it was received."""

    peer: str = ""
    forwarded_for: str = ""


class _Registrant(NamedTuple):
    origin: Origin
    epoch: int  # with which it registered
    soonest_s: float  # a heartbeat that comes sooner than this after the last one is taken for another client's
    last_at: float | None = None  # the last sign of this client: a heartbeat by name, or another registration
    has_registered_last: bool = False  # and not sent a heartbeat since
    was_refused: bool = False  # since the last sign
    shared_until: float = -math.inf  # until then, heartbeats by name from there may be those of another client


class Registrants:
    """The clients that may name their service alone. `heartbeat_s` is the interval between heartbeats that is asked."""

    def __init__(self, heartbeat_s: float) -> None:
        self._asked_s = SOONEST * heartbeat_s
        self._at_once_s = AT_ONCE * heartbeat_s
        self._shared_s = SHARED * heartbeat_s
        self._known: OrderedDict[InstanceKey, _Registrant] = OrderedDict()

    def registered(self, instance: Instance, origin: Origin, now: float) -> None:
        """Note that a client at `origin` registered `instance`."""
        key = instance.key
        before = self._known.pop(key, None)
        after = _Registrant(origin, instance.epoch, self._asked_s)
        if before is not None and before.origin == origin:
            soonest_s, shared_until = before.soonest_s, before.shared_until
            if before.was_refused and before.last_at is not None:
                # The refused heartbeat was its own.
                if before.has_registered_last:  # and so is this interval
                    soonest_s = min(soonest_s, SOONEST * (now - before.last_at))
                else:  # and the heartbeat before that came too soon before to be
                    shared_until = now + self._shared_s
            after = _Registrant(
                origin, instance.epoch, soonest_s, now, has_registered_last=True, shared_until=shared_until
            )
        self._known[key] = after
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def own(self, origin: Origin, instances: Iterable[Instance]) -> InstanceKey | None:
        """Return the one of a service's instances that the client registered; None when that is not certain."""
        own = []
        for instance in instances:
            registrant = self._known.get(instance.key)
            if registrant is None and instance.epoch == 0:
                return None  # registered at another replica, or before this one started: by this client or another
            if registrant is not None and registrant.origin == origin:
                own.append(instance.key)
        return own[0] if len(own) == 1 else None

    def succeeded(self, origin: Origin, instance: Instance) -> bool:
        """Return whether an agent has taken over what the client registered."""
        registrant = self._known.get(instance.key)
        return registrant is not None and registrant.origin == origin and registrant.epoch < instance.epoch

    def beaten(self, origin: Origin, instances: Iterable[Instance], now: float) -> InstanceKey | None:
        """Return the instance that a heartbeat by name renews; None when its client must register again."""
        key = self.own(origin, instances)
        if key is None:
            return None
        before = self._known[key]
        age_s = math.inf if before.last_at is None else now - before.last_at
        if now < before.shared_until:
            self._known[key] = before._replace(was_refused=True)
            return None
        if before.has_registered_last and age_s <= self._at_once_s:
            return key
        if age_s < before.soonest_s:
            self._known[key] = before._replace(was_refused=True)
            return None
        self._known[key] = _Registrant(origin, before.epoch, before.soonest_s, now)
        return key
