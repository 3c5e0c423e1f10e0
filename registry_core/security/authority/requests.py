"""Reads requests for certificates (CSR, RFC 2986), of which nothing but the public key is used.

The names in a request are its sender's wish: what a certificate says is decided by who asked. The request proves that
its sender has the private key.

RSA keys are refused. Their maker can have any bytes in the modulus, such as the SPIFFE id of another service, and
proxies that have no access to a certificate's names (HAProxy) are told to look for these bytes in it.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from registry_core.errors import ValidationError

MAX_REQUEST_BYTES: Final = 16 * 1024
CSR_EXAMPLE: Final = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=billing"
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

ServiceKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def requested_key(pem: str, *, field: str = "csr") -> ServiceKey:
    """Return the public key of a request whose sender has the private one. Raises ValidationError."""
    if len(pem) > MAX_REQUEST_BYTES:
        raise _wrong(f"a request has at most {MAX_REQUEST_BYTES} bytes", field)
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        algorithm = request.signature_hash_algorithm
    except UnsupportedAlgorithm:
        raise _wrong("its algorithms are not supported: use an EC key on P-256 and SHA-256", field) from None
    except (ValueError, TypeError, x509.InvalidVersion):
        raise _wrong("it is not a certificate signing request in PEM", field) from None
    checked = checked_key(key, field=field)
    if not isinstance(key, ed25519.Ed25519PublicKey) and not isinstance(algorithm, _HASHES):
        raise _wrong("it must be signed with SHA-256 or stronger", field)
    if not request.is_signature_valid:
        raise _wrong("its signature is not that of its key, so its sender may not have the private key", field)
    return checked


def checked_key(key: object, *, field: str = "csr") -> ServiceKey:
    """Return `key` if it is strong enough, and of a kind whose bytes nobody can choose. Raises ValidationError."""
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, _CURVES):
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case _:
            raise _wrong("its key must be EC (P-256, P-384, P-521) or Ed25519", field)


def _wrong(message: str, field: str) -> ValidationError:
    return ValidationError(message, field=field, example=CSR_EXAMPLE)
