"""Acknowledged writes survive and are not undone: masters fail over, die and come back under recording writers.

The Redis servers have an append-only file, as servers for a registry must. After each fault, once everything has
recovered, every instance is compared with what its history allows, both as the running replicas show it and as a
newly started one does.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from tests.chaos.history import RecordedWrite, Shown, availability, breaches
from tests.chaos.load import Failure, Result
from tests.chaos.system import Outcome, Registry, registry
from tests.faulty_proxy import proxied
from tests.programs import NO_INSTANCE_LIMITS, Program, wait_until
from tests.redis_topology import RedisServer, Topology, topology
from tests.scenarios.system import get_json

# While there is doubt a write may be refused, for this long after the doubt began.
DOUBT_S: Final = 2.5
# Leases outlast the run, so that anything missing was lost.
SETTINGS: Final = {"REGISTRY_LEASE_TTL": "600", **NO_INSTANCE_LIMITS}
# Longer than a registry holds a write before it refuses it.
PATIENCE_S: Final = 8.0
# Of a client that soon gives up on a silent replica and asks the other one.
SHORT_PATIENCE_S: Final = 1.0
FROZEN_S: Final = 11.0
# Shorter than a write is held without a replica's confirmation (1.5 s).
HELD_S: Final = 0.7
# How long Sentinels wait before they act, in faults where the master returns before that.
PATIENT_MS: Final = 5000
# A returning old master is told to follow the new one after about 10 s, twice that when it was paused.
WHOLE_S: Final = 60.0
# The Sentinel that leads a failover logs it, in local time.
ELECTED: Final = re.compile(r"^\d+:X (\d+ \w+ \d+ [\d:.]+) # \+elected-leader", re.MULTILINE)
LOG_TIME: Final = "%d %b %Y %H:%M:%S.%f"
SHOWN_S: Final = 10.0


class RecordedTrial:
    """One shard, replicas of the registry, and writers that record everything, all running."""

    def __init__(
        self,
        folder: Path,
        redis: Topology,
        replicas: list[Registry],
        seed: int,
        *,
        patience_s: float = PATIENCE_S,
        quick: bool = False,
    ) -> None:
        """With `quick`, it does not wait for an old master to come back, which takes the Sentinels ten seconds."""
        self.quick = quick
        self.redis = redis
        self.replicas = replicas
        self.random = random.Random(seed)
        self.doubts: list[float] = []
        self._folder = folder
        self._seed = seed
        self._file = folder / "writes.json"
        self.writers = self.random.randint(8, 20)
        self._server = _kind(self.master())
        urls = ",".join(replica.url for replica in replicas)
        argv = [sys.executable, "-m", "tests.chaos.writers", urls, str(seed), str(self._file)]
        self.load = Program([*argv, str(self.writers), str(patience_s)], folder / "writers.log")

    def master(self) -> RedisServer:
        return self.redis.shard("a").masters()[0]

    def followers(self) -> list[RedisServer]:
        """Return the nodes that are not masters, in an order that depends on the seed."""
        found = [node for node in self.redis.shard("a").nodes if not node.is_master()]
        self.random.shuffle(found)
        return found

    def doubt(self) -> None:
        """Record that a doubt begins now: until it ends, it is unclear which server leads or has the last writes."""
        self.doubts.append(time.monotonic())

    def go_on(self, least_s: float, most_s: float | None = None) -> float:
        """Let the writers run for a time that depends on the seed. Returns it, in seconds."""
        seconds = self.random.uniform(least_s, least_s if most_s is None else most_s)
        time.sleep(seconds)
        return seconds

    def takes_writes(self) -> None:
        """Wait until every replica acknowledges a write."""
        for number, replica in enumerate(self.replicas):
            claim = {"service_name": "probe", "host": f"10.251.0.{number + 1}", "port": 8034}

            def is_taken(replica: Registry = replica, claim: dict[str, object] = claim) -> bool:
                with contextlib.suppress(OSError):  # an OSError is a refusal
                    replica.ask("POST", "/register", claim)
                    return True
                return False

            wait_until(is_taken, "writes are accepted", timeout_s=60)  # longer than a breaker stays open

    def promoted(self, instead_of: RedisServer) -> None:
        """Wait until another node is the master."""
        nodes = [node for node in self.redis.shard("a").nodes if node is not instead_of]
        wait_until(lambda: any(node.is_master() for node in nodes), "a replica is promoted", timeout_s=30, every_s=0.02)

    def come_back(self, master: RedisServer) -> None:
        """Restart an old master, a while after another was promoted."""
        self.go_on(1.0, 3.0)
        self.doubt()
        master.start()

    def doubt_until_copied(self) -> None:
        """Wait until some node follows the master: until then no write is safe."""
        ends = time.monotonic() + WHOLE_S
        while self._copies() == 0:
            assert time.monotonic() < ends, "no node follows the master"
            self.doubt()
            time.sleep(0.1)
        self.doubt()

    def _copies(self) -> int:
        """Return how many nodes follow the master; 0 unless there is exactly one master."""
        masters = self.redis.shard("a").masters()
        return str(masters[0].ask("INFO", "replication")).count("state=online") if len(masters) == 1 else 0

    def is_whole(self) -> bool:
        """Return whether all nodes run, and all but one follow that one."""
        nodes = self.redis.shard("a").nodes
        return all(node.is_running() for node in nodes) and self._copies() == len(nodes) - 1

    def end(self, fault: str) -> Outcome:
        """Wait until everything has recovered, stop the writers, and compare what is shown with what they were told."""
        self.takes_writes()
        self.go_on(1.0)
        if not self.quick:
            wait_until(self.is_whole, "one master, and the others follow it", timeout_s=WHOLE_S)
            self.go_on(0.5)
        assert self.load.stop(timeout_s=40) == 0, self.load.output()
        writes = msgspec.json.decode(self._file.read_bytes(), type=list[RecordedWrite])
        with registry(self._folder, self.redis.url, "judge", SETTINGS) as judge:
            wait_until(lambda: bool(shown(judge)), "the new replica has read Redis", timeout_s=20)
            with contextlib.suppress(AssertionError):  # any later difference is reported below
                wait_until(self._all_show_what(judge), "all replicas show the same", timeout_s=SHOWN_S, every_s=0.5)
            views = {f"replica {number}": shown(replica) for number, replica in enumerate(self.replicas)}
            views["a new replica"] = shown(judge)
        return self._outcome(fault, writes, views)

    def _all_show_what(self, judge: Registry) -> Callable[[], bool]:
        return lambda: all(shown(replica) == shown(judge) for replica in self.replicas)

    def _outcome(self, fault: str, writes: list[RecordedWrite], views: dict[str, dict[str, Shown]]) -> Outcome:
        began = self.doubts[0]
        found = breaches(writes, views)
        failovers = _failovers(self.redis)
        served = availability(writes, began, [*self.doubts, *failovers])
        result = Result(self._seed, began_at=began, writes=len(writes))
        result.acknowledged = {f"{w.key} {w.number}": w.kind.value for w in writes if w.acknowledged}
        result.failures = [
            Failure("write", write.asked_at, write.took_s, write.code, f"{write.kind} of {write.key}: {write.said}")
            for write in writes
            if not write.acknowledged
        ]
        result.longest_write_s = max((write.took_s for write in writes), default=0.0)
        late = f"refused {served.refusing_s:.2f} s after a doubt began: {served.because}"
        lost = [breach.told(began) for breach in sorted(found, key=lambda breach: breach.last.told_at)]
        return Outcome(
            f"{fault}; {self._server}, {self.writers} writers, {len(failovers)} failovers; {served}",
            result,
            lost,
            [late] if served.refusing_s > DOUBT_S else [],
        )


def _failovers(redis: Topology) -> list[float]:
    """Return when a Sentinel started a failover, by the monotonic clock; on a busy machine there are unplanned ones."""
    offset_s = time.monotonic() - time.time()
    logs = [(sentinel.folder / "log").read_text(encoding="utf-8", errors="replace") for sentinel in redis.sentinels]
    times = [datetime.strptime(said, LOG_TIME).astimezone() for log in logs for said in ELECTED.findall(log)]
    return [at.timestamp() + offset_s for at in times]


def _kind(server: RedisServer) -> str:
    """Return which server it is, and its version."""
    said = dict(line.partition(":")[::2] for line in str(server.ask("INFO", "server")).splitlines())
    return f"Valkey {said['valkey_version']}" if "valkey_version" in said else f"Redis {said.get('redis_version')}"


def grown_old(redis: Topology) -> None:
    """Make the shard look old: after a failover, a young one is read again as a whole."""
    for shard in redis.shards:
        shard.masters()[0].ask("HSET", "vertice:meta", "born", "1")


def shown(replica: Registry) -> dict[str, Shown]:
    """Return what a replica shows of the writers' instances."""
    instances = get_json(f"{replica.url}/catalog")["instances"]
    return {
        f"{each['service_name']}/{each['instance_id']}": (each["metadata"]["content"], each["status"])
        for each in instances
        if "content" in each["metadata"]
    }


