"""The handlers of endpoints that are more than one operation: streams, parts, peers, and a replica's own state.

Each has the name of its row in the table of endpoints, like the operations, which `calls.py` serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

import msgspec
from aiohttp import web

from registry_core.api.calls import PARTIAL, answer, body_of
from registry_core.api.drain_schemas import AcknowledgeBody, AcknowledgedView
from registry_core.api.drains import Drains
from registry_core.api.endpoints import JSON
from registry_core.api.first_delivery import FirstDelivery
from registry_core.api.health_schemas import HealthView, LiveView, WhoamiView
from registry_core.api.hub import WatchHub
from registry_core.api.operations import Operations
from registry_core.api.peers import PEER_HEADER, Peers
from registry_core.api.queries import QueryParameters, boolean
from registry_core.api.request_bodies import decode
from registry_core.api.schemas import CatalogView
from registry_core.api.view import ReplicaView
from registry_core.api.watch import stream
from registry_core.domain.names import check_known_name, label_of
from registry_core.domain.records import Status
from registry_core.errors import NotFound
from registry_core.telemetry.metrics import CONTENT_TYPE
from registry_core.watch.cursor import parse_cursor

# How many instances to encode before other tasks get a turn.
_CATALOG_SLICE: Final = 256

_ENCODER: Final = msgspec.json.Encoder()


class Handlers:
    """One method for each such endpoint."""

    def __init__(
        self,
        operations: Operations,
        view: ReplicaView,
        hub: WatchHub,
        drains: Drains,
        *,
        first: FirstDelivery,
        peers: Peers,
        health: Callable[[], HealthView],
        exposition: Callable[[], bytes],
        openapi: Mapping[str, Any],
    ) -> None:
        self._operations = operations
        self._view = view
        self._hub = hub
        self._first = first
        self._drains = drains
        self._peers = peers
        self._health = health
        self._exposition = exposition
        self._openapi = _ENCODER.encode(openapi)

    # -- lookups

    async def catalog(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        self._operations.refuse_unknown_nothing()
        frame, instances = self._operations.catalog()
        version = f"{frame.digest}.{frame.state}"
        # Weak: heartbeats change how an instance is shown, but not the instance.
        headers = {"ETag": f'W/"{version}"', **(PARTIAL if self._operations.may_lack() else {})}
        if any(known.value in ("*", version) for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        parts: list[bytes] = []
        remaining = iter(instances)
        while part := list(islice(remaining, _CATALOG_SLICE)):
            parts.append(_ENCODER.encode([self._operations.shown(lived) for lived in part])[1:-1])
            await asyncio.sleep(0)
        return web.Response(body=_filled(frame, parts), content_type=JSON, headers=headers)

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
        )

    async def acknowledge(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        # It needs no credential: neither do lookups, and only the watcher itself knows its id.
        body = decode(await body_of(request), AcknowledgeBody)
        known = self._hub.acknowledge(body.watcher, parse_cursor(body.cursor))
        if not known and PEER_HEADER not in request.headers:
            known = await self._peers.acknowledge(body)
        if not known:
            raise NotFound("this replica has no such watcher", field="watcher", provided=body.watcher[:100])
        return answer(AcknowledgedView(status="acknowledged"))

    async def drain(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        own = self._drains.progress(request.match_info["service"], request.match_info["instance"])
        if PEER_HEADER in request.headers or own.status is not Status.DRAINING:
            return answer(own)
        return answer(await self._peers.summed(own))

    # -- about the replica

    async def health(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        health = self._health()
        return answer(health, 503 if health.status == "unhealthy" else 200)

    async def live(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        return answer(LiveView(status="live", state=self._view.state.value))

    async def ready(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        status = "stopping" if self._hub.closed else "ready" if self._view.loaded else "starting"
        return answer(LiveView(status=status, state=self._view.state.value), 200 if status == "ready" else 503)

    async def whoami(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        return answer(WhoamiView(address=request.remote or ""))

    async def metrics(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        return web.Response(body=self._exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        return web.Response(body=self._openapi, content_type=JSON)


def _filled(frame: CatalogView, parts: list[bytes]) -> bytes:
    """Return the frame as JSON with the encoded instances between the brackets that it ends with."""
    head = _ENCODER.encode(frame)
    return head[: -len(b"]}")] + b",".join(parts) + b"]}"
