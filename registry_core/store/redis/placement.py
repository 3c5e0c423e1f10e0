"""Places each service in a shard by hashing, among the shards that take new services. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from registry_core.domain.sharding import shard_of

# Names are chosen by callers.
MOST_REMEMBERED: Final = 100_000


class Placing:
    """Places services in the named shards, except those that are joining."""

    def __init__(self, names: Sequence[str], joining: Collection[str] = ()) -> None:
        self.joining = frozenset(number for number, name in enumerate(names) if name in joining)
        self._numbers = {name: number for number, name in enumerate(names)}
        self._open = tuple(name for name in names if name not in joining)
        self._found: dict[str, int] = {}

    def __call__(self, label: str) -> int:
        """Return the number of the shard to which the service of this DNS label belongs."""
        number = self._found.get(label)
        if number is None:
            if len(self._found) >= MOST_REMEMBERED:
                self._found.clear()
            number = self._found[label] = self._numbers[self._open[shard_of(label, self._open)]]
        return number