@contextlib.contextmanager
def recorded_trial(
    folder: Path, seed: int, *, replicas: int = 1, patience_s: float = PATIENCE_S, quick: bool = False
) -> Iterator[RecordedTrial]:
    """Run everything for the duration of a `with`; it has been under load for a while when this yields."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(topology(folder / "redis", persistent=True))
        names = [f"replica-{number}" for number in range(replicas)]
        running = [stack.enter_context(registry(folder, redis.url, name, SETTINGS)) for name in names]
        trial = RecordedTrial(folder, redis, running, seed, patience_s=patience_s, quick=quick)
        stack.callback(trial.load.stop)
        trial.takes_writes()
        grown_old(redis)
        trial.go_on(*((1.0, 1.5) if quick else (2.0, 3.5)))
        yield trial


def planned_failover(folder: Path, seed: int, *, quick: bool = False) -> Outcome:
    """Let the Sentinels replace a living master by a replica."""
    with recorded_trial(folder, seed, quick=quick) as running:
        old = running.master()
        running.doubt()
        wait_until(lambda: _fails_over(running.redis), "the Sentinels fail over", timeout_s=20)
        running.promoted(old)
        return running.end("planned failover")


def _fails_over(redis: Topology) -> bool:
    return bool(redis.sentinels[0].ask("SENTINEL", "FAILOVER", "a") == "OK")


def master_restarted(folder: Path, seed: int) -> Outcome:
    """Kill the master, and restart it 0.1 to 3 s later, half of the time before the Sentinels act."""
    with recorded_trial(folder, seed) as running:
        master = running.master()
        running.doubt()
        master.kill()
        away_s = running.go_on(*running.random.choice([(0.1, 0.8), (0.8, 3.0)]))
        running.doubt()
        master.start()
        return running.end(f"master killed and back after {away_s:.1f} s")


def master_restarted_behind(folder: Path, seed: int, *, quick: bool = False) -> Outcome:
    """Crash the master's machine; the master returns before the Sentinels act, which are patient here.

    What it appended in the last second is gone, as `appendfsync everysec` allows: its replicas follow it back.
    """
    with recorded_trial(folder, seed, quick=quick) as running:
        master = running.master()
        for sentinel in running.redis.sentinels:
            sentinel.ask("SENTINEL", "SET", "a", "down-after-milliseconds", str(PATIENT_MS))
        synced = {file: file.stat().st_size for file in master.folder.glob("appendonlydir/*.incr.aof")}
        running.go_on(1.0)
        running.doubt()
        master.kill()
        for file, size in synced.items():
            os.truncate(file, size)
        away_s = running.go_on(0.05, 0.6)
        running.doubt()
        master.start()
        return running.end(f"the master's machine crashed, back after {away_s:.1f} s")


def master_replaced(folder: Path, seed: int, *, quick: bool = False) -> Outcome:
    """Kill the master, and restart it after another one has been promoted."""
    with recorded_trial(folder, seed, quick=quick) as running:
        master = running.master()
        running.doubt()
        master.kill()
        running.promoted(master)
        if not quick:
            running.come_back(master)
        return running.end("master killed, back after another was promoted")


def replica_and_master_killed(folder: Path, seed: int) -> Outcome:
    """Kill one replica, and the master up to 3 s later; both return after the other replica was promoted.

    That one is alone then, and refuses writes, until the Sentinels have told the first to follow it.
    """
    with recorded_trial(folder, seed) as running:
        master, (first, _) = running.master(), running.followers()
        running.doubt()
        first.kill()
        between_s = running.go_on(0.05, 3.0)
        running.doubt()
        master.kill()
        running.promoted(master)
        first.start()
        running.doubt_until_copied()
        running.come_back(master)
        return running.end(f"a replica killed, and the master {between_s:.1f} s after it")


def master_asleep(folder: Path, seed: int) -> Outcome:
    """Pause the master for 1 to 12 s: when it resumes, it does not know that anything happened."""
    with recorded_trial(folder, seed) as running:
        master = running.master()
        running.doubt()
        master.pause()
        asleep_s = running.go_on(1.0, 12.0)
        running.doubt()
        master.resume()
        return running.end(f"master paused for {asleep_s:.1f} s")


def replica_asleep(folder: Path, seed: int) -> Outcome:
    """Pause a replica for 1 to 12 s; when it resumes, and lacks the writes since, kill the master at once."""
    with recorded_trial(folder, seed) as running:
        master, (sleeper, _) = running.master(), running.followers()
        running.doubt()
        sleeper.pause()
        asleep_s = running.go_on(1.0, 12.0)
        running.doubt()
        sleeper.resume()
        running.go_on(0.0, 0.2)
        running.doubt()
        master.kill()
        running.promoted(master)
        running.come_back(master)
        return running.end(f"a replica paused for {asleep_s:.1f} s, and the master killed when it woke up")


def registry_asleep(folder: Path, seed: int) -> Outcome:
    """Pause one of two replicas of the registry for 11 s, while writes wait in its sockets; then it handles them."""
    with recorded_trial(folder, seed, replicas=2, patience_s=SHORT_PATIENCE_S) as running:
        sleeper = running.replicas[0].program
        running.doubt()
        sleeper.signal(signal.SIGSTOP)
        try:
            running.go_on(FROZEN_S)
            running.doubt()
        finally:
            sleeper.signal(signal.SIGCONT)
        running.go_on(2.0)
        return running.end(f"one of two registries paused for {FROZEN_S:g} s")


def connections_cut_while_held(folder: Path, seed: int, *, quick: bool = False) -> Outcome:
    """Block traffic from the master to its replicas, so that writes are held; cut off its clients, and kill it.

    The held writes exist only in the master, whatever WAIT answers on later connections.
    """
    with recorded_trial(folder, seed, quick=quick) as running, contextlib.ExitStack() as stack:
        master = running.master()
        cables = [stack.enter_context(proxied(master.port)) for _ in running.followers()]
        for node, cable in zip(running.followers(), cables, strict=True):
            node.ask("REPLICAOF", "127.0.0.1", str(cable.port))
        wait_until(running.is_whole, "the replicas follow through their proxies", timeout_s=20, every_s=0.02)
        running.doubt()
        for cable in cables:
            cable.stalled = True
        running.go_on(HELD_S)
        master.ask("CLIENT", "KILL", "TYPE", "normal")
        running.go_on(0.3)
        running.doubt()
        master.kill()
        stack.close()
        running.promoted(master)
        if not quick:
            running.come_back(master)
        return running.end("replicas cut off, clients cut off while their writes were held, and the master killed")
