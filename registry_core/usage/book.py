"""What programs asked for since the start of an agent or a replica: counts and last times, in bounded space. Pure.

The faces count; the book is brought up to date whenever it is read, so the last time that a service was asked for is
known to a reading: the time said is never earlier than the true one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from registry_core.usage.asked import AskedNames
from registry_core.usage.limits import MAX_AGENT_PAIRS, MAX_COUNT, MAX_LABEL
from registry_core.usage.report import Asked, Face

# Of names that no service has, among them those that it no longer has.
MAX_UNKNOWN_PAIRS: Final = 100
# What a report may name: anything else in a question is no service's name.
_LABEL: Final = re.compile(rf"[a-z0-9][a-z0-9-]{{0,{MAX_LABEL - 1}}}", re.ASCII)


class UsageCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for since the start, for how long that was counted, and how much could not be counted."""

    counted_s: float | None = None  # None: it is not counted
    asked: tuple[Asked, ...] = ()
    left_out: int = 0


class UsageBook:
    """The counts by service and face, beginning at `now`: monotonic time in seconds.

    The pair that was asked for longest ago goes first.
    """

    def __init__(
        self,
        faces: Mapping[Face, AskedNames],
        *,
        settle: Callable[[], object],
        is_known: Callable[[str], bool],
        now: float,
        most: int = MAX_AGENT_PAIRS,
        most_unknown: int = MAX_UNKNOWN_PAIRS,
    ) -> None:
        """`settle` brings the faces' counts up to date; `is_known` returns whether a label is a service's."""
        self._faces = faces
        self._settle = settle
        self._is_known = is_known
        self._since = now
        self._most, self._most_unknown = most, most_unknown
        self._known: dict[tuple[str, Face], tuple[int, float]] = {}
        self._unknown: dict[tuple[str, Face], tuple[int, float]] = {}
        self._left_out = 0

    def counts(self, now: float) -> UsageCounts:
        """Return everything that was counted since the start."""
        self._settle()
        for face, names in self._faces.items():
            for label, count in names.take().items():
                if _LABEL.fullmatch(label):
                    self._add(label, face, count, now)
        asked = [
            Asked(label, face, count, round(now - at, 3))
            for part in (self._known, self._unknown)
            for (label, face), (count, at) in part.items()
        ]
        left_out = self._left_out + sum(names.left_out for names in self._faces.values())
        return UsageCounts(counted_s=round(now - self._since, 3), asked=tuple(asked), left_out=min(left_out, MAX_COUNT))

    def _add(self, label: str, face: Face, count: int, now: float) -> None:
        pair = (label, face)
        before = self._known.pop(pair, None) or self._unknown.pop(pair, None)
        is_known = self._is_known(label)
        part, most = (self._known, self._most) if is_known else (self._unknown, self._most_unknown)
        part[pair] = (min(count + (before[0] if before is not None else 0), MAX_COUNT), now)
        if len(part) > most:
            left_out, _ = part.pop(next(iter(part)))
            self._left_out += left_out if is_known else 0
