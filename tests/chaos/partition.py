"""A network partition: a Redis master and a registry replica on one side, everything else on the other.

Each side has its own load, before, during and after. The smaller side may only refuse writes; the larger side may
refuse nothing.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final

from tests.chaos.system import Outcome, Registry, Trial, both, missing, registry
from tests.networks import Networks, networks
from tests.programs import wait_until
from tests.redis_topology import Topology, topology

CUT_S: Final = 20.0
# The Sentinels wait 8 s before they demote an old master, and an open breaker tries again after 30 s.
RECOVERY_S: Final = 60.0
# The load of the larger side registers other instances than that of the smaller one.
MAJORITY_FIRST: Final = 5_000_000


def cut_off(folder: Path, seed: int) -> Outcome:
    """Cut a master and a registry replica off from everything else for 20 s."""
    return _cut(folder, seed, "master and one client cut off for 20 s")


def cut_off_outwards(folder: Path, seed: int) -> Outcome:
    """Drop what the master and its client send for 20 s; they still receive everything."""
    return _cut(folder, seed, "master and one client not heard for 20 s", back=False)


def cut_off_inwards(folder: Path, seed: int) -> Outcome:
    """Drop what is sent to the master and its client for 20 s; what they send still arrives."""
    return _cut(folder, seed, "master and one client deaf for 20 s", out=False)


def _cut(folder: Path, seed: int, what: str, *, out: bool = True, back: bool = True) -> Outcome:
    with (
        networks() as nets,
        topology(folder / "redis", places=(nets.minority, nets.majority)) as redis,
        registry(folder, redis.url, "minority", place=nets.minority) as few,
        registry(folder, redis.url, "majority", place=nets.majority) as many,
    ):
        minority = Trial(folder, redis, few, seed, place=nets.minority)
        majority = Trial(folder, redis, many, seed + 1, place=nets.majority, first=MAJORITY_FIRST)
        try:
            return _Partition(nets, redis, minority, majority).through(what, out=out, back=back)
        finally:
            minority.load.stop()
            majority.load.stop()


class _Partition:
    """Both sides of one partition, from before it until they agree again."""

    def __init__(self, nets: Networks, redis: Topology, minority: Trial, majority: Trial) -> None:
        self._nets = nets
        self._redis = redis
        self._minority = minority
        self._majority = majority
        self._broken: list[str] = []

    def through(self, what: str, *, out: bool, back: bool) -> Outcome:
        """Cut, go on, heal, and compare."""
        few, many = self._minority, self._majority
        few.grows()
        many.grows()
        many.replica.ask("POST", "/register", {"service_name": "ghost", "host": "10.250.0.1", "port": 8034})
        wait_until(lambda: "ghost" in few.replica.instances().values(), "both replicas show it")
        few.go_on(few.moment())
        old = few.master()
        self._nets.cut(out=out, back=back)
        cut_at = time.monotonic()
        many.grows()
        # The old master does not learn of it, and must not bring it back.
        many.replica.ask("DELETE", "/deregister/ghost")
        few.go_on(max(0.0, cut_at + CUT_S - time.monotonic()))
        healed_at = time.monotonic()
        self._nets.heal()
        wait_until(lambda: not old.is_master(), "the old master is a replica", timeout_s=RECOVERY_S)
        wait_until(lambda: _takes_writes(few.replica), "the smaller side takes writes", timeout_s=RECOVERY_S)
        few.go_on(1)
        return self._compared(what, cut_at, healed_at)

    def _compared(self, what: str, cut_at: float, healed_at: float) -> Outcome:
        refused_by, served_by = self._minority.result(), self._majority.result()
        with registry(self._minority.folder, self._redis.url, "judge", place=self._nets.majority) as judge:
            replicas = (judge, self._majority.replica, self._minority.replica)
            wait_until(lambda: bool(judge.instances()), "the new replica has read Redis", timeout_s=20)
            views = [replica.instances() for replica in replicas]
        all_told = both(refused_by, served_by)
        lost = missing(all_told, *views)
        self._expect(views[0] == views[1] == views[2], "the replicas show different instances")
        self._expect("ghost" not in views[0].values(), "an instance deregistered during the partition is back")
        self._expect(len(self._redis.shard("a").masters()) == 1, "there are two masters")
        refusals = [failure for failure in refused_by.failures if failure.kind != "lookup"]
        self._expect(bool(refusals), "the smaller side refused nothing")
        self._expect(all(refusal.retry_after for refusal in refusals), "a refusal lacks Retry-After")
        self._expect(not served_by.failures, f"the larger side failed: {served_by.failures[:3]}")
        doubtful = [i for i, (asked, told) in refused_by.times.items() if asked > cut_at and told < healed_at]
        self._expect(not doubtful, f"the smaller side acknowledged writes that only its master had: {doubtful[:3]}")
        first_s = min((refusal.at + refusal.took_s for refusal in refusals), default=healed_at) - cut_at
        taken_s = min((told for asked, told in refused_by.times.values() if asked > healed_at), default=0.0) - healed_at
        what = (
            f"{what} (the smaller side refused first after {first_s:.2f} s, each within "
            f"{max((refusal.took_s for refusal in refusals), default=0.0):.2f} s, and took writes again "
            f"{taken_s:.1f} s after the end; the larger side's longest write {served_by.longest_write_s:.2f} s)"
        )
        return Outcome(what, all_told, lost, self._broken)

    def _expect(self, kept: bool, otherwise: str) -> None:
        if not kept:
            self._broken.append(otherwise)


def _takes_writes(replica: Registry) -> bool:
    with contextlib.suppress(OSError):  # an OSError is a refusal
        replica.ask("POST", "/register", {"service_name": "again", "host": "10.250.0.2", "port": 8034})
        return True
    return False
