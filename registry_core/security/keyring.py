"""The keys that a registry accepts, and whose each is. It compares in constant time, and shows no secret.

A request never shows which of two secrets came close: each candidate is compared, whatever the others gave.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from registry_core.security.identities import Identity, Proof, Role
from registry_core.security.issued_keys import IssuedKey
from registry_core.security.signature_errors import UnknownKey, WrongSignature
from registry_core.security.signatures import MacKey, Signature
from registry_core.security.signing_keys import FOLLOWER, READER, REPLICA, SHARED, api_key, service_of

_HEX_KEY: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
# The roles that sign with the secret of the fleet, by the id of the key.
_OF_THE_SECRET: Final = {SHARED: Role.OPERATOR, REPLICA: Role.REPLICA, FOLLOWER: Role.FOLLOWER}
K = TypeVar("K")
# Keys that are ready for use, of those that have signed; at some 1 kB each.
MAX_READY: Final = 4096


class Credentials(msgspec.Struct, frozen=True):
    """The secrets of one registry: of each kind the valid ones, which are two during a rotation."""

    shared: tuple[str, ...] = ()
    read_keys: tuple[str, ...] = ()
    issued: tuple[IssuedKey, ...] = ()

    def __repr__(self) -> str:
        counts = f"shared={len(self.shared)}, read_keys={len(self.read_keys)}, issued={len(self.issued)}"
        return f"Credentials({counts})"


class ReadyKey(msgspec.Struct, frozen=True):
    """What a key id stands for: the keys that it may have, and who signs with each; `issued` when it is in the file."""

    keys: tuple[MacKey, ...]
    holders: tuple[Identity, ...]
    issued: IssuedKey | None


class Keyring:
    """The credentials in use; `use` replaces them, when a file of them has changed."""

    def __init__(self, credentials: Credentials) -> None:
        self.use(credentials)

    def use(self, credentials: Credentials) -> None:
        """Accept these from now on, and no others."""
        self._credentials = credentials
        self._issued = {key.id: key for key in credentials.issued}
        self._ready: dict[str, ReadyKey] = {}
        count = len(credentials.shared)
        self._operators = [
            Identity(Role.OPERATOR, Proof.TOKEN, key_id=_key_id(SHARED, place, count)) for place in range(count)
        ]

    @property
    def shared(self) -> tuple[str, ...]:
        """The secrets of the fleet, the current one first."""
        return self._credentials.shared

    @property
    def ready(self) -> int:
        """How many keys are ready for use."""
        return len(self._ready)

    def signer(self, signature: Signature, now: float) -> Identity:
        """Return who signed. Raises UnknownKey for a key that is not in use at `now`, WrongSignature."""
        known = self._ready.get(signature.key_id)
        ready = known if known is not None else self._made_ready(signature.key_id)
        if ready.issued is not None and not ready.issued.is_valid(_time(now)):
            raise UnknownKey(f"key {signature.key_id!r} has ended: sign with the one that replaced it", field="keyid")
        found = _matching(ready.keys, signature.is_of)
        if found is None:
            raise WrongSignature(
                f"this is not the signature of key {signature.key_id!r} for this request: its secret is another, or "
                "the method, the path, the query, a header or the digest of the body was altered on the way, for "
                "example by a proxy that rewrites paths",
                field="Signature",
            )
        if known is None:  # only now: anybody can name keys that nobody signs with
            if len(self._ready) >= MAX_READY:
                self._ready.clear()
            self._ready[signature.key_id] = ready
        return ready.holders[found]

    def holder_of_token(self, token: str, now: float) -> Identity | None:
        """Return who may send `token`: the secret of the fleet, or an issued key as `ID.SECRET`."""
        found = _matching(self.shared, lambda secret: same_text(secret, token))
        if found is not None:
            return self._operators[found]
        return self._holder_of_issued(token, Proof.TOKEN, now)

    def reader_with(self, bearer: str, now: float) -> Identity | None:
        """Return who may send the bearer token `bearer`: the read key, or an issued key of a reader."""
        keys = self._credentials.read_keys
        found = _matching(keys, lambda secret: same_text(secret, bearer))
        if found is not None:
            return Identity(Role.READER, Proof.READ_KEY, key_id=_key_id(READER, found, len(keys)))
        holder = self._holder_of_issued(bearer, Proof.READ_KEY, now)
        return holder if holder is not None and holder.role is Role.READER else None

    def covers(self, key: str, service_name: str) -> bool:
        """Return whether `key` is the API key of this service."""
        if not is_api_key(key):
            return False
        keys = [api_key(service_name, secret) for secret in self.shared]
        return _matching(keys, lambda one: same_text(one, key.lower())) is not None

    def _holder_of_issued(self, text: str, proof: Proof, now: float) -> Identity | None:
        key_id, _, secret = text.rpartition(".")
        key = self._issued.get(key_id)
        is_right = same_text(key.secret if key is not None else "", secret)
        if key is None or not is_right or not key.is_valid(_time(now)):
            return None
        return Identity(key.role, proof, key.service, key.id)

    def _made_ready(self, key_id: str) -> ReadyKey:
        """Return the keys of this id. Raises UnknownKey."""
        issued = self._issued.get(key_id)
        if issued is not None:
            return _ready(key_id, (issued.secret,), Identity(issued.role, Proof.SIGNATURE, issued.service), issued)
        service = service_of(key_id)
        secrets: tuple[str, ...] = ()
        holder = Identity(Role.OPERATOR, Proof.SIGNATURE)
        if key_id in _OF_THE_SECRET:
            secrets = self.shared
            holder = Identity(_OF_THE_SECRET[key_id], Proof.SIGNATURE)
        elif key_id == READER:
            secrets = self._credentials.read_keys
            holder = Identity(Role.READER, Proof.SIGNATURE)
        elif service is not None:
            secrets = tuple(api_key(service, secret) for secret in self.shared)
            holder = Identity(Role.SERVICE, Proof.SIGNATURE, service)
        if not secrets:
            raise UnknownKey(
                f"this registry has no key {key_id!r}: it was revoked, or is another registry's", field="keyid"
            )
        return _ready(key_id, secrets, holder, None)


def _ready(key_id: str, secrets: tuple[str, ...], holder: Identity, issued: IssuedKey | None) -> ReadyKey:
    named = [
        msgspec.structs.replace(holder, key_id=_key_id(key_id, place, len(secrets))) for place in range(len(secrets))
    ]
    return ReadyKey(tuple(map(MacKey, secrets)), tuple(named), issued)


def is_api_key(text: str) -> bool:
    """Return whether `text` could be the API key of a service."""
    return _HEX_KEY.fullmatch(text) is not None


def same_text(one: str, other: str) -> bool:
    """Compare in constant time. Text of a header may hold surrogates, for octets that are not UTF-8."""
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "surrogateescape"))


def _matching(candidates: Iterable[K], is_right: Callable[[K], bool]) -> int | None:
    """Return the place of the candidate that is right; all of them are asked."""
    right = [is_right(candidate) for candidate in candidates]
    return right.index(True) if True in right else None


def _key_id(key_id: str, place: int, count: int) -> str:
    """Return the id as the audit keeps it: with two secrets, also which of them it was."""
    return f"{key_id}#{place + 1}" if count > 1 else key_id


def _time(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)
