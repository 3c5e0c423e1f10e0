"""The Ed25519 key of a replica's audit log: made at the first start, and kept in a file that only its user can read.

Everything here blocks.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from registry_core.security.audit.notes import BadNote, NoteSigner, VerifierKey, parse_key

KEY_FILE: Final = "key.pem"
# The public key with the name of the log: what verifies its heads.
PUBLIC_FILE: Final = "key.pub"
_MAX_BYTES: Final = 4096
_OTHERS: Final = 0o077


class UnusableKey(OSError):
    """Raised when the file of a key cannot be used; its text says why."""

    def __init__(self, because: str) -> None:
        super().__init__(None, because)


def signer_in(folder: Path, name: str) -> NoteSigner:
    """Return the signer whose key is in `folder`; a folder without one gets a new key, for the log `name`.

    Raises UnusableKey and OSError.
    """
    path = folder / KEY_FILE
    if not path.exists():
        return _made(folder, name)
    if path.stat().st_mode & _OTHERS:
        raise UnusableKey(f"{path}: others may read it: chmod 600")
    try:
        key = load_pem_private_key(path.read_bytes()[:_MAX_BYTES], password=None)
    except (ValueError, TypeError):
        raise UnusableKey(f"{path}: it is no private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(f"{path}: it is no Ed25519 key (example: openssl genpkey -algorithm ed25519)")
    public = folder / PUBLIC_FILE
    if not public.exists():  # a key of the operator's own
        _create(public, f"{NoteSigner(name, key).verifier}\n".encode(), 0o644)
    kept = public_in(folder)
    signer = NoteSigner(kept.name, key)
    if signer.verifier != kept:
        raise UnusableKey(f"{public}: it does not belong to the key in {path}")
    return signer


def public_in(folder: Path) -> VerifierKey:
    """Return the public key of the log in `folder`. Raises UnusableKey and OSError."""
    path = folder / PUBLIC_FILE
    try:
        return parse_key(path.read_bytes()[:_MAX_BYTES].decode("ascii", "replace"))
    except BadNote as error:
        raise UnusableKey(f"{path}: {error}") from None


def _made(folder: Path, name: str) -> NoteSigner:
    key = Ed25519PrivateKey.generate()
    signer = NoteSigner(name, key)
    # The private part last: a folder with a key has both.
    (folder / PUBLIC_FILE).unlink(missing_ok=True)
    _create(folder / PUBLIC_FILE, f"{signer.verifier}\n".encode(), 0o644)
    _create(folder / KEY_FILE, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    return signer


def _create(path: Path, data: bytes, mode: int) -> None:
    """Create a file; it is never readable by more than `mode` says, and on disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
