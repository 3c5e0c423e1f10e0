"""The file of an authority in PEM: its intermediate, the cross-certificates, and the roots to trust. No I/O.

One file for all of it, so that a replica that reads it during a rotation never mixes two states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from registry_core.errors import CallerError
from registry_core.security.authority.certificates import pem_of

MAX_AUTHORITY_BYTES: Final = 256 * 1024
MAX_CERTIFICATES: Final = 32


class UnusableAuthority(CallerError):
    """Raised when a file does not hold what an authority needs; its text says what is wrong with it."""


class WrongPassphrase(UnusableAuthority):
    """Raised when a key cannot be decrypted with the given passphrase, or was given none."""


class AuthorityChain(msgspec.Struct, frozen=True):
    """What a replica needs to sign, beside the key: intermediate, cross-certificates, and the roots to trust."""

    intermediate: x509.Certificate
    crossed: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...]

    @property
    def pem(self) -> bytes:
        return pem_of([self.intermediate, *self.crossed, *self.roots])

    @property
    def bundle(self) -> bytes:
        """The roots in PEM: what verifiers trust."""
        return pem_of(self.roots)

    @property
    def ends(self) -> float:
        """When the first certificate that this chain needs ends, in Unix seconds."""
        root = issuer_among(self.intermediate, self.roots)
        needed = [self.intermediate] if root is None else [self.intermediate, root]
        return min(certificate.not_valid_after_utc.timestamp() for certificate in needed)


def read_chain(pem: bytes) -> AuthorityChain:
    """Return the chain in `pem`. Raises UnusableAuthority."""
    first, *others = read_certificates(pem)
    crossed = [one for one in others if not is_self_issued(one)]
    roots = [one for one in others if is_self_issued(one)]
    if is_self_issued(first) or not _is_authority(first):
        raise UnusableAuthority("its first certificate is not that of an intermediate authority")
    if not roots:
        raise UnusableAuthority("it holds no root: the roots to trust follow the intermediate in the same file")
    if issuer_among(first, roots) is None:
        raise UnusableAuthority("its intermediate is not signed by one of its roots")
    return AuthorityChain(first, tuple(crossed), tuple(roots))


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates in `pem`, at least one. Raises UnusableAuthority."""
    if len(pem) > MAX_AUTHORITY_BYTES:
        raise UnusableAuthority(f"it has more than {MAX_AUTHORITY_BYTES} bytes")
    try:
        found = x509.load_pem_x509_certificates(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableAuthority("it holds no certificates in PEM, or a damaged one") from None
    if len(found) > MAX_CERTIFICATES:
        raise UnusableAuthority(f"it holds more than {MAX_CERTIFICATES} certificates")
    return found


def read_key(pem: bytes, certificate: x509.Certificate, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Return the private key of `certificate`. Raises UnusableAuthority, WrongPassphrase."""
    if len(pem) > MAX_AUTHORITY_BYTES:
        raise UnusableAuthority(f"it has more than {MAX_AUTHORITY_BYTES} bytes")
    try:
        key = load_pem_private_key(pem, passphrase)
    except TypeError:  # cryptography's word for one that is given and not needed, or needed and not given
        if passphrase is None:
            raise WrongPassphrase("its key is encrypted, and no passphrase was given") from None
        raise WrongPassphrase("its key is not encrypted, but a passphrase was given") from None
    except (ValueError, UnsupportedAlgorithm):
        if passphrase is not None:
            raise WrongPassphrase("the passphrase is wrong, or the key is damaged") from None
        raise UnusableAuthority("it holds no private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UnusableAuthority("its key is not on an elliptic curve")
    if key.public_key() != certificate.public_key():
        raise UnusableAuthority("the key is not that of the certificate")
    return key


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return a private key in PKCS #8, encrypted if there is a passphrase."""
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Return whether a certificate is a root."""
    return certificate.issuer == certificate.subject


def issuer_among(certificate: x509.Certificate, issuers: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """Return the one of `issuers` that signed `certificate`, if one did."""
    for issuer in issuers:
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return issuer
    return None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False
