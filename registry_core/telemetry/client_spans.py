"""The span of one request to another server, after OpenTelemetry's conventions for HTTP clients.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/. No attribute has a query or a header: there may be secrets
in them.
"""

from __future__ import annotations

from typing import Final

from yarl import URL

from registry_core.telemetry.spans import Span, SpanKind, span
from registry_core.telemetry.trace_context import parent

MAX_URL: Final = 200


def client_span(method: str, url: URL, resend: int = 0) -> Span:
    """Return the span of one attempt of a request, for a `with` block; `resend` counts those before it."""
    current = parent.get()
    if current is None or not current.sampled:
        return span(method)  # it does nothing, and needs no attributes
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.full": str(url.with_query(None).with_user(None))[:MAX_URL],
        "server.address": url.host or "",
        "server.port": url.port or 0,
    }
    if resend:
        attributes["http.request.resend_count"] = resend
    return span(f"{method} {first_word(url.raw_path)}", SpanKind.CLIENT, attributes)


def first_word(path: str) -> str:
    """Return a path without the names in it, as the name of a span must be of few kinds: `/status` of `/status/x/y`."""
    return f"/{path.split('/')[1]}" if path.startswith("/") else "/"
