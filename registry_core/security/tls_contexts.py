"""Makes TLS contexts from PEM files, and proves each certificate in a handshake in memory before anybody uses it.

The handshake shows at once whether the key fits, whether the certificate is valid now, and whether it is for the role
that it is to play; it also tells what stands in the certificate. Everything here blocks: it reads files.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
from pathlib import Path
from typing import Final, NoReturn, cast

import msgspec

from registry_core.causes import cause_of
from registry_core.errors import VerticeError
from registry_core.security.pem_paths import KeyPair

# A bundle of all public authorities has 220 kB.
MAX_FILE_BYTES: Final = 2 * 1024 * 1024
# TLS 1.2 with forward secrecy and authenticated encryption only (RFC 9325 section 4.2); TLS 1.3 has no others.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
ALPN: Final = ("http/1.1",)
_FIRST_BLOCK: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_FLIGHTS: Final = 8
# OpenSSL's numbers (openssl/x509_vfy.h) for what is wrong with a certificate of ours.
_OWN_FAULTS: Final = {
    9: "its certificate is not valid yet (check the clock)",
    10: "its certificate has expired",
    26: "its certificate is not for this use: extendedKeyUsage lacks {use}",
}
_REASONS: Final = {
    "KEY_VALUES_MISMATCH": "the key is not that of the certificate",
    "KEY_TYPE_MISMATCH": "the key is not that of the certificate",
    "EE_KEY_TOO_SMALL": "its key is too short (RSA needs 2048 bits, or use ECDSA P-256)",
    "CA_MD_TOO_WEAK": "its certificate is signed with a hash that is no longer safe",
}


class Certificate(msgspec.Struct, frozen=True):
    """What a certificate says. Times in Unix seconds."""

    serial: int = 0
    not_before: float = 0.0
    not_after: float = 0.0
    uris: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # DNS names and IP addresses


class UnusableFile(VerticeError):
    """Raised when a PEM file cannot be used; the text names the file and the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class _KeyHasPassword(ValueError):
    """Raised when OpenSSL asks for the password of a key."""


