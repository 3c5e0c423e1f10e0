"""Who may change something over localhost HTTP: a program on this machine, and no page in its browsers."""

from __future__ import annotations

from aiohttp import web

from registry_core.domain.names import ip_address
from registry_core.errors import Forbidden


def require_own(request: web.BaseRequest) -> None:
    """Raise Forbidden unless it comes over loopback, whatever address the agent listens on, and from no page."""
    peer = ip_address((request.remote or "").partition("%")[0])
    if peer is None or not (getattr(peer, "ipv4_mapped", None) or peer).is_loopback:
        raise Forbidden(f"{request.path} is for programs on the agent's own machine", provided=request.remote)
    if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
        raise Forbidden(f"{request.path} is not for pages in a browser", field="Origin")
