"""The journal: the last write of each instance, for a limited time and within a limited size."""

from __future__ import annotations

from registry_core.domain.records import InstanceKey
from registry_core.store.redis.journal import Journal, Written
from registry_core.store.redis.rows import Order
from tests.samples import instance

KEY = InstanceKey("ip-intel", "10.0.0.7:8034")


def key(number: int) -> InstanceKey:
    return InstanceKey("ip-intel", f"10.0.0.7:{number}")


def written(revision: int, life: int = 1) -> Written:
    return Written(Order(life, revision), instance())


def test_the_last_write_of_an_instance_is_kept_whatever_is_noted_first() -> None:
    journal = Journal()
    for revision in (5, 7, 6):
        journal.note(KEY, written(revision), 0.0)
    assert list(journal.entries(1.0)) == [(KEY, written(7))]
    journal.note(KEY, written(1, life=2), 2.0)
    assert journal.latest(KEY) == written(1, life=2), "a later life comes after every revision of an earlier one"


def test_a_removal_is_a_write_like_any_other() -> None:
    journal = Journal()
    journal.note(KEY, written(5), 0.0)
    journal.note(KEY, Written(Order(1, 6, 12), None, 4), 1.0)
    assert list(journal.entries(1.0)) == [(KEY, Written(Order(1, 6, 12), None, 4))]


def test_old_writes_are_not_restored_and_are_forgotten() -> None:
    journal = Journal(kept_s=10.0)
    journal.note(key(1), written(1), 0.0)
    journal.note(key(2), written(2), 6.0)
    assert [k for k, _ in journal.entries(11.0)] == [key(2)]
    journal.note(key(3), written(3), 11.0)
    assert len(journal) == 2


def test_a_restored_write_is_kept_for_as_long_again() -> None:
    journal = Journal(kept_s=10.0)
    journal.note(key(1), written(1), 0.0)
    journal.note(key(2), written(2), 9.0)
    journal.renew(12.0)
    assert [k for k, _ in journal.entries(21.0)] == [key(2)]


def test_the_journal_is_bounded_and_names_what_it_dropped() -> None:
    journal = Journal(most=3)
    for number in range(5):
        journal.note(key(number), written(number), 0.0)
    assert [k for k, _ in journal.entries(0.0)] == [key(2), key(3), key(4)]
    assert journal.notes == ("2 writes were forgotten early: more than 3 within 30 s",)


def test_an_expired_instance_is_not_restored() -> None:
    journal = Journal()
    journal.note(KEY, written(1), 0.0)
    journal.forget(KEY)
    assert not list(journal.entries(0.0))
