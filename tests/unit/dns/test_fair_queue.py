"""The queue of dear work: whose turn it is, and what goes when it is full."""

from __future__ import annotations

from collections import Counter

from dns.fair_queue import FairQueue


def taken(queue: FairQueue[str], count: int) -> list[str]:
    """Return the next `count` pieces of work."""
    found = (queue.take() for _ in range(count))
    return [one for one in found if one is not None]


def test_each_asker_has_its_turn_however_much_another_asks_for() -> None:
    queue: FairQueue[str] = FairQueue(100, 10_000)
    for number in range(50):
        queue.put("greedy", 10, f"greedy-{number}")
    queue.put("modest", 10, "modest")
    assert taken(queue, 2) == ["greedy-0", "modest"]
    assert taken(queue, 100) == [f"greedy-{number}" for number in range(1, 50)], "and nothing is lost"
    assert (queue.take(), len(queue), queue.cost) == (None, 0, 0)


def test_cheap_work_of_a_newcomer_is_done_before_dear_work_of_many() -> None:
    queue: FairQueue[str] = FairQueue(100, 1_000_000)
    for number in range(50):
        queue.put(f"host-{number}", 5000, "dear")
    queue.put("newcomer", 50, "cheap")
    assert queue.take() == "cheap"


def test_over_time_work_is_shared_by_its_cost_and_not_by_its_number() -> None:
    queue: FairQueue[str] = FairQueue(10_000, 10_000_000)
    for _ in range(1000):
        queue.put("cheap", 10, "cheap")
        queue.put("dear", 100, "dear")
    done = Counter(taken(queue, 1000))
    assert 9 <= done["cheap"] / done["dear"] <= 11


def test_a_full_queue_lets_go_of_what_the_greediest_asked_for() -> None:
    queue: FairQueue[str] = FairQueue(10, 10_000)
    for number in range(9):
        assert queue.put("greedy", 10, f"greedy-{number}") == []
    assert queue.put("modest", 10, "modest-0") == []
    assert not queue.has_room("greedy", 10)
    assert queue.has_room("other", 10)
    assert queue.put("other", 10, "other") == ["greedy-8"]
    assert queue.put("greedy", 10, "greedy-9") == ["greedy-9"], "itself"
    assert len(queue) == 10
    assert set(taken(queue, 3)) == {"greedy-0", "modest-0", "other"}


def test_costs_are_bounded_too_and_one_piece_of_work_is_always_possible() -> None:
    queue: FairQueue[str] = FairQueue(100, 100)
    assert queue.put("a", 1000, "large") == []
    assert queue.put("b", 60, "first") == ["large"]
    assert queue.put("c", 60, "second") == ["second"]
    assert queue.cost == 60


def test_memory_does_not_grow_with_the_askers_that_were_here() -> None:
    queue: FairQueue[int] = FairQueue(8, 1_000_000)
    for number in range(10_000):
        queue.put(number, 10, number)
        if number % 3 == 0:
            queue.take()
    assert len(queue) >= 7
    assert len(queue._finish) <= 8
    while queue.take() is not None:
        pass
    assert queue._finish == {}
