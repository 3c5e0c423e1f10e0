"""All of Redis goes away for longer than a lease, and comes back: unchanged, or empty."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.chaos.asking import Target
from tests.chaos.fleet import FAST, REAL, Pace, agent, asking, ready
from tests.chaos.system import Outcome, registry
from tests.programs import wait_until
from tests.redis_topology import Topology, topology

FIRST = [f"first_{number}" for number in range(4)]
SECOND = [f"second_{number}" for number in range(4)]
DYING = ["dying_0", "dying_1"]


class Outage(NamedTuple):
    """How Redis goes away and comes back, and which statuses a replica may return for a living service meanwhile."""

    what: str
    away: Callable[[Topology], None]
    back: Callable[[Topology], None]
    may_say: frozenset[int]
    masters: tuple[str, ...] = ("a",)


def _pause(redis: Topology) -> None:
    for server in redis.servers:
        server.pause()


def _resume(redis: Topology) -> None:
    for server in redis.servers:
        server.resume()


def _kill(redis: Topology) -> None:
    for server in redis.servers:  # the Sentinels first, so that none promotes a replica
        server.kill()


def _start_empty(redis: Topology) -> None:
    for shard in redis.shards:
        shard.start()
    for sentinel in redis.sentinels:
        sentinel.start()


PAUSED = Outage("as it was", _pause, _resume, frozenset())
# A replica that has lost its records says so with 503, and never claims that a service does not exist.
EMPTIED = Outage("empty", _kill, _start_empty, frozenset({503}))


def _pause_one(redis: Topology) -> None:
    for node in redis.shard("b").nodes:
        node.pause()


def _resume_one(redis: Topology) -> None:
    for node in redis.shard("b").nodes:
        node.resume()


ONE_OF_THREE = Outage("as it was", _pause_one, _resume_one, frozenset(), masters=("a", "b", "c"))


def outage(folder: Path, seed: int, how: Outage, pace: Pace, lasts_s: float) -> Outcome:
    """Stop Redis for `lasts_s`, kill an agent meanwhile, and check which instances exist afterwards.

    Each of the two living agents knows only one replica, so that the other replica cannot help it.
    """
    with (
        topology(folder / "redis", how.masters) as redis,
        registry(folder, redis.url, "one", pace.replica()) as one,
        registry(folder, redis.url, "two", pace.replica()) as two,
        agent(folder, "first", FIRST, "127.77.1.1", urls=[one.url], heartbeat_s=pace.heartbeat_s) as first,
        agent(folder, "second", SECOND, "127.77.1.2", urls=[two.url], heartbeat_s=pace.heartbeat_s) as second,
        agent(folder, "dying", DYING, "127.77.1.3", urls=[one.url, two.url], heartbeat_s=pace.heartbeat_s) as dying,
    ):
        ready([first, second, dying])
        living = {**first.services, **second.services}
        targets = [Target(replica.url, living, how.may_say) for replica in (one, two)]
        targets += [Target(each, living) for each in (first.url, second.url)]
        targets += [Target(str(each.dns_port), living) for each in (first, second)]
        with asking(folder, targets, seed) as result:
            how.away(redis)
            time.sleep(lasts_s / 3)
            dying.program.process.kill()
            time.sleep(lasts_s * 2 / 3)
            how.back(redis)
            began = time.monotonic()
            lease_s = pace.ttl_s + pace.grace_s
            wait_until(
                lambda: first.forgot(DYING) and second.forgot(DYING),
                "the instances that died meanwhile are gone",
                timeout_s=lease_s + pace.grace_s,
            )
            gone_s = time.monotonic() - began
            # Instances that only the amnesty keeps would expire now.
            time.sleep(max(0.0, lease_s + pace.grace_s - gone_s))
            shown = [replica.instances() for replica in (one, two)]
        lost = [name for name in living if any(name not in view.values() for view in shown)]
        lost += [f"{name} is still there" for name in DYING if any(name in view.values() for view in shown)]
        result.acknowledged = dict.fromkeys([*living, *DYING], "")
        gone = "all Redis" if len(how.masters) == 1 else f"one of {len(how.masters)} shards"
        what = f"{gone} away for {lasts_s:g} s at leases of {pace.ttl_s:g} s, back {how.what}"
        return Outcome(f"{what}; the dead gone {gone_s:.1f} s later", result, lost)


def all_redis_away(folder: Path, seed: int) -> Outcome:
    """Stop all of Redis for 90 s; it comes back unchanged."""
    return outage(folder, seed, PAUSED, REAL, 90)


def all_redis_emptied(folder: Path, seed: int) -> Outcome:
    """Stop all of Redis for 90 s; it comes back empty."""
    return outage(folder, seed, EMPTIED, REAL, 90)


def one_shard_away(folder: Path, seed: int) -> Outcome:
    """Stop one of three shards for 72 s at short leases, as long as 10 minutes at the default ones."""
    return outage(folder, seed, ONE_OF_THREE, FAST, 72)


def all_redis_away_for_a_moment(folder: Path, seed: int) -> Outcome:
    """Stop it for 10 s at short leases, as long as 90 s at the default ones."""
    return outage(folder, seed, PAUSED, FAST, 10)


def all_redis_emptied_for_a_moment(folder: Path, seed: int) -> Outcome:
    """Stop it for as long, and let it come back empty."""
    return outage(folder, seed, EMPTIED, FAST, 10)
