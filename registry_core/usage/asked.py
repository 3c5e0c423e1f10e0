"""Counts, by service, how often a program asked: for the paths on which each answer takes a few microseconds.

It holds what was asked since it was last emptied, in bounded space. Names that had an answer and names that had none
are bounded apart, so that a flood of invented names takes no room from those that exist.
"""

from __future__ import annotations

from typing import Final

MAX_FOUND: Final = 4096
MAX_MISSING: Final = 1024


class AskedNames:
    """The counts of one face of an agent. `left_out` counts the questions for which there was no room."""

    __slots__ = ("_found", "_missing", "is_on", "left_out")

    def __init__(self) -> None:
        self.is_on = True
        self._found: dict[str, int] = {}
        self._missing: dict[str, int] = {}
        self.left_out = 0

    def add(self, label: str, count: int = 1, *, is_found: bool = True) -> None:
        """Count questions for a service; those for no service in particular have no label, and are not counted."""
        if not (label and count and self.is_on):
            return
        counts = self._found if is_found else self._missing
        known = counts.get(label)
        if known is not None:
            counts[label] = known + count
        elif len(counts) < (MAX_FOUND if is_found else MAX_MISSING):
            counts[label] = count
        else:
            self.left_out += count

    def take(self) -> dict[str, int]:
        """Return what was counted since the last call."""
        taken = self._found
        for label, count in self._missing.items():
            taken[label] = taken.get(label, 0) + count
        self._found, self._missing = {}, {}
        return taken
