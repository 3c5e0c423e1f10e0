"""Reads what others ask of an audit log: lines, and proofs. Everything here blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from registry_core.security.audit.folder import TreeFile, lines_from
from registry_core.security.audit.merkle import Frontier, consistency_proof, inclusion_proof

MAX_LINES: Final = 1_000
MAX_PAGE_BYTES: Final = 512 * 1024


class AuditPage(msgspec.Struct, frozen=True):
    """Lines that follow each other. `first` is the number of the first one, `frontier` that of all lines before it."""

    first: int
    frontier: tuple[bytes, ...]
    lines: tuple[bytes, ...]


def page_of(folder: Path, start: int, most: int, size: int) -> AuditPage:
    """Return up to `most` of the first `size` lines, from `start` on or from the first one that is there.

    Raises OSError.
    """
    first, lines, length = min(start, size), list[bytes](), 0
    for number, line in lines_from(folder, start):
        if number >= size or len(lines) >= min(most, MAX_LINES) or length >= MAX_PAGE_BYTES:
            break
        if not lines:
            first = number
        elif number != first + len(lines):  # some are missing: they begin another page
            break
        lines.append(line)
        length += len(line)
    return AuditPage(first, frontier_at(folder, first), tuple(lines))


def frontier_at(folder: Path, size: int) -> tuple[bytes, ...]:
    """Return the frontier of the first `size` lines. Raises OSError."""
    with TreeFile(folder) as tree:
        return Frontier.stored(size, tree.read).roots


def inclusion_in(folder: Path, index: int, size: int) -> tuple[bytes, ...]:
    """Return the proof that line `index` is one of the first `size`. Raises OSError; the caller checks the numbers."""
    with TreeFile(folder) as tree:
        return tuple(inclusion_proof(index, size, tree.read))


def consistency_in(folder: Path, first: int, second: int) -> tuple[bytes, ...]:
    """Return the proof that the log of `second` lines continues that of `first`. Raises OSError, as above."""
    with TreeFile(folder) as tree:
        return tuple(consistency_proof(first, second, tree.read))
