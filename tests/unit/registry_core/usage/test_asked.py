"""Counts of questions by name: within bounds, and a flood of invented names takes no room from those that exist."""

from __future__ import annotations

from registry_core.usage.asked import MAX_FOUND, MAX_MISSING, AskedNames


def test_counts_add_up_and_are_taken_once() -> None:
    names = AskedNames()
    names.add("billing")
    names.add("billing", 63)
    names.add("billing", is_found=False)  # its AAAA, which it does not have
    names.add("gone", is_found=False)
    names.add("")
    assert names.take() == {"billing": 65, "gone": 1}
    assert names.take() == {}


def test_a_flood_of_names_is_bounded_and_counted() -> None:
    names = AskedNames()
    for number in range(3 * MAX_MISSING):
        names.add(f"x{number}", is_found=False)
    names.add("billing")
    assert names.left_out == 2 * MAX_MISSING
    taken = names.take()
    assert (len(taken), taken["billing"]) == (MAX_MISSING + 1, 1)
    for number in range(MAX_FOUND + 5):
        names.add(f"s{number}")
    assert names.left_out == 2 * MAX_MISSING + 5


def test_nothing_is_counted_while_it_is_off() -> None:
    names = AskedNames()
    names.is_on = False
    names.add("billing")
    assert (names.take(), names.left_out) == ({}, 0)
