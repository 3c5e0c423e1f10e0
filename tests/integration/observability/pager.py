"""A receiver that stands for PagerDuty's Events API v2, and checks what it is sent.

https://developer.pagerduty.com/docs/events-api-v2-overview
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SEVERITIES = ("critical", "error", "warning", "info")


class Pager:
    """The events so far, in order, and what was wrong with them."""

    def __init__(self, routing_key: str, port: int) -> None:
        self.routing_key = routing_key
        self.url = f"http://127.0.0.1:{port}/v2/enqueue"
        self.events: list[dict[str, Any]] = []
        self.faults: list[str] = []

    def take(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return the answer to one request."""
        event = json.loads(body)
        fault = self._fault(path, event)
        if fault:
            self.faults.append(f"{fault}: {body[:500]!r}")
            return 400, {"status": "invalid event", "message": "Event object is invalid", "errors": [fault]}
        self.events.append(event)
        return 202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}

    def _fault(self, path: str, event: dict[str, Any]) -> str:
        if path != "/v2/enqueue":
            return "wrong path"
        if event.get("routing_key") != self.routing_key:
            return "wrong routing key"
        if not 0 < len(event.get("dedup_key", "")) <= 255:
            return "no usable dedup_key"
        if event.get("event_action") == "resolve":
            return ""
        if event.get("event_action") != "trigger":
            return "no event_action"
        payload = event.get("payload", {})
        if not 0 < len(payload.get("summary", "")) <= 1024 or not payload.get("source"):
            return "no usable summary or source"
        return "" if payload.get("severity") in SEVERITIES else "no severity"

    def actions(self, name: str) -> list[str]:
        """Return the actions so far about one alert."""
        key = {event["dedup_key"] for event in self.events if event.get("payload", {}).get("class") == name}
        return [event["event_action"] for event in self.events if event["dedup_key"] in key]

    def triggered(self) -> set[str]:
        """Return the names of the alerts that somebody was paged for."""
        return {event["payload"]["class"] for event in self.events if event["event_action"] == "trigger"}


@contextlib.contextmanager
def pager(routing_key: str) -> Iterator[Pager]:
    """Run a receiver for the duration of a `with`."""

    class Handler(BaseHTTPRequestHandler):
        """Answers as the Events API does."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = receiver.take(self.path, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Pager(routing_key, server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
