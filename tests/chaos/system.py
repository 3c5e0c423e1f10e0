"""A replica on a Redis topology, under load: broken on purpose, and compared with what it had acknowledged."""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tests.chaos.load import Result
from tests.programs import VERTICE, Program, accepts, free_port, wait_until
from tests.redis_topology import RedisServer, Topology, topology
from tests.scenarios.system import get_json


class Outcome(msgspec.Struct):
    """What one fault did."""

    fault: str
    result: Result
    lost: list[str]

    @property
    def stall_s(self) -> float:
        """How long the slowest write took."""
        return self.result.longest_write_s

    def __str__(self) -> str:
        r = self.result
        return (
            f"{self.fault}: seed {r.seed}, {r.writes} writes, {r.heartbeats} heartbeats, {r.lookups} lookups; "
            f"failed {len(r.failed('write'))} writes, {len(r.failed('heartbeat'))} heartbeats, "
            f"{len(r.failed('lookup'))} lookups; acknowledged {len(r.acknowledged)}, lost {len(self.lost)}; "
            f"longest write {r.longest_write_s:.2f} s, longest lookup {r.longest_lookup_s:.2f} s"
        )


def say(line: object) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Registry:
    """One replica, as a program of its own."""

    def __init__(
        self, folder: Path, store: str, name: str = "replica", settings: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.program = Program(
            [*VERTICE, "registry", "--listen", f"127.0.0.1:{self.port}"],
            folder / f"{name}.log",
            {"REGISTRY_STORE": store, "REGISTRY_WARMING": "0", **(settings or {})},
        )

    def is_up(self) -> bool:
        if self.program.process.poll() is not None:
            raise AssertionError(f"the replica ended: {self.program.output()}")
        return accepts(self.port)

    def instances(self) -> dict[str, str]:
        """Return what it shows: instance id -> service name."""
        return {i["instance_id"]: i["service_name"] for i in get_json(f"{self.url}/catalog")["instances"]}


@contextlib.contextmanager
def registry(
    folder: Path, store: str, name: str = "replica", settings: Mapping[str, str] | None = None
) -> Iterator[Registry]:
    """Run a replica for the length of a `with`."""
    running = Registry(folder, store, name, settings)
    try:
        wait_until(running.is_up, "the replica listens", timeout_s=20)
        yield running
    finally:
        running.program.stop()


class Trial:
    """A topology, a replica and its load, all running."""

    def __init__(self, folder: Path, redis: Topology, replica: Registry, seed: int) -> None:
        self.folder = folder
        self.redis = redis
        self.replica = replica
        self.seed = seed
        self._file = folder / "load.json"
        self.load = Program(
            [sys.executable, "-m", "tests.chaos.load", replica.url, str(seed), str(self._file)], folder / "load.log"
        )

    def master(self, shard: str = "a") -> RedisServer:
        """Return the node that is the master now."""
        nodes = self.redis.shard(shard).nodes
        return next(n for n in nodes if n.is_running() and "role:master" in str(n.ask("INFO", "replication")))

    def moment(self) -> float:
        """Return how long to wait before the fault: the seed decides. Seconds."""
        return random.Random(self.seed).uniform(0.2, 1.5)

    def go_on(self, seconds: float) -> None:
        """Let the load run for a while."""
        time.sleep(seconds)

    def grows(self, timeout_s: float = 30.0) -> None:
        """Wait until the replica takes registrations: one after now shows in its catalogue."""
        before = len(self.replica.instances())
        wait_until(lambda: len(self.replica.instances()) > before + 5, "registrations are taken", timeout_s=timeout_s)

    def end(self, fault: str, *, replica_lives: bool = True) -> Outcome:
        """End the load, and compare: with what this replica shows, and with what a new one finds in Redis."""
        code = self.load.stop(timeout_s=40)
        assert code == 0, self.load.output()
        result = msgspec.json.decode(self._file.read_bytes(), type=Result)
        shown = self.replica.instances() if replica_lives else None
        with registry(self.folder, self.redis.url, "judge") as judge:
            wait_until(lambda: bool(judge.instances()), "the new replica has read Redis", timeout_s=20)
            stored = judge.instances()
        views = [stored] if shown is None else [shown, stored]
        lost = [i for i, name in result.acknowledged.items() if any(view.get(i) != name for view in views)]
        return Outcome(fault, result, lost)


@contextlib.contextmanager
def trial(folder: Path, seed: int, masters: tuple[str, ...] = ("a",)) -> Iterator[Trial]:
    """Run everything for the length of a `with`; it is under load when it is yielded."""
    with topology(folder / "redis", masters) as redis, registry(folder, redis.url) as replica:
        running = Trial(folder, redis, replica, seed)
        try:
            running.grows()
            yield running
        finally:
            running.load.stop()
