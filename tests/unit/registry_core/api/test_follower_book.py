"""The followers of a replica: as they report, within bounds, and forgotten when they stay silent."""

from __future__ import annotations

from typing import Any

from registry_core.api.deployment_schemas import ReplicaSummary
from registry_core.api.follower_book import (
    FORGOTTEN_AFTER_S,
    MAX_FOLLOWERS,
    MAX_NODES,
    SILENT,
    SILENT_AFTER_S,
    FollowerBook,
    flat,
    nodes,
    with_followers,
)


def follower(name: str, **fields: Any) -> ReplicaSummary:
    known = {"status": "healthy", "state": "ready", "uptime_seconds": 1.0, "services": 1, "instances": 1}
    return ReplicaSummary(id=name, **{**known, **fields})


def test_a_follower_is_shown_with_where_it_reports_from_and_whom_it_follows() -> None:
    book = FollowerBook("registry")
    book.take(follower("edge", follows="a lie", url="http://a.lie"), 10.0, address="203.0.113.9")
    (shown,) = book.summaries(12.0)
    assert (shown.follows, shown.address, shown.url, shown.reported_ago_seconds) == ("registry", "203.0.113.9", "", 2.0)


def test_a_follower_that_stops_reporting_is_silent_and_then_forgotten() -> None:
    book = FollowerBook("registry")
    book.take(follower("edge", followers=[follower("below")]), 0.0, address="")
    assert [one.status for one in flat(book.summaries(SILENT_AFTER_S))] == ["healthy", "healthy"]
    (silent,) = book.summaries(SILENT_AFTER_S + 1)
    assert (silent.status, silent.followers, silent.followers_left_out) == (SILENT, [], 1)
    assert book.summaries(FORGOTTEN_AFTER_S + 1) == []


def test_a_follower_that_ends_is_gone_at_once() -> None:
    book = FollowerBook("registry")
    book.take(follower("edge"), 0.0, address="")
    book.forget("edge")
    assert book.summaries(1.0) == []


def test_followers_are_bounded_and_known_ones_stay_welcome() -> None:
    book = FollowerBook("registry")
    assert all(book.take(follower(f"{number}"), 0.0, address="") for number in range(MAX_FOLLOWERS))
    assert not book.take(follower("one too many"), 0.0, address="")
    assert book.take(follower("0"), 1.0, address="")
    assert len(book) == MAX_FOLLOWERS


def test_what_is_left_out_of_a_large_tree_is_counted() -> None:
    wide = follower("wide", followers=[follower(f"{number}") for number in range(MAX_NODES + 10)])
    shown = with_followers(follower("registry"), [wide, follower("next")])
    assert nodes(shown.followers) + shown.followers_left_out == MAX_NODES + 12
    assert len(flat(shown.followers)) == MAX_NODES


def test_a_deep_tree_is_cut() -> None:
    deep = follower("bottom")
    for number in range(100):
        deep = follower(f"{number}", followers=[deep])
    book = FollowerBook("registry")
    book.take(deep, 0.0, address="")
    assert len(flat(book.summaries(0.0))) < 10
    assert nodes(book.summaries(0.0)) == 101


def test_what_a_follower_says_of_itself_is_short() -> None:
    book = FollowerBook("registry")
    book.take(follower("edge", reasons=["x" * 10_000] * 100), 0.0, address="")
    (shown,) = book.summaries(0.0)
    assert sum(map(len, shown.reasons)) < 2_000
