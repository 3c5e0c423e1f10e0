"""A minimal streaming server as a baseline: on uvloop, it writes the body of each POST to every open stream.

Run as `python -m bench.bare_stream PORT`. It keeps nothing, checks nothing, and waits for nobody: it is what a change
to many watchers costs at least, in Python with this event loop.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

OPENING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
STREAMS: set[asyncio.Transport] = set()


class BareStream(asyncio.Protocol):
    """A stream for a GET; a POST has its body written to all of them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET "):
            STREAMS.add(self._transport)
            self._transport.write(OPENING)
        elif len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            for stream in STREAMS:
                stream.write(body)
            self._transport.write(CREATED)
        else:
            return
        self._received = b""

    def connection_lost(self, _exc: Exception | None) -> None:
        STREAMS.discard(self._transport)


async def serve(port: int) -> None:
    """Serve until the process is stopped."""
    await asyncio.get_running_loop().create_server(BareStream, "127.0.0.1", port, backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
