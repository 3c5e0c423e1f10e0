"""The issuer: an authority in memory that signs for services of its own domain."""

from __future__ import annotations

import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from registry_core.security.authority.authority_files import AuthorityChain, UnusableAuthority, key_pem
from registry_core.security.authority.certificates import Domain, Signer, new_root
from registry_core.security.authority.descriptions import AuthorityCertificate
from registry_core.security.authority.issuer import described, issuer_of
from registry_core.security.authority.lifetimes import MAX_LIFETIME_S, authority_validity
from tests.authorities import csr_of, new_authority, new_issuer


def test_what_is_issued_comes_with_its_chain_and_its_times() -> None:
    issuer, now = new_issuer(), time.time()
    issued = issuer.issue("billing", csr_of(ec.generate_private_key(ec.SECP256R1())), now, 3600)
    leaf, intermediate = x509.load_pem_x509_certificates(issued.chain)
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(issuer.chain.roots[0])
    assert issued.serial == leaf.serial_number
    assert issued.not_after == pytest.approx(now + 3600, abs=1)
    assert issued.not_before == pytest.approx(now - 300, abs=1)
    assert issued.spiffe_id == "spiffe://fleet.example/service/billing"


def test_nothing_is_issued_beyond_ninety_days_nor_beyond_the_authority() -> None:
    csr, now = csr_of(ec.generate_private_key(ec.SECP256R1())), time.time()
    issuer = new_issuer()  # its intermediate lasts 30 days
    assert issuer.issue("billing", csr, now, 2 * MAX_LIFETIME_S).not_after <= now + 30 * 86_400
    _, intermediate, chain = new_authority(days=200)
    lasting = issuer_of(chain.pem, key_pem(intermediate.key))
    assert lasting.issue("billing", csr, now, 2 * MAX_LIFETIME_S).not_after <= now + MAX_LIFETIME_S


def test_an_authority_of_another_trust_domain_is_refused() -> None:
    _, intermediate, chain = new_authority()
    with pytest.raises(UnusableAuthority, match=r"its trust domain is fleet\.example, not other\.example"):
        issuer_of(chain.pem, key_pem(intermediate.key), "other.example")


def test_an_intermediate_without_constraints_is_refused() -> None:
    # It could sign for anything; ours cannot, even if its key is lost.
    root, _, _ = new_authority()
    second = new_root(Domain("fleet.example", ("a.b",)), authority_validity(time.time(), 1))
    crossed = Signer(second.certificate, second.key)
    with pytest.raises(UnusableAuthority):
        issuer_of(AuthorityChain(crossed.certificate, (), (root.certificate,)).pem, key_pem(second.key))


def test_a_certificate_is_described_by_its_name_and_key() -> None:
    root, _, _ = new_authority()
    said = described(root.certificate)
    assert isinstance(said, AuthorityCertificate)
    assert said.name.startswith("root ")
    assert len(said.key_id) == 40
