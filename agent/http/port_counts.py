"""Counts the requests to the localhost port, and the lookups among them by the freshness and the age of the view. Pure.

A ready body has the cell of its requests; to count one takes an addition.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from dns.query_counts import AGES_S, FRESHNESS, UNKNOWN
from registry_core.domain.freshness import Freshness
from registry_core.telemetry.bucket_counts import BucketCounts

# The paths that are answered from the view.
LOOKUPS: Final = frozenset(("/services", "/services/{name}", "/resolve/{name}", "/explain/{name}", "/sd/{program}"))
_TOLD: Final = (HTTPStatus.OK, HTTPStatus.NOT_FOUND)


class LocalPortCounts:
    """The counts of one port. Paths are those of the table of routes, so that there are few."""

    def __init__(self) -> None:
        self._answers: dict[str, int] = dict.fromkeys(map(str, FRESHNESS), 0)
        self._ages = BucketCounts(AGES_S)
        # The latest answers, which were alike: while the watch is live, the age changes every few seconds.
        self._freshness, self._age_s, self._alike = UNKNOWN, 0.0, 0
        self._cells: dict[tuple[str, int], list[int]] = {}

    def cell(self, path: str, status: int) -> list[int]:
        """Return the cell that counts such requests."""
        return self._cells.setdefault((path, status), [0])

    def answered(self, path: str, status: int, freshness: Freshness, age_s: float) -> None:
        """Count a request, and if it is a lookup, its answer from a view of that freshness and age."""
        self.cell(path, status)[0] += 1
        if path not in LOOKUPS:
            return
        if status in _TOLD:
            self.looked_up(freshness, age_s)
        elif status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.looked_up(UNKNOWN, age_s)

    def looked_up(self, freshness: str, age_s: float) -> None:
        """Count the answer to a lookup."""
        if age_s != self._age_s or freshness != self._freshness:
            self._settle()
            self._freshness, self._age_s = freshness, age_s
        self._alike += 1

    def _settle(self) -> None:
        self._answers[self._freshness] += self._alike
        self._ages.observe(self._age_s, self._alike)
        self._alike = 0

    @property
    def answers(self) -> dict[str, int]:
        """Answers from the view, by its freshness."""
        self._settle()
        return self._answers

    @property
    def ages(self) -> BucketCounts:
        """The age of the view at each of them."""
        self._settle()
        return self._ages

    @property
    def requests(self) -> dict[tuple[str, str], int]:
        """Requests by path and status."""
        return {(path, str(status)): cell[0] for (path, status), cell in self._cells.items()}
