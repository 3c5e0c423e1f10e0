"""How a sender proves who it is: it signs each request, or, to a registry of the last release, sends its secret. Pure.

A registry of the last release knows no signatures: it refuses a signed write, and names only X-Registry-Token in
WWW-Authenticate. A sender then falls back to the secret in a header, which an eavesdropper can use. So that nobody in
between gets it by pretending to be such a registry, it does so only

- where the settings allow it (`auto`; never with `signed`), and
- over https or loopback, or to an address that has not taken signatures for as long as PROVEN_S.

The proof takes an hour, so that a release can be rolled out to one replica after the other, and back. Time is the
registry's: a refusal that says its time corrects the sender's.

While the secret of the fleet is changed, a sender has two, and a registry perhaps the second alone: where one is
refused, the sender goes on with the other.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import msgspec

from registry_core.domain.names import ip_address, label_of
from registry_core.ports.clock import Clock
from registry_core.security.signatures import NO_HEADERS, signed
from registry_core.security.signing_keys import SHARED, SigningKey, service_of

TOKEN_HEADER: Final = "X-Registry-Token"  # noqa: S105 - a header's name
API_KEY_HEADER: Final = "X-Registry-API-Key"
# How long an address counts as one of the last release before a signature is tried again.
PLAIN_FOR_S: Final = 60.0
# How long an address takes signatures, without once asking for the secret, before it gets it no more.
PROVEN_S: Final = 3600.0
MAX_REGISTRIES: Final = 64
# The errors by which a registry says that a signature, or a secret as it is, is not by a secret of its own.
WRONG_SIGNATURE: Final = "WrongSignature"
WRONG_SECRET: Final = "Unauthorized"  # noqa: S105 - an error's name
MAX_ATTEMPTS: Final = 4
# A registry that has just started takes signatures from its next second on.
JUST_STARTED_S: Final = 1.0
# Of two secrets that were both refused within so many seconds, neither is tried again for the same request.
BOTH_REFUSED_S: Final = 5.0
_NONCE_BYTES: Final = 16
_API_KEY: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_UNIX: Final = 2**33


class Send(StrEnum):
    """How requests are authenticated."""

    AUTO = "auto"  # signed; to registries of the last release by the secret
    SIGNED = "signed"
    TOKEN = "token"  # noqa: S105 - a word of the settings: by the secret


class SenderKeys(msgspec.Struct, frozen=True):
    """What a sender has: a key for everything, and keys of single services, by their labels."""

    default: SigningKey | None = None
    services: Mapping[str, SigningKey] = {}
    send: Send = Send.AUTO
    other: SigningKey | None = None  # the second secret of the fleet, where the default is the first

    def of(self, service: str | None = None) -> SigningKey | None:
        """Return the key for a request about `service`, or about none: of two secrets the first."""
        if service is not None and (own := self.services.get(label_of(service))) is not None:
            return own
        return self.default if self.default is not None else next(iter(self.services.values()), None)


class Attempt(msgspec.Struct, frozen=True):
    """One attempt of a request: its credentials, as headers to send beside the others."""

    headers: Mapping[str, str]
    key: SigningKey | None = None
    is_signed: bool = False


class CredentialRefusal(msgspec.Struct, frozen=True):
    """A registry's answer of 401 or 503: the error that it names, the schemes in WWW-Authenticate, and its time."""

    status: int
    error: str = ""
    schemes: str = ""
    example: object = None  # of OutOfTime: the registry's time, in Unix seconds
    date: float | None = None

    @property
    def takes_signatures(self) -> bool:
        return "signature" in self.schemes.lower()

    @property
    def asks_for_token(self) -> bool:
        return self.status == HTTPStatus.UNAUTHORIZED and TOKEN_HEADER.lower() in self.schemes.lower()


class Note(StrEnum):
    """What an operator should know, by the name of its log event."""

    SENT_IN_PLAIN = "registry_takes_no_signatures"
    NOT_SENT = "registry_asks_for_secret"


class _Registry(msgspec.Struct):
    """What is known of the registry at one address."""

    offset_s: float | None = None  # of its Unix time to our monotonic time, once it has refused ours
    plain_until: float = 0.0  # it is of the last release, as far as known
    signed_since: float | None = None
    is_proven: bool = False
    noted: set[Note] = set()
    takes_other: bool = False  # of two secrets it has refused the first
    refused_at: dict[bool, float] = {}  # when it last refused the other (True) and the first of two secrets


def _silently(_note: Note, _url: str) -> None:
    pass


