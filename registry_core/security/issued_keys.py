"""The file of issued keys: who each key belongs to and until when, and how keys are issued, rotated and revoked. Pure.

The file is JSON and holds the secrets, since a signature can be checked with nothing less: it is for its owner alone
(mode 0600). A holder, which is one service or one role, has at most two valid keys: the second replaces the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

from registry_core.domain.names import is_service_name
from registry_core.errors import NotFound, ValidationError, VerticeError
from registry_core.security.identities import Identity, Role
from registry_core.security.signing_keys import SigningKey

MAX_KEYS: Final = 10_000
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_DAYS: Final = 3650
VALID_AT_ONCE: Final = 2
# How long an ended key stays listed.
LISTED: Final = timedelta(days=90)
ISSUED_PREFIX: Final = "k-"
ROLES: Final = (Role.SERVICE, Role.READER, Role.OPERATOR, Role.REPLICA, Role.FOLLOWER)
_ID: Final = re.compile(r"k-[0-9a-f]{12}", re.ASCII)
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{32,128}", re.ASCII)


class UnusableSecrets(VerticeError):
    """Raised when a file of secrets cannot be used; its text is the reason, and shows none of them."""


class IssuedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key. Times are in UTC; without `expires` it has no end."""

    id: str
    role: Role
    secret: str
    issued: datetime
    service: str = ""
    expires: datetime | None = None

    def __repr__(self) -> str:
        return f"IssuedKey(id={self.id!r}, role={self.role.value!r}, service={self.service!r}, expires={self.expires})"

    @property
    def signing_key(self) -> SigningKey:
        """The key as its holder keeps it."""
        return SigningKey(self.id, self.secret)

    @property
    def holder(self) -> str:
        """Whose key it is: `service:ip-intel`, `operator`."""
        return Identity(self.role, service=self.service).name

    def is_valid(self, now: datetime) -> bool:
        """Return whether it is accepted at `now`."""
        return self.expires is None or now < self.expires


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    keys: tuple[IssuedKey, ...] = ()


def read_key_file(body: bytes) -> tuple[IssuedKey, ...]:
    """Return the keys in a file's content. Raises UnusableSecrets, with a reason that shows no secret."""
    if len(body) > MAX_FILE_BYTES:
        raise UnusableSecrets(f"it has more than {MAX_FILE_BYTES} bytes")
    try:
        keys = msgspec.json.decode(body, type=KeyFile).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UnusableSecrets("it is not a file of keys, as `vertice keys issue` writes it") from None
    if len(keys) > MAX_KEYS:
        raise UnusableSecrets(f"it has more than {MAX_KEYS} keys")
    if len({key.id for key in keys}) < len(keys):
        raise UnusableSecrets("an id of a key is in it twice")
    for number, key in enumerate(keys):
        problem = _problem_of(key)
        if problem is not None:
            raise UnusableSecrets(f"key {number + 1} of it: {problem}")
    return keys


def _problem_of(key: IssuedKey) -> str | None:
    if not _ID.fullmatch(key.id):
        return f"the id of a key is {ISSUED_PREFIX} and 12 hexadecimal digits"
    if not _SECRET.fullmatch(key.secret):
        return "its secret has 32 to 128 letters, digits, - or _"
    if key.role not in ROLES:
        return f"its role is none of {', '.join(ROLES)}"
    if (key.role is Role.SERVICE) is not bool(key.service) or (key.service and not is_service_name(key.service)):
        return "a key of a service, and no other, names its service"
    if any(time is not None and time.tzinfo is None for time in (key.issued, key.expires)):
        return "its times need a time zone (example: 2026-11-28T10:00:00Z)"
    return None


def key_file(keys: Iterable[IssuedKey]) -> bytes:
    """Return the content of a file with these keys."""
    return msgspec.json.format(msgspec.json.encode(KeyFile(keys=tuple(keys))), indent=2) + b"\n"


def issued(
    keys: tuple[IssuedKey, ...], key: SigningKey, role: Role, service: str, *, now: datetime, days: int | None
) -> tuple[IssuedKey, ...]:
    """Return `keys` with a new key, the last one, for a holder that has at most one valid one.

    Raises ValidationError when the holder has two, or there are too many keys.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    new = IssuedKey(
        key.id, role, key.secret, now, service=service, expires=None if days is None else now + timedelta(days=days)
    )
    problem = _problem_of(new)
    if problem is not None:
        raise ValidationError(problem, field="service" if role is Role.SERVICE or service else "role")
    kept = tuple(one for one in keys if one.expires is None or now < one.expires + LISTED)
    valid = [one for one in kept if one.holder == new.holder and one.is_valid(now)]
    if len(valid) >= VALID_AT_ONCE:
        ids = " and ".join(one.id for one in valid)
        raise ValidationError(
            f"{new.holder} has {VALID_AT_ONCE} valid keys already: {ids}; revoke one of them, or wait for its end",
            field="service" if service else "role",
        )
    if len(kept) >= MAX_KEYS:
        raise ValidationError(f"the file has {MAX_KEYS} keys, the most that it may have", field="keys")
    return (*kept, new)


def ended(keys: tuple[IssuedKey, ...], key_id: str, at: datetime) -> tuple[IssuedKey, ...]:
    """Return `keys` with one that ends at `at`, unless it ends earlier. Raises NotFound for an id that is not there."""
    if all(key.id != key_id for key in keys):
        raise NotFound(f"there is no key {key_id!r}", field="id", provided=key_id)
    at = at.astimezone(UTC).replace(microsecond=0)
    return tuple(
        msgspec.structs.replace(key, expires=at if key.expires is None else min(at, key.expires))
        if key.id == key_id
        else key
        for key in keys
    )


def valid_of(keys: Iterable[IssuedKey], role: Role, service: str, now: datetime) -> tuple[IssuedKey, ...]:
    """Return the valid keys of a holder, the oldest first."""
    holder = Identity(role, service=service).name
    return tuple(sorted((k for k in keys if k.holder == holder and k.is_valid(now)), key=lambda key: key.issued))
