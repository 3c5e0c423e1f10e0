"""The files of an authority, good and damaged."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from registry_core.security.authority.authority_files import (
    MAX_AUTHORITY_BYTES,
    UnusableAuthority,
    WrongPassphrase,
    issuer_among,
    key_pem,
    read_chain,
    read_key,
)
from registry_core.security.authority.certificates import pem_of
from tests.authorities import new_authority


def test_a_chain_is_read_as_it_was_written() -> None:
    _, _, chain = new_authority()
    assert read_chain(chain.pem) == chain
    assert chain.bundle == pem_of(chain.roots)
    assert chain.ends == chain.intermediate.not_valid_after_utc.timestamp()


def test_a_chain_that_does_not_hold_together_is_refused() -> None:
    root, intermediate, _ = new_authority()
    other, _, _ = new_authority()
    for wrong, because in (
        ([root.certificate], "not that of an intermediate"),
        ([root.certificate, intermediate.certificate], "not that of an intermediate"),
        ([intermediate.certificate], "holds no root"),
        ([intermediate.certificate, other.certificate], "not signed by one of its roots"),
    ):
        with pytest.raises(UnusableAuthority, match=because):
            read_chain(pem_of(wrong))
    assert issuer_among(intermediate.certificate, [other.certificate, root.certificate]) == root.certificate


@pytest.mark.parametrize(
    "wrong", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff" * 10]
)
def test_a_damaged_chain_is_one_clear_error(wrong: bytes) -> None:
    with pytest.raises(UnusableAuthority, match="no certificates in PEM"):
        read_chain(wrong)
    with pytest.raises(UnusableAuthority, match="more than"):
        read_chain(b"x" * (MAX_AUTHORITY_BYTES + 1))


def test_a_key_is_encrypted_by_its_passphrase() -> None:
    root, _, _ = new_authority()
    pem = key_pem(root.key, b"correct horse")
    assert b"ENCRYPTED" in pem
    assert read_key(pem, root.certificate, b"correct horse").private_numbers() == root.key.private_numbers()
    with pytest.raises(WrongPassphrase, match="passphrase is wrong"):
        read_key(pem, root.certificate, b"battery staple")
    with pytest.raises(WrongPassphrase, match="no passphrase was given"):
        read_key(pem, root.certificate)
    with pytest.raises(WrongPassphrase, match="not encrypted"):
        read_key(key_pem(root.key), root.certificate, b"correct horse")


def test_a_key_of_another_certificate_is_refused() -> None:
    (one, _, _), (other, _, _) = new_authority(), new_authority()
    with pytest.raises(UnusableAuthority, match="not that of the certificate"):
        read_key(key_pem(one.key), other.certificate)
    with pytest.raises(UnusableAuthority, match="no private key"):
        read_key(b"nothing", one.certificate)
    foreign = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(UnusableAuthority, match="elliptic curve"):
        read_key(foreign, one.certificate)
