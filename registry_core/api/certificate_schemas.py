"""The wire types of certificates and of the deny list."""

from __future__ import annotations

import msgspec


class CertificateBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`POST /certificates`: for whom, and a CSR in PEM, of which only the key is used."""

    service_name: str
    csr: str


class CertificateView(msgspec.Struct, kw_only=True):
    """A certificate that was issued. The seconds are from the answer on, so they need no common clock."""

    service_name: str
    spiffe_id: str
    serial: str  # hexadecimal
    certificate: str  # in PEM: the certificate, then those of its authorities
    bundle: str  # in PEM: the roots to trust
    issuer: str  # the key id of the authority that signed
    not_before: str  # ISO 8601
    not_after: str
    expires_in_seconds: float
    renew_in_seconds: float  # two thirds of the lifetime; an agent spreads its renewals around it


class AuthorityCertificateView(msgspec.Struct, kw_only=True):
    """One certificate of an authority."""

    name: str
    key_id: str
    not_after: str
    expires_in_seconds: float


class AuthorityView(msgspec.Struct, kw_only=True):
    """`GET /certificates`: the authority, as agents need to know it. It names no service."""

    trust_domain: str
    zones: tuple[str, ...]
    issuer: str  # the key id of the authority that signs now
    lifetime_seconds: float
    intermediate: AuthorityCertificateView
    roots: tuple[AuthorityCertificateView, ...]
    bundle: str  # in PEM
    denied: int  # entries of the deny list
    denied_version: str  # changes with the list
    problem: str = ""


class DenyBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`POST /certificates/denied`: a service, or one certificate by its serial number."""

    service_name: str | None = None
    serial: str | None = None
    reason: str = ""
    withdraw: bool = False


class DenialView(msgspec.Struct, kw_only=True):
    """One entry of the deny list."""

    subject: str
    at: str  # ISO 8601
    until: str
    reason: str


class DeniedView(msgspec.Struct, kw_only=True):
    """`GET /certificates/denied`: what is denied at present."""

    version: str
    denied: list[DenialView]
    unread: list[str]  # parts of the store that could not be read last: what they held before is included
