"""Refused writes: how many there were lately, and whether any other write had a valid credential."""

from __future__ import annotations

from registry_core.domain.refusals import MAX_REMEMBERED, REFUSED_FOR_S, Refusals


def test_refusals_count_as_recent_for_their_time() -> None:
    refusals = Refusals()
    refusals.refused("Unauthorized", "the token is wrong", 10.0)
    refusals.refused("Forbidden", "this API key does not cover it", 20.0)
    assert refusals.recent(10.0 + REFUSED_FOR_S) == 2
    assert refusals.recent(10.1 + REFUSED_FOR_S) == 1
    assert refusals.recent(20.1 + REFUSED_FOR_S) == 0
    assert (dict(refusals.counts), refusals.because) == (
        {"Unauthorized": 1, "Forbidden": 1},
        "this API key does not cover it",
    )


def test_all_are_refused_until_one_has_a_valid_credential_or_nobody_tries() -> None:
    refusals = Refusals()
    assert not refusals.refuses_all(0.0)
    refusals.refused("Unauthorized", "the token is wrong", 10.0)
    assert refusals.refuses_all(10.0)
    assert not refusals.refuses_all(10.1 + REFUSED_FOR_S)
    refusals.refused("Unauthorized", "the token is wrong", 200.0)
    refusals.accepted(201.0)
    refusals.refused("Unauthorized", "the token is wrong", 202.0)
    assert not refusals.refuses_all(202.0)


def test_a_registry_whose_secret_was_changed_refuses_all_once_the_last_valid_write_is_old() -> None:
    refusals = Refusals()
    refusals.accepted(0.0)
    for at in range(10, 100, 10):
        refusals.refused("Unauthorized", "the token is wrong", float(at))
    assert not refusals.refuses_all(REFUSED_FOR_S)
    assert refusals.refuses_all(REFUSED_FOR_S + 1)


def test_with_long_leases_agents_are_heard_of_less_often() -> None:
    refusals = Refusals(ttl_s=600.0)
    refusals.refused("Unauthorized", "the token is wrong", 0.0)
    assert refusals.refuses_all(600.0)
    assert not refusals.refuses_all(601.0)


def test_a_flood_of_refusals_takes_a_bounded_amount_of_memory() -> None:
    refusals = Refusals()
    for number in range(2 * MAX_REMEMBERED):
        refusals.refused("Unauthorized", "the token is wrong", number / 1000)
    assert refusals.recent(20.0) == MAX_REMEMBERED
    assert refusals.counts["Unauthorized"] == 2 * MAX_REMEMBERED
