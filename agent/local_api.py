"""The agent's HTTP face, for programs on the same machine. It decides nothing, and takes no bodies itself.

Every answer that comes from the view says how old the view is: `Age` in seconds, and `X-Cache: fresh`,
`stale` or `expired`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from agent.lookups import Lookups
from agent.view import View
from registry_core.api.connections import Connections
from registry_core.api.problems import error_response, problem_response
from registry_core.api.queries import FILTERS, filter_of, read_query
from registry_core.api.schemas import Problem
from registry_core.errors import ValidationError, VerticeError, Warming

JSON: Final = "application/json"
PLAIN: Final = "text/plain"
FORMATS: Final = ("json", "url", "hostport")
MAX_BODY_BYTES: Final = 1024
PATHS: Final = (
    "/services",
    "/services/{name}",
    "/resolve/{name}",
    "/self",
    "/health",
    "/live",
    "/ready",
    "/metrics",
)

_ENCODER: Final = msgspec.json.Encoder()
_log = structlog.get_logger(component="agent.http")


class LocalApi:
    """The handlers. `about` tells of the agent itself, `health` how it is, `exposition` its metrics."""

    def __init__(
        self,
        lookups: Lookups,
        view: View,
        connections: Connections,
        *,
        about: Callable[[], object],
        health: Callable[[], tuple[bool, object]],
        exposition: Callable[[], Awaitable[tuple[bytes, str]]],
        also: Iterable[web.RouteDef] = (),
    ) -> None:
        self._lookups = lookups
        self._view = view
        self._connections = connections
        self._about = about
        self._health = health
        self._exposition = exposition
        self._also = also

    def app(self) -> web.Application:
        """Return the application, ready to be served."""
        app = web.Application(middlewares=[self._surround], client_max_size=MAX_BODY_BYTES)
        handlers = (
            self._services,
            self._service,
            self._resolve,
            self._self,
            self._get_health,
            self._live,
            self._ready,
            self._metrics,
        )
        for path, handler in zip(PATHS, handlers, strict=True):
            app.router.add_get(path, handler)
        app.add_routes(self._also)
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

    def _aged(self, body: bytes, content_type: str = JSON) -> web.Response:
        view = self._view
        headers = {"Age": str(int(view.age_s())), "X-Cache": view.freshness.value}
        return web.Response(body=body, content_type=content_type, headers=headers)

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
