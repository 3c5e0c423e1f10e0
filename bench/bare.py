"""A minimal web app as a baseline: aiohttp that reads each body and always answers the same bytes.

Run as `python -m bench.bare PORT STATUS FILE [LOOP]`; FILE holds the answer's body, and LOOP is uvloop or asyncio.
It checks nothing and stores nothing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import web


async def serve(port: int, status: int, body: bytes) -> None:
    """Answer until the process is stopped."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=status, body=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    run = asyncio.run if sys.argv[4:] == ["asyncio"] else uvloop.run
    run(serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).read_bytes()))
