"""The order of one owner's writes, row by row, and the limits of tombstones."""

from __future__ import annotations

import pytest

from registry_core.domain.order import (
    MAX_TOMBSTONES,
    RULINGS,
    TOMBSTONE_S,
    LastWrite,
    Ruling,
    Than,
    Tombstones,
    check_order,
    ruled,
    taken,
)
from registry_core.domain.records import InstanceKey
from registry_core.errors import Fenced, Late
from tests.samples import instance

KEY = InstanceKey("ip-intel", "10.0.0.7:8034")
LAST = LastWrite(epoch=7, sequence=20)
REMOVED = LastWrite(epoch=7, sequence=20, removal=True)


@pytest.mark.parametrize(
    ("epoch", "sequence", "ruling"),
    [
        (6, 19, Ruling.FENCED),
        (6, 20, Ruling.FENCED),
        (6, 21, Ruling.FENCED),
        (6, None, Ruling.FENCED),
        (7, 19, Ruling.LATE),
        (7, 20, Ruling.REPEATED),
        (7, 21, Ruling.TAKEN),
        (7, None, Ruling.TAKEN),
        (None, 19, Ruling.LATE),
        (None, 20, Ruling.REPEATED),
        (None, 21, Ruling.TAKEN),
        (None, None, Ruling.TAKEN),
        (8, 0, Ruling.TAKEN),
        (8, 20, Ruling.TAKEN),
        (8, 21, Ruling.TAKEN),
        (8, None, Ruling.TAKEN),
    ],
)
def test_a_write_is_judged_by_its_epoch_and_then_by_its_sequence(
    epoch: int | None, sequence: int | None, ruling: Ruling
) -> None:
    assert ruled(LAST, epoch, sequence) is ruling
    assert ruled(REMOVED, epoch, sequence, removal=True) is ruling


@pytest.mark.parametrize(("epoch", "ruling"), [(6, Ruling.FENCED), (7, Ruling.TAKEN), (None, Ruling.TAKEN)])
def test_after_a_write_without_a_sequence_only_the_epoch_counts(epoch: int | None, ruling: Ruling) -> None:
    assert ruled(LastWrite(7), epoch, 0) is ruling
    assert ruled(LastWrite(7, removal=True), epoch, 0) is ruling


def test_the_table_covers_every_case() -> None:
    assert {(epoch, sequence) for epoch, row in RULINGS.items() for sequence in row} == {
        (epoch, sequence) for epoch in Than for sequence in Than
    }


def test_the_first_write_of_an_instance_is_accepted() -> None:
    for epoch, sequence in ((None, None), (0, 0), (9, 9)):
        assert ruled(None, epoch, sequence) is Ruling.TAKEN


def test_a_registration_does_not_repeat_a_removal_nor_a_removal_a_registration() -> None:
    assert ruled(REMOVED, 7, 20) is Ruling.LATE
    assert ruled(LAST, 7, 20, removal=True) is Ruling.LATE


def test_an_accepted_write_is_remembered_with_its_own_numbers() -> None:
    assert taken(LAST, 7, 21) == LastWrite(7, 21)
    assert taken(LAST, 8, 1) == LastWrite(8, 1)
    assert taken(LAST, None, 21, removal=True) == LastWrite(7, 21, removal=True)
    assert taken(None, None, None) == LastWrite(0)


def test_a_write_without_a_sequence_keeps_the_stored_one() -> None:
    assert taken(LAST, 7, None) == LAST
    assert taken(LAST, None, None, removal=True) == REMOVED
    assert taken(REMOVED, 7, None) == LAST, "a late write stays late"
    assert taken(LAST, 8, None) == LastWrite(8), "a newer owner starts a new sequence"


def test_a_refusal_names_the_newer_write() -> None:
    with pytest.raises(Fenced, match="epoch 7") as fenced:
        check_order(KEY, LAST, 6, 30)
    assert (fenced.value.field, fenced.value.provided, fenced.value.example) == ("epoch", 6, 7)
    with pytest.raises(Late, match="sequence 20") as late:
        check_order(KEY, REMOVED, 7, 19)
    assert (late.value.field, late.value.provided, late.value.example) == ("sequence", 19, 20)


# -- tombstones


def key(number: int) -> InstanceKey:
    return InstanceKey("ip-intel", f"i{number}")


def test_a_tombstone_lasts_its_time_and_no_longer() -> None:
    stones = Tombstones()
    stones.put(KEY, REMOVED, instance(), 100.0)
    stone = stones.get(KEY, 100.0 + TOMBSTONE_S - 0.1)
    assert stone is not None
    assert (stone.last, stone.instance) == (REMOVED, instance())
    assert stones.get(KEY, 100.0 + TOMBSTONE_S) is None
    stones.put(key(2), REMOVED, None, 100.0 + TOMBSTONE_S)
    assert len(stones) == 1, "an expired tombstone goes when the next one comes"


def test_a_second_removal_extends_the_tombstone() -> None:
    stones = Tombstones()
    stones.put(KEY, REMOVED, instance(), 100.0)
    stones.put(key(2), REMOVED, None, 120.0)
    stones.put(KEY, LastWrite(7, 30, removal=True), None, 150.0)
    assert stones.get(KEY, 150.0 + TOMBSTONE_S - 0.1) is not None
    stones.put(key(3), REMOVED, None, 120.0 + TOMBSTONE_S)
    assert stones.get(key(2), 120.0 + TOMBSTONE_S) is None
    assert len(stones) == 2


def test_tombstones_are_bounded_and_the_oldest_goes_first() -> None:
    stones = Tombstones(most=100)
    for number in range(1000):
        stones.put(key(number), REMOVED, None, 100.0)
    assert len(stones) == 100
    assert stones.get(key(899), 100.0) is None
    assert stones.get(key(900), 100.0) is not None
    assert MAX_TOMBSTONES >= 1000


def test_a_new_registration_clears_the_tombstone() -> None:
    stones = Tombstones()
    stones.drop(KEY)
    stones.put(KEY, REMOVED, None, 100.0)
    stones.drop(KEY)
    assert stones.get(KEY, 100.0) is None
