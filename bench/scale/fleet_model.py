"""The cost model: what each program uses, from the size of the fleet and the measured constants. Pure.

Processor time is in microseconds a second (a million is one core), memory in octets, traffic in octets a second,
without what TCP and IP add. Each share has a name, so that the largest can be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from agent.view.lru import ViewLimits
from bench.scale.constants import PACES, at_pace, paced_cost
from bench.scale.crowd import KEPT_S
from registry_core.api.hub import HubLimits
from registry_core.domain.footprint import NAME_BYTES
from registry_core.store.redis.scripts import STREAM_LENGTH
from registry_core.watch.limits import SYNC_EVERY_S, ack_every_s

MEGA: Final = 1024.0 * 1024.0
SERVICE_INSTANCES: Final = 10
US: Final = 1_000_000.0


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What runs, and what happens to it. Rates are of the whole fleet, a second, unless they name an agent."""

    instances: int
    agents: int
    changes_per_s: float = 0.0
    drains_per_s: float = 0.0
    joins_per_s: float = 0.0  # agents that read everything
    lookups_per_s: float = 0.0  # at replicas and followers, past the agents
    queries_per_agent_s: float = 0.0
    heartbeat_s: float = 30.0
    report_s: float = 30.0
    changes_kept: float | None = None  # those since the start, where fewer than are kept in the end

    @property
    def services(self) -> float:
        return self.instances / SERVICE_INSTANCES

    @property
    def renewals_per_s(self) -> float:
        return self.instances / self.heartbeat_s

    @property
    def beats_per_s(self) -> float:
        return self.agents / self.heartbeat_s

    def acks_per_agent_s(self, readers: float = 0) -> float:
        """Acknowledgements of one of `readers`: one for each drain, while those are rare; then one for many."""
        # On average, those of this time share one.
        return self.drains_per_s / (1.0 + self.drains_per_s * 1.5 * ack_every_s(int(readers)))

    @property
    def anew(self) -> float:
        """The share of an agent's requests that need a new connection: those with no other one shortly before."""
        return max(0.0, 1.0 - KEPT_S * (1.0 / self.report_s + self.acks_per_agent_s()))

    def kept(self, most: int) -> float:
        """Return how many changes are held of `most` at the most."""
        return most if self.changes_kept is None else min(self.changes_kept, most)


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """How many of each program there are."""

    replicas: int = 2
    followers: int = 0
    shards: int = 1


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one program uses."""

    cpu: dict[str, float]  # us a second
    memory: dict[str, float]  # octets
    octets: dict[str, float]  # a second, both directions
    messages: dict[str, float]  # a second: requests, and lines of watches

    @property
    def cores(self) -> float:
        return sum(self.cpu.values()) / US

    @property
    def memory_mb(self) -> float:
        return sum(self.memory.values()) / MEGA

    @property
    def octets_per_s(self) -> float:
        return sum(self.octets.values())

    @property
    def messages_per_s(self) -> float:
        return sum(self.messages.values())


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What one program of each kind uses; no follower where there is none."""

    replica: Load
    follower: Load | None
    redis: Load
    agent: Load


def costs(fleet: Fleet, layout: Deployed, constants: Mapping[str, float]) -> Costs:
    """Return what each program uses. Raises KeyError when a constant was not measured."""
    return Costs(
        replica=_replica(fleet, layout, constants),
        follower=_follower(fleet, layout, constants) if layout.followers else None,
        redis=_redis(fleet, layout, constants),
        agent=_agent(fleet, constants),
    )


