"""Replicas behind one address of a load balancer: a drain is confirmed by the watchers of all of them.

Real Redis, real HAProxy as the balancer, three replicas, and agents that know only the one address.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

import registry_core.store.redis.store  # noqa: F401 - it reads its scripts, which a running loop must not wait for
from registry_core.api.drain_schemas import DrainView, ReplicaDrain
from registry_core.api.peers import MAX_ANSWER_BYTES, PEER_HEADER, Peers
from registry_core.domain.records import Status
from registry_core.settings import Listen
from registry_core.store.redis.url import redis_settings
from tests.integration.agents import QUICK, AgentUnderTest, becomes, spec, stand_in, standing
from tests.integration.replicas import READY, Api, serving
from tests.programs import accepts, eventually, find, free_port
from tests.redis_topology import RedisServer

REPLICAS = 3
WATCHERS = 5
CONFIRMING = msgspec.structs.replace(QUICK, drain_confirm_s=20.0)
BALANCER = """
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance roundrobin
"""


class House:
    """The replicas, the balancer in front of them, and the agents."""

    def __init__(self, replicas: list[Api], front: str, watchers: list[AgentUnderTest]) -> None:
        self.replicas = replicas
        self.front = front
        self.watchers = watchers

    def followed(self) -> list[int]:
        return [len(api.replica.hub) for api in self.replicas]


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    ports = [free_port() for _ in range(REPLICAS)]
    peers = tuple(f"http://127.0.0.1:{port}" for port in ports)
    front = free_port()
    config = tmp_path / "haproxy.cfg"
    servers = "".join(f"    server r{port} 127.0.0.1:{port}\n" for port in ports)
    config.write_text(BALANCER.format(port=front) + servers)
    redis = RedisServer(tmp_path / "redis", [])
    await asyncio.to_thread(redis.start)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, redis.stop)
        store = redis_settings(f"redis://127.0.0.1:{redis.port}")
        replicas = []
        for port in ports:
            settings = msgspec.structs.replace(READY, listen=Listen("127.0.0.1", port), redis=store, peers=peers)
            replicas.append(await stack.enter_async_context(serving(settings)))
        haproxy = await asyncio.create_subprocess_exec(
            find("haproxy"), "-f", str(config), "-db", stdout=DEVNULL, stderr=DEVNULL
        )
        stack.push_async_callback(haproxy.wait)
        stack.callback(haproxy.terminate)
        await eventually(lambda: accepts(front), "the balancer listens")
        url = f"http://127.0.0.1:{front}"
        watchers = [await stack.enter_async_context(standing(url, settings=CONFIRMING)) for _ in range(WATCHERS)]
        await eventually(lambda: sum(len(api.replica.hub) for api in replicas) == WATCHERS, "all agents watch")
        yield House(replicas, url, watchers)


@contextlib.asynccontextmanager
async def answering(*pieces: bytes) -> AsyncIterator[str]:
    """Run a replica that consists only of its answer, sent in pieces; yield its URL."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {sum(map(len, pieces))}\r\n\r\n".encode()

    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in (head, *pieces):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)  # so that they do not arrive together
        writer.close()
        ended.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await ended.wait()


@pytest.mark.parametrize(("more", "silent"), [("", 0), ("x" * MAX_ANSWER_BYTES, 1)], ids=["whole", "over the bound"])
async def test_an_answer_in_pieces_is_read_completely_up_to_a_limit(more: str, silent: int) -> None:
    own = DrainView(
        service_name="billing" + more,
        instance_id="one",
        status=Status.DRAINING,
        revision="r",
        watchers=1,
        acknowledged=1,
        by_replica={"self": ReplicaDrain(watchers=1, acknowledged=1)},
    )
    theirs = msgspec.structs.replace(own, by_replica={"other": ReplicaDrain(watchers=4, acknowledged=3)})
    answer = msgspec.json.encode(theirs)
    async with answering(answer[:20], answer[20:40], answer[40:]) as url:
        peers = Peers([url])
        await peers.start()
        said = await peers.summed(msgspec.structs.replace(own, service_name="billing"))
        await peers.close()
    assert said.silent_replicas == silent
    assert (said.watchers, said.acknowledged) == ((5, 4) if not silent else (1, 1))


async def until(ask: Callable[[], Awaitable[Any]], is_so: Callable[[Any], bool]) -> Any:
    """Poll until the answer is as wanted, and return it."""
    async with asyncio.timeout(15):
        while not is_so(found := await ask()):  # noqa: ASYNC110 - each round asks a replica
            await asyncio.sleep(0.05)
    return found


