"""Decides who may write. It compares credentials in constant time, and never reads a body.

Two forms: `X-Registry-Token`, the shared secret, which may write every service, and
`X-Registry-API-Key`, the hexadecimal SHA-256 of the service's name followed by the secret, which may
write that one service. With two secrets (during a rotation) either is valid.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

from registry_core.errors import Forbidden, Unauthorized

TOKEN_HEADER: Final = "X-Registry-Token"  # noqa: S105 - a header's name
API_KEY_HEADER: Final = "X-Registry-API-Key"
_API_KEY: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def api_key(service_name: str, secret: str) -> str:
    """Return the key that may write `service_name`."""
    return hashlib.sha256((service_name + secret).encode()).hexdigest()


class Caller:
    """The sender of a request: it may write everything, or holds the key of one service."""

    def __init__(self, secrets: tuple[str, ...] = (), key: str | None = None) -> None:
        self._secrets = secrets
        self._key = key

    @property
    def may_displace(self) -> bool:
        """Whether the caller may take over the address of another service's critical, but live, instance."""
        return self._key is None

    def require(self, service_name: str) -> None:
        """Raises Forbidden when the caller's key is not the key of `service_name`."""
        if self._key is None:
            return
        if not _any_equal([api_key(service_name, secret) for secret in self._secrets], self._key):
            raise Forbidden(
                f"this API key does not cover {service_name!r}; a key is valid only for its own service",
                field=API_KEY_HEADER,
                example="sha256(service_name + secret), in hex",
            )

    def require_everything(self) -> None:
        """Raises Forbidden when the caller holds the key of one service only."""
        if self._key is not None:
            raise Forbidden("this concerns every service: it needs the shared token", field=TOKEN_HEADER)


class Authenticator:
    """Checks credentials against the secrets. Without secrets it accepts every caller, if the settings allow that."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """Return the caller with these headers. Raises Unauthorized when they have no valid credential."""
        if not self._secrets:
            return Caller()
        token, key = headers.get(TOKEN_HEADER), headers.get(API_KEY_HEADER)
        if token is not None:
            if _any_equal(self._secrets, token):
                return Caller()
            raise Unauthorized(
                "the secret is wrong: REGISTRY_SECRET of the sender is not that of this registry", field=TOKEN_HEADER
            )
        if key is not None:
            if _API_KEY.fullmatch(key):
                return Caller(self._secrets, key.lower())
            raise Unauthorized("an API key is 64 hexadecimal digits", field=API_KEY_HEADER)
        raise Unauthorized(
            f"writing needs {TOKEN_HEADER} or {API_KEY_HEADER}; agents and commands send the first when "
            "REGISTRY_SECRET is set",
            field=TOKEN_HEADER,
            example="sha256(service_name + secret), in hex, as the API key",
        )


def _any_equal(candidates: tuple[str, ...] | list[str], given: str) -> bool:
    # Headers may contain surrogates for bytes that are not UTF-8; compare_digest takes ASCII text only.
    shown = given.encode("utf-8", "surrogateescape")
    # Every candidate is compared, so that the time does not reveal which one was close.
    return sum(hmac.compare_digest(candidate.encode(), shown) for candidate in candidates) > 0
