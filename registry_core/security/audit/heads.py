"""Tree heads: how many lines a log has, and the root of its tree, as a checkpoint (C2SP tlog-checkpoint v1). Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from registry_core.security.audit.merkle import HASH_BYTES
from registry_core.security.audit.notes import (
    COSIGNATURE,
    LOG_SIGNATURE,
    BadNote,
    NoteSigner,
    SignedNote,
    VerifierKey,
    decoded,
    parse_note,
)
from registry_core.security.audit.origins import is_name

MAX_SIZE: Final = 2**48
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)


class BadHead(ValueError):
    """Raised when a text is no head, or lacks the signature of its log; its text is a clause."""


class Head(msgspec.Struct, frozen=True):
    """What a log's signature covers."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class SignedHead(msgspec.Struct, frozen=True):
    """A head with its signatures."""

    head: Head
    note: SignedNote

    def __str__(self) -> str:
        """Return the head as it is sent and stored."""
        return str(self.note)

    def is_signed_by(self, log: VerifierKey) -> bool:
        """Return whether the log with this key signed it."""
        key = log.of_kind(LOG_SIGNATURE)
        return key.name == self.head.origin and key.signed_at(self.note) is not None

    def witnesses(self, keys: Iterable[VerifierKey]) -> dict[str, float]:
        """Return which of these keys countersigned it, by name, and when: Unix seconds."""
        found = {key.name: key.of_kind(COSIGNATURE).signed_at(self.note) for key in keys}
        return {name: at for name, at in found.items() if at is not None}


def signed_head(signer: NoteSigner, size: int, root: bytes) -> SignedHead:
    """Return the head of the signer's own log."""
    head = Head(signer.verifier.name, size, root)
    return SignedHead(head, signer.sign(head.body))


def parse_head(text: str) -> SignedHead:
    """Return the head in `text`; no signature is checked. Raises BadHead."""
    try:
        note = parse_note(text)
        origin, size, root, *_ = (*note.body.split("\n"), "", "")
        raw = decoded(root)
    except BadNote as error:
        raise BadHead(str(error)) from None
    if not is_name(origin):
        raise BadHead("its first line names no log")
    if not _SIZE.fullmatch(size) or int(size) > MAX_SIZE:
        raise BadHead("its second line is no number of lines")
    if len(raw) != HASH_BYTES:
        raise BadHead("its third line is no SHA-256 hash in base64")
    return SignedHead(Head(origin, int(size), raw), note)
