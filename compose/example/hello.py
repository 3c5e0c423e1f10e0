"""A service to try things out with: it says who it is, and knows nothing of any registry.

Its port is the first argument, 8080 unless given. SIGTERM lets requests under way finish.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    """Answers `GET /health` with 200, and anything else with this container's name."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        body = b"well\n" if self.path == "/health" else f"hello from {socket.gethostname()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it overrides
        """Say nothing of requests."""


class HelloServer(ThreadingHTTPServer):
    """Waits for its requests when it is closed; idle connections are not waited for."""

    daemon_threads = True


def main() -> None:
    """Serve until SIGTERM."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    server = HelloServer(("", port), Hello)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"hello: listening on :{port}", flush=True)  # noqa: T201 - it is a program
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
