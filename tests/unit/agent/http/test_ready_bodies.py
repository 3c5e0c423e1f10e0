"""The ready bodies of localhost HTTP: drawn by weight, dropped when they change, and bounded."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from agent.http import ready_bodies
from agent.http.ready_bodies import KEPT_S, Body, ReadyBodies
from agent.http.ready_response import Heads
from registry_core.usage.asked import AskedNames
from tests.samples import instance

ONE = (instance("one"),)


def ready() -> ReadyBodies:
    found = ReadyBodies(random.Random(1), AskedNames())
    found.take("/", 0.0)  # from now on they are kept for a second
    return found


def named(text: str, label: str = "one") -> Body:
    return Body(label, ONE, lambda _at: text.encode())


def test_a_body_is_kept_for_a_second() -> None:
    bodies = ready()
    assert bodies.put("/a", named("a")) == (b"a", "application/json")
    assert bodies.take("/a", KEPT_S - 0.01) == (b"a", "application/json")
    assert bodies.take("/b", 0.5) is None
    assert bodies.take("/a", KEPT_S) is None
    assert bodies.take("/a", KEPT_S + 0.1) is None


def test_each_instance_is_drawn_by_weight_and_encoded_once() -> None:
    made: list[int] = []

    def make(at: int) -> bytes:
        made.append(at)
        return str(at).encode()

    bodies = ready()
    bodies.put("/a", Body("one", [instance(port=8001 + n, weight=w) for n, w in enumerate((1, 3, 6))], make))
    drawn: Counter[bytes] = Counter()
    for _ in range(5000):
        found = bodies.take("/a", 0.5)
        assert found is not None
        drawn[found[0]] += 1
    assert sorted(made) == [0, 1, 2]
    assert [round(drawn[str(at).encode()] / 500) for at in range(3)] == [1, 3, 6]


@pytest.mark.parametrize(
    ("labels", "left"), [({"one"}, ["/b"]), ({"other"}, ["/a", "/b"]), (set(), []), ({"one", "two"}, [])]
)
def test_a_change_drops_what_depends_on_it(labels: set[str], left: list[str]) -> None:
    bodies = ready()
    bodies.put("/a", named("a", "one"))
    bodies.put("/b", named("b", "two"))
    bodies.put("/services", Body("", (), lambda _at: b"[]"))
    bodies.changed(frozenset(labels))
    assert [target for target in ("/a", "/b") if bodies.take(target, 0.5)] == left
    assert bodies.take("/services", 0.5) is None, "the list of all services depends on every one"


def test_the_memory_does_not_grow_with_the_number_of_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready_bodies, "MAX_TARGETS", 10)
    bodies = ready()
    for number in range(1000):
        bodies.put(f"/{number}", named("x"))
        assert len(bodies) <= 10
    monkeypatch.setattr(ready_bodies, "MAX_BYTES", 1000)
    bodies = ready()
    for number in range(10):
        bodies.put(f"/{number}", named("x" * 400))
        assert len(bodies) <= 4


def test_a_head_has_the_age_and_the_date() -> None:
    heads = Heads()
    first = heads.head("text/plain", 3, "fresh", 1_764_000_000.9)
    assert first == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nAge: 3\r\nX-Cache: fresh\r\n"
        b"Date: Mon, 24 Nov 2025 16:00:00 GMT\r\nContent-Length: "
    )
    assert heads.head("text/plain", 3, "fresh", 1_764_000_000.1) is first
    assert b"16:00:01" in heads.head("text/plain", 3, "fresh", 1_764_000_001.0)
    assert b"Age: 4" in heads.head("text/plain", 4, "fresh", 1_764_000_001.0)


def test_what_is_taken_while_ready_is_counted_and_what_was_just_made_is_not() -> None:
    """The first request of a body is counted by its maker."""
    bodies, cell = ready(), [0]
    for name in ("a", "b"):
        body = named(name)
        body.counter = cell
        bodies.put(f"/{name}", body)
    assert cell == [0]
    for target in ("/a", "/b", "/a", "/c"):
        bodies.take(target, 0.5)
    assert cell == [3]
