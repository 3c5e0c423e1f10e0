"""Decides who sends a request, and whether that caller may do what the request asks. It never reads a body.

The ways to be somebody, in one ordered list, of which the first that a request uses decides:

1. a signature (`signatures.py`): what agents, commands and replicas send;
2. the client's certificate (mutual TLS);
3. the *plain forms*, secrets that are sent as they are: `X-Registry-Token`, the shared secret or an issued key;
   `X-Registry-API-Key`, the hexadecimal SHA-256 of the service's name followed by the secret; and `Authorization:
   Bearer`, the read key. Anybody who sees one can use it, so a setting decides about them over plain HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec
from aiohttp import web

from registry_core.api.endpoints import Endpoint
from registry_core.api.plain_forms import PlainPolicy
from registry_core.domain.chain import VIA_HEADER
from registry_core.errors import Forbidden, Unauthorized, VerticeError
from registry_core.ports.clock import Clock
from registry_core.ports.once import signed_once
from registry_core.security.identities import ANYONE, EVERYBODY, Identity, Proof, Role
from registry_core.security.keyring import Keyring, is_api_key
from registry_core.security.nonces import Nonces
from registry_core.security.rights import FOR_ITSELF, OPEN_READS, Right, permits
from registry_core.security.signatures import INPUT_HEADER, Signature, is_signed, read_signature

TOKEN_HEADER: Final = "X-Registry-Token"  # noqa: S105 - a header's name
API_KEY_HEADER: Final = "X-Registry-API-Key"
BEARER_HEADER: Final = "Authorization"
_BEARER: Final = "bearer "
_CREDENTIALS: Final = (INPUT_HEADER, TOKEN_HEADER, API_KEY_HEADER, BEARER_HEADER)
# Returns who the client of a connection is by its certificate, or None. It may raise Unauthorized.
Certified: TypeAlias = Callable[[asyncio.BaseTransport | None], Identity | None]


class Caller:
    """The sender of a request, and the one that asks the table of rights on its behalf.

    An API key does not say of which service it is: that is known once a request names its service.
    """

    def __init__(
        self,
        identity: Identity = EVERYBODY,
        *,
        api_key: str | None = None,
        keyring: Keyring | None = None,
        signature: Signature | None = None,
    ) -> None:
        self.identity = identity
        self._api_key = api_key
        self._keyring = keyring
        self._signature = signature

    @property
    def may_displace(self) -> bool:
        """Whether the caller may take over the address of another service's critical, but live, instance."""
        return self.identity.role is not Role.SERVICE

    def require(self, right: Right, service_name: str | None = None) -> None:
        """Raise Forbidden unless the caller has `right`, concerning `service_name` where that is given."""
        if self._api_key is not None and self._keyring is not None:
            self._require_key(right, service_name, self._api_key, self._keyring)
        if not permits(self.identity, right, service_name):
            about = "every service" if service_name is None else repr(service_name)
            raise Forbidden(f"{self.identity.name} has no right to {right.value}, which concerns {about}")

    def require_body(self, body: bytes) -> None:
        """Raise AlteredBody when the caller signed another body."""
        if self._signature is not None:
            self._signature.require_body(body)

    def _require_key(self, right: Right, service_name: str | None, key: str, keyring: Keyring) -> None:
        if service_name is None:
            if right not in FOR_ITSELF:
                raise Forbidden(
                    f"an API key is for what concerns its own service, not for {right.value}", field=API_KEY_HEADER
                )
            return
        if self.identity.service == service_name:
            return
        if not keyring.covers(key, service_name):
            raise Forbidden(
                f"this API key does not cover {service_name!r}; a key is valid only for its own service",
                field=API_KEY_HEADER,
                example="sha256(service_name + secret), in hex",
            )
        self.identity = msgspec.structs.replace(self.identity, service=service_name)


CALLER: Final = web.RequestKey("caller", Caller)
# Without a key, nothing in a caller changes: these are shared by all requests.
_EVERYBODY: Final = Caller()
_ANYONE: Final = Caller(ANYONE)


