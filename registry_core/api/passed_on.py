"""What a replica does not answer itself, because another registry does: a follower passes it on. An interface."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from registry_core.api.endpoint import Endpoint


class PassingOn(Protocol):
    """Passes requests on to the registry that answers them."""

    def takes(self, endpoint: Endpoint) -> bool:
        """Return whether requests to this endpoint are passed on. Asked once for each endpoint."""
        ...

    async def handle(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        """Pass a request on, unread and not yet authorised, and return the answer.

        Raises StoreUnavailable when no registry can be asked, and Misdirected for a request that runs in a circle.
        """
        ...
