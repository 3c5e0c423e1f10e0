"""Decides who sends a request, and whether that caller may do what the request asks. It never reads a body.

Two forms: `X-Registry-Token`, the shared secret, whose holder is an operator, and `X-Registry-API-Key`, the hexadecimal
SHA-256 of the service's name followed by the secret, whose holder is that one service. With two secrets (during a
rotation) either is valid. Credentials are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from registry_core.api.endpoints import Endpoint
from registry_core.errors import Forbidden, Unauthorized
from registry_core.security.identities import ANYONE, EVERYBODY, Identity, Proof, Role
from registry_core.security.rights import OPEN_READS, Right, permits

TOKEN_HEADER: Final = "X-Registry-Token"  # noqa: S105 - a header's name
API_KEY_HEADER: Final = "X-Registry-API-Key"
_API_KEY: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def api_key(service_name: str, secret: str) -> str:
    """Return the key that may write `service_name`."""
    return hashlib.sha256((service_name + secret).encode()).hexdigest()


class Caller:
    """The sender of a request, and the one that asks the table of rights on its behalf.

    The key of a service does not say of which one: that is known once a request names its service.
    """

    def __init__(self, identity: Identity = EVERYBODY, secrets: tuple[str, ...] = (), key: str | None = None) -> None:
        self.identity = identity
        self._secrets = secrets
        self._key = key

    @property
    def may_displace(self) -> bool:
        """Whether the caller may take over the address of another service's critical, but live, instance."""
        return self.identity.role is not Role.SERVICE

    def require(self, right: Right, service_name: str | None = None) -> None:
        """Raise Forbidden unless the caller has `right`, concerning `service_name` where that is given."""
        if self._key is not None and service_name is not None and self.identity.service != service_name:
            if not _any_equal([api_key(service_name, secret) for secret in self._secrets], self._key):
                raise Forbidden(
                    f"this API key does not cover {service_name!r}; a key is valid only for its own service",
                    field=API_KEY_HEADER,
                    example="sha256(service_name + secret), in hex",
                )
            self.identity = Identity(Role.SERVICE, Proof.API_KEY, service=service_name)
        if not permits(self.identity, right, service_name):
            about = "every service" if service_name is None else repr(service_name)
            raise Forbidden(f"{self.identity.name} has no right to {right.value}, which concerns {about}")


class Authenticator:
    """Checks credentials against the secrets. Without secrets it accepts every caller, if the settings allow that."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets

    async def check(self, request: web.Request, endpoint: Endpoint) -> None:
        """Note in `request` who sends it. Raises Unauthorized, and Forbidden when nobody in that role may do it."""
        if endpoint.right is Right.BE_PROBED or endpoint.right in OPEN_READS:
            request[CALLER] = Caller(ANYONE)
            return
        caller = self.identify(request.headers)
        request[CALLER] = caller
        caller.require(endpoint.right)

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """Return the caller with these headers. Raises Unauthorized when they have no valid credential."""
        if not self._secrets:
            return Caller()
        token, key = headers.get(TOKEN_HEADER), headers.get(API_KEY_HEADER)
        if token is not None:
            if _any_equal(self._secrets, token):
                return Caller(Identity(Role.OPERATOR, Proof.TOKEN))
            raise Unauthorized(
                "the secret is wrong: REGISTRY_SECRET of the sender is not that of this registry", field=TOKEN_HEADER
            )
        if key is not None:
            if _API_KEY.fullmatch(key):
                return Caller(Identity(Role.SERVICE, Proof.API_KEY), self._secrets, key.lower())
            raise Unauthorized("an API key is 64 hexadecimal digits", field=API_KEY_HEADER)
        raise Unauthorized(
            f"writing needs {TOKEN_HEADER} or {API_KEY_HEADER}; agents and commands send the first when "
            "REGISTRY_SECRET is set",
            field=TOKEN_HEADER,
            example="sha256(service_name + secret), in hex, as the API key",
        )


CALLER: Final = web.RequestKey("caller", Caller)


def _any_equal(candidates: tuple[str, ...] | list[str], given: str) -> bool:
    # Headers may contain surrogates for bytes that are not UTF-8; compare_digest takes ASCII text only.
    shown = given.encode("utf-8", "surrogateescape")
    # Every candidate is compared, so that the time does not reveal which one was close.
    return sum(hmac.compare_digest(candidate.encode(), shown) for candidate in candidates) > 0
