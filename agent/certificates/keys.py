"""Makes keys and requests for certificates, and reads certificates back. It does no I/O, but takes CPU.

This alone of the agent loads `cryptography`.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID


class KeyAndRequest(NamedTuple):
    """A new key and the request (CSR) for its certificate, both in PEM."""

    key: bytes
    request: str


class ReadCertificate(NamedTuple):
    """What a certificate says. Times in Unix seconds."""

    serial: int
    issuer: str  # the key id of the authority, in hexadecimal
    not_before: float
    not_after: float
    uris: tuple[str, ...]


class NotOurCertificate(ValueError):
    """Raised when a certificate is damaged, or is not that of the key."""


def new_key_and_request(service: str) -> KeyAndRequest:
    """Return a new key on P-256 and its request. The registry decides what the certificate says."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, service[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return KeyAndRequest(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        request.public_bytes(Encoding.PEM).decode(),
    )


def read_pair(chain: bytes, key: bytes) -> ReadCertificate:
    """Return what the first certificate of `chain` says. Raises NotOurCertificate."""
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        private = load_pem_private_key(key, None)
        matches = private.public_key() == certificate.public_key()
        above = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        raise NotOurCertificate("it cannot be read") from None
    if not matches:
        raise NotOurCertificate("it is not that of the key")
    return ReadCertificate(
        serial=certificate.serial_number,
        issuer=(above or b"").hex(),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
    )
