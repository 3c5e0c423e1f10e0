"""Asks the registry for certificates, for its authority, and whether a certificate is denied."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agent.registration.decisions import RequestOutcome
from agent.registries.client import RegistryClient
from registry_core.api.certificate_schemas import AuthorityView, CertificateView, DeniedView
from registry_core.bodies import decoded

UNREADABLE = "the answer of the registry cannot be read"


class CertificateReply(NamedTuple):
    """A certificate, or why there is none."""

    view: CertificateView | None
    problem: str = ""


class CertificateRequests:
    """These requests, through the client that knows which registry to ask."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client

    async def certificate(self, service: str, csr: str) -> CertificateReply:
        """Return a certificate for the key of `csr`."""
        body = msgspec.json.encode({"service_name": service, "csr": csr})
        reply = await self._client.request("POST", "/certificates", body)
        if reply.outcome is not RequestOutcome.DONE:
            return CertificateReply(None, reply.said or "the registry gave no reason")
        view = decoded(reply.body, CertificateView)
        return CertificateReply(view, "" if view is not None else UNREADABLE)

    async def authority(self) -> AuthorityView | None:
        """Return the registry's authority; None when it has none, or does not answer."""
        reply = await self._client.request("GET", "/certificates")
        return decoded(reply.body, AuthorityView) if reply.outcome is RequestOutcome.DONE else None

    async def is_denied(self, serial: int) -> bool | None:
        """Return whether a certificate is denied; None when the registry does not say."""
        reply = await self._client.request("GET", f"/certificates/denied?serial={serial:x}")
        view = decoded(reply.body, DeniedView) if reply.outcome is RequestOutcome.DONE else None
        return None if view is None else bool(view.denied)
