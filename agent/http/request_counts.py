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
LOOKUPS: Final = frozenset(("/services", "/services/{name}", "/resolve/{name}", "/explain/{name}"))
_TOLD: Final = (HTTPStatus.OK, HTTPStatus.NOT_FOUND)


class RequestCounts:
    """The counts of one port. Paths are those of the table of routes, so that there are few."""

    def __init__(self) -> None:
        self.answers: dict[str, int] = dict.fromkeys(map(str, FRESHNESS), 0)
        self.ages = BucketCounts(AGES_S)
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
        self.answers[freshness] += 1
        self.ages.observe(age_s)

    @property
    def requests(self) -> dict[tuple[str, str], int]:
        """Requests by path and status."""
        return {(path, str(status)): cell[0] for (path, status), cell in self._cells.items()}
