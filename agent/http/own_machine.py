"""Restricts changes over localhost HTTP to programs on this machine, excluding browser pages."""

from __future__ import annotations

from aiohttp import web

from registry_core.domain.names import ip_address
from registry_core.errors import Forbidden


def require_own(request: web.BaseRequest) -> None:
    """Raise Forbidden unless the request comes over loopback, and not from a browser page."""
    peer = ip_address((request.remote or "").partition("%")[0])
    if peer is None or not peer.is_loopback:
        raise Forbidden(f"{request.path} is for programs on the agent's own machine", provided=request.remote)
    if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
        raise Forbidden(f"{request.path} is not for browser pages", field="Origin")
