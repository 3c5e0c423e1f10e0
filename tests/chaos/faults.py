"""The faults, one function each: inject it, wait for recovery, and return what became of the load."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tests.chaos.acknowledged import (
    connections_cut_while_held,
    master_asleep,
    master_replaced,
    master_restarted,
    master_restarted_behind,
    planned_failover,
    registry_asleep,
    replica_and_master_killed,
    replica_asleep,
)
from tests.chaos.central import everything_central_away
from tests.chaos.clocks import clock_of_a_replica_ahead, clock_of_a_replica_behind
from tests.chaos.deaths import half_of_the_instances_die
from tests.chaos.departures import departures_in_a_planned_failover, departures_without_a_master
from tests.chaos.disk import disk_full
from tests.chaos.disk import why_not as why_no_disk
from tests.chaos.outages import all_redis_away, all_redis_emptied, one_shard_away
from tests.chaos.partition import cut_off, cut_off_inwards, cut_off_outwards
from tests.chaos.system import Outcome, Trial, both, missing, registry, trial
from tests.networks import why_not
from tests.programs import wait_until
from tests.redis_topology import topology

PAUSE_S: Final = 20.0
# Longer than a master accepts writes without its replicas (min-replicas-max-lag).
AWAY_S: Final = 4.0
# Shorter than a write is held without a replica's confirmation (1.5 s).
BRIEFLY_S: Final = 0.7
# Longer than one WAIT, so that each write was answered at least once with "no replica has it".
UNREPLICATED_S: Final = 0.8
SECOND_FIRST: Final = 5_000_000  # the second of two loads registers other instances than the first
# An open breaker tries again after 30 s.
BREAKER_S: Final = 60.0


def master_killed(folder: Path, seed: int) -> Outcome:
    """Kill the master as `kill -9` does, at a moment that depends on the seed."""
    with trial(folder, seed) as running:
        running.go_on(running.moment())
        running.master().kill()
        running.grows()
        running.go_on(1)
        return running.end("master killed (SIGKILL)")


def master_paused(folder: Path, seed: int) -> Outcome:
    """Pause the master for 20 s; when it resumes, it does not know that anything happened."""
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
        assert len(running.redis.shard("a").masters()) == 1, "two masters"
        return outcome


def one_replica_killed(folder: Path, seed: int) -> Outcome:
    """Kill one of the two Redis replicas: the other one's confirmation is enough."""
    with trial(folder, seed) as running:
        master = running.master()
        next(node for node in running.redis.shard("a").nodes if node is not master).kill()
        running.grows()
        running.go_on(2)
        return running.end("one of two Redis replicas killed")


def both_replicas_killed(folder: Path, seed: int) -> Outcome:
    """Kill both Redis replicas, and restart them: meanwhile writes are refused and lookups continue."""
    with trial(folder, seed) as running:
        master = running.master()
        replicas = [node for node in running.redis.shard("a").nodes if node is not master]
        for replica in replicas:
            replica.kill()
        running.go_on(AWAY_S)
        for replica in replicas:
            replica.start()
            replica.follow(master)
        running.grows()
        return running.end("both Redis replicas killed, and back")


def replicas_lagging(folder: Path, seed: int) -> Outcome:
    """Let both Redis replicas fall behind for 4 s: writes are refused, and sent again afterwards."""
    with trial(folder, seed) as running:
        _lag(running, AWAY_S)
        return running.end("both Redis replicas paused for 4 s, refused writes sent again twice", again=True)


def replicas_lagging_briefly(folder: Path, seed: int) -> Outcome:
    """Let both Redis replicas fall behind for less time than a write is held: writes only take longer."""
    with trial(folder, seed) as running:
        _lag(running, BRIEFLY_S)
        return running.end("both Redis replicas paused for 0.7 s")


def _lag(running: Trial, seconds: float) -> None:
    master = running.master()
    replicas = [node for node in running.redis.shard("a").nodes if node is not master]
    for replica in replicas:
        replica.pause()
    running.go_on(seconds)
    for replica in replicas:
        replica.resume()
    running.grows()
    running.go_on(1)


