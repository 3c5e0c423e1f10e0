"""The faults, one function each: break it, wait until it is whole again, and tell what became of the load."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.chaos.system import Outcome, trial
from tests.programs import wait_until

PAUSE_S: Final = 20.0
# Longer than a master may go on without its replicas before it refuses writes (min-replicas-max-lag).
AWAY_S: Final = 4.0


def master_killed(folder: Path, seed: int) -> Outcome:
    """Kill the master as `kill -9` does, at a moment that the seed decides."""
    with trial(folder, seed) as running:
        running.go_on(running.moment())
        running.master().kill()
        running.grows()
        running.go_on(1)
        return running.end("master killed (SIGKILL)")


def master_paused(folder: Path, seed: int) -> Outcome:
    """Pause the master for 20 s, and let it come back, believing that nothing has happened."""
    with trial(folder, seed) as running:
        old = running.master()
        old.pause()
        began = time.monotonic()
        running.grows()
        running.go_on(max(0.0, PAUSE_S - (time.monotonic() - began)))
        old.resume()
        wait_until(lambda: "role:slave" in str(old.ask("INFO", "replication")), "it follows the new one", timeout_s=40)
        running.grows()
        outcome = running.end("master paused for 20 s (SIGSTOP)")
        masters = [n for n in running.redis.shard("a").nodes if "role:master" in str(n.ask("INFO", "replication"))]
        assert len(masters) == 1, "two masters"
        return outcome


def one_replica_killed(folder: Path, seed: int) -> Outcome:
    """Kill one of the two Redis replicas: the other one's word is enough."""
    with trial(folder, seed) as running:
        master = running.master()
        next(node for node in running.redis.shard("a").nodes if node is not master).kill()
        running.grows()
        running.go_on(2)
        return running.end("one of two Redis replicas killed")


def both_replicas_killed(folder: Path, seed: int) -> Outcome:
    """Kill both Redis replicas, and start them again: writes are refused meanwhile, lookups go on."""
    with trial(folder, seed) as running:
        master = running.master()
        replicas = [node for node in running.redis.shard("a").nodes if node is not master]
        for replica in replicas:
            replica.kill()
        running.go_on(AWAY_S)
        for replica in replicas:
            replica.start()
            replica.ask("REPLICAOF", "127.0.0.1", str(master.port))
        running.grows()
        return running.end("both Redis replicas killed, and back")


def one_sentinel_and_the_master_killed(folder: Path, seed: int) -> Outcome:
    """Kill one of three Sentinels, then the master: two are enough to replace it."""
    with trial(folder, seed) as running:
        running.redis.sentinels[0].kill()
        running.go_on(running.moment())
        running.master().kill()
        running.grows()
        return running.end("one of three Sentinels, then the master killed")


def all_masters_killed(folder: Path, seed: int) -> Outcome:
    """Kill the masters of all three shards at once."""
    with trial(folder, seed, ("a", "b", "c")) as running:
        running.go_on(running.moment())
        for shard in running.redis.shards:
            running.master(shard.name).kill()
        running.grows()
        running.go_on(1)
        return running.end("all three masters killed at once")


def replica_of_ours_killed(folder: Path, seed: int) -> Outcome:
    """Kill the registry replica in the middle of its writes: what it acknowledged is in Redis."""
    with trial(folder, seed) as running:
        running.go_on(running.moment())
        running.replica.program.signal(signal.SIGKILL)
        running.replica.program.process.wait(10)
        return running.end("registry replica killed in mid-write", replica_lives=False)


# What `make chaos` does, how often, and whether requests may fail meanwhile (lookups never may).
FAULTS: Final[tuple[tuple[Callable[[Path, int], Outcome], int, bool], ...]] = (
    (master_killed, 20, False),
    (master_paused, 1, False),
    (one_replica_killed, 1, False),
    (both_replicas_killed, 1, True),
    (one_sentinel_and_the_master_killed, 2, False),
    (all_masters_killed, 2, False),
    (replica_of_ours_killed, 2, True),
)
