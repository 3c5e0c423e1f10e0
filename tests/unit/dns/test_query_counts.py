"""Queries by type and rcode, answers by freshness, and the age at each."""

from __future__ import annotations

from dns.codec import Rcode, Type
from dns.query_counts import AGES_S, FRESHNESS, UNKNOWN, QueryCounts
from registry_core.domain.freshness import Freshness


class View:
    """A view's age, and what was settled."""

    def __init__(self) -> None:
        self.age_s = 0.0
        self.settled = 0
        self.counts = QueryCounts(self.settle, lambda: self.age_s)

    def settle(self) -> None:
        self.settled += 1

    @property
    def ages(self) -> dict[str, int]:
        """How many answers are in each bucket, without the empty ones."""
        found: dict[str, int] = {}
        before = 0
        for bound, count in self.counts.ages.cumulative:
            if count > before:
                found[bound] = count - before
            before = count
        return found


def test_a_query_is_counted_by_type_and_rcode_whatever_the_freshness() -> None:
    view = View()
    for freshness in Freshness:
        view.counts.add_from_view(Type.A, Rcode.NOERROR, freshness)
    view.counts.add("A", Rcode.NOERROR)
    assert view.counts.queries == {("A", "NOERROR"): 4}
    assert view.counts.answers == {"fresh": 1, "stale": 1, "expired": 1, UNKNOWN: 0}


def test_the_cell_counts_further_answers_and_is_brought_up_to_date_before_it_is_read() -> None:
    view = View()
    cell = view.counts.add_from_view(Type.SRV, Rcode.NXDOMAIN, Freshness.STALE)
    cell[0] += 9
    assert view.counts.queries == {("SRV", "NXDOMAIN"): 10}
    assert view.counts.answers["stale"] == 10
    assert view.settled == 2


def test_an_answer_that_says_it_cannot_tell_is_of_unknown_freshness() -> None:
    view = View()
    view.counts.add_from_view(Type.A, Rcode.SERVFAIL, Freshness.FRESH)
    assert view.counts.answers == {"fresh": 0, "stale": 0, "expired": 0, UNKNOWN: 1}


def test_types_and_rcodes_are_few_whatever_is_asked_and_answered() -> None:
    view = View()
    for number in range(70_000):
        view.counts.add_from_view(number % 65_536, Rcode.NOERROR, Freshness.FRESH)
        view.counts.add("A", number % 4096)
    types, rcodes = {type_ for type_, _ in view.counts.queries}, {rcode for _, rcode in view.counts.queries}
    assert len(types) == len(Type) + 1
    assert len(rcodes) == len(Rcode) + 1
    assert sum(view.counts.queries.values()) == 140_000
    assert len(view.counts._cell_of) <= 256, "nor does the memory grow with what is asked"


def test_the_age_at_an_answer_is_that_of_the_second_in_which_it_was_given() -> None:
    view = View()
    view.counts.given += 5
    view.age_s = 40.0
    view.counts.fold()
    assert view.ages == {str(float(AGES_S[0])): 5}, "they were given before the view grew old"
    view.counts.given += 3
    view.counts.add_from_view(Type.A, Rcode.NOERROR, Freshness.STALE)
    view.age_s = 0.0
    view.counts.fold()
    view.counts.fold()
    assert view.ages == {str(float(AGES_S[0])): 5, "60.0": 4}, "and none is noted twice"
    assert (view.counts.ages.count, view.counts.ages.sum) == (9, 160.0)


def test_every_freshness_has_a_series_from_the_start() -> None:
    assert View().counts.answers == dict.fromkeys(FRESHNESS, 0)
