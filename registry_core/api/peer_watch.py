"""Keeps track of which replicas of this deployment do not answer, for `/health`: nothing else depends on it."""

from __future__ import annotations

from typing import Final

from registry_core.api.health import Health
from registry_core.api.health_schemas import PeersHealth
from registry_core.api.peers import Peers
from registry_core.ports.clock import Clock

LOOK_EVERY_S: Final = 5.0
# A replica that is restarted answers again sooner.
SILENT_AFTER_S: Final = 12.0
MAX_NAMED: Final = 16


class PeerWatch:
    """The replicas at the addresses of `peers`, as of the last look."""

    def __init__(self, peers: Peers, clock: Clock) -> None:
        self._peers = peers
        self._clock = clock
        self._silent_since: dict[str, float] = {}

    async def look(self) -> None:
        """Ask every replica once whether it lives."""
        silent = await self._peers.silent()
        now = self._clock.monotonic()
        self._silent_since = {url: self._silent_since.get(url, now) for url in silent}

    def report(self) -> PeersHealth:
        """Return what `/health` says of them."""
        now = self._clock.monotonic()
        lasting = sorted(url for url, since in self._silent_since.items() if now - since >= SILENT_AFTER_S)
        return PeersHealth(known=len(self._peers), silent=len(lasting), silent_urls=lasting[:MAX_NAMED])


def health_of_peers(peers: PeersHealth) -> Health:
    """Return what silent replicas mean for the deployment: fewer of them are left."""
    return Health.DEGRADED if peers.silent else Health.HEALTHY
