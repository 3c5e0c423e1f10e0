"""The host names of the fallback: looked up now and then, and soon again while one has no address."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from agent.hosts.fallback_hosts import FallbackHosts
from tests.beside import task_of
from tests.programs import eventually


class LateBook:
    """Has no address of a name until `known` has one."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, ...]] = {}
        self.asked: list[str] = []

    async def located(self, host: str) -> tuple[str, ...]:
        return self.known[host]

    async def addresses(self, host: str, *, anew: bool = False) -> tuple[str, ...]:
        assert not anew
        self.asked.append(host)
        return self.known.get(host, ())


class Located:
    """What has been located, in order."""

    def __init__(self) -> None:
        self.found: list[dict[str, tuple[str, ...]]] = []

    def __call__(self, addresses: Mapping[str, tuple[str, ...]]) -> None:
        self.found.append(dict(addresses))


@pytest.mark.parametrize("changes", [False, True])
async def test_a_late_answer_is_taken_soon(*, changes: bool) -> None:
    book, located, names = LateBook(), Located(), ["geo"]
    book.known["geo"] = ("10.0.0.3",) if changes else ()
    hosts = FallbackHosts(book, lambda: names, located, every_s=3600.0, again_s=0.01)
    async with task_of(hosts.run()):
        await eventually(lambda: bool(located.found), "it was looked up")
        if changes:
            names.append("mailer")
            hosts.changed()
            await eventually(lambda: located.found[-1].get("mailer") == (), "the new name is looked up")
            book.known["mailer"] = ("10.0.0.9",)
            await eventually(lambda: located.found[-1]["mailer"] == ("10.0.0.9",), "and so is its late answer")
        book.known["geo"] = ("10.0.0.3",)
        await eventually(lambda: located.found[-1]["geo"] == ("10.0.0.3",), "the late answer is there")


async def test_names_that_have_addresses_are_left_alone() -> None:
    book, located = LateBook(), Located()
    book.known["geo"] = ("10.0.0.3",)
    async with task_of(FallbackHosts(book, lambda: ["geo"], located, every_s=3600.0, again_s=0.0).run()):
        await eventually(lambda: bool(located.found), "it was looked up")
        for _ in range(20):
            await asyncio.sleep(0)
    assert book.asked == ["geo"]


async def test_a_name_that_has_no_address_is_asked_less_and_less_often() -> None:
    book, located = LateBook(), Located()
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with task_of(FallbackHosts(book, lambda: ["nobody"], located, every_s=0.4, again_s=0.1).run()):
        await eventually(lambda: len(book.asked) == 4, "it was asked again")
    assert loop.time() - began >= 0.1 + 0.2 + 0.4


async def test_without_names_nothing_is_asked() -> None:
    book, located = LateBook(), Located()
    hosts = FallbackHosts(book, list, located, every_s=0.0, again_s=0.0)
    async with task_of(hosts.run()):
        for _ in range(20):
            await asyncio.sleep(0)
    assert (book.asked, located.found) == ([], [])
