"""What certificates say, and that a request does not decide it."""

from __future__ import annotations

import ipaddress
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from registry_core.errors import ValidationError
from registry_core.security.authority.certificates import (
    Domain,
    cross_certificate,
    domain_of,
    key_id,
    new_key,
    pem_of,
    service_certificate,
)
from registry_core.security.authority.lifetimes import authority_validity, service_validity
from tests.authorities import DOMAIN, csr_of, new_authority, new_issuer


def names_in(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_a_certificate_says_who_the_service_is_and_for_what_it_may_be_used() -> None:
    _, intermediate, _ = new_authority()
    valid = service_validity(time.time(), 3600, time.time() + 9999)
    certificate = service_certificate(intermediate, "ip_intel", DOMAIN, new_key().public_key(), valid)
    names = names_in(certificate)
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://fleet.example/service/ip_intel"]
    assert names.get_values_for_type(x509.DNSName) == ["ip-intel.vertice.internal", "ip_intel.vertice.internal"]
    assert len(list(names)) == 3
    assert certificate.subject.rfc4514_string() == "CN=ip_intel"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_the_names_that_a_request_asks_for_are_ignored() -> None:
    wanted = (
        x509.DNSName("registry.vertice.internal"),
        x509.UniformResourceIdentifier("spiffe://fleet.example/service/billing"),
        x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
    )
    csr = csr_of(ec.generate_private_key(ec.SECP256R1()), "operator", *wanted)
    issued = new_issuer().issue("mail_relay", csr, time.time(), 3600)
    certificate = x509.load_pem_x509_certificates(issued.chain)[0]
    assert {name.value for name in names_in(certificate)} == {
        "spiffe://fleet.example/service/mail_relay",
        "mail-relay.vertice.internal",
        "mail_relay.vertice.internal",
    }
    assert certificate.subject.rfc4514_string() == "CN=mail_relay"


def test_a_name_that_no_service_has_gets_no_certificate() -> None:
    csr = csr_of(ec.generate_private_key(ec.SECP256R1()))
    for wrong in ("", "a/b", "a.b", "*", "x" * 64):
        with pytest.raises(ValidationError):
            new_issuer().issue(wrong, csr, time.time(), 3600)


def test_an_intermediate_tells_what_it_may_sign_for() -> None:
    domain = Domain("fleet.example", ("vertice.internal", "b.example"))
    root, intermediate, _ = new_authority(domain)
    assert domain_of(intermediate.certificate) == domain
    assert domain_of(root.certificate) is None


def test_a_cross_certificate_has_the_new_roots_key_and_the_old_ones_signature() -> None:
    old, _, _ = new_authority()
    new, _, _ = new_authority()
    crossed = cross_certificate(old, new.certificate, DOMAIN, authority_validity(time.time(), 10))
    crossed.verify_directly_issued_by(old.certificate)
    assert key_id(crossed) == key_id(new.certificate)
    assert crossed.subject == new.certificate.subject


def test_no_two_roots_have_one_name() -> None:
    (one, _, _), (other, _, _) = new_authority(), new_authority()
    assert one.certificate.subject != other.certificate.subject
    assert pem_of([one.certificate]).count(b"BEGIN CERTIFICATE") == 1
