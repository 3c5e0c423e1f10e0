"""Draws the conclusions from writes that were refused for their credentials: what a replica knows, logs and reports.

A replica that started empty and refuses the agents does not know what exists: it stays *warming*, so that agents keep
what they know. While it refuses every write it also expires nothing: a lease whose heartbeats it refuses says nothing
about its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from registry_core.api.health_schemas import AccessHealth, SecretsHealth
from registry_core.api.view import ReplicaState, ReplicaView
from registry_core.domain.refusals import Refusals
from registry_core.errors import Forbidden, Unauthorized
from registry_core.ports.clock import Clock

log = structlog.get_logger()


class WriteAccess:
    """The writes of one replica that a living client sends: registrations, heartbeats, changes of a status."""

    def __init__(
        self,
        view: ReplicaView,
        clock: Clock,
        ttl_s: float = 0.0,
        *,
        secrets: Callable[[], SecretsHealth] = SecretsHealth,
        unbelieved: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """`ttl_s` is the TTL of a lease: agents may send heartbeats no more often. `secrets` reports on those.

        `unbelieved` names the proxies that are not trusted.
        """
        self._secrets = secrets
        self._unbelieved = unbelieved
        self._view = view
        self._clock = clock
        self._logged = False
        self.refusals = Refusals(ttl_s)

    def accepted(self) -> None:
        """Note a write with a valid credential."""
        self.refusals.accepted(self._clock.monotonic(), self._view.empty_since)
        if self._logged:
            self.see()

    def refused(self, error: Unauthorized | Forbidden) -> None:
        """Note a refused write.

        It prolongs the warming of a replica that knows fewer instances than it refused lately; one that knows none
        returns to it. A replica that has been ready and knows some stays ready: anybody can send a wrong credential.
        For the same reason this ends some time after a write was accepted.
        """
        now = self._clock.monotonic()
        self.refusals.refused(type(error).__name__, error.message, now)
        known = len(self._view.catalog)
        tells = self.refusals.speak_of_unknown(known, now, self._view.empty_since)
        if tells and (not known or self._view.state is ReplicaState.WARMING):
            self._view.stay_warming(self.refusals.recent_s)
        self.see()

    @property
    def refuses_all(self) -> bool:
        """Whether writes were refused lately, and none had a valid credential."""
        return self.refusals.refuses_all(self._clock.monotonic())

    def see(self) -> None:
        """Log once that every write is refused, and once that this is over."""
        if self.refuses_all is self._logged:
            return
        self._logged = not self._logged
        if self._logged:
            log.error(
                "every write is refused",
                because=self.refusals.because,
                instances=len(self._view.catalog),
                state=self._view.state.value,
                check="that REGISTRY_SECRET is the same here and at the agents",
            )
        else:
            log.info("writes are no longer all refused", state=self._view.state.value)

    def report(self) -> AccessHealth:
        """Return what `/health` says of it."""
        now = self._clock.monotonic()
        return AccessHealth(
            status="refusing" if self.refusals.refuses_all(now) else "ok",
            refused_recently=self.refusals.recent(now),
            refused_total=self.refusals.counts.total(),
            last_refusal=self.refusals.because,
            secrets=self._secrets(),
            unbelieved_proxies=list(self._unbelieved()),
        )
