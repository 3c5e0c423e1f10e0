"""Resolving host names: best effort, in time, and only a few at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from registry_core.resolution import MAX_SERVERS_PENDING, Resolver, ServerAddresses, ServerResolver, usable
from tests.programs import eventually


async def test_an_address_needs_no_lookup() -> None:
    def never(host: str) -> list[str]:
        raise AssertionError(host)

    assert await Resolver(never).resolve("2001:DB8::1") == ("2001:db8::1",)


async def test_a_name_is_looked_up_and_sorted() -> None:
    assert await Resolver(lambda _: ["10.0.0.9", "10.0.0.10", "10.0.0.9"]).resolve("h") == ("10.0.0.10", "10.0.0.9")


@pytest.mark.parametrize("error", [OSError("no such host"), UnicodeError("label too long")])
async def test_a_name_that_cannot_be_resolved_has_no_addresses(error: Exception) -> None:
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
        for number in range(MAX_SERVERS_PENDING + 5):
            assert await resolver.resolve(f"h{number}") == ()
        assert len(asked) == MAX_SERVERS_PENDING
    finally:
        answer.set()
    await eventually(lambda: not any(t.name == "resolve server" for t in threading.enumerate()), "threads end")
    assert await Resolver(hang).resolve("again") == ("10.0.0.7",)


async def test_names_are_resolved_again_once_threads_can_be_started_again(no_threads: Callable[[], None]) -> None:
    resolver = Resolver(lambda _: ["10.0.0.7"])
    for _ in range(MAX_SERVERS_PENDING + 1):
        assert await resolver.resolve("h") == ()
    no_threads()
    assert await resolver.resolve("h") == ("10.0.0.7",)


async def test_servers_are_found_again_once_threads_can_be_started_again(no_threads: Callable[[], None]) -> None:
    servers = ServerAddresses(lambda _: ["10.0.0.7"])
    for _ in range(MAX_SERVERS_PENDING + 1):
        with pytest.raises(socket.gaierror, match="no name server answers"):
            await servers.find("redis")
    no_threads()
    assert await servers.find("redis") == ("10.0.0.7",)


async def test_a_registered_hosts_last_address_and_late_answer_are_kept() -> None:
    names = Names()
    resolver = Resolver(names, timeout_s=0.05)
    with names.silent():
        assert await resolver.resolve("sidecar") == ()
    await eventually(lambda: not any(t.name == "resolve server" for t in threading.enumerate()), "it has answered")
    with names.silent():
        assert await resolver.resolve("sidecar") == ("10.0.0.7",)


def test_only_what_can_be_connected_to_is_kept() -> None:
    assert usable(["0.0.0.0", "224.0.0.1", "::", "fe80::1%eth0", "fe80::1", "nonsense", "::1"]) == ("::1",)
    assert usable(["::ffff:10.0.0.7", "10.0.0.7"]) == ("10.0.0.7",)


def test_loopback_is_kept_only_when_there_is_nothing_else() -> None:
    assert usable(["127.0.1.1", "fd00::7", "10.0.0.7", "::1"]) == ("10.0.0.7", "fd00::7")
    assert usable(["127.0.1.1", "::1", "fe80::1"]) == ("127.0.1.1", "::1")
    assert usable(["127.0.1.1", "::1", "169.254.7.7"]) == ("169.254.7.7",)
    assert usable(["169.254.7.7", "::ffff:10.0.0.7", "::ffff:127.0.0.1"]) == ("10.0.0.7",)
    assert len(usable(f"10.0.0.{n}" for n in range(100))) == 16


class Names:
    """A name server for `ServerAddresses`: it answers, refuses, or stays silent until told otherwise."""

    def __init__(self) -> None:
        self.says: list[str] | OSError = ["10.0.0.7"]
        self.asked: list[str] = []
        self.speaks = threading.Event()
        self.speaks.set()

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        self.speaks.wait(30)
        if isinstance(self.says, OSError):
            raise self.says
        return self.says

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Stay silent for the duration of a `with`."""
        self.speaks.clear()
        try:
            yield
        finally:
            self.speaks.set()


AWAY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_a_server_is_resolved_at_each_connection_and_its_addresses_stay_in_order() -> None:
    names = Names()
    servers = ServerAddresses(names)
    names.says = ["2001:db8::1", "10.0.0.9", "10.0.0.1"]
    assert await servers.find("redis") == ("2001:db8::1", "10.0.0.9", "10.0.0.1")
    names.says = ["10.0.0.2"]
    assert await servers.find("redis") == ("10.0.0.2",), "it has moved"
    assert await servers.find("10.0.0.3") == ("10.0.0.3",)
    assert names.asked == ["redis", "redis"], "an address needs no lookup"


