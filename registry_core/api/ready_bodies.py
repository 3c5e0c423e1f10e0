"""Caches the bodies of answers to lookups by request target, for replica and agent alike.

Answers show leases to the second, so a body is kept for a second at most, and dropped at once when its service
changes. The first instance is drawn by weight for every request. Only what names it differs between the answers of one
body: that part is made when an instance is first drawn, and the rest, the `tail`, is shared.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final, TypeAlias

from registry_core.domain.records import Instance
from registry_core.domain.selection import Random

KEPT_S: Final = 1.0
MAX_TARGETS: Final = 4_000
MAX_BYTES: Final = 4 * 1024 * 1024
# Names and values of header fields that say what a body is.
HeaderFields: TypeAlias = tuple[tuple[str, str], ...]
JSON_FIELDS: Final[HeaderFields] = (("Content-Type", "application/json"),)


class Body:
    """The answers to one target: `make(at)` returns the beginning of the one that picks instance number `at` of `near`.

    All end with `tail`.
    """

    __slots__ = ("_made", "_make", "_marks", "answers", "counter", "fields", "label", "tail")

    def __init__(
        self,
        label: str,
        near: Sequence[Instance],
        make: Callable[[int], bytes],
        *,
        tail: bytes = b"",
        fields: HeaderFields = JSON_FIELDS,
    ) -> None:
        """`label` is the service's, or empty if the answer depends on all services; then `near` may be empty."""
        self.label = label
        self.tail = tail
        self.fields = fields
        self.counter = [0]  # how often it was taken while ready; the caller may share one cell among several
        self._marks = list(accumulate(i.weight for i in near)) if near else [1]
        # Whole answers, by the place that is drawn: for the caller to keep, who counts them in `ReadyBodies.kept`.
        self.answers: dict[int, Sequence[bytes]] = {}
        self._make = make
        self._made: dict[int, bytes] = {}

    def draw(self, random: Random) -> int:
        """Return the place in `near` of the instance that is picked."""
        marks = self._marks
        if len(marks) == 1:
            return 0
        return min(bisect(marks, random.random() * marks[-1]), len(marks) - 1)

    def beginning(self, at: int) -> tuple[bytes, int]:
        """Return the beginning of one answer, and how many new bytes were made for it."""
        found = self._made.get(at)
        if found is not None:
            return found, 0
        made = self._made[at] = self._make(at)
        return made, len(made)


class ReadyBodies:
    """The ready bodies. When they are full, all are dropped: they would expire within a second anyway."""

    def __init__(
        self,
        random: Random,
        asked: Callable[[str], object],
        *,
        max_targets: int = MAX_TARGETS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`asked` is called with the label of what is taken while it is ready."""
        self._random = random
        self._asked = asked
        self._max_targets, self._max_bytes = max_targets, max_bytes
        self._ready: dict[str, Body] = {}
        self._targets: dict[str, list[str]] = {}  # by label
        self._until = 0.0
        self._bytes = 0

    def __len__(self) -> int:
        """The number of targets."""
        return len(self._ready)

    def find(self, target: str, now: float) -> Body | None:
        """Return a ready body, which is not counted yet."""
        if now >= self._until:
            self.clear()
            self._until = now + KEPT_S
            return None
        return self._ready.get(target)

    def draw(self, body: Body) -> int:
        """Count one answer of a ready body; return the place that is drawn for it."""
        body.counter[0] += 1
        if body.label:
            self._asked(body.label)
        return body.draw(self._random)

    def take(self, target: str, now: float) -> tuple[bytes, Body] | None:
        """Return a ready body and the beginning of one of its answers, or None."""
        body = self.find(target, now)
        return None if body is None else (self.beginning(body, self.draw(body)), body)

    def beginning(self, body: Body, at: int) -> bytes:
        """Return the beginning of the answer that was drawn."""
        beginning, made = body.beginning(at)
        self._bytes += made
        return beginning

    def kept(self, size: int) -> None:
        """So many more octets are kept with a body."""
        self._bytes += size

    def put(self, target: str, body: Body) -> bytes:
        """Keep a body, and return the beginning of one of its answers."""
        if len(self._ready) >= self._max_targets or self._bytes >= self._max_bytes:
            self.clear()
        self._ready[target] = body
        self._targets.setdefault(body.label, []).append(target)
        self._bytes += len(body.tail)
        return self.beginning(body, body.draw(self._random))

    def changed(self, labels: frozenset[str]) -> None:
        """Drop the bodies of these services, and those that depend on all; all bodies if `labels` is empty."""
        if labels:
            self.drop((*labels, ""))
        else:
            self.clear()

    def drop(self, labels: Iterable[str]) -> None:
        """Drop the bodies with these labels."""
        for label in labels:
            for target in self._targets.pop(label, ()):
                self._ready.pop(target, None)

    def clear(self) -> None:
        """Drop all bodies."""
        self._ready.clear()
        self._targets.clear()
        self._bytes = 0
