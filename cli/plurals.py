"""Counts things in messages: `1 service`, `2 services`."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun; `many` is the plural where it is not `one` with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"
