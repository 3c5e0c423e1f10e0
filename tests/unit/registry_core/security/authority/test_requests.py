"""Requests for certificates: only their key is used, and only a strong one whose owner sent it."""

from __future__ import annotations

import base64
import time
from typing import Final, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from registry_core.errors import ValidationError
from registry_core.security.authority.certificates import service_certificate
from registry_core.security.authority.lifetimes import service_validity
from registry_core.security.authority.requests import MAX_REQUEST_BYTES, ServiceKey, checked_key, requested_key
from tests.authorities import DOMAIN, csr_of, new_authority


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_request_gives_its_public_key(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    assert requested_key(csr_of(key)) == key.public_key()


def test_ed25519_is_accepted() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    assert requested_key(csr_of(key)) == key.public_key()


def test_a_key_whose_bytes_name_another_service_is_refused() -> None:
    # The name as it stands in a certificate: its tag, its length, the text.
    name = b"spiffe://fleet.example/service/billing"
    wanted = bytes([0x86, len(name)]) + name
    key = rsa_key_with(wanted)
    _, intermediate, _ = new_authority()
    valid = service_validity(time.time(), 3600, time.time() + 9999)
    # It would be in the certificate of any service that may have such a key.
    fooling = service_certificate(intermediate, "mail_relay", DOMAIN, cast("ServiceKey", key.public_key()), valid)
    assert wanted in fooling.public_bytes(Encoding.DER)
    with pytest.raises(ValidationError, match="must be EC"):
        requested_key(csr_of(key))


def rsa_key_with(text: bytes) -> rsa.RSAPrivateKey:
    """Return an RSA key that has `text` in the middle of its modulus."""
    wanted = int.from_bytes(b"\xc0" + text.rjust(60, b"\x55"), "big") << (2048 - 61 * 8)
    one = rsa.generate_private_key(65537, 2048).private_numbers().p
    other = wanted // one | 1
    while pow(2, other - 1, other) != 1 or (other - 1) % 65537 == 0:
        other += 2
    exponent = pow(65537, -1, (one - 1) * (other - 1))
    return rsa.RSAPrivateNumbers(
        p=one,
        q=other,
        d=exponent,
        dmp1=exponent % (one - 1),
        dmq1=exponent % (other - 1),
        iqmp=pow(other, -1, one),
        public_numbers=rsa.RSAPublicNumbers(65537, one * other),
    ).private_key()


def test_a_request_whose_sender_lacks_the_private_key_is_refused() -> None:
    # Somebody else's public key, signed with one's own: a certificate for it would let its owner be mistaken for us.
    theirs, ours = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = csr_of(ours)
    der = base64.b64decode("".join(pem.splitlines()[1:-1]))
    points = [key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for key in (ours, theirs)]
    forged = base64.encodebytes(der.replace(points[0], points[1])).decode()
    with pytest.raises(ValidationError, match="may not have the private key"):
        requested_key(f"-----BEGIN CERTIFICATE REQUEST-----\n{forged}-----END CERTIFICATE REQUEST-----\n")


def test_weak_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="must be EC"):
        checked_key(ed448.Ed448PrivateKey.generate().public_key())
    with pytest.raises(ValidationError, match="must be EC"):
        checked_key(ec.generate_private_key(ec.SECP224R1()).public_key())


def test_a_request_signed_with_a_broken_hash_is_refused() -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    weak = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA224()).public_bytes(Encoding.PEM).decode()
    with pytest.raises(ValidationError, match="SHA-256 or stronger"):
        requested_key(weak)


def test_a_long_request_is_refused_unread() -> None:
    with pytest.raises(ValidationError, match="at most 16384 bytes"):
        requested_key("x" * (MAX_REQUEST_BYTES + 1))


@given(st.text(max_size=200))
def test_what_is_no_request_is_one_clear_error(text: str) -> None:
    with pytest.raises(ValidationError, match="not a certificate signing request"):
        requested_key(text)


# Ed25519 signs the same way each time.
_DER: Final = base64.b64decode(
    "".join(csr_of(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))).splitlines()[1:-1])
)


@given(st.dictionaries(st.integers(0, len(_DER) - 1), st.integers(1, 255), min_size=1, max_size=3))
def test_a_damaged_request_is_one_clear_error(changes: dict[int, int]) -> None:
    der = bytearray(_DER)
    for at, bits in changes.items():
        der[at] ^= bits
    damaged = base64.encodebytes(bytes(der)).decode()
    with pytest.raises(ValidationError):
        requested_key(f"-----BEGIN CERTIFICATE REQUEST-----\n{damaged}-----END CERTIFICATE REQUEST-----\n")