def server_context(pair: KeyPair, client_ca: str = "", *, required: bool = False) -> tuple[ssl.SSLContext, Certificate]:
    """Return a context that serves with `pair`, and what its certificate says.

    With `client_ca` clients may, or with `required` must, have a certificate from an authority in that file. There is
    no renegotiation, no compression, and no ticket whose key could be stolen. Clients of TLS 1.2 may resume a session
    that this process remembers (OpenSSL keeps 20,480 of them, 1 kB each); TLS 1.3 always proves itself anew. Raises
    UnusableFile.
    """
    context = _strict(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    context.set_alpn_protocols(list(ALPN))
    _load_pair(context, pair)
    try_it = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try_it.check_hostname = False
    certificate = _proved(server=context, client=try_it, pair=pair, judge=try_it, use="serverAuth")
    if client_ca:
        _load_authorities(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context, certificate


def client_context(ca: str = "", pair: KeyPair | None = None) -> tuple[ssl.SSLContext, Certificate | None]:
    """Return a context for connections to servers, and what the client's own certificate says, if it has one.

    Servers need a certificate from an authority in the file `ca`, or from one that the system trusts, that is valid for
    their name. Raises UnusableFile.
    """
    context = _strict(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    certificate = None
    if pair is not None:
        _load_pair(context, pair)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try_it = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _load_pair(try_it, pair)
        try_it.verify_mode = ssl.CERT_REQUIRED
        certificate = _proved(server=try_it, client=context, pair=pair, judge=try_it, use="clientAuth")
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    if ca:
        _load_authorities(context, ca)
    else:
        context.load_default_certs()
    return context, certificate


def facts_of(connection: ssl.SSLObject) -> Certificate | None:
    """Return what the verified certificate of the other end says; None when it showed none, or it was not verified."""
    said = connection.getpeercert()
    if not said:
        return None
    names = cast("tuple[tuple[str, str], ...]", said.get("subjectAltName", ()))
    return Certificate(
        serial=int(str(said["serialNumber"]), 16),
        not_before=float(ssl.cert_time_to_seconds(str(said["notBefore"]))),
        not_after=float(ssl.cert_time_to_seconds(str(said["notAfter"]))),
        uris=tuple(value for kind, value in names if kind == "URI"),
        names=tuple(value for kind, value in names if kind in ("DNS", "IP Address")),
    )


def anchor_of(connection: ssl.SSLObject) -> bytes | None:
    """Return the authority that the verified certificate of the other end led to, as DER; None after a resumption."""
    if sys.version_info >= (3, 13):
        chain = connection.get_verified_chain()
        return chain[-1] if chain else None
    # Public from Python 3.13 on, and the same there.
    certificates = connection._sslobj.get_verified_chain()  # type: ignore[attr-defined]  # noqa: SLF001 - as above
    return ssl.PEM_cert_to_DER_cert(certificates[-1].public_bytes()) if certificates else None


def authorities_of(context: ssl.SSLContext) -> frozenset[bytes]:
    """Return the authorities that a context trusts, each as DER."""
    return frozenset(context.get_ca_certs(binary_form=True))


def _strict(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION
    # An intermediate authority in the file of authorities is one: the root may be kept away from here.
    # RFC 5280 to the letter, as Python 3.13 has it by default.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    return context


def _load_pair(context: ssl.SSLContext, pair: KeyPair) -> None:
    for path in pair.files:
        _check_size(path)
    try:
        context.load_cert_chain(pair.cert, pair.key or None, password=_no_password)
    except _KeyHasPassword:
        raise UnusableFile(pair.key or pair.cert, "the key is protected by a password") from None
    except ssl.SSLError as error:
        reason = _REASONS.get(error.reason or "")
        if reason is not None:
            raise UnusableFile(pair.cert, reason) from None
        raise UnusableFile(
            pair.cert, f"it does not hold a certificate{'' if pair.key else ' and its key'} in PEM"
        ) from None
    except (OSError, ValueError) as error:
        raise UnusableFile(pair.cert, cause_of(error)) from None


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    _check_size(path)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise UnusableFile(path, "it does not hold certificates in PEM") from None
    except (OSError, ValueError) as error:
        raise UnusableFile(path, cause_of(error)) from None


def _check_size(path: str) -> None:
    try:
        # Opened, because OpenSSL does not say which of the files cannot be read.
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        raise UnusableFile(path, cause_of(error)) from None
    if size > MAX_FILE_BYTES:
        raise UnusableFile(path, f"it is larger than {MAX_FILE_BYTES} bytes")


def _no_password() -> NoReturn:
    # Without this, OpenSSL prompts for it at the terminal and waits.
    raise _KeyHasPassword


def _proved(
    *, server: ssl.SSLContext, client: ssl.SSLContext, pair: KeyPair, judge: ssl.SSLContext, use: str
) -> Certificate:
    """Have `judge`, one of the two ends, verify the first certificate of `pair` as its only authority."""
    try:
        with Path(pair.cert).open(encoding="utf-8", errors="replace") as file:
            leaf = _FIRST_BLOCK.search(file.read(MAX_FILE_BYTES))
    except OSError as error:
        raise UnusableFile(pair.cert, cause_of(error)) from None
    if leaf is None:
        raise UnusableFile(pair.cert, "it does not hold a certificate in PEM")
    judge.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    judge.load_verify_locations(cadata=leaf[0])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    try:
        for _ in range(_FLIGHTS):
            open_ends = [_is_open(end) for end in ends]
            if all(open_ends):
                break
    except ssl.SSLCertVerificationError as error:
        known = _OWN_FAULTS.get(getattr(error, "verify_code", 0), "its certificate cannot be used")
        raise UnusableFile(pair.cert, known.format(use=use)) from None
    except ssl.SSLError as error:
        raise UnusableFile(pair.cert, _REASONS.get(error.reason or "", "TLS cannot be set up with it")) from None
    facts = facts_of(ends[0] if judge is client else ends[1])
    if facts is None:
        raise UnusableFile(pair.cert, "TLS cannot be set up with it")
    return facts


def _is_open(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
