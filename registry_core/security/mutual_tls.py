"""Mutual TLS: judges the certificate that a client has shown, once for each connection, and ends what is denied later.

A connection may live for months: while it is open, its certificate can end, or be denied, or its authority can be
trusted no more.
"""

from __future__ import annotations

import asyncio
import ssl
import weakref
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from registry_core.errors import Unauthorized
from registry_core.ports.clock import Clock
from registry_core.security.certified import FIELD, identity_in
from registry_core.security.identities import Identity
from registry_core.security.tls_contexts import Certificate, anchor_of, authorities_of, facts_of
from registry_core.security.tls_transport import TlsTransport

SWEEP_EVERY_S: Final = 2.0

_log = structlog.get_logger(component="tls")


class ClientCertificate(msgspec.Struct, frozen=True):
    """The certificate of one client, and who that is, or why it is nobody."""

    certificate: Certificate
    identity: Identity | Unauthorized
    context: ssl.SSLContext  # which verified it
    anchor: bytes | None  # the authority, if it is known


class MutualTls:
    """The certificates of all clients of one port.

    `context` returns what verifies certificates now. `is_denied` gets a serial number and a SPIFFE id.
    """

    def __init__(
        self,
        trust_domain: str,
        clock: Clock,
        *,
        context: Callable[[], ssl.SSLContext],
        is_denied: Callable[[int, str], bool] = lambda _serial, _id: False,
    ) -> None:
        self._trust_domain = trust_domain
        self._clock = clock
        self._context = context
        self._authorities: weakref.WeakKeyDictionary[ssl.SSLContext, frozenset[bytes]] = weakref.WeakKeyDictionary()
        self.is_denied = is_denied
        self.ended = 0
        self._shown: weakref.WeakKeyDictionary[asyncio.BaseTransport, ClientCertificate] = weakref.WeakKeyDictionary()

    def __len__(self) -> int:
        """The number of open connections whose client has shown a certificate."""
        return len(self._shown)

    def opened(self, transport: TlsTransport) -> None:
        """Judge the certificate of a new connection, if its client has shown one."""
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        certificate = facts_of(tls)
        if certificate is None:
            return
        identity: Identity | Unauthorized
        try:
            identity = identity_in(certificate.uris, self._trust_domain, certificate.serial)
        except Unauthorized as refusal:
            identity = refusal
        self._shown[transport] = ClientCertificate(certificate, identity, tls.context, anchor_of(tls))

    def certified(self, transport: asyncio.BaseTransport | None) -> Identity | None:
        """Return whose certificate the client of a connection has shown; None when it has shown none.

        Raises Unauthorized when it names nobody here, has ended, is on the deny list, or is of an authority that is
        trusted no more.
        """
        shown = self._shown.get(transport) if transport is not None else None
        if shown is None:
            return None
        if isinstance(shown.identity, Unauthorized):
            # A new one: raising the kept one would add to its traceback each time.
            kept = shown.identity
            raise Unauthorized(kept.message, field=kept.field, provided=kept.provided, example=kept.example)
        because = self._refused(shown)
        if because:
            raise Unauthorized(f"the client's certificate {because}", field=FIELD)
        return shown.identity

    def sweep(self) -> None:
        """End the connections, and so the watches, whose certificates have ended or are denied now."""
        for transport, shown in list(self._shown.items()):
            because = self._refused(shown)
            if not because or not isinstance(transport, TlsTransport):
                continue
            del self._shown[transport]
            self.ended += 1
            _log.warning(
                "tls_client_ended", serial=f"{shown.certificate.serial:x}", ids=shown.certificate.uris, because=because
            )
            transport.abort()

    async def run(self) -> None:
        """Sweep regularly, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            self.sweep()

    def _refused(self, shown: ClientCertificate) -> str:
        certificate = shown.certificate
        if certificate.not_after <= self._clock.wall():
            return "has expired since the connection was opened; connect again with a new one"
        if self.is_denied(certificate.serial, certificate.uris[0] if certificate.uris else ""):
            return "is on the deny list of this registry"
        if not self._is_trusted(shown):
            return "is of an authority that this registry trusts no more (REGISTRY_TLS_CLIENT_CA)"
        return ""

    def _is_trusted(self, shown: ClientCertificate) -> bool:
        """Return whether the authority counts that verified a certificate; one that is unknown, while all do."""
        now = self._context()
        if shown.context is now:
            return True
        trusted = self._authorities_of(now)
        return shown.anchor in trusted or self._authorities_of(shown.context) <= trusted

    def _authorities_of(self, context: ssl.SSLContext) -> frozenset[bytes]:
        known = self._authorities.get(context)
        if known is None:
            known = self._authorities[context] = authorities_of(context)
        return known
