"""What is refused first when a replica has too much to do: a table."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from registry_core.api.shedding import SHARES, Shedding, Worth
from registry_core.errors import Overloaded

MOST = 100
TABLE = [
    (0, set()),
    (49, set()),
    (50, {Worth.LIST}),
    (69, {Worth.LIST}),
    (70, {Worth.LIST, Worth.REGISTRATION}),
    (80, {Worth.LIST, Worth.REGISTRATION, Worth.RENEWAL_IN_TIME}),
    (90, {Worth.LIST, Worth.REGISTRATION, Worth.RENEWAL_IN_TIME, Worth.RENEWAL}),
    (99, {Worth.LIST, Worth.REGISTRATION, Worth.RENEWAL_IN_TIME, Worth.RENEWAL}),
    (100, set(Worth)),
]


@pytest.mark.parametrize(("in_flight", "refused"), TABLE)
def test_the_more_there_is_to_do_the_more_is_refused(in_flight: int, refused: set[Worth]) -> None:
    shedding = Shedding(MOST)
    with ExitStack() as requests:
        for _ in range(in_flight):
            requests.enter_context(shedding)
        assert {worth for worth in Worth if shedding.sheds(worth)} == refused
    assert not any(map(shedding.sheds, Worth)), "it ends with the load"


def test_the_order_of_the_table_is_the_order_of_worth() -> None:
    assert list(SHARES) == list(Worth)
    assert sorted(SHARES.values()) == list(SHARES.values())
    assert SHARES[Worth.DEPARTURE] == 1.0


def test_a_request_that_is_refused_says_when_to_come_again_and_is_counted() -> None:
    shedding = Shedding(MOST)
    shedding.in_flight = 50
    shedding.check(Worth.REGISTRATION)
    with pytest.raises(Overloaded, match="carries out 50 requests at once, and refuses each list") as refused:
        shedding.check(Worth.LIST)
    assert refused.value.retry_after_s == 1.0
    assert shedding.shed["list"] == 1
    assert shedding.shed["registration"] == 0


def test_a_replica_of_one_request_still_serves_that_one() -> None:
    shedding = Shedding(1)
    assert not any(map(shedding.sheds, Worth))


def test_a_request_that_fails_is_over_too() -> None:
    shedding = Shedding(MOST)
    with pytest.raises(ZeroDivisionError), shedding:
        raise ZeroDivisionError
    assert shedding.in_flight == 0