class RequestSigner:
    """Makes the credentials of requests, and learns from refusals. `note` is told once what an operator should know."""

    def __init__(
        self,
        keys: SenderKeys,
        clock: Clock,
        *,
        proven: Iterable[str] = (),
        note: Callable[[Note, str], None] = _silently,
    ) -> None:
        """`proven` are the addresses that took signatures for long enough in an earlier run."""
        self.keys = keys
        self._clock = clock
        self._note = note
        self._registries: dict[str, _Registry] = {}
        self._proven: frozenset[str] = frozenset()
        self.recall(proven)

    @property
    def proven(self) -> frozenset[str]:
        """The addresses that have proven to take signatures, to be kept for the next run."""
        return self._proven

    def recall(self, proven: Iterable[str]) -> None:
        """Note the addresses that took signatures for long enough in an earlier run."""
        self._proven = frozenset(list(proven)[:MAX_REGISTRIES])

    def attempt(
        self,
        url: str,
        method: str,
        target: str,
        *,
        service: str | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes | None = None,
    ) -> Attempt:
        """Return the credentials of one attempt to send a request to the registry at `url`.

        `target` is the path with its query exactly as it is sent, `headers` the other headers, `service` the service
        that the request is about, if it is about one.
        """
        key = self.keys.of(service)
        if key is None:
            return Attempt(NO_HEADERS)
        known = self._registries.get(url)
        if known is not None and known.takes_other and key is self.keys.default and self.keys.other is not None:
            key = self.keys.other
        now = self._clock.monotonic()
        if self._sends_plain(known, now) and (plain := _plain(key)):
            return Attempt(plain, key)
        at = now + known.offset_s if known is not None and known.offset_s is not None else self._clock.wall()
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        sent = signed(key, method, target, created=max(0, int(at)), nonce=nonce, headers=headers, body=body)
        return Attempt(sent, key, is_signed=True)

    def again(self, url: str, attempt: Attempt, refusal: CredentialRefusal) -> float | None:
        """Return after how many seconds another attempt may be accepted; None if it would be refused as well.

        The caller makes at most MAX_ATTEMPTS.
        """
        if attempt.key is None:
            return None
        known = self._known(url)
        if not attempt.is_signed and self.keys.send is Send.AUTO and refusal.takes_signatures:
            known.plain_until = 0.0
            return 0.0
        if refusal.error == (WRONG_SIGNATURE if attempt.is_signed else WRONG_SECRET) and self._has_two(attempt.key):
            return self._with_the_other(known, attempt.key)
        if not attempt.is_signed:
            return None
        if refusal.error == "SignedBeforeStart":
            # Its clock may be ahead of ours.
            self._correct(known, refusal.date)
            return JUST_STARTED_S
        if refusal.error == "OutOfTime":
            return self._correct(known, refusal.example)
        if refusal.error == "Replayed":
            return 0.0
        if refusal.asks_for_token and not refusal.takes_signatures:
            return self._fall_back(url, known, attempt.key)
        return None

    def accepted(self, url: str, attempt: Attempt) -> None:
        """Note that the registry at `url` has taken a request for which it needs a credential."""
        if not attempt.is_signed or url in self._proven:
            return
        known, now = self._known(url), self._clock.monotonic()
        if known.signed_since is None:
            known.signed_since = now
        elif now - known.signed_since >= PROVEN_S and len(self._proven) < MAX_REGISTRIES:
            self._proven |= {url}

    def _sends_plain(self, known: _Registry | None, now: float) -> bool:
        if self.keys.send is Send.AUTO:
            return known is not None and now < known.plain_until
        return self.keys.send is Send.TOKEN

    def _known(self, url: str) -> _Registry:
        found = self._registries.get(url)
        if found is None:
            if len(self._registries) >= MAX_REGISTRIES:
                self._registries.clear()
            found = self._registries[url] = _Registry()
        return found

    def _correct(self, known: _Registry, theirs: object) -> float | None:
        if not isinstance(theirs, int | float) or isinstance(theirs, bool) or not 0 < theirs < _MAX_UNIX:
            return None
        known.offset_s = theirs - self._clock.monotonic()
        return 0.0

    def _has_two(self, key: SigningKey) -> bool:
        return self.keys.other is not None and key in (self.keys.default, self.keys.other)

    def _with_the_other(self, known: _Registry, refused: SigningKey) -> float | None:
        """Go on with the other of two secrets; return None when that was refused just now as well."""
        was_other, now = refused == self.keys.other, self._clock.monotonic()
        known.refused_at |= {was_other: now}
        known.takes_other = not was_other
        before = known.refused_at.get(not was_other)
        return 0.0 if before is None or now - before >= BOTH_REFUSED_S else None

    def _fall_back(self, url: str, known: _Registry, key: SigningKey) -> float | None:
        if self.keys.send is not Send.AUTO or not _plain(key):
            return None
        if url in self._proven and not is_safe(url):
            self._note_once(Note.NOT_SENT, url, known)
            return None
        known.signed_since = None
        known.plain_until = self._clock.monotonic() + PLAIN_FOR_S
        if not is_safe(url):
            self._note_once(Note.SENT_IN_PLAIN, url, known)
        return 0.0

    def _note_once(self, note: Note, url: str, known: _Registry) -> None:
        if note not in known.noted:
            known.noted |= {note}
            self._note(note, url)


def one_or_two(keys: Iterable[SigningKey]) -> tuple[SigningKey | None, SigningKey | None]:
    """Return the first of these keys, and the second; None for each that is missing."""
    given = iter(keys)
    return next(given, None), next(given, None)


def is_safe(url: str) -> bool:
    """Return whether nobody between here and `url` can read along or pretend to be it: https, or loopback."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    address = ip_address(host)
    return parts.scheme == "https" or host == "localhost" or (address is not None and address.is_loopback)


def _plain(key: SigningKey) -> dict[str, str]:
    """Return the form in which a registry of the last release takes `key`; empty if it knows no such key."""
    if key.id == SHARED:
        return {TOKEN_HEADER: key.secret}
    if service_of(key.id) is not None and _API_KEY.fullmatch(key.secret):
        return {API_KEY_HEADER: key.secret}
    return {}
