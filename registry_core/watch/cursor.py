"""Cursors: a reader's position in the history of every shard. Opaque to clients.

Text form: `<shard>.<epoch>.<revision>` for each shard, joined by `~`; safe in a URL without escaping.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from registry_core.domain.events import Position
from registry_core.errors import ValidationError

MAX_CURSOR_LENGTH: Final = 4096
_POSITION: Final = re.compile(r"(\d{1,4})\.([A-Za-z0-9]{1,32})\.(\d{1,18})", re.ASCII)


class Cursor(msgspec.Struct, frozen=True):
    """One position per shard, in shard order. Empty: the reader has seen nothing."""

    positions: tuple[Position, ...] = ()

    def __str__(self) -> str:
        return "~".join(f"{p.shard}.{p.epoch}.{p.revision}" for p in self.positions)

    def at(self, shard: int) -> Position | None:
        """Return the position in `shard`, or None when the reader has seen nothing of it."""
        for position in self.positions:
            if position.shard == shard:
                return position
        return None

    def covers(self, other: Cursor) -> bool:
        """Return whether a reader at this cursor has seen everything up to `other`, in the same histories."""
        return all(
            (own := self.at(p.shard)) is not None and own.epoch == p.epoch and own.revision >= p.revision
            for p in other.positions
        )

    def moved_to(self, position: Position) -> Cursor:
        """Return the cursor with `position` as the new one of its shard."""
        if len(self.positions) == 1 and self.positions[0].shard == position.shard:
            return Cursor((position,))
        shard = position.shard
        if self.at(shard) is None:
            return cursor_of([*self.positions, position])
        return Cursor(tuple([position if p.shard == shard else p for p in self.positions]))


def cursor_of(positions: Iterable[Position]) -> Cursor:
    """Return the cursor made of `positions`, at most one per shard."""
    return Cursor(tuple(sorted(positions)))


def parse_position(text: str) -> Position | None:
    """Return the position written as `text`, which is a cursor of one shard; None when it is not."""
    match = _POSITION.fullmatch(text)
    return None if match is None else Position(int(match[1]), match[2], int(match[3]))


def parse_cursor(text: str, *, field: str = "cursor") -> Cursor:
    """Return the cursor written as `text`; the empty text is the empty cursor.

    Raises ValidationError when no registry could have written it.
    """
    if not text:
        return Cursor()
    matches = [_POSITION.fullmatch(part) for part in text.split("~")] if len(text) <= MAX_CURSOR_LENGTH else [None]
    positions = [Position(int(m[1]), m[2], int(m[3])) for m in matches if m is not None]
    shards = {p.shard for p in positions}
    if len(positions) != len(matches) or len(shards) != len(positions):
        raise ValidationError(
            "a cursor must be copied unchanged from an earlier answer",
            field=field,
            provided=text[:100],
            example="0.5f3a.1042",
        )
    return cursor_of(positions)
