"""The processes of a measurement: a Redis master with its copy, replicas on one processor, and what they have used."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
from redis import Redis

from bench.fleet import fill
from bench.load import UnexpectedStatus, connected, request
from bench.machine import cpu_us, pin, unpin
from bench.middle import redis_pids, redis_shard, registration, registry_on, resident_mb
from bench.scale.relay import Relay, relay
from tests.programs import NO_INSTANCE_LIMITS, VERTICE, Program, accepts, free_port, running, wait_until
from tests.redis_topology import Shard

READY_S: Final = 120.0
EVERY_S: Final = 0.25
TRIES: Final = 480
# A heartbeat's instances are taken from those that were filled in.
WEIGHTS: Final = 100
_PREFIX: Final = "vertice"
_ENV: Final = {
    "REGISTRY_LIMIT_REGISTER": "off",
    "REGISTRY_LIMIT_LOOKUP": "off",
    "REGISTRY_LIMIT_STATUS": "off",
}


class Used(msgspec.Struct, frozen=True):
    """What has been used so far: processor time (us) by program, octets and data (octets) of the Redis master."""

    cpu_us: tuple[float, ...]
    redis_us: float
    redis_octets: float
    redis_bytes: float

    def since(self, before: Used) -> Used:
        """Return the difference to an earlier reading."""
        return Used(
            tuple(now - then for now, then in zip(self.cpu_us, before.cpu_us, strict=True)),
            self.redis_us - before.redis_us,
            self.redis_octets - before.redis_octets,
            self.redis_bytes - before.redis_bytes,
        )


class Rig:
    """A shard of Redis, and the replicas on it in the order in which they were started."""

    def __init__(self, folder: Path, shard: Shard, stack: ExitStack) -> None:
        self.folder = folder
        self.ports: list[int] = []
        self.replicas: list[Program] = []
        self.redis = Redis(port=shard.nodes[0].port)
        self.filled = 0
        self._shard = shard
        self._stack = stack
        self._processors = os.sched_getaffinity(0)

    def start(self, **settings: str) -> int:
        """Start one more replica; return its port once it listens."""
        port, program = self._stack.enter_context(registry_on(self._shard, self.folder, **{**_ENV, **settings}))
        self.ports.append(port)
        self.replicas.append(program)
        self.pinned()
        return port

    def follow(self, url: str, **settings: str) -> int:
        """Start one more replica that follows the registry at `url`; return its port once it listens."""
        port = free_port()
        env = {"REGISTRY_LOG_LEVEL": "warning", "REGISTRY_FOLLOW": url, **NO_INSTANCE_LIMITS, **_ENV, **settings}
        argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
        program = self._stack.enter_context(running(argv, self.folder / f"follower-{port}.log", env))
        wait_until(lambda: accepts(port), "the follower listens", READY_S)
        self.ports.append(port)
        self.replicas.append(program)
        self.pinned()
        return port

    def stop(self, number: int) -> None:
        """Stop one replica."""
        self.replicas.pop(number).stop()
        self.ports.pop(number)

    def stop_all(self) -> None:
        """Stop every replica."""
        for program in self.replicas:
            program.stop()
        self.ports.clear()
        self.replicas.clear()

    def pinned(self, *others: int) -> str:
        """Pin replicas and `others` to the first processors, Redis and this process to the last."""
        unpin(self._processors)
        return pin([*(one.pid for one in self.replicas), *others], beside=redis_pids(self._shard))

    def fill(self, count: int) -> None:
        """Put instances into Redis, up to `count` in all."""
        fill(self.redis, self.filled, count)
        self.redis.hset(f"{_PREFIX}:meta", "born", "0")  # an old fleet: nothing waits for it to warm up
        self.filled = max(self.filled, count)

    def used(self) -> Used:
        """Return what has been used so far."""
        stats = self.redis.info("stats")
        octets = int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"])
        return Used(
            tuple(cpu_us(one.pid) for one in self.replicas),
            cpu_us(redis_pids(self._shard)[0]),
            octets,
            int(self.redis.info("memory")["used_memory_dataset"]),
        )

    def memory_mb(self, number: int) -> float:
        """Return the resident memory of a replica."""
        return resident_mb(self.replicas[number].pid)

    async def known(self, port: int, instances: int) -> None:
        """Wait until the replica at `port` has at least so many instances. Raises TimeoutError."""
        for _ in range(TRIES):
            if await services_at(port) * 10 >= instances:
                return
            await asyncio.sleep(EVERY_S)
        raise TimeoutError(f"the replica did not know {instances} instances in time")


async def services_at(port: int) -> int:
    """Return how many services the replica or the agent at `port` knows; 0 while it knows nothing yet."""
    client = await connected(port)
    try:
        _, _, body = (await client.ask(request("GET", "/services"))).partition(b"\r\n\r\n")
        return len(msgspec.json.decode(body))
    except UnexpectedStatus:
        return 0
    finally:
        client.close()


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """Run a shard of Redis for the duration of a `with`."""
    before = os.sched_getaffinity(0)
    with ExitStack() as stack:
        stack.callback(unpin, before)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-scale-")))
        shard = stack.enter_context(redis_shard(folder))
        made = Rig(folder, shard, stack)
        stack.callback(made.redis.close)
        yield made


class RealAgent:
    """A running agent, and the relay between it and its registry."""

    def __init__(self, program: Program, http_port: int, dns_port: int, passing: Relay) -> None:
        self.program = program
        self.http_port = http_port
        self.dns_port = dns_port
        self.relay = passing

    def cpu_us(self) -> float:
        """Return the processor time that it has used, in microseconds."""
        return cpu_us(self.program.pid)

    def memory_mb(self) -> float:
        """Return its resident memory."""
        return resident_mb(self.program.pid)

    async def knows(self, services: int) -> None:
        """Wait until it knows at least so many names. Raises TimeoutError."""
        for _ in range(TRIES):
            if await services_at(self.http_port) >= services:
                return
            await asyncio.sleep(EVERY_S)
        raise TimeoutError(f"the agent did not know {services} services in time")


@contextlib.asynccontextmanager
async def real_agent(folder: Path, port: int, **settings: str) -> AsyncIterator[RealAgent]:
    """Run an agent without services of its own at the registry on `port`, behind a relay."""
    http_port, dns_port = free_port(), free_port()
    async with AsyncExitStack() as stack:
        relay_port, passing = await stack.enter_async_context(relay(port))
        argv = [*VERTICE, "agent", "--http-listen", f"127.0.0.1:{http_port}", "--dns-listen", f"127.0.0.1:{dns_port}"]
        env = {
            "REGISTRY_URL": f"http://127.0.0.1:{relay_port}",
            "AGENT_STATE_DIR": "",
            "AGENT_CHECK": "none",
            **settings,
        }
        program = stack.enter_context(running(argv, folder / f"agent-{http_port}.log", env))
        await asyncio.to_thread(wait_until, lambda: accepts(http_port), "the agent listens", READY_S)
        yield RealAgent(program, http_port, dns_port, passing)


def change(number: int, round_: int) -> bytes:
    """Return the request that changes the weight of instance `number`, another one in each round."""
    body: dict[str, Any] = {**registration(number), "weight": 2 + round_ % (WEIGHTS - 2)}
    return request("POST", "/register", json.dumps(body).encode())


def beat(first: int, count: int) -> bytes:
    """Return the request that renews the leases of so many instances, from `first` on."""
    named = (registration(number) for number in range(first, first + count))
    rows = [{"service_name": each["service_name"], "instance_id": each["instance_id"]} for each in named]
    return request("POST", "/heartbeat", json.dumps({"instances": rows}).encode())
