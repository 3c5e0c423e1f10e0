"""What the cost model says of a fleet: how many programs it takes, what breaks first, and what matters most. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from bench.scale.fleet_model import Costs, Deployed, Fleet, Load, costs
from registry_core.api.hub import HubLimits
from registry_core.usage.limits import MAX_AGENTS
from registry_core.watch.limits import MAX_INSTANCES

# The shape of the fleets on the page: ten instances for each agent, each replaced once a day. A replacement drains the
# old instance, registers a new one and removes the old one: three changes and one drain.
AGENT_INSTANCES: Final = 10
DAY_S: Final = 86_400.0
CHANGES_EACH: Final = 3


class Room(msgspec.Struct, frozen=True):
    """How much of a machine a program may use in ordinary times: half of what it has, since others fail over to it."""

    cores: float = 0.5
    memory_mb: float = 4096.0
    octets_per_s: float = 62_500_000.0  # half of a gigabit a second
    watchers: float = HubLimits().watchers / 2


# Where no layout keeps within the first room, the next one counts: fewer may fail then.
ROOMS: Final = (Room(), Room(cores=0.8))


class SizedFleet(NamedTuple):
    """The smallest layout that has room, what its programs use, and that room."""

    layout: Deployed
    costs: Costs
    room: Room


class Breaks(NamedTuple):
    """What is used up, and at how many instances of a growing fleet."""

    what: str
    instances: float


def fleet_of(instances: int) -> Fleet:
    """Return a fleet of so many instances in the shape of the page."""
    replaced = instances / DAY_S
    agents = max(1, instances // AGENT_INSTANCES)
    return Fleet(
        instances=instances,
        agents=agents,
        changes_per_s=CHANGES_EACH * replaced,
        drains_per_s=replaced,
        joins_per_s=agents / DAY_S,
        queries_per_agent_s=10.0,
    )


def has_room(load: Load, room: Room) -> bool:
    """Return whether a program with this load keeps within `room`."""
    return load.cores <= room.cores and load.memory_mb <= room.memory_mb and load.octets_per_s <= room.octets_per_s


def planned(fleet: Fleet, constants: Mapping[str, float], most: int = 4096) -> SizedFleet | None:
    """Return the layout with the fewest programs that keeps within the first room that it can; None without one.

    At least two replicas, so that one may fail.
    """
    for room in ROOMS:
        every = (_with_replicas(fleet, replicas, constants, room, most) for replicas in range(2, 17))
        found = [one for one in every if one is not None]
        if found:
            return min(found, key=lambda one: _programs(one.layout))
    return None


def _programs(layout: Deployed) -> int:
    # A shard is a master with two copies.
    return layout.replicas + layout.followers + 3 * layout.shards


def _with_replicas(
    fleet: Fleet, replicas: int, constants: Mapping[str, float], room: Room, most: int
) -> SizedFleet | None:
    shards = _least(lambda n: has_room(costs(fleet, Deployed(replicas=replicas, shards=n), constants).redis, room), 64)
    if shards is None:
        return None

    def fits(followers: int) -> bool:
        layout = Deployed(replicas=replicas, followers=followers, shards=shards)
        used = costs(fleet, layout, constants)
        watchers = (fleet.agents if followers == 0 else followers) / replicas
        behind = fleet.agents / followers if followers else 0.0
        return (
            max(watchers, behind) <= room.watchers
            and has_room(used.replica, room)
            and (used.follower is None or has_room(used.follower, room))
        )

    followers = 0 if fits(0) else _least(fits, most)
    if followers is None:
        return None
    layout = Deployed(replicas=replicas, followers=followers, shards=shards)
    return SizedFleet(layout, costs(fleet, layout, constants), room)


def _least(fits: Callable[[int], bool], most: int) -> int | None:
    """Return the smallest number from 1 on that fits, by doubling and halving; None when none up to `most` does."""
    top = 1
    while not fits(top):
        top *= 2
        if top > most:
            return None
    low, high = top // 2, top
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle
    return high


def breaking(
    layout: Deployed, constants: Mapping[str, float], shape: Callable[[int], Fleet] = fleet_of
) -> list[Breaks]:
    """Return what a growing fleet uses up at a given layout, the first one first."""

    def used(instances: int) -> Costs:
        return costs(shape(instances), layout, constants)

    def watchers(instances: int) -> float:
        agents = shape(instances).agents
        return agents / layout.followers if layout.followers else agents / layout.replicas

    checks: dict[str, Callable[[int], bool]] = {
        "a core of each replica": lambda n: used(n).replica.cores > 1.0,
        "a core of each Redis master": lambda n: used(n).redis.cores > 1.0,
        "a gigabit a second of each replica": lambda n: used(n).replica.octets_per_s > 125_000_000.0,
        "4 GB of each replica": lambda n: used(n).replica.memory_mb > 4096.0,
        f"{HubLimits().watchers:,} watches of one replica or follower": lambda n: watchers(n) > HubLimits().watchers,
        f"{MAX_AGENTS:,} agents whose reports one replica or follower keeps": lambda n: watchers(n) > MAX_AGENTS,
        f"{MAX_INSTANCES:,} instances in one snapshot": lambda n: n > MAX_INSTANCES,
        "1 % of a core of each agent, without its DNS": lambda n: _without_dns(used(n).agent) > 0.01,
        "100 MB of each agent": lambda n: used(n).agent.memory_mb > 100.0,
    }
    if layout.followers:
        checks |= {
            "a core of each follower": lambda n: _of(used(n).follower).cores > 1.0,
            "a gigabit a second of each follower": lambda n: _of(used(n).follower).octets_per_s > 125_000_000.0,
        }
    found = [Breaks(what, _first(breaks)) for what, breaks in checks.items()]
    return sorted(found, key=lambda one: one.instances)


def _of(load: Load | None) -> Load:
    assert load is not None
    return load


def _without_dns(load: Load) -> float:
    return load.cores - load.cpu["DNS"] / 1e6


def _first(breaks: Callable[[int], bool], most: int = 100_000_000) -> float:
    """Return the smallest number of instances, in steps of one percent, at which `breaks`; infinite beyond `most`."""
    count = 1_000.0
    while count <= most:
        if breaks(round(count)):
            return count
        count *= 1.01
    return float("inf")


class FleetReturn(NamedTuple):
    """What it takes one replica or follower that all its agents come back at once and read everything."""

    readers: float
    core_s: float
    octets: float
    agent_core_s: float  # of each agent


def returned(fleet: Fleet, layout: Deployed, constants: Mapping[str, float]) -> FleetReturn:
    """Return what the return of all agents takes, after a restart of everything that they watch."""
    readers = fleet.agents / (layout.followers or layout.replicas)
    each_us = constants["replica.join_us"] + fleet.instances * constants["replica.join_instance_us"]
    core_s = (readers * each_us + fleet.instances * constants["replica.encode_us"]) / 1e6
    octets = readers * fleet.instances * constants["octets.snapshot"]
    return FleetReturn(readers, core_s, octets, fleet.instances * constants["agent.join_us"] / 1e6)


class Sensitivity(NamedTuple):
    """How much more one program uses when one parameter is doubled: of a core, and octets of a replica."""

    parameter: str
    replica: float
    follower: float
    redis: float
    agent: float
    octets: float


def sensitivities(fleet: Fleet, layout: Deployed, constants: Mapping[str, float]) -> list[Sensitivity]:
    """Return what doubling each parameter does, as factors; the largest for a replica or a follower first."""
    doubled: dict[str, Fleet] = {
        "instances": msgspec.structs.replace(fleet, instances=2 * fleet.instances),
        "agents": msgspec.structs.replace(fleet, agents=2 * fleet.agents),
        "changes": msgspec.structs.replace(fleet, changes_per_s=2 * fleet.changes_per_s),
        "drains": msgspec.structs.replace(fleet, drains_per_s=2 * fleet.drains_per_s),
        "joins": msgspec.structs.replace(fleet, joins_per_s=2 * fleet.joins_per_s),
        "the heartbeat interval": msgspec.structs.replace(fleet, heartbeat_s=2 * fleet.heartbeat_s),
        "DNS queries": msgspec.structs.replace(fleet, queries_per_agent_s=2 * fleet.queries_per_agent_s),
    }
    base = costs(fleet, layout, constants)
    found = [_compared(name, base, costs(other, layout, constants)) for name, other in doubled.items()]
    more = msgspec.structs.replace(layout, replicas=2 * layout.replicas)
    found.append(_compared("replicas", base, costs(fleet, more, constants)))
    return sorted(found, key=lambda one: -max(one.replica, one.follower))


def _compared(name: str, base: Costs, other: Costs) -> Sensitivity:
    return Sensitivity(
        name,
        other.replica.cores / base.replica.cores,
        _of(other.follower).cores / _of(base.follower).cores if base.follower else 1.0,
        other.redis.cores / base.redis.cores,
        other.agent.cores / base.agent.cores,
        other.replica.octets_per_s / base.replica.octets_per_s,
    )
