"""What runs beside a test, and ends with a `with`: an HTTP server in a thread, a task in the test's loop."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any


@contextlib.contextmanager
def http_server(handler: type[http.server.BaseHTTPRequestHandler], host: str = "127.0.0.1") -> Iterator[int]:
    """Serve HTTP with `handler` on a free port, which is yielded."""
    with http.server.ThreadingHTTPServer((host, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(10)


@contextlib.asynccontextmanager
async def task_of(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work`, and cancel it at the end."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
