"""A collector of traces for tests: a real HTTP server that reads OTLP with OpenTelemetry's own package."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class CollectedSpan(NamedTuple):
    """One span, with the name of the program that sent it."""

    program: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, object]
    is_error: bool


class Collector:
    """What arrived: the bodies, the headers of the last request, and the spans."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.spans: list[CollectedSpan] = []
        self.statuses: list[int] = []  # to answer with, one after the other; then 200
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Take in one request, and return the status to answer with."""
        self.headers = headers
        if self.statuses:
            return self.statuses.pop(0)
        plain = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        self.bodies.append(plain)
        self.spans += spans_in(ExportTraceServiceRequest.FromString(plain))
        return 200

    def named(self, name: str) -> list[CollectedSpan]:
        """Return the spans of a name."""
        return [span for span in self.spans if span.name == name]

    def below(self, above: CollectedSpan) -> list[CollectedSpan]:
        """Return the spans right below one."""
        return [span for span in self.spans if (span.trace_id, span.parent_id) == (above.trace_id, above.span_id)]


def spans_in(request: ExportTraceServiceRequest) -> Iterator[CollectedSpan]:
    for resource in request.resource_spans:
        program = next((a.value.string_value for a in resource.resource.attributes if a.key == "service.name"), "")
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield CollectedSpan(
                    program,
                    span.name,
                    Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    {attribute.key: _value(attribute.value) for attribute in span.attributes},
                    span.status.code == 2,
                )


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind is not None else None


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector for the duration of a `with`."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            is_right = self.path == "/v1/traces" and self.headers.get("Content-Type") == "application/x-protobuf"
            status = collector.take(body, dict(self.headers)) if is_right else 404
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
