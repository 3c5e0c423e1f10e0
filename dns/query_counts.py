"""Counts queries by type and rcode, and the answers from the view by its freshness and its age.

A ready answer is counted by the cell of its cache entry, which is read when the entry is restocked or dropped, and
costs nothing when it is given out. All ready answers are of the view's freshness class of now: they are dropped when it
changes. The age at each answer is noted to the second: answers are only numbered, and the numbers folded into a
histogram once a second and at each scrape. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from dns.codec import Rcode, type_name
from registry_core.domain.freshness import Freshness
from registry_core.telemetry.bucket_counts import BucketCounts

# Upper bounds of ages of the view, in seconds: up to a day.
AGES_S: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
# The freshness of an answer that says that it is not known here.
UNKNOWN: Final = "unknown"
FRESHNESS: Final = (*Freshness, UNKNOWN)
# There are 65,536 types, of which some are asked for.
_MOST_KEPT: Final = 256
# Of an answer that does not come from the view.
_NO_VIEW: Final = ""
OTHER: Final = "other"


def rcode_name(rcode: int) -> str:
    """Return the label under which an rcode is counted; unusual ones, which resolvers may give, share one."""
    try:
        return Rcode(rcode).name
    except ValueError:
        return OTHER


class GivenBeside:
    """What one thread counts of the datagrams that it takes beside the loop. That thread alone writes it."""

    __slots__ = ("others", "received")

    def __init__(self) -> None:
        self.received = 0
        self.others = 0  # of them, those that got no ready answer; counted first

    @property
    def count(self) -> int:
        """Ready answers that the thread has given out."""
        others = self.others
        return self.received - others


class QueryCounts:
    """The counts of one responder, which the loop alone changes."""

    def __init__(self, settle: Callable[[], object], age_s: Callable[[], float]) -> None:
        """`settle` brings the cells up to date; `age_s` returns the age of the view."""
        self._settle = settle
        self._view_age_s = age_s
        # Ready answers given out on the loop, and new ones from the view, since the last fold. Added by all that give.
        self.given = 0
        self._beside: list[GivenBeside] = []
        self._folded = 0  # of those given beside the loop
        self.ages = BucketCounts(AGES_S)
        self._age_s = age_s()  # at the last fold
        self._cells: dict[tuple[str, str, str], list[int]] = {}
        self._cell_of: dict[tuple[int, int, str], list[int]] = {}  # of the answers that occur, which are few

    def add(self, type_: str, rcode: int) -> None:
        """Count a query whose answer does not come from the view."""
        self._cell(type_, rcode, _NO_VIEW)[0] += 1

    def add_from_view(self, qtype: int, rcode: int, freshness: Freshness, count: int = 1) -> list[int]:
        """Count queries that are answered from the view; return the cell to count further ones with the same answer."""
        key = qtype, rcode, freshness
        cell = self._cell_of.get(key)
        if cell is None:
            cell = self._cell(type_name(qtype), rcode, UNKNOWN if rcode == Rcode.SERVFAIL else freshness)
            if len(self._cell_of) < _MOST_KEPT:
                self._cell_of[key] = cell
        cell[0] += count
        self.given += count
        return cell

    def of_a_thread(self) -> GivenBeside:
        """Return the count of another thread, which is read at each fold."""
        self._beside.append(GivenBeside())
        return self._beside[-1]

    def fold(self) -> None:
        """Note the age at the answers since the last fold: the age of then. Call it once a second, and to read ages."""
        beside = sum(thread.count for thread in self._beside)
        # What a thread counts at this moment may be off by one, until the next fold.
        if (given := self.given + beside - self._folded) > 0:
            self.ages.observe(self._age_s, given)
            self.given, self._folded = 0, beside
        self._age_s = self._view_age_s()

    @property
    def queries(self) -> Counter[tuple[str, str]]:
        """Queries answered, by (type, rcode): both bounded sets of words."""
        self._settle()
        found: Counter[tuple[str, str]] = Counter()
        for (type_, rcode, _), cell in self._cells.items():
            found[type_, rcode] += cell[0]
        return found

    @property
    def answers(self) -> dict[str, int]:
        """Answers from the view, by its freshness."""
        self._settle()
        found = dict.fromkeys(map(str, FRESHNESS), 0)
        for (_, _, freshness), cell in self._cells.items():
            if freshness != _NO_VIEW:
                found[freshness] += cell[0]
        return found

    def _cell(self, type_: str, rcode: int, freshness: str) -> list[int]:
        return self._cells.setdefault((type_, rcode_name(rcode), freshness), [0])