async def progress(house: House, agent: AgentUnderTest) -> tuple[int, int, int, bool]:
    """Return (acknowledged, watchers, silent, done) as the agent reports it."""
    async with agent.session.get(f"{agent.url}/drain") as response:
        (one,) = msgspec.json.decode(await response.read())["services"]
    return one["acknowledged"], one["watchers"], one["silent_registries"], one["done"]


async def test_a_drain_behind_one_address_is_confirmed_by_the_agents_of_all_replicas(house: House) -> None:
    assert min(house.followed()) > 0, "the balancer spreads the watches"
    async with stand_in() as service, standing(house.front, spec(service), settings=CONFIRMING) as agent:
        for watcher in house.watchers:
            await becomes(lambda watcher=watcher: watcher.addresses("osint-service"), ["127.77.0.1"])  # type: ignore[misc]
        async with agent.session.post(f"{agent.url}/drain") as response:
            assert response.status == 200
        everybody = WATCHERS + 1
        await until(lambda: progress(house, agent), lambda found: found == (everybody, everybody, 0, True))


async def test_an_unreachable_replica_leaves_a_drain_unconfirmed(house: House) -> None:
    async with stand_in() as service, standing(house.front, spec(service), settings=CONFIRMING) as agent:
        await becomes(lambda: house.watchers[0].addresses("osint-service"), ["127.77.0.1"])
        async with agent.session.post(f"{agent.url}/drain") as response:
            assert response.status == 200
        path = f"/drain/osint_service/127.77.0.1:{service.port}"
        asked = house.replicas[0]
        # Nor is any replica silent about a drain that it has not seen yet.
        await until(
            lambda: asked.call("GET", path),
            lambda answer: answer.body["status"] == "draining" and not answer.body["silent_replicas"],
        )
        await house.replicas[2].replica.close()
        said = (await asked.call("GET", path)).body
        assert said["silent_replicas"] == 1
        assert len(said["by_replica"]) == REPLICAS - 1


async def test_a_request_between_replicas_is_answered_by_one_replica_alone(house: House) -> None:
    registered = await house.replicas[0].register("billing", host="10.0.0.9", port=8034)
    path = f"/drain/billing/{registered['instance_id']}"
    await house.replicas[0].call("PUT", path.replace("/drain/", "/status/"), {"status": "draining"})
    asked = house.replicas[1]
    alone = (await asked.call("GET", path, headers={PEER_HEADER: "another"})).body
    assert list(alone["by_replica"].values()) == [
        {"watchers": len(asked.replica.hub), "acknowledged": alone["acknowledged"]}
    ]
    together = (await asked.call("GET", path)).body
    assert together["watchers"] == WATCHERS
    assert len(together["by_replica"]) == REPLICAS
    unknown = {"watcher": "nobody", "cursor": together["revision"]}
    assert (await asked.call("POST", "/watch/ack", unknown)).status == 404, "nobody has it"


async def test_an_acknowledgement_finds_the_replica_that_has_the_watch(house: House) -> None:
    registered = await house.replicas[0].register("billing", host="10.0.0.9", port=8034)
    path = f"/drain/billing/{registered['instance_id']}"
    first, second, third = house.replicas
    async with aiohttp.ClientSession() as session, session.get(f"{third.url}/watch?acknowledges=true") as watch:
        await watch.content.readline()
        await first.call("PUT", path.replace("/drain/", "/status/"), {"status": "draining"})
        answer = await until(lambda: second.call("GET", path), lambda answer: answer.body["acknowledged"] == WATCHERS)
        assert answer.body["watchers"] == WATCHERS + 1
        said = {"watcher": watch.headers["X-Watcher"], "cursor": answer.body["revision"]}
        assert (await first.call("POST", "/watch/ack", said)).status == 200
        assert (await second.call("GET", path)).body["acknowledged"] == WATCHERS + 1


async def test_replicas_reach_each_other_in_the_middle_of_a_change_of_the_secret() -> None:
    async with serving(msgspec.structs.replace(READY, secrets=("the-new-secret",))) as api:
        peers = Peers((api.url,), secrets_now=lambda: ("the-old-secret", "the-new-secret"))
        await peers.start()
        try:
            status, answer = await peers.ask("GET", api.url, "/audit/head")
            assert (status, b"no audit log" in answer) == (404, True), "it is let in, and there is none"
        finally:
            await peers.close()
