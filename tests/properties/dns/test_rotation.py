"""For any weights and any start, every instance has as many turns as its weight says."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from dns.rotation import MAX_ORDERS, Orders, Turns, arranged
from tests.samples import instance

WEIGHTS = st.lists(st.integers(1, 100), min_size=1, max_size=MAX_ORDERS)
DRAWS = st.floats(0, 1, exclude_max=True)


@given(shares=WEIGHTS, draw=DRAWS, start=st.integers(0, MAX_ORDERS), count=st.integers(1, 600))
def test_at_every_moment_each_instance_has_had_its_share_of_turns(
    shares: list[int], draw: float, start: int, count: int
) -> None:
    number = start % len(shares)
    turns = Turns(Orders(tuple(shares), number), draw)
    had = [0] * len(shares)
    had[number] += 1
    for _ in range(count - 1):
        had[turns.next()] += 1
    for share, times in zip(shares, had, strict=True):
        assert abs(times - count * share / sum(shares)) <= 4


@given(weights=WEIGHTS, far=st.integers(0, 20), seed=st.integers())
def test_every_order_has_all_instances_near_ones_first_and_its_own_leader(
    weights: list[int], far: int, seed: int
) -> None:
    near = [instance(host=f"10.0.0.{n}", weight=weight) for n, weight in enumerate(weights)]
    instances = [*near, *(instance(host=f"10.0.1.{n}", zone="far") for n in range(far))]
    draws = random.Random(seed)

    def order(number: int | None) -> tuple[list[str], Orders]:
        named, orders = arranged(
            instances, draws, is_far=lambda i: i.zone == "far", leads=lambda _: True, number=number
        )
        assert sorted(i.host for i in named) == sorted(i.host for i in instances)
        assert {i.host for i in named[: len(near)]} == {i.host for i in near}
        return [i.host for i in named], orders

    first, orders = order(None)
    assert 1 <= len(orders.shares) <= MAX_ORDERS
    led: dict[str, int] = {}
    for number, share in enumerate(orders.shares):
        named, again = order(number)
        assert again == Orders(orders.shares, number)
        led[named[0]] = led.get(named[0], 0) + share
        assert number != orders.number or named[0] == first[0]
    total = sum(led.values())
    assert led == {i.host: i.weight * total // sum(weights) for i in near}