async def test_the_last_known_address_is_used_while_the_name_server_is_silent() -> None:
    names = Names()
    servers = ServerAddresses(names, timeout_s=0.5)
    assert await servers.find("redis") == ("10.0.0.7",)
    with names.silent():
        for _ in range(5):
            assert await servers.find("redis") == ("10.0.0.7",)
        assert names.asked == ["redis"] * 2, "only one query runs at a time"
    names.says = AWAY
    assert await servers.find("redis") == ("10.0.0.7",)


async def test_a_known_servers_lookup_times_out_early_and_a_late_answer_counts_next_time() -> None:
    names = Names()
    servers = ServerAddresses(names, timeout_s=1000.0)
    assert await servers.find("redis") == ("10.0.0.7",)
    names.says = ["10.0.0.8"]
    with names.silent():
        assert await servers.find("redis") == ("10.0.0.7",)
    await eventually(lambda: not any(t.name == "resolve server" for t in threading.enumerate()), "it answers")
    with names.silent():
        assert await servers.find("redis") == ("10.0.0.8",)


async def test_a_session_uses_the_registrys_last_address_while_the_name_server_is_silent() -> None:
    names = Names()
    names.says = ["10.0.0.7", "2001:db8::1"]
    resolver = ServerResolver(ServerAddresses(names))
    found = await resolver.resolve("registry", 8888)
    assert [(one["host"], one["port"], one["family"]) for one in found] == [
        ("10.0.0.7", 8888, socket.AF_INET),
        ("2001:db8::1", 8888, socket.AF_INET6),
    ]
    with names.silent():
        found = await resolver.resolve("registry", 8888, socket.AF_INET6)
    assert [one["host"] for one in found] == ["2001:db8::1"]
    names.says = NO_SUCH_NAME
    await eventually(lambda: not any(t.name == "resolve server" for t in threading.enumerate()), "it answers")
    with pytest.raises(OSError, match="not known"):
        await resolver.resolve("registry", 8888)


async def test_a_name_that_no_longer_exists_does_not_resolve_to_its_last_address() -> None:
    names = Names()
    servers = ServerAddresses(names)
    await servers.find("redis")
    names.says = NO_SUCH_NAME
    with pytest.raises(socket.gaierror, match="not known"):
        await servers.find("redis")
    names.says = AWAY
    with pytest.raises(socket.gaierror, match="Temporary failure"):
        await servers.find("redis")


async def test_an_unknown_name_fails_in_time_and_its_late_answer_counts() -> None:
    names = Names()
    servers = ServerAddresses(names, timeout_s=0.05)
    with names.silent(), pytest.raises(socket.gaierror, match="no name server answers"):
        await servers.find("redis")
    await eventually(lambda: not any(t.name == "resolve server" for t in threading.enumerate()), "it has answered")
    with names.silent():
        assert await servers.find("redis") == ("10.0.0.7",)


async def test_concurrent_lookups_share_one_query_and_one_of_them_may_be_cancelled() -> None:
    names = Names()
    servers = ServerAddresses(names, timeout_s=20)
    with names.silent():
        tasks = [asyncio.create_task(servers.find("redis")) for _ in range(10)]
        await eventually(lambda: bool(names.asked), "it is asked")
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
    assert await asyncio.gather(*tasks[1:]) == [("10.0.0.7",)] * 9
    assert names.asked == ["redis"]


async def test_a_dead_name_server_holds_a_bounded_number_of_threads() -> None:
    names = Names()
    servers = ServerAddresses(names, timeout_s=0.001)
    with names.silent():
        for number in range(MAX_SERVERS_PENDING + 5):
            with pytest.raises(socket.gaierror):
                await servers.find(f"redis-{number}")
        assert len(names.asked) == MAX_SERVERS_PENDING


def test_a_query_outlives_the_loop_that_started_it() -> None:
    names = Names()
    servers = ServerAddresses(names, timeout_s=0.01)

    async def ask() -> tuple[str, ...] | None:
        with contextlib.suppress(socket.gaierror):
            return await servers.find("redis")
        return None

    with names.silent():
        assert asyncio.run(ask()) is None
    # A query older than the timeout is not waited for, so the answer must have arrived.
    asyncio.run(eventually(lambda: not any(t.name == "resolve server" for t in threading.enumerate()), "it answers"))
    assert asyncio.run(ask()) == ("10.0.0.7",)
