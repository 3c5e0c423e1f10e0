"""The services that agents check and Prometheus scrapes: `python -m tests.observed.services PORT ...`.

Each port answers every request with a page of metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Final

PAGE: Final = b"# TYPE open_orders gauge\nopen_orders 7\n"
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n%s"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(_ANSWER % (len(PAGE), PAGE))
            await writer.drain()
    writer.close()


async def main(ports: list[int]) -> None:
    """Serve until the process ends."""
    servers = [await asyncio.start_server(_answer, "127.0.0.1", port) for port in ports]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main([int(word) for word in sys.argv[1:]]))
