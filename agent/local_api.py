"""The agent's HTTP face, for programs on the same machine. It decides nothing and takes no bodies.

Lookups are for whoever can connect. What changes something (`/drain`, `/maintenance`) is for this machine
alone, also when the agent listens beyond loopback, and not for pages in its browsers.

Every answer that comes from the view says how old the view is: `Age` in seconds, and `X-Cache: fresh`,
`stale` or `expired`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from agent.holding import Holding
from agent.lookups import Lookups
from agent.view import View
from registry_core.api.connections import Connections
from registry_core.api.problems import error_response, problem_response
from registry_core.api.queries import FILTERS, Query, filter_of, read_query
from registry_core.api.schemas import Problem
from registry_core.domain.names import ip_address
from registry_core.domain.records import Status
from registry_core.errors import Forbidden, ValidationError, VerticeError, Warming

JSON: Final = "application/json"
PLAIN: Final = "text/plain"
FORMATS: Final = ("json", "url", "hostport")
MAX_BODY_BYTES: Final = 1024
PATHS: Final = (
    "/services",
    "/services/{name}",
    "/resolve/{name}",
    "/explain/{name}",
    "/drain",
    "/maintenance",
    "/self",
    "/health",
    "/live",
    "/ready",
    "/metrics",
)

# What each path holds services at.
_HELD: Final = {"/drain": Status.DRAINING, "/maintenance": Status.MAINTENANCE}
_ENCODER: Final = msgspec.json.Encoder()
_log = structlog.get_logger(component="agent.http")


class LocalApi:
    """The handlers. `about` tells of the agent itself, `health` how it is, `exposition` its metrics."""

    def __init__(
        self,
        lookups: Lookups,
        view: View,
        connections: Connections,
        holding: Holding,
        *,
        about: Callable[[], object],
        health: Callable[[], tuple[bool, object]],
        exposition: Callable[[], Awaitable[tuple[bytes, str]]],
    ) -> None:
        self._lookups = lookups
        self._view = view
        self._connections = connections
        self._holding = holding
        self._about = about
        self._health = health
        self._exposition = exposition

    def app(self) -> web.Application:
        """Return the application, ready to be served."""
        app = web.Application(middlewares=[self._surround], client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.get("/services", self._services),
                web.get("/services/{name}", self._service),
                web.get("/resolve/{name}", self._resolve),
                web.get("/explain/{name}", self._explain),
                web.get("/drain", self._stands),
                web.post("/drain", self._hold),
                web.delete("/drain", self._let_go),
                web.post("/maintenance", self._hold),
                web.delete("/maintenance", self._let_go),
                web.get("/self", self._self),
                web.get("/health", self._get_health),
                web.get("/live", self._live),
                web.get("/ready", self._ready),
                web.get("/metrics", self._metrics),
            ]
        )
        return app

    # -- lookups

    async def _services(self, request: web.Request) -> web.Response:
        read_query(request, ())
        return self._aged(_ENCODER.encode(self._lookups.names()))

    async def _service(self, request: web.Request) -> web.Response:
        wanted = filter_of(read_query(request, FILTERS))
        return self._aged(_ENCODER.encode(self._lookups.service(request.match_info["name"], wanted)))

    async def _resolve(self, request: web.Request) -> web.Response:
        query = read_query(request, (*FILTERS, "format"))
        form = query.get("format") or "json"
        if form not in FORMATS:
            raise ValidationError(
                f"a format is one of {', '.join(FORMATS)}", field="format", provided=form, example="url"
            )
        picked = self._lookups.one(request.match_info["name"], filter_of(query))
        if form == "json":
            return self._aged(_ENCODER.encode(picked))
        # No newline at the end: the text is made to be put into a command line.
        text = picked.endpoint if form == "url" else picked.endpoint.partition("://")[2]
        return self._aged(text.encode(), PLAIN)

    async def _explain(self, request: web.Request) -> web.Response:
        wanted = filter_of(read_query(request, FILTERS))
        return self._aged(_ENCODER.encode(self._lookups.explain(request.match_info["name"], wanted)))

    def _aged(self, body: bytes, content_type: str = JSON) -> web.Response:
        view = self._view
        headers = {"Age": str(int(view.age_s())), "X-Cache": view.freshness.value}
        return web.Response(body=body, content_type=content_type, headers=headers)

    # -- this agent's own services

    async def _stands(self, request: web.Request) -> web.Response:
        query = own_query(request)
        held = await self._holding.stands(query.get("service"), query.get("instance"))
        return web.Response(body=_ENCODER.encode(held), content_type=JSON)

    async def _hold(self, request: web.Request) -> web.Response:
        query = own_query(request)
        held = self._holding.hold(query.get("service"), query.get("instance"), _HELD[request.path])
        return web.Response(body=_ENCODER.encode(held), content_type=JSON)

    async def _let_go(self, request: web.Request) -> web.Response:
        query = own_query(request)
        held = self._holding.let_go(query.get("service"), query.get("instance"), _HELD[request.path])
        return web.Response(body=_ENCODER.encode(held), content_type=JSON)

    # -- about the agent

    async def _self(self, request: web.Request) -> web.Response:
        read_query(request, ())
        return web.Response(body=_ENCODER.encode(self._about()), content_type=JSON)

    async def _get_health(self, request: web.Request) -> web.Response:
        read_query(request, ())
        well, health = self._health()
        return web.Response(status=200 if well else 503, body=_ENCODER.encode(health), content_type=JSON)

    async def _live(self, request: web.Request) -> web.Response:
        read_query(request, ())
        return web.Response(body=b'{"status":"live"}', content_type=JSON)

    async def _ready(self, request: web.Request) -> web.Response:
        read_query(request, ())
        if not self._view.loaded:
            raise Warming("this agent has heard nothing from the registry yet")
        return web.Response(body=b'{"status":"ready"}', content_type=JSON)

    async def _metrics(self, request: web.Request) -> web.Response:
        read_query(request, ())
        body, content_type = await self._exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})

    # -- what surrounds every request

    @web.middleware
    async def _surround(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._connections.request_came(request.transport, request.task)
        try:
            return await handler(request)
        except VerticeError as error:
            return error_response(error)
        except web.HTTPException as error:
            return _refused(error)
        except Exception:  # noqa: BLE001 - the top of what one request does: whatever it was, others are served
            _log.exception("request_failed", method=request.method, path=request.path)
            return problem_response(500, Problem(error="InternalError", message="the agent failed; its log says more"))


def own_query(request: web.Request) -> Query:
    """Return the query of a request about this agent's own services.

    Raises Forbidden when it comes from elsewhere, or from a page in a browser; ValidationError when it has a body.
    """
    peer = ip_address(request.remote or "")
    if peer is None or not (getattr(peer, "ipv4_mapped", None) or peer).is_loopback:
        raise Forbidden(f"{request.path} is for programs on the agent's own machine", provided=request.remote)
    if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
        raise Forbidden(f"{request.path} is not for pages in a browser", field="Origin")
    if request.can_read_body:
        raise ValidationError("it takes no body; what is meant stands in the query", field="body", example="?service=x")
    return read_query(request, ("service", "instance"))


def _refused(error: web.HTTPException) -> web.Response:
    """Return the answer to what aiohttp itself refused."""
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    name, message = {
        404: ("NotFound", f"there is no such path; there are {', '.join(PATHS)}"),
        405: ("MethodNotAllowed", f"this path takes {headers.get('Allow', 'other methods')}"),
    }.get(error.status, ("HttpError", error.reason))
    return problem_response(error.status, Problem(error=name, message=message), headers)


def http_logger() -> logging.Logger:
    """Return the logger for aiohttp: without a traceback for each thing that is no HTTP."""
    logger = logging.getLogger("agent.http")
    if _is_ours not in logger.filters:
        logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
