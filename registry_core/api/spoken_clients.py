"""The client of a request that a follower passes on, where that follower has the right to say so.

Its word is signed with its own key (`spoken_for.py`), or it is X-Forwarded-For over a connection with its certificate.
What nobody with that right says is read as any proxy's.
"""

from __future__ import annotations

from aiohttp import web

from registry_core.api.auth import Certified
from registry_core.api.proxies import RequestOrigin
from registry_core.domain.chain import VIA_HEADER
from registry_core.domain.names import canonical_ip
from registry_core.domain.networks import client_network
from registry_core.errors import Unauthorized
from registry_core.ports.clock import Clock
from registry_core.security.identities import Identity
from registry_core.security.keyring import Keyring
from registry_core.security.rights import Right, permits
from registry_core.security.signatures import SIGNATURE_HEADER
from registry_core.security.spoken_for import FOR_HEADER, read_spoken_for


class SpokenClients:
    """Reads what followers say, by the keys in `keyring` and by the certificates of connections."""

    def __init__(self, keyring: Keyring, certified: Certified, clock: Clock) -> None:
        self._keyring = keyring
        self._certified = certified
        self._clock = clock

    def origin(self, request: web.Request) -> RequestOrigin | None:
        """Return where a request comes from that a follower passes on; None for any other request."""
        said = request.headers.get(FOR_HEADER)
        if said is not None:
            client = self._signed(request, said)
        elif VIA_HEADER in request.headers:
            client = self._by_certificate(request)
        else:
            return None
        if client is None:
            return None
        # A client on the follower's own machine has no limits by address, there or here.
        return RequestOrigin(client, client_network(client)) if client else RequestOrigin(request.remote or "", "")

    def _signed(self, request: web.Request, said: str) -> str | None:
        seal = request.headers.get(SIGNATURE_HEADER, "")
        spoken, now = read_spoken_for(said, request.method, request.raw_path, seal=seal), self._clock.wall()
        if spoken is None or not spoken.is_timely(now):
            return None
        try:
            identity = self._keyring.signer(spoken.claim, now)
        except Unauthorized:
            return None
        return spoken.client if _speaks(identity) else None

    def _by_certificate(self, request: web.Request) -> str | None:
        try:
            identity = self._certified(request.transport)
        except Unauthorized:
            return None
        if identity is None or not _speaks(identity):
            return None
        named = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        return (canonical_ip(named) or None) if named else ""


def _speaks(identity: Identity) -> bool:
    return permits(identity, Right.SPEAK_FOR_OTHERS)
