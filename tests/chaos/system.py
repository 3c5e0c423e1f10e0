"""A replica on a Redis topology, under load: broken on purpose, and compared with what it had acknowledged."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.chaos.load import Result, registration
from tests.networks import HERE, Place
from tests.programs import NO_INSTANCE_LIMITS, VERTICE, Program, accepts, free_port, wait_until
from tests.redis_topology import RedisServer, Topology, topology
from tests.scenarios.system import get_json

# The stream of a shard, under the default prefix of REGISTRY_STORE.
EVENTS = "vertice:events"


class Outcome(msgspec.Struct):
    """The outcome of one fault."""

    fault: str
    result: Result
    lost: list[str]
    broken: list[str] = []  # other broken promises

    @property
    def stall_s(self) -> float:
        """The duration of the slowest write."""
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
    """One replica, in its own process."""

    def __init__(
        self,
        folder: Path,
        store: str,
        name: str = "replica",
        settings: Mapping[str, str] | None = None,
        *,
        place: Place = HERE,
    ) -> None:
        self.port = free_port()
        self._host = place.control
        self.url = f"http://{self._host}:{self.port}"
        self.program = Program(
            [*place.within, *VERTICE, "registry", "--listen", f"{self._host}:{self.port}"],
            folder / f"{name}.log",
            {
                "REGISTRY_STORE": store,
                "REGISTRY_WARMING": "0",
                "REGISTRY_AUTH": "off",
                **NO_INSTANCE_LIMITS,
                **(settings or {}),
            },
        )

    def is_up(self) -> bool:
        if self.program.process.poll() is not None:
            raise AssertionError(f"the replica ended: {self.program.output()}")
        return accepts(self.port, self._host)

    def instances(self) -> dict[str, str]:
        """Return the instances that it shows: instance id -> service name."""
        return {i["instance_id"]: i["service_name"] for i in get_json(f"{self.url}/catalog")["instances"]}

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return its answer to one request. Raises OSError when that is not a success."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)


@contextlib.contextmanager
def registry(
    folder: Path,
    store: str,
    name: str = "replica",
    settings: Mapping[str, str] | None = None,
    *,
    place: Place = HERE,
) -> Iterator[Registry]:
    """Run a replica for the duration of a `with`."""
    running = Registry(folder, store, name, settings, place=place)
    try:
        wait_until(running.is_up, "the replica listens", timeout_s=20)
        yield running
    finally:
        running.program.stop()


class Trial:
    """A topology, a replica and its load, all running.

    `place` is where the load and the replica run; `first` is the number of the first instance of the load.
    """

    def __init__(
        self,
        folder: Path,
        redis: Topology,
        replica: Registry,
        seed: int,
        *,
        place: Place = HERE,
        first: int = 0,
    ) -> None:
        self.folder = folder
        self.redis = redis
        self.replica = replica
        self.seed = seed
        self._place = place
        self._file = folder / f"load-{first}.json"
        argv = [sys.executable, "-m", "tests.chaos.load", replica.url, str(seed), str(self._file), str(first)]
        self.load = Program([*place.within, *argv], folder / f"load-{first}.log")

    def master(self, shard: str = "a") -> RedisServer:
        """Return the node that is the master now."""
        return self.redis.shard(shard).masters()[0]

    def moment(self) -> float:
        """Return how many seconds to wait before the fault; the seed decides."""
        return random.Random(self.seed).uniform(0.2, 1.5)

    def go_on(self, seconds: float) -> None:
        """Let the load run for a while."""
        time.sleep(seconds)

    def grows(self, timeout_s: float = 30.0) -> None:
        """Wait until the replica accepts registrations: a new one shows in its catalogue."""
        before = len(self.replica.instances())
        wait_until(
            lambda: len(self.replica.instances()) > before + 5, "registrations are accepted", timeout_s=timeout_s
        )

    def end(self, fault: str, *, replica_lives: bool = True, again: bool = False) -> Outcome:
        """End the load, and compare it with what this replica shows and with what a new one finds in Redis.

        `again`: refused writes are first sent again, as agents do, and then count as acknowledged.
        """
        result = self.result()
        broken = self._sent_again(result) if again else []
        shown = self.replica.instances() if replica_lives else None
        with registry(self.folder, self.redis.url, "judge", place=self._place) as judge:
            wait_until(lambda: bool(judge.instances()), "the new replica has read Redis", timeout_s=20)
            stored = judge.instances()
        views = [stored] if shown is None else [shown, stored]
        return Outcome(fault, result, missing(result, *views), broken)

    def _sent_again(self, result: Result) -> list[str]:
        """Send refused writes twice, and return where the second had an effect of its own."""
        broken: list[str] = []
        for instance, name in result.refused.items():
            body = registration(int(instance[1:]), name)
            once, twice = (self.replica.ask("POST", "/register", body) for _ in range(2))
            if twice != {**once, "created": False}:
                broken.append(f"{instance} was answered differently when it was sent again: {once}, {twice}")
        result.acknowledged |= result.refused
        events = [dict(zip(e[::2], e[1::2], strict=True)) for _, e in self.master().ask("XRANGE", EVENTS, "-", "+")]
        times = Counter(event["k"].rpartition("/")[2] for event in events if event["t"] == "registered")
        return broken + [f"{i} was registered {times[i]} times" for i in result.refused if times[i] != 1]

    def result(self) -> Result:
        """End the load, and return its result."""
        code = self.load.stop(timeout_s=40)
        assert code == 0, self.load.output()
        return msgspec.json.decode(self._file.read_bytes(), type=Result)


def missing(result: Result, *views: dict[str, str]) -> list[str]:
    """Return the acknowledged instances that are missing from any of these catalogues."""
    return [i for i, name in result.acknowledged.items() if any(view.get(i) != name for view in views)]


def both(one: Result, other: Result) -> Result:
    """Return the combined result of two loads."""
    return Result(
        one.seed,
        one.acknowledged | other.acknowledged,
        one.times | other.times,
        one.refused | other.refused,
        one.began_at,
        one.writes + other.writes,
        one.lookups + other.lookups,
        one.heartbeats + other.heartbeats,
        one.failures + other.failures,
        max(one.longest_write_s, other.longest_write_s),
        max(one.longest_lookup_s, other.longest_lookup_s),
    )


@contextlib.contextmanager
def trial(folder: Path, seed: int, masters: tuple[str, ...] = ("a",)) -> Iterator[Trial]:
    """Run everything for the duration of a `with`; it is under load when this yields."""
    with topology(folder / "redis", masters) as redis, registry(folder, redis.url) as replica:
        running = Trial(folder, redis, replica, seed)
        try:
            running.grows()
            yield running
        finally:
            running.load.stop()
