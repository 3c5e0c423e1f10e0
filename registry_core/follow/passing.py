"""Passes on what a follower does not answer itself, with the caller's own credentials."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from registry_core.api.endpoint import Endpoint
from registry_core.errors import StoreUnavailable
from registry_core.follow.link import UpstreamLink

# What is not a write, and yet only the registry with the store can answer.
_ASKED_THERE: Final = frozenset({"guard", "drain", "authority", "certificate_bundle", "denied_list"})
# What is a write, and concerns this process alone.
_OWN: Final = frozenset({"set_log_level"})


class Passing:
    """Passes requests on over `link`."""

    def __init__(self, link: UpstreamLink) -> None:
        self._link = link

    def takes(self, endpoint: Endpoint) -> bool:
        """Return whether requests to this endpoint are passed on."""
        return endpoint.name in _ASKED_THERE or (endpoint.writes and endpoint.name not in _OWN)

    async def handle(self, _request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        """Pass a request on. Raises StoreUnavailable when no registry can be asked."""
        raise StoreUnavailable(f"this registry follows another one, which it cannot ask for {endpoint.name}")
