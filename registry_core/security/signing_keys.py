"""Signing keys: what signs a request, how it follows from a secret, and its one form as text. Pure.

A key id says who the key belongs to and never follows from the secret: it stands in logs and in the audit.

- `shared`: the secret that the fleet shares; its holder is an operator.
- `replica`: the same secret, in the hands of another replica.
- `follower`: the same secret, in the hands of a registry that follows this one.
- `service:NAME`: the key of one service, SHA-256 of the name followed by the secret, as in X-Registry-API-Key.
- `reader`: the read key.
- anything else: the id of a key in the file of keys.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec

from registry_core.domain.names import is_service_name

SHARED: Final = "shared"
REPLICA: Final = "replica"
FOLLOWER: Final = "follower"
READER: Final = "reader"
SERVICE_PREFIX: Final = "service:"
MAX_KEY_ID: Final = 80
_KEY_ID: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9:_-]{{0,{MAX_KEY_ID - 1}}}", re.ASCII)
# As for any secret: visible ASCII without the comma, and without the dot that ends the id.
_KEY: Final = re.compile(r"[\x21-\x2b\x2d\x2f-\x7e]+", re.ASCII)


class SigningKey(msgspec.Struct, frozen=True):
    """The id of a key, and its secret, which no text of this object shows."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"SigningKey(id={self.id!r})"

    @property
    def text(self) -> str:
        """The key as one word, to be kept like a password: `ID.SECRET`."""
        return f"{self.id}.{self.secret}"


def api_key(service_name: str, secret: str) -> str:
    """Return the key that may write `service_name`, in hexadecimal."""
    return hashlib.sha256((service_name + secret).encode()).hexdigest()


def shared_key(secret: str) -> SigningKey:
    """Return the key of who holds the secret of the fleet."""
    return SigningKey(SHARED, secret)


def replica_key(secret: str) -> SigningKey:
    """Return the key with which one replica signs what it asks another."""
    return SigningKey(REPLICA, secret)


def follower_key(secret: str) -> SigningKey:
    """Return the key with which a follower signs what it asks the registry that it follows."""
    return SigningKey(FOLLOWER, secret)


def reader_key(read_key: str) -> SigningKey:
    """Return the key of who holds the read key."""
    return SigningKey(READER, read_key)


def service_key(service_name: str, secret: str) -> SigningKey:
    """Return the key of one service, which follows from the secret of the fleet."""
    return SigningKey(f"{SERVICE_PREFIX}{service_name}", api_key(service_name, secret))


def service_of(key_id: str) -> str | None:
    """Return the service whose key has this id; None for another kind of key."""
    name = key_id.removeprefix(SERVICE_PREFIX)
    return name if name != key_id and is_service_name(name) else None


def is_key_id(text: str) -> bool:
    """Return whether `text` could be the id of a key."""
    return _KEY_ID.fullmatch(text) is not None


def read_key(text: str) -> SigningKey:
    """Return the key with this text. Raises ValueError when it is none."""
    key_id, dot, secret = text.strip().rpartition(".")
    if not dot or not is_key_id(key_id) or not _KEY.fullmatch(secret):
        raise ValueError("a key has the form ID.SECRET, as `vertice keys issue` prints it")
    return SigningKey(key_id, secret)
