"""What was asked for since the start: sums that only grow, in bounded space, with the time of the last reading."""

from __future__ import annotations

from collections.abc import Callable

from registry_core.usage.asked import AskedNames
from registry_core.usage.book import UsageBook
from registry_core.usage.report import Asked, Face


def book(
    names: AskedNames, *, is_known: Callable[[str], bool] = lambda _: True, most: int = 3, most_unknown: int = 2
) -> UsageBook:
    faces = {Face.DNS: names}
    return UsageBook(faces, settle=lambda: None, is_known=is_known, now=0.0, most=most, most_unknown=most_unknown)


def test_counts_are_sums_since_the_start_with_the_time_of_the_reading_that_found_them() -> None:
    names = AskedNames()
    counted = book(names)
    names.add("billing", 3)
    assert counted.counts(10.0).asked == (Asked("billing", Face.DNS, 3, 0.0),)
    names.add("search")
    assert set(counted.counts(25.0).asked) == {Asked("billing", Face.DNS, 3, 15.0), Asked("search", Face.DNS, 1, 0.0)}
    names.add("billing")
    assert Asked("billing", Face.DNS, 4, 0.0) in counted.counts(30.0).asked
    assert counted.counts(31.0).counted_s == 31.0


def test_the_pair_that_was_asked_for_longest_ago_goes_first_and_is_counted_as_left_out() -> None:
    names = AskedNames()
    counted = book(names)
    for number in range(4):
        names.add(f"s{number}", number + 1)
        told = counted.counts(float(number))
    assert [one.label for one in told.asked] == ["s1", "s2", "s3"]
    assert told.left_out == 1


def test_names_that_nobody_has_take_no_room_from_services() -> None:
    names = AskedNames()
    counted = book(names, is_known=lambda label: label == "billing")
    names.add("billing")
    counted.counts(1.0)
    for number in range(50):
        names.add(f"x{number}", is_found=False)
    told = counted.counts(2.0)
    assert [one.label for one in told.asked] == ["billing", "x48", "x49"]
    assert told.left_out == 0, "a flood of invented names is no doubt about services"


def test_a_service_that_disappears_keeps_its_count() -> None:
    names, known = AskedNames(), {"billing"}
    counted = book(names, is_known=known.__contains__)
    names.add("billing", 5)
    counted.counts(1.0)
    known.clear()
    names.add("billing", 2, is_found=False)
    assert counted.counts(2.0).asked == (Asked("billing", Face.DNS, 7, 0.0),)


def test_what_is_no_service_name_is_not_reported() -> None:
    names = AskedNames()
    counted = book(names, most=9)
    for label in ("a b", "ä", "\x1b[2J", "-x", "x" * 64, "", "good"):
        names.add(label)
    assert [one.label for one in counted.counts(1.0).asked] == ["good"]
