"""Builds the aiohttp application: the routes from the table of endpoints, and the middleware.

Every request gets a trace id, its duration in the metrics, and errors in the one shape.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from registry_core.api.calls import EndpointHandler, Writing, looking_up, written_by
from registry_core.api.endpoints import ENDPOINTS, NDJSON, Endpoint
from registry_core.api.expectations import close_if_unasked, no_answer_yet
from registry_core.api.first_delivery import FirstDelivery
from registry_core.api.operations import Operations
from registry_core.api.passed_on import PassingOn
from registry_core.api.pieces import WatchStream
from registry_core.api.problems import INTERNAL, aiohttp_response, error_response, problem_response
from registry_core.api.queries import read_query
from registry_core.api.request_limits import RequestLimits
from registry_core.api.request_notes import RequestNotes
from registry_core.api.routes import Handlers
from registry_core.api.schemas import MAX_BODY_BYTES, ZONE_HEADER
from registry_core.api.server_spans import answered, serving_request
from registry_core.api.steps import Reception, RequestStep, passed
from registry_core.errors import VerticeError
from registry_core.telemetry.logs import trace_id
from registry_core.telemetry.metrics import ReplicaMetrics

UNMATCHED: Final = "unmatched"

log = structlog.get_logger()


def build_app(
    operations: Operations,
    handlers: Handlers,
    reception: Reception,
    *,
    first: FirstDelivery,
    passing: PassingOn | None = None,
) -> web.Application:
    """Return the application, ready to serve. Every request passes the steps of `reception`.

    What `passing` takes is judged elsewhere, and passes the limits alone.
    """
    steps, limits, notes, metrics, zone = reception
    app = web.Application(middlewares=[_surrounding(limits, metrics)], client_max_size=MAX_BODY_BYTES)

    async def name_zone(_: web.Request, response: web.StreamResponse) -> None:
        response.headers[ZONE_HEADER] = zone

    if zone:
        app.on_response_prepare.append(name_zone)
    for endpoint in ENDPOINTS:
        if passing is not None and passing.takes(endpoint):
            handler = _passed_on(endpoint, passing, limits)
        else:
            handler = _handler(
                endpoint,
                _method(endpoint, operations, handlers, limits),
                steps,
                notes=notes,
                first=first,
                limits=limits,
            )
        app.router.add_route(endpoint.method, endpoint.path, handler, expect_handler=no_answer_yet)
        if endpoint.method == "GET" and endpoint.media_type != NDJSON:
            app.router.add_route("HEAD", endpoint.path, handler, expect_handler=no_answer_yet)
    return app


def http_logger() -> logging.Logger:
    """Return the logger for aiohttp, which leaves out the tracebacks of invalid HTTP.

    Any client could fill the disk with those.
    """
    logger = logging.getLogger("registry_core.http")
    if _is_ours not in logger.filters:
        logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


def _method(endpoint: Endpoint, operations: Operations, handlers: Handlers, limits: RequestLimits) -> EndpointHandler:
    """Return the handler of an endpoint: its own method, or else the operation of that name."""
    own: EndpointHandler | None = getattr(handlers, endpoint.name, None)
    if own is not None:
        return own
    operation = getattr(operations, endpoint.name, None) or getattr(handlers.certificates, endpoint.name)
    if endpoint.writes:
        return Writing(endpoint, operation, limits).handle
    return looking_up(endpoint, operation, operations.may_lack if endpoint.is_list else operations.is_warming)


def _handler(
    endpoint: Endpoint,
    method: EndpointHandler,
    steps: Sequence[RequestStep],
    *,
    notes: RequestNotes,
    first: FirstDelivery,
    limits: RequestLimits,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    known = [parameter.name for parameter in endpoint.query]

    async def handle(request: web.Request) -> web.StreamResponse:
        passed(request, endpoint, steps)
        query = read_query(request, known)
        if endpoint.from_store:
            await first.require()
        return await method(request, query)

    async def noted(request: web.Request) -> web.StreamResponse:
        try:
            response = await handle(request)
        except VerticeError as error:
            said = limits.failed(request, written_by(request), error)
            notes.failed(request, endpoint, said)
            raise said from None
        limits.succeeded(request)
        notes.done(request, endpoint, response.status)
        return response

    return noted


def _passed_on(
    endpoint: Endpoint, passing: PassingOn, limits: RequestLimits
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        limits.check(request, endpoint)
        return await passing.handle(request, endpoint)

    return handle


def _surrounding(limits: RequestLimits, metrics: ReplicaMetrics) -> Callable[..., Awaitable[web.StreamResponse]]:
    @web.middleware
    async def surround(request: web.Request, handler: Handler) -> web.StreamResponse:
        limits.arrived(request)
        route = _route(request)
        with serving_request(request, route) as own:
            started = time.perf_counter()
            response = await _answered(request, handler, limits)
            close_if_unasked(request, response)
            said = limits.said(request)
            if said and isinstance(response, web.Response):
                response.headers.update(said)
            if not isinstance(response, WatchStream):
                took_s = time.perf_counter() - started
                metrics.request(route or UNMATCHED, request.method, response.status, took_s, trace_id.get())
            answered(own, request, route, response)
            return response

    return surround


async def _answered(request: web.Request, handler: Handler, limits: RequestLimits) -> web.StreamResponse:
    try:
        if request.match_info.http_exception is not None:
            limits.check_stray(request)
        return await handler(request)
    except VerticeError as error:
        await limits.hold(error)
        return error_response(error)
    except web.HTTPException as error:
        return aiohttp_response(error)
    except Exception:
        # The top of one request: whatever fails here, others are still served.
        log.exception("request failed", method=request.method, endpoint=_route(request) or UNMATCHED)
        return problem_response(500, INTERNAL)


def _route(request: web.Request) -> str:
    """Return the path of the route in the table of endpoints, or nothing when there is none."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""
