"""A replica as the witness of other replicas' logs: it signs a head only if it continues the last one that it signed.

The last heads are kept on disk, each before its countersignature is given away: so a log that was rolled back, or of
which two versions are shown, is refused also after a restart of the witness. The first head of a log, and its key, are
taken as they come, and said in the log of the program.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from registry_core.security.audit.folder import WITNESSED_FOLDER, BrokenLog
from registry_core.security.audit.heads import BadHead, SignedHead, parse_head
from registry_core.security.audit.merkle import BadProof, check_consistency
from registry_core.security.audit.notes import LOG_SIGNATURE, BadNote, parse_key
from registry_core.security.audit.origins import ORIGIN_PREFIX

MAX_LOGS: Final = 64
_MAX_BYTES: Final = 64 * 1024
_TEMPORARY: Final = ".new"


class WitnessedHead(msgspec.Struct, frozen=True, kw_only=True):
    """The last head of a log that this replica has countersigned. It is also the file of it."""

    key: str  # the log's verifier key
    head: str  # the signed note
    at: float  # Unix seconds

    @property
    def signed(self) -> SignedHead:
        """The head. Raises BadHead."""
        return parse_head(self.head)


class OfferedHead(msgspec.Struct, frozen=True):
    """A head that a log asks to have countersigned, with the proof that it continues the one of `old_size` lines."""

    signed: SignedHead
    key: str
    old_size: int
    proof: Sequence[bytes]


class NeedsProof(msgspec.Struct, frozen=True):
    """The proof is to start from this size, whose head the witness has signed."""

    size: int


class HeadDispute(msgspec.Struct, frozen=True):
    """The head is refused, and why: a clause."""

    because: str


def judged(known: WitnessedHead | None, offered: OfferedHead) -> WitnessedHead | NeedsProof | HeadDispute:
    """Return what becomes of an offered head: what to keep before it is countersigned, or why it is not. `at` is 0."""
    head = offered.signed.head
    try:
        key = parse_key(offered.key).of_kind(LOG_SIGNATURE)
    except BadNote as error:
        return HeadDispute(f"the log's key cannot be used: {error}")
    if not head.origin.startswith(ORIGIN_PREFIX):
        return HeadDispute(f"{head.origin} is no log of a registry")
    if known is not None and str(key) != known.key:
        return HeadDispute(f"{head.origin} has another key than before: {key}, and before {known.key}")
    if not offered.signed.is_signed_by(key):
        return HeadDispute(f"the head of {head.origin} is not signed by its key")
    accepted = WitnessedHead(key=str(key), head=str(offered.signed), at=0.0)
    if known is None:
        return accepted
    before = known.signed.head
    if head.size < before.size:
        return HeadDispute(f"{head.origin} went back from {before.size} lines to {head.size}")
    if head.size > before.size and offered.old_size != before.size:
        return NeedsProof(before.size)
    proof = offered.proof if head.size > before.size else ()
    try:
        check_consistency(before.size, head.size, proof, before.root, head.root)
    except BadProof as error:
        return HeadDispute(f"{head.origin}: {error}")
    return accepted


# -- on disk; what follows blocks


def witnessed_in(folder: Path) -> dict[str, WitnessedHead]:
    """Return the last heads that are kept in an audit folder, by the origins of their logs. Raises OSError."""
    found: dict[str, WitnessedHead] = {}
    for path in sorted((folder / WITNESSED_FOLDER).glob("*.json")):
        try:
            one = msgspec.json.decode(path.read_bytes()[:_MAX_BYTES], type=WitnessedHead)
            found[one.signed.head.origin] = one
        except (msgspec.MsgspecError, UnicodeDecodeError, BadHead):
            raise BrokenLog(f"{path}: it is no head that this replica has signed") from None
    return found


def keep_witnessed(folder: Path, head: WitnessedHead) -> None:
    """Keep the last head of a log; it is on disk when this returns. Raises OSError."""
    origin = head.signed.head.origin
    path = folder / WITNESSED_FOLDER / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.json"
    new = path.with_suffix(_TEMPORARY)
    with new.open("wb") as file:
        file.write(msgspec.json.encode(head))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
