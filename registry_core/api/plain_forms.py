"""Secrets that are sent as they are: whether one is accepted on this connection, and how many senders still do it."""

from __future__ import annotations

from collections import Counter
from typing import Final

import structlog
from aiohttp import web

from registry_core.api.clients import client_of
from registry_core.domain.names import all_loopback
from registry_core.errors import Unauthorized
from registry_core.ports.clock import Clock
from registry_core.security.access_settings import PLAIN_AUTH, PlainForms
from registry_core.security.identities import Proof
from registry_core.telemetry.log_thinning import Thinning

# Senders that have a line in the log each.
MAX_SENDERS: Final = 64
# What a proxy adds: the sender is not the machine at the other end of the connection.
_FORWARDED: Final = ("X-Forwarded-For", "Forwarded")

log = structlog.get_logger()


class PlainRefused(Unauthorized):
    """Raised when a secret arrives as it is over plain HTTP, and the registry takes that from nobody."""


class PlainPolicy:
    """What one replica does about secrets that are sent as they are. It also counts credentials by their form."""

    def __init__(self, forms: PlainForms, clock: Clock) -> None:
        self.forms = forms
        self._clock = clock
        self._thinning = Thinning(causes=MAX_SENDERS)
        self.accepted: Counter[str] = Counter()  # by the word of the proof
        self.exposed = 0  # accepted although it was in plain sight
        self.refused = 0

    def used(self, proof: Proof) -> None:
        """Count a credential that was accepted."""
        self.accepted[str(proof)] += 1

    def require(self, request: web.Request, header: str) -> None:
        """Raise PlainRefused when the secret in `header` was in plain sight on its way, and that is not accepted."""
        if not is_in_plain_sight(request):
            return
        if self.forms is PlainForms.OFF:
            self.refused += 1
            raise PlainRefused(
                f"this registry takes no secret in {header} over plain HTTP: use TLS, sign the request as agents and "
                f"commands do, or let it accept such secrets with {PLAIN_AUTH.name}=on",
                field=header,
                example=f"{PLAIN_AUTH.name}=on",
            )
        self.exposed += 1
        if self.forms is PlainForms.WARN:
            client = client_of(request)
            times = self._thinning.failed(client, self._clock.monotonic())
            if times is not None:
                log.warning(
                    "plain_secret_accepted",
                    client=client,
                    header=header,
                    times=times,
                    check=f"that this sender signs its requests or uses TLS; the next release refuses it unless "
                    f"{PLAIN_AUTH.name}=on",
                )


def is_in_plain_sight(request: web.Request) -> bool:
    """Return whether somebody between the sender and here can have read the request."""
    transport = request.transport
    if transport is None or transport.get_extra_info("ssl_object") is not None:
        return False
    peer = transport.get_extra_info("peername")
    if isinstance(peer, tuple) and not all_loopback((peer[0],)):
        return True
    headers = request.headers
    return any(name in headers for name in _FORWARDED)
