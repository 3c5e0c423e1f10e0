"""The handlers of endpoints that are more than one operation: streams, parts, peers, and a replica's own state.

Each has the name of its row in the table of endpoints, like the operations, which `calls.py` serves.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from registry_core.api.audit import AuditHandlers
from registry_core.api.auth import CALLER
from registry_core.api.calls import PARTIAL, answer, body_of
from registry_core.api.catalog_answer import GZIP, CatalogAnswers, takes_gzip
from registry_core.api.certificate_endpoints import PEM
from registry_core.api.certificates import Certificates
from registry_core.api.clients import client_of
from registry_core.api.deployment import Deployment
from registry_core.api.drain_schemas import AcknowledgeBody, AcknowledgedView
from registry_core.api.drains import Drains
from registry_core.api.endpoints import JSON
from registry_core.api.first_delivery import FirstDelivery
from registry_core.api.follow_tree import FollowTree
from registry_core.api.health_schemas import HealthView, LiveView, WhoamiView
from registry_core.api.hub import WatchHub
from registry_core.api.operations import Operations
from registry_core.api.peers import PEER_HEADER, Peers
from registry_core.api.pieces import begun, sent
from registry_core.api.prometheus_discovery import PrometheusDiscovery, TargetQuery
from registry_core.api.queries import QueryParameters, boolean, filter_of
from registry_core.api.request_bodies import decode
from registry_core.api.request_limits import RequestLimits
from registry_core.api.snapshot_turns import SnapshotTurns
from registry_core.api.unread import UnreadAnswers
from registry_core.api.usage import AgentReports, UsageHandlers
from registry_core.api.view import ReplicaView
from registry_core.api.watch import stream
from registry_core.domain.chain import CHAIN_HEADER
from registry_core.domain.names import check_known_name, label_of
from registry_core.domain.records import Status
from registry_core.errors import NotFound
from registry_core.ports.clock import Clock
from registry_core.security.rights import Right
from registry_core.watch.cursor import parse_cursor

if TYPE_CHECKING:  # it needs a package that a registry without an audit does not
    from registry_core.security.audit.service import AuditService

_ENCODER: Final = msgspec.json.Encoder()


class Handlers(AuditHandlers, UsageHandlers):
    """One method for each such endpoint."""

    def __init__(
        self,
        operations: Operations,
        view: ReplicaView,
        hub: WatchHub,
        drains: Drains,
        *,
        audit: AuditService | None,
        reports: AgentReports,
        first: FirstDelivery,
        peers: Peers,
        certificates: Certificates,
        unread: UnreadAnswers,
        clock: Clock,
        health: Callable[[], HealthView],
        deployment: Deployment,
        exposition: Callable[[str], tuple[bytes, str]],
        openapi: Mapping[str, Any],
        tree: FollowTree,
    ) -> None:
        AuditHandlers.__init__(self, audit)
        UsageHandlers.__init__(self, reports)
        self._operations = operations
        self._view = view
        self._hub = hub
        self._first = first
        self._drains = drains
        self._peers = peers
        self.certificates = certificates
        self._unread = unread
        self.catalogs = CatalogAnswers(
            operations.catalog,
            operations.shown,
            clock,
            position=lambda: (view.cursor, view.catalog.digest_number),
            may_lack=operations.may_lack,
        )
        self._turns = SnapshotTurns(
            clock,
            secrets.SystemRandom(),
            at_once=hub.limits.openings_at_once,
            most_waiting=hub.limits.openings_waiting,
            has_room=unread.makes_room,
        )
        hub.at_close(self._turns.close)
        self._discovery = PrometheusDiscovery(view)
        self._health = health
        self._deployment = deployment
        self._exposition = exposition
        self._tree = tree
        self._openapi = _ENCODER.encode(openapi)

    # -- lookups

    async def catalog(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        self._operations.refuse_unknown_nothing()
        self._unread.admit()
        catalog = await self.catalogs.current()
        headers = {**dict(catalog.fields), **(PARTIAL if self._operations.may_lack() else {})}
        if _has(request, catalog.version):
            return web.Response(status=304, headers=headers)
        pieces = catalog.pieces
        if takes_gzip(request.headers.get("Accept-Encoding", "")):
            pieces = await self.catalogs.zipped(catalog)
            headers["Content-Encoding"] = GZIP
        return await self._in_pieces(request, headers, pieces)

    async def prometheus_targets(self, request: web.Request, query: QueryParameters) -> web.StreamResponse:
        service = query.get("service", "")
        asked = TargetQuery(check_known_name(service, field="service") if service else "", filter_of(query))
        self._unread.admit()
        targets = await self._discovery.answer(asked)
        # Weak: replicas with the same instances list them in other orders.
        headers = {"ETag": f'W/"{targets.digest}"', **(PARTIAL if self._operations.may_lack() else {})}
        if _has(request, targets.digest):
            return web.Response(status=304, headers=headers)
        return await self._in_pieces(request, headers, targets.pieces)

    async def _in_pieces(
        self, request: web.Request, headers: Mapping[str, str], pieces: Sequence[bytes]
    ) -> web.StreamResponse:
        """Send JSON that many readers share."""
        response = web.StreamResponse(headers={"Content-Type": JSON, **headers, **RequestLimits.said(request)})
        response.content_length = sum(map(len, pieces))
        try:
            await begun(response, request)
            if request.method != "HEAD":
                await sent(response, request, pieces, self._unread)
            await response.write_eof()
        except ConnectionError:
            if request.transport is not None:
                request.transport.abort()
        return response

    async def watch(self, request: web.Request, query: QueryParameters) -> web.StreamResponse:
        service = query.get("service")
        label = label_of(check_known_name(service, field="service")) if service else None
        cursor = parse_cursor(query.get("cursor", ""))
        # A reader learns that this registry is warming, and gets the rest as soon as it is there.
        await self._first.wait()
        return await stream(
            request,
            self._hub,
            cursor,
            label=label,
            renewals=boolean(query, "renewals"),
            acknowledges=boolean(query, "acknowledges"),
            once=boolean(query, "once"),
            unread=self._unread,
            replica=self._peers.id,
            report_every_s=self.reports.every_s,
            chain=self._tree.chain,
            turns=self._turns,
        )

    async def acknowledge(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        # It needs no credential: neither do lookups, and only the watcher itself knows its id. A report needs one.
        body = decode(await body_of(request), AcknowledgeBody)
        if body.report is not None:
            body.report = self.reports.admitted(request[CALLER], body.report)
        if body.follower is not None:
            request[CALLER].require(Right.SPEAK_FOR_OTHERS)
        known = self._hub.acknowledge(body.watcher, parse_cursor(body.cursor))
        if known and body.follower is not None:
            self._tree.take(body.follower, address=client_of(request))
            self.reports.take_followed(body.watcher, body.follower.id, body.follower.agents)
        if known and body.report is not None:
            self.reports.take(body.watcher, body.report)
        if not known and PEER_HEADER not in request.headers:
            known = await self._peers.acknowledge(body)
        if not known:
            raise NotFound("this replica has no such watcher", field="watcher", provided=body.watcher[:100])
        response = answer(AcknowledgedView(status="acknowledged"))
        response.headers[CHAIN_HEADER] = self._tree.chain  # it may have changed since the watch began
        return response

    async def drain(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        own = self._drains.progress(request.match_info["service"], request.match_info["instance"])
        if PEER_HEADER in request.headers or own.status is not Status.DRAINING:
            return answer(own)
        return answer(await self._peers.summed(own))

    async def certificate_bundle(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        bundle = self.certificates.bundle()
        version = hashlib.sha256(bundle).hexdigest()[:16]
        headers = {"ETag": f'"{version}"'}
        if _has(request, version):
            return web.Response(status=304, headers=headers)
        return web.Response(body=bundle, content_type=PEM, headers=headers)

    # -- about the replica

    async def health(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        health = self._health()
        return answer(health, 503 if health.status == "unhealthy" else 200)

    async def deployment(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        return answer(self._deployment.own() if PEER_HEADER in request.headers else await self._deployment.whole())

    async def live(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        return answer(LiveView(status="live", state=self._view.state.value))

    async def ready(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        status = "stopping" if self._hub.closed else "ready" if self._view.loaded else "starting"
        return answer(LiveView(status=status, state=self._view.state.value), 200 if status == "ready" else 503)

    async def whoami(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        return answer(WhoamiView(address=client_of(request)))

    async def metrics(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        text, content_type = self._exposition(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type, "Vary": "Accept"})

    async def openapi(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        return web.Response(body=self._openapi, content_type=JSON)


def _has(request: web.Request, version: str) -> bool:
    """Return whether the reader says that it has this version."""
    return any(known.value in ("*", version) for known in request.if_none_match or ())
