"""The span of one request at a port of ours, after OpenTelemetry's conventions for HTTP servers.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/. Its name is that of the operation, `registry.register`.
No attribute has a query or a header: there may be secrets in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from registry_core.api.clients import client_of
from registry_core.api.endpoints import ENDPOINTS
from registry_core.telemetry.spans import Span, serving, tracing
from registry_core.telemetry.trace_context import TRACEPARENT, TraceContext, trace_id

# So that the receiver of an error can find its lines in the log.
TRACE_HEADER: Final = "X-Trace-Id"
MAX_PATH: Final = 200
MAX_AGENT: Final = 100
_UNMATCHED: Final = "registry.unmatched"
# By method and path; a HEAD is a GET.
_NAMES: Final[Mapping[tuple[str, str], str]] = {
    (endpoint.method, endpoint.path): f"registry.{endpoint.name}" for endpoint in ENDPOINTS
}
# What supervisors and Prometheus ask all the time.
_NOT_RECORDED: Final = frozenset({"/live", "/ready", "/health", "/metrics"})
# The context of a request that was carried out before its handler answers it.
CONTEXT: Final = web.RequestKey("context", TraceContext)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


def serving_request(request: web.Request, route: str) -> Span:
    """Return the span of a request, for a `with` block, in which its log lines have its trace id.

    `route` is its path in the table of endpoints, or empty.
    """
    traceparent = request.headers.get(TRACEPARENT)
    if tracing.tracer is None:
        begun = request.get(CONTEXT)
        return serving("", traceparent if begun is None else str(begun))
    # A watch is no request that ends, unless it asks for one service once: its span would last as long as its reader.
    if route in _NOT_RECORDED or (route == "/watch" and "once=" not in request.query_string):
        return serving("", traceparent)
    name = _NAMES.get(("GET" if request.method == "HEAD" else request.method, route), _UNMATCHED)
    return serving(name, traceparent)


def attributes_of(request: web.Request, route: str) -> dict[str, str | int]:
    """Return what a span says of a request."""
    found: dict[str, str | int] = {
        "http.request.method": request.method if request.method in _METHODS else "_OTHER",
        "url.scheme": request.scheme,
        "url.path": request.raw_path.partition("?")[0][:MAX_PATH],
        "network.protocol.version": f"{request.version.major}.{request.version.minor}",
    }
    if route:
        found["http.route"] = route
    if agent := request.headers.get("User-Agent"):
        found["user_agent.original"] = agent[:MAX_AGENT]
    if client := client_of(request):
        found["client.address"] = client
    return found


def answered(span: Span, request: web.Request, route: str, response: web.StreamResponse) -> None:
    """Note a request and how it was answered, in its span and, when it failed, in its answer."""
    if response.status >= HTTPStatus.BAD_REQUEST and not response.prepared and (known := trace_id.get()) is not None:
        response.headers[TRACE_HEADER] = known
    noted(span, request, route, response.status)


def noted(span: Span, request: web.Request, route: str, status: int) -> None:
    """Note a request and the status of its answer in its span."""
    if span.is_recorded:
        for name, value in attributes_of(request, route).items():
            span.set(name, value)
        span.set("http.response.status_code", status)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            span.failed(str(status))
