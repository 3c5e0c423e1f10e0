"""Signed notes (C2SP signed-note v1): a text, and a line for each signature of it. Pure.

Go's checksum database, Sigstore and Sigsum have this form, so there are other programs that check it. Two kinds of
signatures are known here: that of a log (Ed25519 over the text), and that of a witness (C2SP tlog-cosignature v1, which
adds the time).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from registry_core.security.audit.origins import MAX_NAME, is_name

LOG_SIGNATURE: Final = 1
COSIGNATURE: Final = 4
# A note of this size has more signatures than there are replicas.
MAX_NOTE_BYTES: Final = 16 * 1024
MAX_SIGNATURES: Final = 64
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_LINE: Final = re.compile(rf"\u2014 ([^ \n+]{{1,{MAX_NAME}}}) ([A-Za-z0-9+/]+={{0,2}})")
_VKEY_EXAMPLE: Final = "vertice-audit/eu-1+1b2c3d4e+AeY..."


class BadNote(ValueError):
    """Raised when a text is no signed note, or no verifier key; its text is a clause."""


class NoteSignature(msgspec.Struct, frozen=True):
    """One signature line: who signed, by name and by the id of the key."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        """Return the line."""
        return f"\u2014 {self.name} {base64.b64encode(self.key_id + self.signature).decode()}"


class SignedNote(msgspec.Struct, frozen=True):
    """A note: its text, which ends with a newline, and the signatures of it."""

    body: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        """Return the note as it is sent and stored."""
        return "".join([self.body, "\n", *(f"{one}\n" for one in self.signatures)])

    def with_signatures(self, more: Sequence[NoteSignature]) -> SignedNote:
        """Return this note with further signatures; a newer one of the same key replaces the older."""
        by_key = {(one.name, one.key_id): one for one in (*self.signatures, *more)}
        return SignedNote(self.body, tuple(by_key.values())[:MAX_SIGNATURES])


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key with the name of its holder, for signatures of one kind. As text: `name+id+key`."""

    name: str
    kind: int
    public: bytes

    def __str__(self) -> str:
        """Return the key as it is handed out."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    @property
    def key_id(self) -> bytes:
        """Four octets, by which a signature names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:_ID_BYTES]

    def of_kind(self, kind: int) -> VerifierKey:
        """Return the same key for signatures of another kind: a replica has one, for its log and as a witness."""
        return VerifierKey(self.name, kind, self.public)

    def signed_at(self, note: SignedNote) -> float | None:
        """Return when this key signed the note: Unix seconds, 0 for a log's signature; None when it did not."""
        for one in note.signatures:
            if (one.name, one.key_id) == (self.name, self.key_id):
                return self._valid_at(note.body.encode(), one.signature)
        return None

    def _valid_at(self, body: bytes, signature: bytes) -> float | None:
        key = Ed25519PublicKey.from_public_bytes(self.public)
        at = 0
        if self.kind == COSIGNATURE:
            at, signature = int.from_bytes(signature[:_TIME_BYTES]), signature[_TIME_BYTES:]
            body = _timed(at, body)
        try:
            key.verify(signature, body)
        except InvalidSignature:
            return None
        return float(at)


class NoteSigner:
    """A private key with the name of its holder: a replica's, as a log and as a witness of other logs."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = VerifierKey(name, LOG_SIGNATURE, key.public_key().public_bytes_raw())
        self._witness = self.verifier.of_kind(COSIGNATURE)

    def sign(self, body: str) -> SignedNote:
        """Return `body` signed by the log."""
        signature = NoteSignature(self.verifier.name, self.verifier.key_id, self._key.sign(body.encode()))
        return SignedNote(body, (signature,))

    def cosign(self, body: str, now: int) -> NoteSignature:
        """Return the signature of a witness; `now` is in Unix seconds."""
        signature = now.to_bytes(_TIME_BYTES) + self._key.sign(_timed(now, body.encode()))
        return NoteSignature(self._witness.name, self._witness.key_id, signature)


def parse_note(text: str) -> SignedNote:
    """Return the note in `text`; no signature is checked. Raises BadNote."""
    if len(text.encode("utf-8", "replace")) > MAX_NOTE_BYTES:
        raise BadNote(f"a note has at most {MAX_NOTE_BYTES} bytes")
    body, blank, rest = text.rpartition("\n\n")
    if not blank or not rest.endswith("\n"):
        raise BadNote("it is no signed note: a text, an empty line, and a line for each signature")
    lines = rest[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise BadNote(f"a note has at most {MAX_SIGNATURES} signatures")
    return SignedNote(f"{body}\n", tuple(parse_signature(line) for line in lines))


def parse_signature(line: str) -> NoteSignature:
    """Return the signature in one line of a note. Raises BadNote."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadNote("a line with a signature has a dash, a name and base64")
    raw = decoded(match[2])
    if len(raw) <= _ID_BYTES:
        raise BadNote("a signature is too short")
    return NoteSignature(match[1], raw[:_ID_BYTES], raw[_ID_BYTES:])


def parse_key(text: str) -> VerifierKey:
    """Return the verifier key in `text`. Raises BadNote."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    example = f"(example: {_VKEY_EXAMPLE})"
    if not is_name(name):
        raise BadNote(f"it is no verifier key: name+id+key {example}")
    raw = decoded(encoded)
    if len(raw) != 1 + _KEY_BYTES or raw[0] not in (LOG_SIGNATURE, COSIGNATURE):
        raise BadNote(f"it is no key of Ed25519 {example}")
    key = VerifierKey(name, raw[0], raw[1:])
    if key.key_id.hex() != key_id:
        raise BadNote("its id is not that of its name and key: a part of it was lost or changed")
    return key


def decoded(text: str) -> bytes:
    """Return what is encoded in standard Base64. Raises BadNote."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise BadNote("it is not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise BadNote("it is not base64 in its one form")
    return raw


def _timed(at: int, body: bytes) -> bytes:
    return b"cosignature/v1\ntime %d\n%s" % (at, body)
