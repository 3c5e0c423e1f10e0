"""Builds certificates: roots, cross-certificates, intermediates, and those of services (RFC 5280, X.509-SVID).

What a certificate says is decided here; who may have one, and for how long, is decided by the caller. Nothing is read
or written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from registry_core.domain.names import check_host, ip_address
from registry_core.security.authority.lifetimes import Validity
from registry_core.security.authority.requests import ServiceKey
from registry_core.security.identities import Role
from registry_core.security.spiffe import dns_names, domain_id, service_id

# Below a root: a successor's cross-certificate, and an intermediate.
ROOT_PATH_LENGTH: Final = 2
CROSS_PATH_LENGTH: Final = 1
INTERMEDIATE_PATH_LENGTH: Final = 0
_USAGES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
# A name of X.520 has at most 64 characters.
MAX_COMMON_NAME: Final = 64


class Domain(msgspec.Struct, frozen=True):
    """What an authority speaks for: a trust domain, and the DNS zones of its services."""

    trust_domain: str
    zones: tuple[str, ...]


class Signer(msgspec.Struct, frozen=True):
    """A certificate and its key, which sign others."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def new_root(domain: Domain, validity: Validity) -> Signer:
    """Return a new root, which signs itself."""
    key = new_key()
    number = x509.random_serial_number()
    # Roots of one fleet need different names: a verifier finds the issuer of a certificate by its name first.
    name = _authority_name(domain, f"root {number & 0xFFFFFFFF:08x}")
    builder = _builder(name, name, key.public_key(), validity, number)
    builder = _of_authority(builder, domain, key.public_key(), ROOT_PATH_LENGTH)
    return Signer(builder.sign(key, hashes.SHA256()), key)


def cross_certificate(old: Signer, new: x509.Certificate, domain: Domain, validity: Validity) -> x509.Certificate:
    """Return a certificate of the new root's key by the old root: who trusts only that one accepts the new one's."""
    key = _authority_key(new)
    builder = _builder(new.subject, old.certificate.subject, key, validity, x509.random_serial_number())
    builder = _of_authority(builder, domain, key, CROSS_PATH_LENGTH, issued_by=old)
    return builder.sign(old.key, hashes.SHA256())


def new_intermediate(root: Signer, domain: Domain, validity: Validity) -> Signer:
    """Return a new intermediate, which may sign for services of `domain` alone."""
    key = new_key()
    number = x509.random_serial_number()
    name = _authority_name(domain, f"intermediate {number & 0xFFFFFFFF:08x}")
    builder = _builder(name, root.certificate.subject, key.public_key(), validity, number)
    builder = _of_authority(builder, domain, key.public_key(), INTERMEDIATE_PATH_LENGTH, issued_by=root)
    builder = builder.add_extension(x509.ExtendedKeyUsage(_USAGES), critical=False).add_extension(
        x509.NameConstraints(
            permitted_subtrees=[
                x509.UniformResourceIdentifier(domain.trust_domain),
                *(x509.DNSName(zone) for zone in domain.zones),
            ],
            # A kind of name that no subtree permits would be free, and a thief of the key could sign for any address.
            excluded_subtrees=[
                x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
                x509.IPAddress(ipaddress.ip_network("::/0")),
            ],
        ),
        critical=True,
    )
    return Signer(builder.sign(root.key, hashes.SHA256()), key)


def service_certificate(
    issuer: Signer, service: str, domain: Domain, key: ServiceKey, validity: Validity
) -> x509.Certificate:
    """Return the certificate of a service, for its server and its clients. Raises ValidationError for a wrong name."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(service_id(domain.trust_domain, service))]
    names += [x509.DNSName(name) for name in dns_names(service, domain.zones)]
    return _leaf(issuer, service, names, key, validity)


def registry_certificate(
    root: Signer, domain: Domain, key: ServiceKey, validity: Validity, *, hosts: Sequence[str], role: Role | None
) -> x509.Certificate:
    """Return a certificate for the registry itself, or for a person who operates it, signed by the root.

    `hosts` are the names and IP addresses at which a server is reached; `role` is what a client may be. An
    intermediate, whose key is on the replicas, can sign neither. Raises ValidationError for a wrong host.
    """
    names: list[x509.GeneralName] = []
    if role is not None:
        names.append(x509.UniformResourceIdentifier(f"{domain_id(domain.trust_domain)}/role/{role.value}"))
    for host in hosts:
        address = ip_address(check_host(host))
        names.append(x509.DNSName(host.lower()) if address is None else x509.IPAddress(address))
    return _leaf(root, hosts[0] if hosts else str(role), names, key, validity)


def _leaf(
    issuer: Signer, about: str, names: Sequence[x509.GeneralName], key: ServiceKey, validity: Validity
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, about[:MAX_COMMON_NAME])])
    builder = _builder(subject, issuer.certificate.subject, key, validity, x509.random_serial_number())
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USAGES), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issuer_key_id(issuer), critical=False)
    )
    return builder.sign(issuer.key, hashes.SHA256())


def pem_of(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return certificates in PEM, in their order."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_id(certificate: x509.Certificate) -> str:
    """Return the key id of an authority in hexadecimal: two certificates with one key have one id."""
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def domain_of(certificate: x509.Certificate) -> Domain | None:
    """Return what an intermediate may sign for; None when its constraints do not say that."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None
    permitted = constraints.permitted_subtrees or []
    domains = [name.value for name in permitted if isinstance(name, x509.UniformResourceIdentifier)]
    zones = tuple(name.value for name in permitted if isinstance(name, x509.DNSName))
    return Domain(domains[0], zones) if len(domains) == 1 and zones else None


def _of_authority(
    builder: x509.CertificateBuilder,
    domain: Domain,
    key: ec.EllipticCurvePublicKey,
    path_length: int,
    *,
    issued_by: Signer | None = None,
) -> x509.CertificateBuilder:
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(domain_id(domain.trust_domain))]),
            critical=False,
        )
    )
    return builder if issued_by is None else builder.add_extension(_issuer_key_id(issued_by), critical=False)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ServiceKey, validity: Validity, serial: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(datetime.fromtimestamp(int(validity.not_before), UTC))
        .not_valid_after(datetime.fromtimestamp(int(validity.not_after), UTC))
    )


def _authority_name(domain: Domain, what: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain.trust_domain[:MAX_COMMON_NAME]),
            x509.NameAttribute(NameOID.COMMON_NAME, what),
        ]
    )


def _authority_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # ours are
    return key


def _issuer_key_id(issuer: Signer) -> x509.AuthorityKeyIdentifier:
    own = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _key_usage(*, digital_signature: bool = False, signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
