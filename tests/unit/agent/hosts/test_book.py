"""The address book: addresses are kept, lookups are shared, and silence costs its callers little."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from agent.hosts import book as module
from agent.hosts.book import AddressBook, BookPatience
from agent.hosts.found import NO_ADDRESSES, UNANSWERED, FoundAddresses
from tests.programs import eventually
from tests.samples import FakeClock


class Names:
    """Name servers: they answer, refuse, or stay silent until told otherwise."""

    def __init__(self) -> None:
        self.says = FoundAddresses(("10.0.0.7",), ())
        self.asked: list[str] = []
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.at_once = 0

    async def __call__(self, host: str) -> FoundAddresses:
        self.asked.append(host)
        self.at_once += 1
        try:
            await self.speaks.wait()
        finally:
            self.at_once -= 1
        return self.says


class Open:
    """A book, its name servers and its clock."""

    def __init__(self) -> None:
        self.names, self.clock = Names(), FakeClock()
        self.book = AddressBook(self.names, clock=self.clock, patience=BookPatience(first_s=0.01, known_s=0.01))

    async def settle(self) -> None:
        """Let the lookups that can end do so."""
        await eventually(lambda: self.names.at_once == 0, "the lookups end")
        await asyncio.sleep(0)

    def grow_old(self) -> None:
        self.clock.pass_time(6.0)


@pytest_asyncio.fixture
async def kept() -> AsyncIterator[Open]:
    opened = Open()
    yield opened
    await opened.book.close()


async def test_an_address_needs_no_lookup(kept: Open) -> None:
    assert await kept.book.find("10.0.0.3") == ("10.0.0.3",)
    assert await kept.book.addresses("::ffff:10.0.0.3") == ("10.0.0.3",)
    assert kept.names.asked == []


async def test_a_fresh_answer_serves_all_and_an_old_one_is_looked_up_again(kept: Open) -> None:
    kept.names.says = FoundAddresses(("10.0.0.7",), ("2001:db8::7",), ttl_s=600.0)
    for _ in range(5):
        assert await kept.book.find("orders") == ("2001:db8::7", "10.0.0.7")
    assert await kept.book.addresses("orders") == ("10.0.0.7", "2001:db8::7")
    assert kept.names.asked == ["orders"]
    kept.grow_old()  # a TTL of minutes does not hold: a container may have moved
    kept.names.says = FoundAddresses(("10.0.0.8",), ())
    assert await kept.book.find("orders") == ("10.0.0.8",)


async def test_a_caller_may_insist_on_a_new_answer(kept: Open) -> None:
    await kept.book.find("orders")
    kept.names.says = FoundAddresses(("10.0.0.8",), ())
    assert await kept.book.addresses("orders") == ("10.0.0.7",)
    assert await kept.book.addresses("orders", anew=True) == ("10.0.0.8",)


@pytest.mark.parametrize(("ttl_s", "fresh_s"), [(0.0, 1.0), (3.0, 3.0), (600.0, 5.0)])
async def test_an_answer_is_fresh_for_its_ttl_within_limits(kept: Open, ttl_s: float, fresh_s: float) -> None:
    kept.names.says = FoundAddresses(("10.0.0.7",), (), ttl_s)
    await kept.book.find("orders")
    kept.clock.pass_time(fresh_s - 0.01)
    await kept.book.find("orders")
    assert len(kept.names.asked) == 1
    kept.clock.pass_time(0.02)
    await kept.book.find("orders")
    assert len(kept.names.asked) == 2


async def test_the_last_address_is_used_while_name_servers_are_silent_and_the_late_answer_after_that(
    kept: Open,
) -> None:
    assert await kept.book.find("orders") == ("10.0.0.7",)
    kept.names.speaks.clear()
    kept.names.says = FoundAddresses(("10.0.0.8",), ())
    for _ in range(5):
        kept.grow_old()
        assert await kept.book.find("orders") == ("10.0.0.7",)
    assert kept.names.asked == ["orders"] * 2, "one lookup runs at a time"
    kept.names.speaks.set()
    await kept.settle()
    kept.names.speaks.clear()
    assert await kept.book.find("orders") == ("10.0.0.8",), "the late answer"


async def test_a_first_answer_that_comes_late_is_kept(kept: Open) -> None:
    kept.names.speaks.clear()
    with pytest.raises(socket.gaierror, match="no name server answers"):
        await kept.book.find("orders")
    assert await kept.book.addresses("orders") == ()
    kept.names.speaks.set()
    await kept.settle()
    assert await kept.book.find("orders") == ("10.0.0.7",)
    assert kept.names.asked == ["orders"]


async def test_silence_removes_no_address_and_an_answer_does(kept: Open) -> None:
    await kept.book.find("orders")
    for says in (UNANSWERED, FoundAddresses(None, ()), UNANSWERED):
        kept.names.says = says
        kept.grow_old()
        assert await kept.book.find("orders") == ("10.0.0.7",)
    kept.names.says = NO_ADDRESSES
    kept.grow_old()
    with pytest.raises(socket.gaierror) as raised:
        await kept.book.find("orders")
    assert raised.value.errno == socket.EAI_NONAME


async def test_the_addresses_of_the_last_run_serve_until_a_name_is_resolved(kept: Open) -> None:
    kept.names.says = UNANSWERED
    await kept.book.recall("orders", ("10.0.0.1", "10.0.0.2"))
    assert await kept.book.find("orders") == ("10.0.0.1", "10.0.0.2")
    kept.names.says = FoundAddresses(("10.0.0.7",), None)
    assert await kept.book.find("orders") == ("10.0.0.7",)
    await kept.book.recall("orders", ("10.0.0.1",))
    assert await kept.book.find("orders") == ("10.0.0.7",)


async def test_silence_is_logged_once_in_a_while_and_so_is_its_end(kept: Open) -> None:
    with capture_logs() as lines:
        await kept.book.find("orders")
        kept.names.says = UNANSWERED
        for _ in range(3):
            kept.grow_old()
            await kept.book.find("orders")
        kept.names.says = FoundAddresses(("10.0.0.8",), ())
        await kept.book.find("orders")
    said = [(line["event"], line["host"], line.get("kept")) for line in lines]
    assert said == [("host_not_resolved", "orders", ("10.0.0.7",)), ("host_resolved", "orders", None)]
    assert (lines[1]["failed"], lines[1]["lasted_s"]) == (3, 12)


async def test_all_callers_share_one_lookup_and_one_of_them_may_be_cancelled(kept: Open) -> None:
    kept.names.speaks.clear()
    kept.book = AddressBook(kept.names, clock=kept.clock)
    waiting = [asyncio.create_task(kept.book.find("orders")) for _ in range(10)]
    await eventually(lambda: bool(kept.names.asked), "it is looked up")
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    kept.names.speaks.set()
    assert await asyncio.gather(*waiting[1:]) == [("10.0.0.7",)] * 9
    assert kept.names.asked == ["orders"]


async def test_the_names_that_are_remembered_are_bounded(kept: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 3)
    for number in range(4):
        await kept.book.find(f"orders-{number}")
    await kept.book.find("orders-3")
    assert len(kept.names.asked) == 4
    await kept.book.find("orders-0")
    assert kept.names.asked[-1] == "orders-0", "it was forgotten first"
