"""The one table from errors of the system and of libraries to words for people.

Answers, log lines and terminals take the cause of a failure from here: a library's own text names its classes, numbers
and source, and changes with its release. Classes of libraries stand here by name, so that a program that does not use a
library does not load it. Pure.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from typing import Final

from registry_core.content_faults import content_fault

# Our own errors have texts for people.
_OURS: Final = frozenset({"registry_core", "dns", "agent", "cli"})
UNEXPECTED: Final = "it failed unexpectedly"
NO_ANSWER: Final = "timed out"
_CLOSED: Final = "the connection was closed without an answer"
_BROKE_OFF: Final = "the answer broke off"
_NOT_HTTP: Final = "it does not answer in HTTP"
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

# By module and class. The nearest base class in this table gives the words.
_WORDS: Final = {
    "http.client.RemoteDisconnected": _CLOSED,
    "http.client.IncompleteRead": _BROKE_OFF,
    "http.client.InvalidURL": "it is not a URL",
    "http.client.HTTPException": _NOT_HTTP,
    "aiohttp.client_exceptions.ServerDisconnectedError": _CLOSED,
    "aiohttp.client_exceptions.ClientConnectionResetError": "the connection was closed",
    "aiohttp.client_exceptions.ClientPayloadError": _BROKE_OFF,
    "aiohttp.client_exceptions.InvalidURL": "it is not a URL",
    "aiohttp.client_exceptions.ClientResponseError": _NOT_HTTP,
    "aiohttp.client_exceptions.ClientError": "the connection failed",
    "aiohttp.http_exceptions.TransferEncodingError": _BROKE_OFF,
    "aiohttp.http_exceptions.ContentLengthError": _BROKE_OFF,
    "aiohttp.http_exceptions.ContentEncodingError": "its content cannot be decompressed",
    "aiohttp.http_exceptions.HttpProcessingError": _NOT_HTTP,
    "asyncio.exceptions.IncompleteReadError": _BROKE_OFF,
    "asyncio.exceptions.LimitOverrunError": "it answers with a line that is too long",
    "h2.exceptions.H2Error": "it does not speak HTTP/2",
    "hpack.exceptions.HPACKError": "it does not speak HTTP/2",
    "hyperframe.exceptions.HyperframeError": "it does not speak HTTP/2",
    "builtins.EOFError": "the connection was closed",
    "builtins.MemoryError": "there is not enough memory",
}
# RFC 5280 and openssl/x509_vfy.h.
_CERTIFICATE_FAULTS: Final = {
    9: "its certificate is not valid yet (check both clocks)",
    10: "its certificate has expired",
    18: "its certificate is self-signed and not trusted here",
    19: "its certificate comes from an authority that is not trusted here",
    20: "its certificate comes from an authority that is not trusted here",
    21: "its certificate comes from an authority that is not trusted here",
    26: "its certificate is not for this use (extendedKeyUsage)",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
    79: "the certificate of its authority is not one of an authority (basicConstraints)",
    85: "its certificate lacks the id of its authority (authorityKeyIdentifier, RFC 5280)",
    86: "the certificate of its authority lacks an id (subjectKeyIdentifier, RFC 5280)",
    89: "the certificate of its authority has basicConstraints that are not critical (RFC 5280)",
    92: "the certificate of its authority lacks keyUsage (RFC 5280)",
}
_UNTRUSTED: Final = "its certificate is not trusted here"
_NO_TLS: Final = "TLS cannot be set up with it"
_TLS_FAULTS: Final = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS there",
    "UNEXPECTED_EOF_WHILE_READING": "it closes the connection while TLS is set up",
    "HTTP_REQUEST": "it speaks HTTP without TLS there",
    "UNSUPPORTED_PROTOCOL": "it has no version of TLS in common with us",
    "NO_SHARED_CIPHER": "it has no cipher of TLS in common with us",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate of ours",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "our certificate is revoked",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it has no version of TLS in common with us",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it has nothing of TLS in common with us, or wants a certificate of ours",
}
# What `cause_of` says when TLS could not be set up, by whosever fault.
TLS_CAUSES: Final = frozenset((*_CERTIFICATE_FAULTS.values(), *_TLS_FAULTS.values(), _UNTRUSTED, _NO_TLS))
_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")


def cause_of(error: BaseException) -> str:
    """Return in a few words, without a full stop, why something failed."""
    if type(error).__module__.partition(".")[0] in _OURS:
        return (error.strerror if isinstance(error, OSError) else None) or str(error)
    # aiohttp wraps the error of the socket or of TLS.
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    if isinstance(inner, Exception) and inner is not error:
        return cause_of(inner)
    if isinstance(error, TimeoutError):
        return NO_ANSWER
    if isinstance(error, ssl.SSLError):
        return _tls_fault(error)
    named = _named(error)
    if named is not None:
        return named
    if isinstance(error, socket.gaierror):
        return "there is no such name" if error.errno in _NO_SUCH_NAME else "its name cannot be looked up now"
    if isinstance(error, OSError):
        return _system_fault(error)
    return content_fault(error) or _unexpected(error)


def _named(error: BaseException) -> str | None:
    for kind in type(error).__mro__:
        words = _WORDS.get(f"{kind.__module__}.{kind.__qualname__}")
        if words is not None:
            return words
    return None


def _tls_fault(error: ssl.SSLError) -> str:
    # OpenSSL's details are missing from an error that Python raised itself.
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_FAULTS.get(getattr(error, "verify_code", 0), _UNTRUSTED)
    return _TLS_FAULTS.get(getattr(error, "reason", None) or "", _NO_TLS)


def _system_fault(error: OSError) -> str:
    """Return the system's words for an error number, or ours when the error was raised with them and no number."""
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    if error.errno is None and error.strerror:
        return error.strerror
    # asyncio's text for a host with several addresses lists the error of each.
    number = _NUMBER.search(str(error))
    known = number is not None and int(number[1]) in errno.errorcode
    return os.strerror(int(number[1])) if number is not None and known else _unexpected(error)


def _unexpected(error: BaseException) -> str:
    """Return words for an error of an unknown kind, with its class, by which a report of the bug can be traced."""
    return f"{UNEXPECTED} ({type(error).__name__})"
