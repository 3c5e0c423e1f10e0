"""Puts together what makes a replica a follower: its view, its store, and its ways to the registry that it follows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import web

from registry_core.api.deployment import MAX_SUMMARY_BYTES
from registry_core.api.deployment_schemas import DeploymentView, ReplicaSummary
from registry_core.api.drains import Drains
from registry_core.api.health_schemas import FollowHealth
from registry_core.api.hub import WatchHub
from registry_core.api.standstill import WriteGate
from registry_core.api.usage import AgentReports
from registry_core.bodies import decoded
from registry_core.domain.chain import CHAIN_HEADER, FOLLOWER_HEADER, ids_in, require_no_loop
from registry_core.domain.selection import Random
from registry_core.follow.denials import UpstreamDenials
from registry_core.follow.link import UpstreamLink
from registry_core.follow.metrics import add_follow_metrics
from registry_core.follow.passing import Passing
from registry_core.follow.report import UpstreamState, follow_health
from registry_core.follow.reporting import UpstreamReports
from registry_core.follow.settings import FollowSettings
from registry_core.follow.store import FollowedStore
from registry_core.follow.view import FollowerView
from registry_core.follow.watch import UpstreamWatch
from registry_core.ports.clock import Clock
from registry_core.security.client_settings import ClientTlsSettings
from registry_core.supervision import Background
from registry_core.telemetry.metrics import ReplicaMetrics

# How long the upstream may take for the state of the deployment, which it may have to ask for itself.
_ASK: Final = aiohttp.ClientTimeout(total=3.0, sock_connect=1.0)
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
        self.passing = Passing(self.link, clock)
        self.passing.is_told_apart = lambda: bool(self._path)
        self._path: tuple[str, ...] = ()
        self._own = ""
        self._reports: UpstreamReports | None = None
        self.watch.opened = self._opened

    async def start(self) -> None:
        """Open the way to the upstreams; none is asked yet. Raises SettingsError for TLS files that cannot be used."""
        await self.link.start()

    async def close(self) -> None:
        """Close the way to the upstreams. Safe to call twice."""
        await self.link.close()

    def join(
        self,
        own: str,
        *,
        gate: WriteGate,
        hub: WatchHub,
        drains: Drains,
        agents: AgentReports,
        summary: Callable[[], ReplicaSummary],
    ) -> None:
        """Take the place of the replica `own` in the tree, before `start`; `summary` returns how that one is."""
        self._own = self.passing.own = own
        self.passing.enter, self.passing.check = gate.enter, gate.check
        self.watch.headers[FOLLOWER_HEADER] = own
        self._reports = UpstreamReports(
            self.link,
            own,
            hub,
            applied=lambda: self.view.cursor,
            drains=drains.announced,
            agents=agents,
            summary=summary,
            above=self._see_chain,
            clock=self._clock,
        )
        self.watch.beside = self._reports.beside

    async def leave(self) -> None:
        """Tell the upstream that this follower stops, while its watch is still up."""
        if self._reports is not None:
            await self._reports.leave()

    def path(self) -> tuple[str, ...]:
        """Return the ids of the replicas from the upstream up to the registry; empty while they are not known."""
        return self._path if self.watch.watching is not None else ()

    def health(self) -> FollowHealth:
        """Return what `/health` says of the upstream."""
        return follow_health(self.state())

    async def deployment(self) -> DeploymentView | None:
        """Return what the upstream says of the deployment; None while there is no watch, or it does not say."""
        watching = self.watch.watching
        if watching is None:
            return None
        try:
            answer = await self.link.requests.open("GET", watching.url, "/deployment", within=_ASK)
            async with answer.response as response:
                body = await answer.read(MAX_SUMMARY_BYTES)
        except (TimeoutError, aiohttp.ClientError, OSError):
            return None
        return decoded(body, DeploymentView) if response.status == HTTPStatus.OK and body is not None else None

    def _opened(self, url: str, response: aiohttp.ClientResponse) -> None:
        """Note whom the upstream follows. Raises FollowLoop when that leads back here."""
        self._path = ()
        self._see_chain(url, response.headers.get(CHAIN_HEADER, ""))

    def _see_chain(self, url: str, header: str) -> None:
        """Note the chain of the upstream at `url`. Raises FollowLoop when it leads back here, or is too long."""
        chain = ids_in(header)
        require_no_loop(self._own, chain, url)
        self._path = chain

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
            path=self.path(),
        )