def histories_part(folder: Path, seed: int) -> Outcome:
    """Kill a master whose last writes no Redis replica has, but which two registry replicas have read.

    Each has a load. Writes that only that master had were never acknowledged, and no replica shows them in the end.
    """
    with (
        topology(folder / "redis") as redis,
        registry(folder, redis.url, "one") as one,
        registry(folder, redis.url, "two") as two,
    ):
        trials = [
            Trial(folder, redis, replica, seed + n, first=n * SECOND_FIRST) for n, replica in enumerate((one, two))
        ]
        try:
            for each in trials:
                each.grows()
            trials[0].go_on(trials[0].moment())
            master = trials[0].master()
            replicas = [node for node in redis.shard("a").nodes if node is not master]
            for replica in replicas:
                replica.pause()
            # Their unread replication data is lost with their connections. A master whose cable was cut takes writes
            # for a second or more before it misses its replicas; this setting makes this one do so too.
            master.ask("CONFIG", "SET", "min-replicas-to-write", "0")
            master.ask("CLIENT", "KILL", "TYPE", "replica")
            trials[0].go_on(UNREPLICATED_S)
            master.kill()
            for replica in replicas:
                replica.resume()
            for each in trials:
                each.grows()
            trials[0].go_on(1)
            result = both(*(each.result() for each in trials))
        finally:
            for each in trials:
                each.load.stop()
        with registry(folder, redis.url, "judge") as judge:
            wait_until(lambda: bool(judge.instances()), "the new replica has read Redis", timeout_s=20)
            views = [replica.instances() for replica in (one, two, judge)]
        broken = [] if views[0] == views[1] == views[2] else ["the replicas show different instances"]
        what = f"master killed with {UNREPLICATED_S} s of writes that only it had"
        return Outcome(what, result, missing(result, *views), broken)


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
    """Kill the registry replica in the middle of its writes: everything it acknowledged is in Redis."""
    with trial(folder, seed) as running:
        running.go_on(running.moment())
        running.replica.program.signal(signal.SIGKILL)
        running.replica.program.process.wait(10)
        return running.end("registry replica killed in mid-write", replica_lives=False)


def out_of_memory(folder: Path, seed: int) -> Outcome:
    """Let Redis refuse writes for lack of memory (noeviction) for a while."""
    with trial(folder, seed) as running:
        master = running.master()
        master.ask("CONFIG", "SET", "maxmemory", "1")
        running.go_on(AWAY_S)
        master.ask("CONFIG", "SET", "maxmemory", "0")
        running.grows(timeout_s=BREAKER_S)
        return running.end("Redis out of memory, then with memory again")


def majority_of_sentinels_and_the_master_killed(folder: Path, seed: int) -> Outcome:
    """Kill two of three Sentinels and the master: nothing can replace it. Then one Sentinel returns."""
    with trial(folder, seed) as running:
        for sentinel in running.redis.sentinels[:2]:
            sentinel.kill()
        running.master().kill()
        running.go_on(AWAY_S)
        running.redis.sentinels[0].start()
        running.grows(timeout_s=60)
        return running.end("two of three Sentinels and the master killed; one Sentinel back")


class Fault(msgspec.Struct, frozen=True):
    """One fault, how often `make chaos` runs it, and with which statuses a write may fail meanwhile.

    Lookups may not fail, unless the fault kills the queried replica itself.
    """

    run: Callable[[Path, int], Outcome]
    times: int = 1
    may_fail_with: frozenset[int] = frozenset()
    replica_lives: bool = True
    refuses_within_s: float | None = None
    why_not: Callable[[], str] = str  # why it cannot run here; "" when it can, as str() returns


REFUSED: Final = frozenset({503})
# A master without its replicas: its writes are held for 1.5 s, and then for one more WAIT.
REFUSAL_S: Final = 2.0
FAULTS: Final = (
    Fault(master_killed, times=20),
    Fault(master_paused),
    Fault(histories_part, times=5),
    Fault(one_replica_killed),
    Fault(both_replicas_killed, may_fail_with=REFUSED),
    Fault(replicas_lagging, may_fail_with=REFUSED, refuses_within_s=REFUSAL_S),
    Fault(replicas_lagging_briefly),
    Fault(cut_off, may_fail_with=REFUSED, refuses_within_s=REFUSAL_S, why_not=why_not),
    Fault(cut_off_outwards, may_fail_with=REFUSED, refuses_within_s=REFUSAL_S, why_not=why_not),
    Fault(cut_off_inwards, may_fail_with=REFUSED, refuses_within_s=REFUSAL_S, why_not=why_not),
    Fault(one_sentinel_and_the_master_killed, times=2),
    Fault(majority_of_sentinels_and_the_master_killed, may_fail_with=REFUSED),
    Fault(all_masters_killed, times=2),
    Fault(out_of_memory, may_fail_with=REFUSED),
    Fault(disk_full, may_fail_with=REFUSED, why_not=why_no_disk),
    Fault(replica_of_ours_killed, times=2, may_fail_with=frozenset({0}), replica_lives=False),
    Fault(all_redis_away),
    Fault(all_redis_emptied),
    Fault(one_shard_away),
    Fault(clock_of_a_replica_ahead),
    Fault(clock_of_a_replica_behind),
    Fault(half_of_the_instances_die),
    Fault(everything_central_away),
    Fault(planned_failover, times=20, may_fail_with=REFUSED),
    Fault(master_restarted, times=20, may_fail_with=REFUSED),
    Fault(master_restarted_behind, times=10, may_fail_with=REFUSED),
    Fault(master_replaced, times=20, may_fail_with=REFUSED),
    Fault(replica_and_master_killed, times=10, may_fail_with=REFUSED),
    Fault(master_asleep, times=10, may_fail_with=REFUSED),
    Fault(replica_asleep, times=10, may_fail_with=REFUSED),
    Fault(registry_asleep, times=5, may_fail_with=REFUSED | {0}),
    Fault(connections_cut_while_held, times=5, may_fail_with=REFUSED),
    Fault(departures_in_a_planned_failover, times=5, may_fail_with=REFUSED),
    Fault(departures_without_a_master, times=5, may_fail_with=REFUSED),
)
