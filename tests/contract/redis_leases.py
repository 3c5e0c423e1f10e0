"""Leases as the Redis store keeps them: its own scripts, in a real server, on a clock that a test sets.

The product's own `Sweeper` makes the decisions between two scripts.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec
import redis

from registry_core.domain import guard as guarding
from registry_core.domain.encoding import claim_json
from registry_core.domain.guard import Guard
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import InstanceKey
from registry_core.domain.selection import Random
from registry_core.ports.store import SweepReport
from registry_core.store.redis import rows
from registry_core.store.redis.follower import Follower
from registry_core.store.redis.queue import WriteQueue
from registry_core.store.redis.scripts import RedisCommand, Script, ScriptName
from registry_core.store.redis.sweeper import Sweeper
from tests.contract.told_clock import IN_THE_CALL, told_scripts
from tests.redis_topology import RedisServer
from tests.samples import claim

T = TypeVar("T")
# Scripts treat a time of 0 as none: 0 in a test is long after the server's 0.
_ZERO_S: Final = 1_000_000.0


class ToldRedis:
    """A server with every script of a shard, on a clock that the test sets."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vertice-told-")
        self._server = RedisServer(Path(self._folder.name) / "redis", [])
        self._server.start()
        self.client = redis.Redis(port=self._server.port)
        self._scripts = told_scripts(IN_THE_CALL)
        self._prefixes = (f"shard{number}" for number in itertools.count())
        for script in self._scripts.values():
            self.client.script_load(script.text)

    def close(self) -> None:
        self.client.close()
        self._server.stop()
        self._folder.cleanup()

    def shard(self, now: float) -> ToldShard:
        """Return an empty shard that is opened at `now`; all earlier shards are deleted."""
        self.client.flushall()
        return ToldShard(self.client, self._scripts, next(self._prefixes), now)


class ToldShard:
    """One shard. Times are seconds; other results are as the server returns them."""

    def __init__(self, client: redis.Redis, scripts: dict[ScriptName, Script], prefix: str, now: float) -> None:
        self._client = client
        self._scripts = scripts
        self._prefix = prefix
        self._now = now
        opened = self.call(ScriptName.OPEN, "run", "epoch", "0", "0", "replication")
        assert opened[0] == b"open", opened

    def set_clock(self, now: float) -> None:
        """Set the clock to `now` for the following calls."""
        self._now = now

    def call(self, name: ScriptName, *arguments: str | bytes) -> Any:
        """Call a script and return its result."""
        return self.play([(self._now, name, arguments)])[0]

    def read(self, command: str, key: str, *arguments: str) -> Any:
        """Read a key of the shard."""
        return cast("Any", self._client).execute_command(command, f"{self._prefix}:{key}", *arguments)

    def play(self, calls: Sequence[tuple[float, ScriptName, RedisCommand]]) -> list[Any]:
        """Call scripts one after the other, each at its time, and return their results."""
        with cast("Any", self._client).pipeline(transaction=False) as pipeline:
            for now, name, arguments in calls:
                pipeline.execute_command(
                    "EVALSHA", self._scripts[name].sha, "0", self._prefix, str(ms(now)), *arguments
                )
            return cast("list[Any]", pipeline.execute())


def ms(now: float) -> int:
    """Return the server's time for the test's time `now`."""
    return round((_ZERO_S + now) * 1000)


def registration(key: InstanceKey, number: int, terms: LeaseTerms) -> RedisCommand:
    """Return the arguments of REGISTER for an instance with its own address."""
    host, port = f"10.0.{number // 250}.{number % 250}", 8000
    asked = claim(key.label, host, port, instance_id=key.instance_id)
    return (
        rows.field_of(key),
        asked.service_name,
        f"{host}:{port}",
        "",
        asked.status.value,
        claim_json(asked),
        rows.ms(terms.ttl_s),
        "",
        "0",
    )


class _NoFollower:
    """Reads nothing, so that nothing is waited for: the caller of a script knows what it did."""

    @property
    def arrivals(self) -> _NoFollower:
        return self

    async def reached(self, epoch: str, revision: int) -> None:
        pass


class RedisLeases:
    """The leases of one shard, with the methods of `registry_core.domain.leases.Leases`."""

    def __init__(self, server: ToldRedis, terms: LeaseTerms, now: float, random: Random) -> None:
        self.terms = terms
        self._shard = server.shard(now)
        self._numbers: dict[InstanceKey, int] = {}
        queue, follower = cast("WriteQueue", self), cast("Follower", _NoFollower())
        self._sweeper = Sweeper("told", queue, follower, terms, random)

    async def call(self, name: ScriptName, *arguments: str | bytes) -> Any:
        """Call a script for the sweeper."""
        return self._shard.call(name, *arguments)

    def __len__(self) -> int:
        return int(self._shard.read("HLEN", "records"))

    def __contains__(self, key: InstanceKey) -> bool:
        return bool(self._shard.read("HEXISTS", "records", rows.field_of(key)))

    @property
    def suspect_count(self) -> int:
        return int(self._shard.read("ZCARD", "suspects"))

    @property
    def guard(self) -> Guard:
        """The stored guard, in the test's times."""
        kept = self._shard.read("HGET", "meta", "guard")
        if kept is None:
            return guarding.CLEAR
        guard = msgspec.json.decode(kept, type=Guard)
        times = {name: at and at - _ZERO_S for name, at in msgspec.structs.asdict(guard).items()}
        return msgspec.structs.replace(guard, **times)

    def grant(self, key: InstanceKey, now: float) -> None:
        number = self._numbers.setdefault(key, len(self._numbers))
        self._shard.set_clock(now)
        registered = self._shard.call(ScriptName.REGISTER, *registration(key, number, self.terms))
        assert registered[0] == b"ok", registered

    def renew(self, key: InstanceKey, now: float) -> bool:
        self._shard.set_clock(now)
        result = self._shard.call(ScriptName.RENEW, rows.field_of(key), "")
        return len(result) == 3  # nothing is told of a renewed lease

    def release(self, key: InstanceKey) -> bool:
        return bool(self._shard.call(ScriptName.DEREGISTER, rows.field_of(key), "", "")[0] == b"ok")

    def remaining_s(self, key: InstanceKey, now: float) -> float:
        heard_ms = self._shard.read("ZSCORE", "leases", rows.field_of(key))
        return -self.terms.grace_s if heard_ms is None else self.terms.ttl_s - (ms(now) - float(heard_ms)) / 1000

    def overdue(self, key: InstanceKey, now: float) -> bool:
        return self.remaining_s(key, now) < 0.0

    def release_guard(self, now: float) -> bool:
        self._shard.set_clock(now)
        return ended(self._sweeper.release_guard())

    def sweep(self, now: float) -> SweepReport:
        self._shard.set_clock(now)
        return ended(self._sweeper.sweep(self._sizes))

    def _sizes(self, _labels: Collection[str]) -> Counter[str]:
        return Counter(rows.key_of(field).label for field in self._shard.read("HKEYS", "records"))


def ended(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as stopped:
        return cast("T", stopped.value)
    work.close()
    raise AssertionError("it waits for something")
