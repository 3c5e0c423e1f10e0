"""Requests to the localhost port by path and status, and lookups by freshness."""

from __future__ import annotations

import pytest

from agent.http.port_counts import LOOKUPS, LocalPortCounts
from agent.http.routes import OTHER, ROUTES, path_of
from registry_core.domain.freshness import Freshness


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/services", "/services"),
        ("/services?summary=true", "/services"),
        ("/services/billing?tag=blue", "/services/{name}"),
        ("http://localhost:8880/resolve/billing", "/resolve/{name}"),
        ("/services/%FF", "/services/{name}"),
        ("/check/billing/one", "/check/{service}/{instance}"),
        ("/", OTHER),
        ("/services/a/b/c", OTHER),
        ("/nothing", OTHER),
        ("*", OTHER),
    ],
)
def test_a_request_counts_under_the_path_of_the_table(target: str, path: str) -> None:
    assert path_of(target) == path
    assert path in {*ROUTES, OTHER}


@pytest.mark.parametrize(
    ("path", "status", "answers"),
    [
        ("/services/{name}", 200, {"stale": 1}),
        ("/services/{name}", 404, {"stale": 1}),
        ("/explain/{name}", 503, {"unknown": 1}),
        ("/services/{name}", 400, {}),
        ("/resolve/{name}", 405, {}),
        ("/drain", 200, {}),
        (OTHER, 404, {}),
    ],
)
def test_a_lookup_is_an_answer_from_the_view_unless_it_was_refused(
    path: str, status: int, answers: dict[str, int]
) -> None:
    counts = LocalPortCounts()
    counts.answered(path, status, Freshness.STALE, 31.0)
    assert counts.requests == {(path, str(status)): 1}
    assert {freshness: count for freshness, count in counts.answers.items() if count} == answers
    assert (counts.ages.count, counts.ages.sum) == (len(answers), 31.0 * len(answers))


def test_the_lookups_are_paths_of_the_table() -> None:
    assert ROUTES.keys() >= LOOKUPS


def test_answers_that_are_alike_are_counted_as_often_as_they_were_given() -> None:
    counts = LocalPortCounts()
    given = [("fresh", 0.5), ("fresh", 0.5), ("stale", 31.0), ("unknown", 31.0), ("fresh", 0.5), ("fresh", 1.5)]
    for number, (freshness, age_s) in enumerate(given):
        counts.looked_up(freshness, age_s)
        assert sum(counts.answers.values()) == counts.ages.count == number + 1
    assert counts.answers == {"fresh": 4, "stale": 1, "expired": 0, "unknown": 1}
    assert counts.ages.sum == sum(age_s for _, age_s in given)
    assert counts.answers == {"fresh": 4, "stale": 1, "expired": 0, "unknown": 1}, "to read them changes nothing"
