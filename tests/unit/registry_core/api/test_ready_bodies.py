"""The ready bodies of lookups: drawn by weight, dropped when they change, and bounded."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from registry_core.api.ready_bodies import KEPT_S, Body, ReadyBodies
from tests.samples import instance

ONE = (instance("one"),)


def ready(*, max_targets: int = 4000, max_bytes: int = 100_000) -> ReadyBodies:
    found = ReadyBodies(random.Random(1), lambda _label: None, max_targets=max_targets, max_bytes=max_bytes)
    found.take("/", 0.0)  # from now on they are kept for a second
    return found


def named(text: str, label: str = "one", *, tail: bytes = b"") -> Body:
    return Body(label, ONE, lambda _at: text.encode(), tail=tail)


def test_a_body_is_kept_for_a_second() -> None:
    bodies, body = ready(), named("a")
    assert bodies.put("/a", body) == b"a"
    assert bodies.take("/a", KEPT_S - 0.01) == (b"a", body)
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


def test_a_service_is_dropped_by_its_label_with_all_its_targets() -> None:
    bodies = ready()
    for target in ("/a", "/a?tag=x", "/b"):
        bodies.put(target, named("x", "two" if target == "/b" else "one"))
    bodies.put("/a", named("again"))
    bodies.drop(("one",))
    assert [target for target in ("/a", "/a?tag=x", "/b") if bodies.take(target, 0.5)] == ["/b"]


def test_the_memory_does_not_grow_with_the_number_of_targets() -> None:
    bodies = ready(max_targets=10)
    for number in range(1000):
        bodies.put(f"/{number}", named("x"))
        assert len(bodies) <= 10
    for tail in (b"", b"t" * 200):
        bodies = ready(max_bytes=1000)
        for number in range(10):
            bodies.put(f"/{number}", named("x" * (400 - len(tail)), tail=tail))
            assert len(bodies) <= 4


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
