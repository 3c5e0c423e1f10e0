"""The one lookup of a host's addresses: best effort, in time, and never more than a few at once."""

from __future__ import annotations

import threading

import pytest

from registry_core.api.resolution import MAX_PENDING, Resolver, usable
from tests.programs import eventually


async def test_an_address_stands_for_itself() -> None:
    def never(host: str) -> list[str]:
        raise AssertionError(host)

    assert await Resolver(never).resolve("2001:DB8::1") == ("2001:db8::1",)


async def test_a_name_is_looked_up_and_sorted() -> None:
    assert await Resolver(lambda _: ["10.0.0.9", "10.0.0.10", "10.0.0.9"]).resolve("h") == ("10.0.0.10", "10.0.0.9")


@pytest.mark.parametrize("error", [OSError("no such host"), UnicodeError("label too long")])
async def test_what_cannot_be_looked_up_has_no_addresses(error: Exception) -> None:
    def fail(_: str) -> list[str]:
        raise error

    assert await Resolver(fail).resolve("h") == ()


async def test_a_dead_name_server_costs_the_timeout_and_a_few_threads_at_most() -> None:
    answer = threading.Event()
    asked: list[str] = []

    def hang(host: str) -> list[str]:
        asked.append(host)
        answer.wait(30)
        return ["10.0.0.7"]

    resolver = Resolver(hang, timeout_s=0.01)
    try:
        for number in range(MAX_PENDING + 5):
            assert await resolver.resolve(f"h{number}") == ()
        assert len(asked) == MAX_PENDING
    finally:
        answer.set()
    await eventually(lambda: not any(t.name.startswith("resolve h") for t in threading.enumerate()), "threads end")
    assert await Resolver(hang).resolve("again") == ("10.0.0.7",)


def test_only_what_can_be_connected_to_is_kept() -> None:
    assert usable(["0.0.0.0", "224.0.0.1", "::", "fe80::1%eth0", "nonsense", "::1"]) == ("::1",)
    assert len(usable(f"10.0.0.{n}" for n in range(100))) == 16
