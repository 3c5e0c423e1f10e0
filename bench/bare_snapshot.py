"""A bare uvloop server that writes the same bytes to everyone who sends a request: what a snapshot costs at least."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast

import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Writer(asyncio.Protocol):
    """One connection."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n") and self._transport is not None:
            self._transport.write(_HEAD + b"%x\r\n" % len(self._body))
            self._transport.write(self._body)
            self._transport.write(b"\r\n")


async def main(port: int, body: bytes) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Writer(body), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
