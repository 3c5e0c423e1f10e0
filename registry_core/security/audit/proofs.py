"""Proofs as files: that a line is in a log (C2SP tlog-proof v1), which anybody can check without the log. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from registry_core.security.audit.heads import BadHead, SignedHead, parse_head
from registry_core.security.audit.merkle import HASH_BYTES, check_inclusion, leaf_hash
from registry_core.security.audit.notes import BadNote, decoded

PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES: Final = 64 * 1024
# A proof has one hash for each level of the tree.
MAX_PROOF_HASHES: Final = 64
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,14})", re.ASCII)


class BadProofFile(ValueError):
    """Raised when a text is no proof; its text is a clause."""


class LineProof(msgspec.Struct, frozen=True):
    """That `line` is number `index` (from 0) of the log with this head. The line is the proof's extra data."""

    line: bytes
    index: int
    hashes: tuple[bytes, ...]
    head: SignedHead

    def __str__(self) -> str:
        """Return the proof as it is stored."""
        extra = f"extra {base64.b64encode(self.line).decode()}"
        return "\n".join([PROOF_HEADER, extra, f"index {self.index}", *encoded(self.hashes), "", str(self.head)])

    def check(self) -> None:
        """Raises BadProof when the line is not in the log of the head. No signature is checked."""
        check_inclusion(leaf_hash(self.line), self.index, self.head.head.size, self.hashes, self.head.head.root)


def parse_proof(text: str) -> LineProof:
    """Return the proof in `text`; nothing of it is checked. Raises BadProofFile."""
    top, blank, note = text.partition("\n\n")
    header, extra, index, *hashes = (*top.split("\n"), "", "")
    while hashes and not hashes[-1]:
        hashes.pop()
    number = _INDEX.fullmatch(index)
    if len(text) > MAX_PROOF_BYTES or not blank or header != PROOF_HEADER:
        raise BadProofFile(f"it does not begin with {PROOF_HEADER}")
    if not extra.startswith("extra ") or number is None:
        raise BadProofFile("its lines `extra` and `index` are missing")
    try:
        line = decoded(extra.removeprefix("extra "))
        return LineProof(line, int(number[1]), decoded_hashes(hashes), parse_head(note))
    except (BadNote, BadHead) as error:
        raise BadProofFile(str(error)) from None


def encoded(hashes: Sequence[bytes]) -> list[str]:
    """Return hashes as text."""
    return [base64.b64encode(one).decode() for one in hashes]


def decoded_hashes(texts: Sequence[str]) -> tuple[bytes, ...]:
    """Return the hashes in these texts. Raises BadNote."""
    hashes = tuple(decoded(text) for text in texts)
    if len(hashes) > MAX_PROOF_HASHES or any(len(one) != HASH_BYTES for one in hashes):
        raise BadNote(f"a proof has at most {MAX_PROOF_HASHES} hashes of {HASH_BYTES} bytes")
    return hashes
