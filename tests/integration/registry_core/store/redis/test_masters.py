"""The master of a shard is found, lost and found again: real Redis, real Sentinels, real signals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from registry_core.errors import SettingsError, StoreUnavailable
from registry_core.store.redis.masters import masters_of
from registry_core.store.redis.pool import OPERATION_TIMEOUT_S, close_client, open_client
from registry_core.store.redis.url import PoolTerms, ServerAccess, ServerAddress, redis_settings
from registry_core.store.redis.watcher import MasterWatcher
from tests.programs import black_hole, eventually, free_port
from tests.redis_topology import FAILOVER_TIMEOUT_MS, RedisServer, Topology, redis_server, topology

pytestmark = pytest.mark.long


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Topology]:
    """One master, two replicas, three Sentinels."""
    with topology(tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def watching(url: str) -> AsyncIterator[MasterWatcher]:
    """Watch the only shard of a URL for the duration of a `with`."""
    (masters,) = masters_of(redis_settings(url))
    await masters.start()
    try:
        yield masters
    finally:
        await masters.close()


async def write(masters: MasterWatcher, key: str = "key", replicas: int = 1) -> bool:
    """Write one key at the current master; return whether enough replicas hold it too."""
    try:
        client = await masters.current()
    except StoreUnavailable:
        return False
    try:
        pipeline = client.pipeline(transaction=False)
        pipeline.set(key, "1")
        pipeline.execute_command("WAIT", str(replicas), "500")
        _, held = await pipeline.execute()
    except (RedisError, OSError) as error:
        masters.failed(client, error)
        return False
    if held < replicas:
        masters.failed(client, RuntimeError("no replica holds it"))
    return cast("int", held) >= replicas


# Sentinels that notice a failure at the same moment may vote for themselves each: that election has no winner, and they
# hold the next one after twice the failover timeout (sentinel.c: failover_start_time, and up to 1 s at random).
SPLIT_VOTE_S = 2 * FAILOVER_TIMEOUT_MS / 1000 + 1
# What a replica logs when it is told to follow its own master; Redis and Valkey put different words before it.
ALREADY_FOLLOWS = "we are already connected with. No operation performed."


async def written(masters: MasterWatcher, timeout_s: float = 20.0 + SPLIT_VOTE_S) -> None:
    """Write until it is safe; an election may be split once."""
    async with asyncio.timeout(timeout_s):
        while not await write(masters):  # noqa: ASYNC110 - each round is a write
            await asyncio.sleep(0.02)


async def refused(url: str) -> str:
    """Return the reason why a start is refused."""
    (masters,) = masters_of(redis_settings(url))
    with pytest.raises(SettingsError) as error:
        await masters.start()
    await masters.close()
    return str(error.value)


def master_of(masters: MasterWatcher, running: Topology) -> RedisServer:
    return running.node_at(masters.address)


# -- one server


async def test_a_fixed_master_provides_a_client_with_ready_connections(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        async with watching(server.url) as masters:
            assert masters.problem == ""
            assert masters.name == "main"
            assert masters.run_id in server.ask("INFO", "server")
            assert masters.address == f"127.0.0.1:{server.port}"
            client = await masters.current()
            assert await client.ping()
            pool = client.connection_pool
            await eventually(lambda: len(pool._available_connections) >= PoolTerms().idle, "the pool is warm")
        with pytest.raises(StoreUnavailable):
            await masters.current()


async def test_a_fixed_master_that_restarts_is_another_master(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        async with watching(server.url) as masters:
            placed: list[str] = []
            masters.subscribe(lambda: placed.append(masters.run_id))
            before = masters.run_id
            await asyncio.to_thread(server.kill)
            await eventually(lambda: bool(masters.problem), "its end is noticed without a write")
            assert str(server.port) in masters.problem
            assert masters.run_id == ""
            with pytest.raises(StoreUnavailable, match="main"):
                await masters.current()
            await asyncio.to_thread(server.start)
            await eventually(lambda: not masters.problem, "it is found again")
            assert masters.run_id not in ("", before)
            assert placed == [masters.run_id]
            assert await write(masters, replicas=0)


async def test_a_failed_client_is_withheld_until_its_server_has_answered(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        async with watching(server.url) as masters:
            placed: list[str] = []
            masters.subscribe(lambda: placed.append(masters.run_id))
            client, before = await masters.current(), masters.run_id
            masters.failed(client, RedisConnectionError("gone"))
            with pytest.raises(StoreUnavailable):
                await masters.current()
            await eventually(lambda: not masters.problem, "it answers")
            # The same server, the same connections: no other client's commands were cut off.
            assert await masters.current() is client
            assert placed == [before]


async def test_reports_of_a_former_client_are_ignored(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        async with watching(server.url) as masters:
            other = Redis(port=server.port)
            masters.failed(other, RedisConnectionError("gone"))
            assert masters.problem == ""
            await other.aclose()


async def test_a_server_that_starts_late_is_found(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", [])
    try:
        async with watching(server.url) as masters:
            with pytest.raises(StoreUnavailable, match=str(server.port)):
                await masters.current()
            await asyncio.to_thread(server.start)
            await eventually(lambda: not masters.problem, "it is found")
    finally:
        server.stop()


async def test_a_paused_server_is_abandoned_and_found_again(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        async with watching(server.url) as masters:
            client, before = await masters.current(), masters.run_id
            server.pause()
            waiting = asyncio.ensure_future(client.get("key"))
            await eventually(lambda: bool(masters.problem), "its silence is noticed")
            # Within a second or two; the client's own timeout is five.
            async with asyncio.timeout(3):
                with pytest.raises(RedisError):
                    await waiting
            server.resume()
            await eventually(lambda: not masters.problem, "it is taken back")
            assert masters.run_id == before


async def test_a_password_is_required_and_used(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", password="s3cret") as server:
        async with watching(server.url) as masters:
            assert await write(masters, replicas=0)
        for url in (f"redis://127.0.0.1:{server.port}", f"redis://:wrong@127.0.0.1:{server.port}"):
            said = await refused(url)
            assert "it rejects the credentials" in said
            assert "wrong" not in said.replace("WRONGPASS", "")


async def test_a_replica_is_no_fixed_master(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as master, redis_server(tmp_path / "replica") as replica:
        replica.ask("REPLICAOF", "127.0.0.1", str(master.port))
        assert "it is a replica" in await refused(replica.url)


# -- with Sentinels


async def test_a_killed_master_is_replaced_without_losing_an_acknowledged_write(whole: Topology) -> None:
    async with watching(whole.url) as masters:
        changes: list[str] = []
        masters.subscribe(lambda: changes.append(masters.run_id))
        first, node = masters.run_id, master_of(masters, whole)
        assert await write(masters, "before")
        await asyncio.to_thread(node.kill)
        await written(masters)
        assert masters.run_id not in ("", first)
        assert changes[-1] == masters.run_id
        assert first not in changes
        assert master_of(masters, whole) is not node
        assert await (await masters.current()).get("before") == b"1"


async def test_a_replica_follows_the_promoted_master_before_the_sentinels_repoint_it(whole: Topology) -> None:
    async with watching(whole.url) as masters:
        await asyncio.to_thread(master_of(masters, whole).kill)
        await written(masters)
        follower = next(n for n in whole.shards[0].nodes if n.is_running() and n is not master_of(masters, whole))

        def told_twice() -> bool:
            assert follower.program is not None
            return ALREADY_FOLLOWS in follower.program.output()

        # The Sentinels agree: they later say the same, to a replica that follows already.
        await eventually(told_twice, "the Sentinels say it, too", timeout_s=20)


async def test_replicas_are_left_to_the_sentinels_if_configured(whole: Topology) -> None:
    async with watching(f"{whole.url}&hasten=no") as masters:
        await asyncio.to_thread(master_of(masters, whole).kill)
        await written(masters)
        logs = [node.program.output() for node in whole.shards[0].nodes if node.program is not None]
        assert all(ALREADY_FOLLOWS not in log for log in logs)


async def test_no_replica_is_repointed_to_a_master_that_no_sentinel_named(whole: Topology) -> None:
    async with watching(whole.url) as masters:
        first, second, third = whole.shards[0].nodes
        for sentinel in whole.sentinels:
            await asyncio.to_thread(sentinel.kill)
        await asyncio.to_thread(first.kill)
        await eventually(lambda: bool(masters.problem), "its end is noticed")
        second.ask("REPLICAOF", "NO", "ONE")
        await eventually(lambda: not masters.problem, "the one that was promoted by hand is taken")
        assert master_of(masters, whole) is second
        assert not await write(masters)
        assert f"master_port:{first.port}" in third.ask("INFO", "replication")


async def test_a_former_master_that_resumes_is_not_believed(whole: Topology) -> None:
    async with watching(whole.url) as masters:
        node = master_of(masters, whole)
        changes: list[str] = []
        masters.subscribe(lambda: changes.append(masters.address))
        node.pause()
        await written(masters)
        successor = masters.address
        node.resume()
        nodes = cast("Any", masters)._nodes
        await eventually(
            lambda: getattr(nodes[ServerAddress("127.0.0.1", node.port)], "is_master", False), "it speaks up"
        )
        await written(masters)
        assert masters.address == successor
        assert set(changes) == {successor}


async def test_a_planned_failover_is_followed_without_a_failure(whole: Topology) -> None:
    async with watching(whole.url) as masters:
        before = masters.address
        whole.sentinels[0].ask("SENTINEL", "FAILOVER", "a")
        await eventually(lambda: masters.address not in ("", before), "the successor is in place", timeout_s=20)
        await written(masters)


async def test_a_master_is_found_while_one_sentinel_is_dead(whole: Topology) -> None:
    await asyncio.to_thread(whole.sentinels[0].kill)
    async with watching(whole.url) as masters:
        node = master_of(masters, whole)
        await asyncio.to_thread(node.kill)
        await written(masters)
        assert str(whole.sentinels[0].port) not in masters.problem


async def test_a_master_stays_in_place_when_all_sentinels_are_gone(whole: Topology) -> None:
    async with watching(whole.url) as masters:
        before = masters.run_id
        for sentinel in whole.sentinels:
            await asyncio.to_thread(sentinel.kill)
        watcher = cast("Any", masters)
        await eventually(lambda: not watcher._votes(), "their silence is noticed")
        assert masters.run_id == before
        assert await write(masters)


async def test_a_name_that_no_sentinel_knows_is_one_clear_error(whole: Topology) -> None:
    said = await refused(whole.url.replace("masters=a", "masters=nobody"))
    assert "watches no master named 'nobody'" in said
    assert "\n" not in said


async def test_a_redis_in_place_of_a_sentinel_is_one_clear_error(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        said = await refused(f"redis+sentinel://127.0.0.1:{server.port}/?masters=a")
        assert "it is a Redis, not a Sentinel" in said


async def test_without_any_sentinel_there_is_no_master_and_the_reason_is_reported() -> None:
    masters = MasterWatcher("a", sentinels=[ServerAddress("127.0.0.1", free_port())])
    await masters.start()
    with pytest.raises(StoreUnavailable, match="sentinel 127"):
        await masters.current()
    await masters.close()
    await masters.close()


# -- servers with faults


@contextlib.asynccontextmanager
async def answering(info: str, ping: str = "+PONG\r\n") -> AsyncIterator[ServerAddress]:
    """A server that speaks just enough of the protocol to say who it is."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                words = [line]
                for _ in range(int(line[1:])):
                    length = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(length + 2))[:-2])
                body = f"# Server\r\n{info}\r\n"
                bulk = f"${len(body)}\r\n{body}\r\n"
                answers = {b"INFO": bulk, b"ROLE": "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", b"PING": ping}
                writer.write(answers.get(words[1].upper(), "+OK\r\n").encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield ServerAddress("127.0.0.1", server.sockets[0].getsockname()[1])
        server.close()


async def test_a_redis_that_is_too_old_is_one_clear_error() -> None:
    async with answering("redis_version:6.0.16\r\nrun_id:x") as address:
        masters = MasterWatcher("main", nodes=[address])
        with pytest.raises(SettingsError, match=r"Redis 6\.0\.16; 6\.2 or newer is required"):
            await masters.start()


async def test_a_redis_that_is_loading_is_not_the_master_yet() -> None:
    loading = "-LOADING Redis is loading the dataset in memory\r\n"
    async with answering("redis_version:7.0.15\r\nrun_id:x", loading) as address:
        masters = MasterWatcher("main", nodes=[address])
        await masters.start()
        with pytest.raises(StoreUnavailable, match="loading"):
            await masters.current()
        await masters.close()


async def test_a_vanished_server_is_abandoned_before_the_answer_timeout() -> None:
    with black_hole() as port:
        client = open_client(ServerAddress("127.0.0.1", port), ServerAccess())
        try:
            async with asyncio.timeout(OPERATION_TIMEOUT_S / 2):
                with pytest.raises(RedisError):
                    await client.ping()
        finally:
            await close_client(client)
