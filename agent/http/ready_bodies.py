"""Caches the bodies of localhost HTTP answers by request target.

Answers show leases to the second, so a body is kept for a second at most, and dropped at once when its service
changes. The first instance is drawn by weight for every request; each instance has its own body, made when it is
first drawn.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final

from registry_core.domain.records import Instance
from registry_core.domain.selection import Random
from registry_core.usage.asked import AskedNames

KEPT_S: Final = 1.0
MAX_TARGETS: Final = 4_000
MAX_BYTES: Final = 4 * 1024 * 1024


class Body:
    """The answers to one target: `make(at)` returns the one that starts with instance number `at` of `near`."""

    __slots__ = ("_made", "_make", "_marks", "content_type", "counter", "label")

    def __init__(
        self, label: str, near: Sequence[Instance], make: Callable[[int], bytes], content_type: str = "application/json"
    ) -> None:
        """`label` is the service's, or empty if the answer depends on all services; `near` is not empty."""
        self.label = label
        self.content_type = content_type
        self.counter = [0]  # how often it was taken while ready; the caller may share one cell among several
        self._marks = list(accumulate(i.weight for i in near)) if near else [1]
        self._make = make
        self._made: dict[int, bytes] = {}

    def draw(self, random: Random) -> tuple[bytes, int]:
        """Return one answer, and how many new bytes were made for it."""
        marks = self._marks
        at = 0 if len(marks) == 1 else min(bisect(marks, random.random() * marks[-1]), len(marks) - 1)
        found = self._made.get(at)
        if found is not None:
            return found, 0
        made = self._made[at] = self._make(at)
        return made, len(made)


class ReadyBodies:
    """The ready bodies. When they are full, all are dropped: they would expire within a second anyway."""

    def __init__(self, random: Random, asked: AskedNames) -> None:
        """`asked` counts what is taken while it is ready."""
        self._random = random
        self._asked = asked
        self._ready: dict[str, Body] = {}
        self._by_label: dict[str, list[str]] = {}  # targets; empty for those that depend on all services
        self._until = 0.0
        self._bytes = 0

    def __len__(self) -> int:
        """The number of targets."""
        return len(self._ready)

    def take(self, target: str, now: float) -> tuple[bytes, str] | None:
        """Return a ready body and its content type, or None."""
        if now >= self._until:
            self._clear()
            self._until = now + KEPT_S
            return None
        body = self._ready.get(target)
        if body is None:
            return None
        body.counter[0] += 1
        self._asked.add(body.label)
        return self._drawn(body)

    def put(self, target: str, body: Body) -> tuple[bytes, str]:
        """Keep a body, and return it drawn once."""
        if len(self._ready) >= MAX_TARGETS or self._bytes >= MAX_BYTES:
            self._clear()
        known = self._ready.get(target)
        if known is None or known.label != body.label:
            self._by_label.setdefault(body.label, []).append(target)
        self._ready[target] = body
        return self._drawn(body)

    def changed(self, labels: frozenset[str]) -> None:
        """Drop the bodies of these services; all bodies if `labels` is empty."""
        if not labels:
            self._clear()
        elif self._ready:
            for label in (*labels, ""):
                for target in self._by_label.pop(label, ()):
                    self._ready.pop(target, None)

    def _clear(self) -> None:
        self._ready.clear()
        self._by_label.clear()
        self._bytes = 0

    def _drawn(self, body: Body) -> tuple[bytes, str]:
        data, made = body.draw(self._random)
        self._bytes += made
        return data, body.content_type
