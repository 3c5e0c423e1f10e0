"""Which client sent a request: noted once, as soon as the request arrives, for whatever names it later."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from registry_core.api.proxies import RequestOrigin

CLIENT: Final = web.RequestKey("client", RequestOrigin)


def client_of(request: web.Request) -> str:
    """Return the client's address: of the connection, or what a trusted proxy says; "" when there is none."""
    noted = request.get(CLIENT)
    return noted.address if noted is not None else request.remote or ""
