"""Rotation: the orders in which a service's instances are answered, and which order is next. Pure.

Most clients use the first address. A few orders of each answer are made and given out repeatedly. So that
chance does not favour an instance while they are cached, each instance of a small service leads its own
orders, and these take turns by weight.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from random import Random
from typing import Final

import msgspec

from registry_core.domain.records import Instance

# Orders of one answer kept ready.
MAX_ORDERS: Final = 8
# The golden ratio: multiples of it, less their whole part, are spread over [0, 1) more evenly than those of any other
# number (Weyl 1916; Knuth, TAOCP 3, section 6.4). Simply alternating turns would fall in step with clients that do so.
_STEP: Final = 0.6180339887498949


class Orders(msgspec.Struct, frozen=True):
    """The orders of an answer: their weights, and the number of this one."""

    shares: tuple[int, ...] = (1,)
    number: int = 0


ONE_ORDER: Final = Orders()


class Turns:
    """Yields turns without end: each order as often as its share, and never many times in a row."""

    __slots__ = ("_at", "_ends")

    def __init__(self, orders: Orders, draw: float) -> None:
        """Start after the turn of `orders.number`; `draw` is from [0, 1)."""
        self._ends = list(accumulate(orders.shares))
        share = orders.shares[orders.number]
        self._at = (self._ends[orders.number] - share + draw * share) / self._ends[-1]

    def many(self, count: int) -> bytes:
        """Return the numbers of the orders of the next `count` turns."""
        ends, total, at = self._ends, self._ends[-1], self._at
        last = len(ends) - 1
        numbers = bytes(min(bisect_right(ends, (at + n * _STEP) % 1.0 * total), last) for n in range(1, count + 1))
        self._at = (at + count * _STEP) % 1.0
        return numbers

    def next(self) -> int:
        """Return the number of the order whose turn it is."""
        self._at = (self._at + _STEP) % 1.0
        return min(bisect_right(self._ends, self._at * self._ends[-1]), len(self._ends) - 1)


def arranged(
    instances: Iterable[Instance],
    random: Random,
    *,
    is_far: Callable[[Instance], bool],
    leads: Callable[[Instance], bool],
    number: int | None = None,
) -> tuple[list[Instance], Orders]:
    """Return the instances in the order of that number (None: a random one, by weight), and the orders.

    Near instances come first. An instance that does not lead is never deliberately put first.
    """
    order = shuffled(instances, random, is_far)
    leaders = _leaders(order, is_far, leads)
    if not leaders:
        several = Orders((1,) * MAX_ORDERS, number or 0)
        return order, several if len(order) > 1 else ONE_ORDER
    # With more than two leaders, several orders each: clients whose first fails then go to different seconds.
    each = MAX_ORDERS // len(leaders) if len(order) > 2 else 1
    if number is None:
        first = next(instance for instance in order if instance in leaders)
        number = leaders.index(first) * each + int(random.random() * each)
    first = leaders[number // each]
    order = [first, *(instance for instance in order if instance is not first)]
    return order, Orders(tuple(one.weight for one in leaders for _ in range(each)), number)


def shuffled(instances: Iterable[Instance], random: Random, is_far: Callable[[Instance], bool]) -> list[Instance]:
    """Return the instances, near ones first, each group in a random order by weight.

    The draw of Efraimidis and Spirakis (2006): the largest u^(1/w) first, so that any prefix of the order
    is a weighted sample.
    """
    return sorted(instances, key=lambda i: (is_far(i), -(random.random() ** (1.0 / i.weight))))


def _leaders(
    order: list[Instance], is_far: Callable[[Instance], bool], leads: Callable[[Instance], bool]
) -> list[Instance]:
    """Return the instances that take turns at the head, in a fixed sequence; none when they outnumber the orders."""
    head = order[: MAX_ORDERS + 1]
    nearest = [instance for instance in head if is_far(instance) is is_far(head[0])]
    if len(nearest) > MAX_ORDERS:
        return []
    return sorted(filter(leads, nearest), key=lambda instance: instance.instance_id)
