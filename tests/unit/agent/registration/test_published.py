"""Which of an instance's addresses are registered, and how often that may change."""

from __future__ import annotations

import pytest

from agent.registration.published import ADD_AGAIN_S, WITHDRAW_AGAIN_S, may_change, published

NEVER_S = float("inf")
A, B, C = "10.0.0.7", "10.0.0.8", "2001:db8::7"


@pytest.mark.parametrize(
    ("passing", "expected"),
    [((), (A, B, C)), ((B,), (B,)), ((C, A), (A, C)), ((A, B, C), (A, B, C)), (("10.0.0.9",), (A, B, C))],
)
def test_those_that_pass_are_registered_and_all_when_none_does(
    passing: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert published((A, B, C), passing) == expected


def test_an_address_is_withdrawn_soon_and_added_later() -> None:
    assert may_change((A, B), (A,), NEVER_S)
    assert not may_change((A, B), (A,), WITHDRAW_AGAIN_S - 0.1)
    assert may_change((A, B), (A,), WITHDRAW_AGAIN_S)
    assert not may_change((A,), (A, B), WITHDRAW_AGAIN_S)
    assert may_change((A,), (A, B), ADD_AGAIN_S)


def test_a_host_that_moved_is_registered_at_once() -> None:
    assert may_change((A, B), (C,), 0.0)
    assert may_change((), (A,), 0.0)


def test_a_flapping_address_makes_few_registrations() -> None:
    now, changed_at, changes = 0.0, -NEVER_S, 0
    registered: tuple[str, ...] = (A, B)
    while now < 600.0:
        now += 5.0  # the fastest that checks and lookups tell of changes
        wanted = (A,) if registered == (A, B) else (A, B)
        if may_change(registered, wanted, now - changed_at):
            registered, changed_at, changes = wanted, now, changes + 1
    assert changes <= 2 * 600.0 / (ADD_AGAIN_S + WITHDRAW_AGAIN_S) + 1