class Authenticator:
    """Checks the credentials of requests. A registry that is open asks nobody for one."""

    def __init__(
        self,
        keyring: Keyring,
        nonces: Nonces,
        plain: PlainPolicy,
        clock: Clock,
        *,
        is_open: bool,
        reads_are_open: bool = True,
        store_lets_once: bool = False,
        certified: Certified = lambda _: None,
    ) -> None:
        """`store_lets_once`: the store carries a signed write out once, whatever this process remembers."""
        self._keyring = keyring
        self._nonces = nonces
        self._plain = plain
        self._clock = clock
        self._is_open = is_open
        self._reads_are_open = reads_are_open
        self._store_lets_once = store_lets_once
        self._certified = certified
        # The first that a request uses decides.
        self._ways = (self._by_signature, self._by_certificate, self._by_token, self._by_api_key, self._by_bearer)

    def check(self, request: web.Request, endpoint: Endpoint) -> None:
        """Note in `request` who sends it. Raises Unauthorized, and Forbidden when nobody in that role may do it."""
        signed_once.set(None)  # requests of one connection share their context
        right = endpoint.right
        if self._is_open:
            request[CALLER] = _EVERYBODY
        elif right is Right.BE_PROBED or (self._reads_are_open and self._needs_nobody(request, right)):
            request[CALLER] = _ANYONE
        else:
            request[CALLER] = caller = self._caller(request, endpoint)
            caller.require(right)

    def _needs_nobody(self, request: web.Request, right: Right) -> bool:
        # What an acknowledgement may cause depends on who sends it; a lookup is the same for everybody.
        return right in OPEN_READS and (
            right is not Right.ACKNOWLEDGE or not any(name in request.headers for name in _CREDENTIALS)
        )

    def _caller(self, request: web.Request, endpoint: Endpoint) -> Caller:
        """Return the sender. Raises Unauthorized when the request has no valid credential."""
        for way in self._ways:
            caller = way(request, endpoint)
            if caller is not None:
                self._plain.used(caller.identity.proof)
                return caller
        what = "reading" if endpoint.right in OPEN_READS else "writing"
        raise Unauthorized(
            f"{what} needs a credential: agents and commands sign their requests when REGISTRY_SECRET is set; other "
            f"programs send {TOKEN_HEADER} or {API_KEY_HEADER}, or for reading {BEARER_HEADER}",
            field=BEARER_HEADER if endpoint.right in OPEN_READS else TOKEN_HEADER,
            example="Bearer <REGISTRY_READ_KEY>"
            if endpoint.right in OPEN_READS
            else "sha256(service_name + secret), in hex, as the API key",
        )

    def _by_signature(self, request: web.Request, endpoint: Endpoint) -> Caller | None:
        headers = request.headers
        if not is_signed(headers):
            return None
        signature = read_signature(request.method, request.raw_path, headers.items(), has_body=request.body_exists)
        now = self._clock.wall()
        shared = self._store_lets_once and endpoint.writes and endpoint.from_store
        try:
            identity = self._keyring.signer(signature, now)
            # Only now: nobody but a holder of a key may fill the memory, or learn what is in it.
            self._nonces.spend(signature, now, shared=shared)
        except VerticeError:
            # The audit names the key that a refused request claims.
            request[CALLER] = Caller(Identity(Role.ANYONE, Proof.SIGNATURE, key_id=signature.key_id))
            raise
        if shared:
            signed_once.set(self._nonces.once(signature, now))
        return Caller(identity, signature=signature)

    def _by_certificate(self, request: web.Request, _endpoint: Endpoint) -> Caller | None:
        if VIA_HEADER in request.headers:
            return None  # it is the certificate of the follower that passes the request on, not of its sender
        identity = self._certified(request.transport)
        return None if identity is None else Caller(identity)

    def _by_token(self, request: web.Request, _endpoint: Endpoint) -> Caller | None:
        token = request.headers.get(TOKEN_HEADER)
        if token is None:
            return None
        self._plain.require(request, TOKEN_HEADER)
        identity = self._keyring.holder_of_token(token, self._clock.wall())
        if identity is None:
            raise Unauthorized(
                "the secret is wrong: REGISTRY_SECRET of the sender is not that of this registry", field=TOKEN_HEADER
            )
        return Caller(identity)

    def _by_api_key(self, request: web.Request, _endpoint: Endpoint) -> Caller | None:
        key = request.headers.get(API_KEY_HEADER)
        if key is None:
            return None
        self._plain.require(request, API_KEY_HEADER)
        if not is_api_key(key):
            raise Unauthorized("an API key is 64 hexadecimal digits", field=API_KEY_HEADER)
        return Caller(Identity(Role.SERVICE, Proof.API_KEY), api_key=key, keyring=self._keyring)

    def _by_bearer(self, request: web.Request, _endpoint: Endpoint) -> Caller | None:
        given = request.headers.get(BEARER_HEADER, "")
        if not given.lower().startswith(_BEARER):
            return None
        self._plain.require(request, BEARER_HEADER)
        identity = self._keyring.reader_with(given[len(_BEARER) :].strip(), self._clock.wall())
        if identity is None:
            raise Unauthorized("this is not the read key of this registry", field=BEARER_HEADER)
        return Caller(identity)
