"""Signs certificates for services, with one authority in memory. It does no I/O, and knows nothing of who asks."""

from __future__ import annotations

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from registry_core.security.authority.authority_files import AuthorityChain, UnusableAuthority, read_chain, read_key
from registry_core.security.authority.certificates import (
    Domain,
    Signer,
    domain_of,
    key_id,
    pem_of,
    service_certificate,
)
from registry_core.security.authority.descriptions import AuthorityCertificate
from registry_core.security.authority.lifetimes import service_validity
from registry_core.security.authority.requests import requested_key
from registry_core.security.spiffe import service_id


class Issued(msgspec.Struct, frozen=True):
    """A certificate that was just issued. Times in Unix seconds."""

    spiffe_id: str
    serial: int
    chain: bytes  # in PEM: the certificate, then those of the authorities up to a root
    not_before: float
    not_after: float


class Issuer:
    """An authority that can sign."""

    def __init__(self, chain: AuthorityChain, signer: Signer, domain: Domain) -> None:
        self.chain = chain
        self.domain = domain
        self.key_id = key_id(chain.intermediate)
        self._signer = signer
        self.certificates = tuple(described(one) for one in (chain.intermediate, *chain.roots))
        self._above = pem_of([chain.intermediate, *chain.crossed])

    def issue(self, service: str, request: str, now: float, lifetime_s: float) -> Issued:
        """Return a certificate of `service` for the key of a CSR. Raises ValidationError, AuthorityEnded. Takes CPU."""
        key = requested_key(request)
        validity = service_validity(now, lifetime_s, self.chain.ends)
        certificate = service_certificate(self._signer, service, self.domain, key, validity)
        return Issued(
            spiffe_id=service_id(self.domain.trust_domain, service),
            serial=certificate.serial_number,
            chain=pem_of([certificate]) + self._above,
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
        )


def issuer_of(chain_pem: bytes, key_pem: bytes, trust_domain: str = "") -> Issuer:
    """Return the authority in these two files. Raises UnusableAuthority when they do not fit, or are another domain's.

    What it may sign for stands in the name constraints of its certificate, so that nothing else has to be configured.
    """
    chain = read_chain(chain_pem)
    key = read_key(key_pem, chain.intermediate)
    domain = domain_of(chain.intermediate)
    if domain is None:
        raise UnusableAuthority("its intermediate has no name constraints: make one with `vertice ca intermediate`")
    if trust_domain and domain.trust_domain != trust_domain:
        raise UnusableAuthority(f"its trust domain is {domain.trust_domain}, not {trust_domain}")
    return Issuer(chain, Signer(chain.intermediate, key), domain)


def described(certificate: x509.Certificate) -> AuthorityCertificate:
    """Return what is said of a certificate."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else certificate.subject.rfc4514_string()
    return AuthorityCertificate(name, key_id(certificate), certificate.not_valid_after_utc.timestamp())
