"""Where services are placed: the same at every replica, and never in a joining shard."""

from __future__ import annotations

from collections import Counter

import pytest

from registry_core.domain.sharding import shard_of
from registry_core.store.redis import placement
from registry_core.store.redis.placement import Placing

NAMES = ("alpha", "beta", "gamma")
LABELS = [f"service-{number}" for number in range(3000)]


def test_one_shard_has_every_service() -> None:
    placing = Placing(["alone"])
    assert {placing(label) for label in LABELS} == {0}


def test_the_hash_decides_the_shard_of_a_service() -> None:
    placing = Placing(NAMES)
    assert [placing(label) for label in LABELS] == [shard_of(label, NAMES) for label in LABELS]
    assert [placing(label) for label in LABELS] == [shard_of(label, NAMES) for label in LABELS], "once more"


def test_every_shard_gets_its_share() -> None:
    counts = Counter(map(Placing(NAMES), LABELS))
    assert all(800 < counts[number] < 1200 for number in range(3))


def test_the_order_of_the_names_does_not_matter() -> None:
    forth, back = Placing(NAMES), Placing(NAMES[::-1])
    assert [NAMES[forth(label)] for label in LABELS] == [NAMES[::-1][back(label)] for label in LABELS]


@pytest.mark.parametrize(("joining", "number"), [("alpha", 0), ("beta", 1), ("gamma", 2)])
def test_a_joining_shard_gets_nothing_and_the_others_keep_their_numbers(joining: str, number: int) -> None:
    placing = Placing(NAMES, {joining})
    rest = [name for name in NAMES if name != joining]
    assert placing.joining == {number}
    assert [NAMES[placing(label)] for label in LABELS] == [rest[shard_of(label, rest)] for label in LABELS]


def test_a_joined_shard_takes_its_share_and_moves_nothing_else() -> None:
    before, after = Placing(NAMES, {"beta"}), Placing(NAMES)
    moved = {after(label) for label in LABELS if before(label) != after(label)}
    assert moved == {1}


def test_a_joining_name_that_is_no_shard_is_ignored() -> None:
    placing = Placing(NAMES, ["delta"])
    assert placing.joining == frozenset()
    assert [placing(label) for label in LABELS] == [shard_of(label, NAMES) for label in LABELS]


def test_any_number_of_names_is_placed_and_few_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "MOST_REMEMBERED", 10)
    placing = Placing(NAMES)
    for label in LABELS[:100]:
        assert placing(label) == shard_of(label, NAMES)
        assert len(placing._found) <= 10
