"""The deny list over several shards: any one is enough, and what one lost the others give back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_core.errors import Overloaded, Unavailable
from registry_core.ports.denials import Denial
from registry_core.store.redis import denials as module
from tests.integration.redis_stores import asked, running_store
from tests.redis_topology import RedisServer

NAMES = ("one", "two")


def denial(number: int = 1, *, denied: bool = True) -> Denial:
    now = time.time()
    return Denial(subject=f"serial:{number:x}", at=now, until=now + 1000, denied=denied)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """Two masters that run."""
    made = [RedisServer(tmp_path / name, []) for name in NAMES]
    for server in made:
        server.start()
    yield made
    for server in made:
        server.stop()


async def test_two_replicas_share_the_list_and_one_shard_is_enough(servers: list[RedisServer]) -> None:
    one, two = servers
    async with (
        running_store(one, two, names=NAMES) as (store, _),
        running_store(one, two, names=NAMES) as (other, _),
    ):
        await store.denials.add(denial(1))
        assert [d.subject for d in (await other.denials.read()).denials] == ["serial:1"]
        two.stop()
        await store.denials.add(denial(2))
        read = await other.denials.read()
        assert [d.subject for d in read.denials] == ["serial:1", "serial:2"]
        assert [name for name, _ in read.unread] == ["two"]
        one.stop()
        with pytest.raises(Unavailable):
            await store.denials.add(denial(3))
        assert len((await other.denials.read()).denials) == 2, "what was read once is kept"


async def test_a_shard_that_comes_back_empty_is_given_the_list_again(servers: list[RedisServer]) -> None:
    one, two = servers
    async with running_store(one, two, names=NAMES) as (store, _):
        await store.denials.add(denial(1))
        await store.denials.add(denial(1, denied=False))
        await store.denials.add(denial(2))
        async with asked(two) as client:
            await client.delete("test:denied")
            await store.denials.read()
            assert await client.hlen("test:denied") == 2
            kept = {d.subject: d.denied for d in (await store.denials.read()).denials}
            assert kept == {"serial:1": False, "serial:2": True}


async def test_a_replica_that_has_read_nothing_says_that_it_does_not_know(servers: list[RedisServer]) -> None:
    one, _ = servers
    async with running_store(one, names=("one",)) as (store, _):
        one.stop()
        assert not (await store.denials.read()).known


async def test_a_full_list_takes_no_more_and_makes_room_for_what_has_ended(
    servers: list[RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_DENIALS", 3)
    one, _ = servers
    async with running_store(one, names=("one",)) as (store, _):
        now = time.time()
        await store.denials.add(Denial(subject="serial:a", at=now, until=now + 0.2))
        for number in (1, 2):
            await store.denials.add(denial(number))
        with pytest.raises(Overloaded, match="full"):
            await store.denials.add(denial(3))
        await store.denials.add(denial(1, denied=False))
        monkeypatch.setattr(store.denials._clock, "wall", lambda: now + 1)
        await store.denials.add(denial(3))


async def test_an_entry_that_cannot_be_read_is_passed_over(servers: list[RedisServer]) -> None:
    one, _ = servers
    async with running_store(one, names=("one",)) as (store, _), asked(one) as client:
        await store.denials.add(denial(1))
        for number, damaged in enumerate((b"", b"\xff", b"1 2 1\n{", b"1 2 1\n{}")):
            await client.hset("test:denied", f"x{number}", damaged)
        assert [d.subject for d in (await store.denials.read()).denials] == ["serial:1"]