def _watching(fleet: Fleet, watchers: float, readers: float, c: Mapping[str, float]) -> Load:
    """Return what the watches of one replica or follower cost: `watchers` of them, of `readers` agents.

    Watchers that are no agents are followers, each of which acknowledges a drain once for all its own watchers.
    """
    joins = fleet.joins_per_s * readers / fleet.agents if fleet.agents else 0.0
    acks = watchers * fleet.acks_per_agent_s(watchers)
    reports = readers / fleet.report_s
    lines, lives = fleet.changes_per_s * watchers, watchers / SYNC_EVERY_S
    return Load(
        cpu={
            "changes sent on": lines * c["replica.deliver_us"],
            "signs of life": lives * c["replica.life_us"],
            "acknowledgements": acks * paced_cost(c, "replica.ack_us", acks),
            "reports": reports
            * (paced_cost(c, "replica.report_us", reports) + fleet.anew * c["replica.connection_us"]),
            "joins": joins
            * (c["replica.join_us"] + fleet.instances * (c["replica.join_instance_us"] + c["replica.encode_us"])),
        },
        memory={"watchers": watchers * c["replica.memory_watcher"]},
        octets={
            "changes sent on": lines * c["octets.change"],
            "signs of life": lives * c["octets.life"],
            "acknowledgements": acks * c["octets.ack"],
            "reports": reports * c["octets.report"],
            "joins": joins * fleet.instances * c["octets.snapshot"],
        },
        messages={
            "changes sent on": lines,
            "signs of life": lives,
            "acknowledgements": acks,
            "reports": reports,
            "joins": joins,
        },
    )


def _holding(fleet: Fleet, c: Mapping[str, float], program: str) -> dict[str, float]:
    return {
        "the program": c[f"{program}.memory"] * MEGA,
        "instances": fleet.instances * c[f"{program}.memory_instance"],
        "a snapshot that is read": fleet.instances * c["octets.snapshot"],
        "history": fleet.kept(HubLimits().history_events) * c["replica.memory_change"],
    }


def _replica(fleet: Fleet, layout: Deployed, c: Mapping[str, float]) -> Load:
    own = 1.0 / layout.replicas
    others = 1.0 - own
    readers = 0.0 if layout.followers else fleet.agents * own
    watching = _watching(fleet, layout.followers * own if layout.followers else readers, readers, c)
    beats, renewals, changes = fleet.beats_per_s * own, fleet.renewals_per_s, fleet.changes_per_s
    lookups = 0.0 if layout.followers else fleet.lookups_per_s * own
    # Followers keep their connections.
    anew = 0.0 if layout.followers else fleet.anew
    return Load(
        cpu={
            "idle": c["replica.idle_us"] + layout.shards * c["replica.shard_us"],
            "heartbeats": beats * (paced_cost(c, "replica.beat_us", beats) + anew * c["replica.connection_us"])
            + renewals * own * c["replica.beat_instance_us"],
            "renewals of other replicas": renewals * others * c["replica.renewal_us"],
            "registrations": changes * own * paced_cost(c, "replica.register_us", changes * own),
            "changes of other replicas": changes * others * paced_cost(c, "replica.change_us", changes),
            "lookups": lookups * paced_cost(c, "replica.lookup_us", lookups),
            **watching.cpu,
        },
        memory={**_holding(fleet, c, "replica"), **watching.memory},
        octets={
            "heartbeats": beats * c["octets.beat"] + renewals * own * c["octets.beat_instance"],
            "registrations": changes * own * c["octets.register"],
            "lookups": lookups * c["octets.lookup"],
            **watching.octets,
        },
        messages={"heartbeats": beats, "registrations": changes * own, "lookups": lookups, **watching.messages},
    )


def _follower(fleet: Fleet, layout: Deployed, c: Mapping[str, float]) -> Load:
    own = 1.0 / layout.followers
    c = follower_constants(c)
    readers = fleet.agents * own
    watching = _watching(fleet, readers, readers, c)
    beats, renewals, changes = fleet.beats_per_s * own, fleet.renewals_per_s * own, fleet.changes_per_s
    lookups = fleet.lookups_per_s * own
    return Load(
        cpu={
            "idle": c["follower.idle_us"],
            "heartbeats passed on": beats * (c["follower.pass_us"] + fleet.anew * c["replica.connection_us"])
            + renewals * c["follower.pass_instance_us"],
            "registrations passed on": changes * own * c["follower.pass_us"],
            "changes read": changes * c["follower.change_us"],
            "lookups": lookups * paced_cost(c, "replica.lookup_us", lookups),
            **watching.cpu,
        },
        memory={**_holding(fleet, c, "follower"), **watching.memory},
        octets={
            "heartbeats passed on": 2.0 * (beats * c["octets.beat"] + renewals * c["octets.beat_instance"]),
            "registrations passed on": 2.0 * changes * own * c["octets.register"],
            "changes read": changes * c["octets.change"],
            "lookups": lookups * c["octets.lookup"],
            **watching.octets,
        },
        messages={
            "heartbeats passed on": 2.0 * beats,
            "registrations passed on": 2.0 * changes * own,
            "changes read": changes,
            "lookups": lookups,
            **watching.messages,
        },
    )


