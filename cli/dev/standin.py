"""The stand-ins: a small real HTTP server for each instance of a plan, all in one event loop.

`GET /` names the instance; `/health` and the service's own health path answer 200. For experiments, and
only here in the product, `POST /fail` makes the health paths answer 503 until `POST /recover`. They
imitate nothing else of a service: every other path answers 404.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Final

import msgspec
from aiohttp import web

from cli.dev.plan import PlannedInstance
from registry_core.descriptors import raise_descriptor_limit

BACKLOG: Final = 128
KEEPALIVE_S: Final = 15.0
# aiohttp keeps connections open until the last request ends; none of these requests takes long.
SHUTDOWN_S: Final = 0.2


class StandIn:
    """One instance, and whether it pretends to be failing."""

    def __init__(self, instance: PlannedInstance) -> None:
        self.instance = instance
        self.failing = False

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        match request.method, request.path:
            case "POST", "/fail":
                self.failing = True
                return self._says("failing")
            case "POST", "/recover":
                self.failing = False
                return self._says("ok")
            case "GET" | "HEAD", path if path in ("/health", self.instance.health_endpoint.partition("?")[0]):
                return self._says("failing", 503) if self.failing else self._says("ok")
            case "GET" | "HEAD", "/":
                return self._says("failing" if self.failing else "ok")
        return self._says("there is nothing here except / and /health", 404)

    def _says(self, status: str, code: int = 200) -> web.Response:
        who = {"service": self.instance.service_name, "instance": self.instance.address, "status": status}
        return web.Response(body=msgspec.json.encode(who) + b"\n", status=code, content_type="application/json")


class StandIns:
    """All stand-ins of a plan."""

    def __init__(self) -> None:
        self._runners: list[web.ServerRunner] = []
        self.listening: list[PlannedInstance] = []

    async def start(self, instances: Iterable[PlannedInstance]) -> dict[PlannedInstance, OSError]:
        """Listen for every instance; return those whose address cannot be bound, and why."""
        raise_descriptor_limit()  # a large fleet needs a thousand sockets
        refused = {}
        for instance in instances:
            try:
                sock = _bound(instance)
            except OSError as error:
                refused[instance] = error
                continue
            server = web.Server(StandIn(instance).answer, keepalive_timeout=KEEPALIVE_S)
            runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
            self._runners.append(runner)
            await runner.setup()
            await web.SockSite(runner, sock, backlog=BACKLOG).start()
            self.listening.append(instance)
        return refused

    async def close(self) -> None:
        """Stop listening. Safe to call twice."""
        runners, self._runners = self._runners, []
        self.listening.clear()
        await asyncio.gather(*(runner.cleanup() for runner in runners))


def _bound(instance: PlannedInstance) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((instance.host, instance.port))
    except BaseException:
        sock.close()
        raise
    return sock
