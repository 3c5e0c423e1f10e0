"""Refusals that repeat: none is left out, and they do not fill the disk."""

from __future__ import annotations

from registry_core.ports.audit import AuditEntry
from registry_core.security.audit.repeats import BURST, MAX_KINDS, MAX_LINES, WINDOW_S, Repeats


def refusal(service: str = "billing", client: str = "10.0.0.7", at: float = 1000.0) -> AuditEntry:
    return AuditEntry(
        time=at, operation="register", status=401, result="Unauthorized", service=service, client=client, reason="why"
    )


def test_the_first_equal_refusals_have_lines_and_the_others_are_counted() -> None:
    repeats = Repeats()
    lines = sum(repeats.gets_line(refusal(at=1000.0 + n), 5.0) for n in range(100))
    assert lines == BURST
    assert repeats.take(5.0 + WINDOW_S - 0.1) == []
    (counted,) = repeats.take(5.0 + WINDOW_S)
    assert (counted.times, counted.since, counted.entry.time) == (100 - BURST, 1000.0 + BURST, 1099.0)
    assert counted.entry.client == "10.0.0.7"


def test_after_a_window_the_next_refusals_have_lines_again() -> None:
    repeats = Repeats()
    for _ in range(100):
        repeats.gets_line(refusal(), 5.0)
    repeats.take(5.0 + WINDOW_S)
    assert repeats.due_in_s(5.0 + WINDOW_S) is None
    assert repeats.gets_line(refusal(), 5.0 + WINDOW_S)
    assert repeats.due_in_s(5.0 + WINDOW_S) == WINDOW_S


def test_a_flood_from_many_addresses_has_a_bounded_number_of_lines_and_none_is_lost() -> None:
    repeats = Repeats()
    lines = sum(repeats.gets_line(refusal(client=f"10.{n >> 8}.{n & 255}.1"), 5.0) for n in range(20_000))
    counted = repeats.take(5.0, early=True)
    assert lines <= MAX_LINES
    assert len(counted) <= MAX_KINDS + 1
    assert lines + sum(one.times for one in counted) == 20_000
    assert counted[-1].entry.client == "many"


def test_many_kinds_of_refusals_have_lines_up_to_a_limit_together() -> None:
    repeats = Repeats()
    refusals = [refusal(service=f"s{n}") for n in range(100) for _ in range(BURST)]
    lines = sum(repeats.gets_line(one, 5.0) for one in refusals)
    assert lines == MAX_LINES
    assert lines + sum(one.times for one in repeats.take(5.0, early=True)) == len(refusals)
