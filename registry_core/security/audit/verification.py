"""Verifies a log as a whole: that its lines are exactly those under a signed head. Pure.

Where the stored hashes are at hand as well, as in a folder, a line that was altered or moved is named; without them
only the root tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from registry_core.security.audit.folder import NumberedLine
from registry_core.security.audit.heads import Head, SignedHead
from registry_core.security.audit.lines import REMOVED, AuditLine
from registry_core.security.audit.merkle import (
    BadProof,
    Frontier,
    StoredHash,
    check_consistency,
    leaf_hash,
    stored_count,
    stored_position,
)
from registry_core.security.audit.notes import VerifierKey

# More findings of one log say nothing more.
MAX_FINDINGS: Final = 20
_DECODER: Final = msgspec.json.Decoder(AuditLine)
_MARK: Final = f'"{REMOVED}"'.encode()


class CheckedLog(msgspec.Struct, frozen=True):
    """What was found: nothing is wrong with a log without faults. `first` and `behind` are those of the lines read."""

    first: int
    behind: int
    faults: tuple[str, ...]


def check_lines(
    lines: Iterable[NumberedLine], first: int, frontier: Frontier, head: Head, stored: StoredHash | None = None
) -> CheckedLog:
    """Compare lines with a head. `first` is the first one that is kept, `frontier` that of those before it.

    Lines behind the head are read, but nothing vouches for them yet.
    """
    faults: list[str] = []
    tree = frontier.copy()
    covered: bytes | None = tree.root if tree.size == head.size else None
    removed_behind = 0
    for number, line in lines:
        if number != tree.size and not _skipped(tree, number, stored, faults):
            break
        position = stored_count(tree.size)
        hashes = tree.append(leaf_hash(line))
        if stored is not None and number < head.size and len(faults) < MAX_FINDINGS:
            known = [_stored(stored, position + at) for at in range(len(hashes))]
            if hashes[0] != known[0]:
                faults.append(f"line {number} is not the one that was logged: it was altered or moved")
            elif hashes != known and not faults:  # they follow from the lines
                faults.append(f"the stored hashes of the lines up to {number} are not those of the lines")
        if tree.size == head.size:
            covered = tree.root
        if _MARK in line:
            removed_behind = max(removed_behind, _removed_behind(line))
    if tree.size < head.size:
        faults.append(f"lines {tree.size} to {head.size - 1} are missing")
    elif covered != head.root and not faults:
        faults.append(f"the first {head.size} lines are not those that the head was signed over")
    if first and removed_behind < first:
        faults.append(f"lines 0 to {first - 1} are gone, and no line says that they were removed in time")
    return CheckedLog(first, tree.size, tuple(faults))


def check_signature(head: SignedHead, log: VerifierKey) -> Iterator[str]:
    """Yield what is wrong with the log's signature of a head."""
    if head.head.origin != log.name:
        yield f"the head is of {head.head.origin}, and the key of {log.name}"
    elif not head.is_signed_by(log):
        yield f"the head of {head.head.size} lines is not signed by {log}"


def check_continues(old: SignedHead, new: SignedHead, proof: Callable[[int, int], Iterable[bytes]]) -> Iterator[str]:
    """Yield what is wrong when the log of `new` does not continue that of `old`; `proof` is asked for both sizes."""
    before, after = old.head, new.head
    if before.origin != after.origin:
        yield f"the earlier head is of {before.origin}, and this log is {after.origin}"
        return
    if before.size > after.size:
        yield f"the log went back: it had {before.size} lines, and now has {after.size}"
        return
    try:
        hashes = tuple(proof(before.size, after.size)) if before.size < after.size else ()
        check_consistency(before.size, after.size, hashes, before.root, after.root)
    except BadProof as error:
        yield f"this is not the log of the earlier head: {error}"


def _stored(stored: StoredHash, position: int) -> bytes | None:
    try:
        return stored(position)
    except OSError:
        return None


def _skipped(tree: Frontier, number: int, stored: StoredHash | None, faults: list[str]) -> bool:
    """Go on behind missing lines, by their stored hashes; return whether that is possible."""
    if number < tree.size:
        faults.append(f"line {number} is there twice")
        return False
    faults.append(f"lines {tree.size} to {number - 1} are missing")
    while stored is not None and tree.size < number:
        leaf = _stored(stored, stored_position(0, tree.size))
        if leaf is None:
            return False
        tree.append(leaf)
    return tree.size == number


def _removed_behind(line: bytes) -> int:
    """Return the number after the last line whose removal a line tells of; 0 when it tells of none."""
    try:
        found = _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0
    words = found.reason.replace(",", "").split(" ")
    if found.operation != REMOVED or len(words) < 4 or not words[3].isdigit():
        return 0
    return int(words[3]) + 1
