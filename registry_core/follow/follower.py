"""Puts together what makes a replica a follower: its view, its store, and its ways to the registry that it follows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from registry_core.api.hub import WatchHub
from registry_core.domain.selection import Random
from registry_core.follow.denials import UpstreamDenials
from registry_core.follow.link import UpstreamLink
from registry_core.follow.metrics import add_follow_metrics
from registry_core.follow.passing import Passing
from registry_core.follow.report import UpstreamState
from registry_core.follow.settings import FollowSettings
from registry_core.follow.store import FollowedStore
from registry_core.follow.view import FollowerView
from registry_core.follow.watch import UpstreamWatch
from registry_core.ports.clock import Clock
from registry_core.security.client_settings import ClientTlsSettings
from registry_core.supervision import Background
from registry_core.telemetry.metrics import ReplicaMetrics

# What is answered from the view, and so may be old.
_FROM_THE_VIEW: Final = frozenset({"/services", "/services/{service}", "/catalog", "/sd/prometheus"})


class FollowingParts:
    """What a replica has because it follows another registry. `start` it before the store, and `close` it after."""

    def __init__(
        self,
        settings: FollowSettings,
        tls: ClientTlsSettings,
        *,
        hub: Callable[[], WatchHub],
        zone: str,
        ttl_s: float,
        clock: Clock,
        random: Random,
        background: Background,
    ) -> None:
        self._clock = clock
        self.link = UpstreamLink(settings, tls, zone=zone, clock=clock, random=random, background=background)
        self.view = FollowerView(clock, ttl_s=ttl_s)
        self.watch = UpstreamWatch(self.link, self.view, hub, clock=clock, random=random)
        self.store = FollowedStore(self.view, self.watch, UpstreamDenials(self.link), background)
        self.passing = Passing(self.link)

    async def start(self) -> None:
        """Open the way to the upstreams; none is asked yet. Raises SettingsError for TLS files that cannot be used."""
        await self.link.start()

    async def close(self) -> None:
        """Close the way to the upstreams. Safe to call twice."""
        await self.link.close()

    def add_metrics(self, metrics: ReplicaMetrics) -> None:
        """Add what it knows of its upstreams to the metrics of its replica."""
        add_follow_metrics(metrics, self.link, self.view, self.watch)

    def said(self) -> Mapping[str, str]:
        """Return the headers with which answers from the view say how old they are."""
        age_s = self.view.age_s()
        return {"Age": str(int(age_s)), "X-Cache": self.view.confidence}

    async def say_age(self, request: web.Request, response: web.StreamResponse) -> None:
        """Have an answer from the view say how old it is: called before its headers are sent."""
        resource = request.match_info.route.resource
        if (
            resource is not None
            and resource.canonical in _FROM_THE_VIEW
            and response.status < web.HTTPBadRequest.status_code
        ):
            response.headers.update(self.said())

    def state(self) -> UpstreamState:
        """Return what this follower follows at this moment."""
        view, watch = self.view, self.watch
        age_s = view.age_s()
        return UpstreamState(
            urls=self.link.urls,
            connected_to=watch.watching.url if watch.watching is not None else "",
            state=view.trust.state,
            freshness=view.freshness,
            age_s=round(age_s, 3) if view.loaded and math.isfinite(age_s) else None,
            cursor=str(view.cursor),
            snapshots=view.snapshots,
            resumed=watch.resumed,
            losses=watch.losses,
            lost_s=None if watch.lost_at is None else round(self._clock.monotonic() - watch.lost_at, 3),
            problem=watch.problem,
            protocol=watch.protocol,
        )