def follower_constants(c: Mapping[str, float]) -> Mapping[str, float]:
    """Return the constants with those of followers; where none was measured, those of a replica stand for them."""
    if "follower.idle_us" in c:
        return c
    return {
        **c,
        "follower.idle_us": c["replica.idle_us"] + c["replica.shard_us"],
        "follower.change_us": c[at_pace("replica.change_us", PACES["replica.change_us"][0])],
        "follower.pass_us": 2.0 * c[at_pace("replica.beat_us", PACES["replica.beat_us"][0])],
        "follower.pass_instance_us": c["replica.beat_instance_us"],
        "follower.memory": c["replica.memory"],
        "follower.memory_instance": c["replica.memory_instance"],
    }


def _redis(fleet: Fleet, layout: Deployed, c: Mapping[str, float]) -> Load:
    own, others = 1.0 / layout.shards, layout.replicas - 1
    renewals, changes = fleet.renewals_per_s * own, fleet.changes_per_s * own
    return Load(
        cpu={
            "idle": c["redis.idle_us"] * layout.replicas,
            "renewals": renewals * c["redis.renewal_us"],
            "renewals read by other replicas": renewals * others * c["redis.renewal_read_us"],
            "changes": changes * paced_cost(c, "redis.change_us", changes),
            "changes read by other replicas": changes * others * paced_cost(c, "redis.change_read_us", changes),
        },
        memory={
            "the program": c["redis.memory"] * MEGA,
            "instances": fleet.instances * own * c["redis.memory_instance"],
            "stream": fleet.kept(STREAM_LENGTH) * c["redis.memory_change"],
        },
        octets={
            "renewals": renewals * (c["redis.octets_renewal"] + others * c["redis.octets_renewal_read"]),
            "changes": changes * (c["redis.octets_change"] + others * c["redis.octets_change_read"]),
        },
        messages={"renewals": renewals, "changes": changes * layout.replicas},
    )


def _agent(fleet: Fleet, c: Mapping[str, float]) -> Load:
    held = min(1.0, ViewLimits().services / fleet.services) if fleet.instances else 1.0
    changes, joins = fleet.changes_per_s, fleet.joins_per_s / fleet.agents if fleet.agents else 0.0
    own = fleet.instances / fleet.agents if fleet.agents else 0.0
    return Load(
        cpu={
            "idle": c["agent.idle_us"],
            "changes of services in view": changes * held * c["agent.change_us"],
            "changes of other services": changes * (1.0 - held) * c["agent.change_absent_us"],
            "joins": joins * fleet.instances * c["agent.join_us"],
            "DNS": fleet.queries_per_agent_s * paced_cost(c, "agent.query_us", fleet.queries_per_agent_s),
        },
        memory={
            "the program": c["agent.memory"] * MEGA,
            "instances in view": fleet.instances * held * c["agent.memory_instance"],
            "names of other services": fleet.services * (1.0 - held) * NAME_BYTES,
        },
        octets={
            "changes": changes * c["octets.change"],
            "signs of life": c["octets.life"] / SYNC_EVERY_S,
            "heartbeats": (c["octets.beat"] + own * c["octets.beat_instance"]) / fleet.heartbeat_s,
            "acknowledgements": fleet.acks_per_agent_s() * c["octets.ack"],
            "reports": c["octets.report"] / fleet.report_s,
            "joins": joins * fleet.instances * c["octets.snapshot"],
        },
        messages={
            "changes": changes,
            "signs of life": 1.0 / SYNC_EVERY_S,
            "heartbeats": 1.0 / fleet.heartbeat_s,
            "acknowledgements": fleet.acks_per_agent_s(),
            "reports": 1.0 / fleet.report_s,
        },
    )
