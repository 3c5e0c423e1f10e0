"""Pure: decides which node is the master, from what the nodes and the Sentinels report.

After a replica is promoted, the Sentinels take most of a second to announce it. In that time the old
master may come back, unaware of the failover. So three rules apply:

- a node counts only while it reports itself as a master (ROLE);
- the Sentinels' newest vote (highest configuration epoch) is followed at once, as soon as that
  node agrees;
- a node that was a replica and now reports itself as a master was promoted. When the current master
  is in doubt, this node takes precedence over the Sentinels' vote, until they say something newer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from registry_core.store.redis.url import ServerAddress


class Sighting(msgspec.Struct, frozen=True):
    """What a node last reported about itself."""

    is_master: bool
    run_id: str
    master: ServerAddress | None = None  # of a replica
    replicas: tuple[ServerAddress, ...] = ()  # of a master
    offset: int = 0  # of a master: how far its replication stream is
    confirmed: tuple[int, ...] = ()  # of a master: how much of it each replica has


class Vote(msgspec.Struct, frozen=True):
    """What one Sentinel says."""

    master: ServerAddress
    config_epoch: int
    replicas: tuple[ServerAddress, ...] = ()
    promoted: ServerAddress | None = None  # the replica that this Sentinel is promoting
    failing_over: bool = False  # this Sentinel is selecting or promoting a successor
    down: frozenset[ServerAddress] = frozenset()  # replicas it cannot reach and will not promote
    barred: frozenset[ServerAddress] = frozenset()  # replicas whose priority forbids promotion


class Promotion(msgspec.Struct, frozen=True):
    """A node was seen turning from replica to master."""

    order: int  # the last of several counts
    config_epoch: int  # the newest that any Sentinel had reported at that time


def newest(votes: Iterable[Vote]) -> Vote | None:
    """Return the vote of the highest configuration epoch."""
    return max(votes, key=lambda vote: vote.config_epoch, default=None)


def choose(
    current: ServerAddress | None,
    doubted: bool,
    sightings: Mapping[ServerAddress, Sighting],
    promotions: Mapping[ServerAddress, Promotion],
    votes: Iterable[Vote],
) -> ServerAddress | None:
    """Return the node that is the master, or None when that cannot be determined.

    `current` is the node chosen before; `doubted` is whether it has failed a caller. `sightings` holds
    only nodes that answer at present.
    """
    masters = {address for address, seen in sightings.items() if seen.is_master}
    vote = newest(votes)
    named = vote.master if vote is not None and vote.master in masters else None
    promoted = max(masters & promotions.keys(), key=lambda node: promotions[node].order, default=None)
    if promoted is not None and (doubted or current is None or current == promoted):
        outdated = vote is None or vote.config_epoch <= promotions[promoted].config_epoch
        if named is None or outdated:
            return promoted
    if named is not None:
        return named
    return current if current in masters else None


def promoted_since(
    current: ServerAddress | None,
    leading: Collection[ServerAddress],
    promotions: Mapping[ServerAddress, Promotion],
    votes: Iterable[Vote],
) -> ServerAddress | None:
    """Return a node that was promoted after `current` and reports itself as the master, or None.

    A node is not returned once the Sentinels have named `current` under a newer configuration epoch.
    `leading`: the nodes that report themselves as masters.
    """
    here = promotions.get(current) if current is not None else None
    vote = newest(votes)
    confirmed = vote.config_epoch if vote is not None and vote.master == current else -1
    later = (
        node
        for node, promotion in promotions.items()
        if node in leading and promotion.order > (here.order if here is not None else 0)
        if promotion.config_epoch >= confirmed
    )
    return next(later, None)


def to_repoint(
    master: ServerAddress, sightings: Mapping[ServerAddress, Sighting], votes: Iterable[Vote], *, sentinels: int
) -> ServerAddress | None:
    """Return the node to repoint at `master` now, ahead of the Sentinels, or None.

    A replica of another node qualifies as soon as the Sentinel that leads the failover has named the successor: the
    Sentinels repoint it only after an INFO whose period is a second. A former master qualifies when most Sentinels
    answer and all of those name the new one: they wait some 8 s more. No node qualifies while `master` has a replica.
    `sentinels`: how many there are.
    """
    said = list(votes)
    replicas = [node for node, seen in sightings.items() if not seen.is_master]
    if any(sightings[node].master == master for node in replicas):
        return None
    if replicas and any(vote.promoted == master for vote in said):
        return replicas[0]
    if replicas or len(said) <= sentinels // 2 or any(vote.master != master for vote in said):
        return None
    left = (node for node, seen in sightings.items() if seen.is_master and node != master)
    return next((node for node in left if all(node in vote.replicas for vote in said)), None)


def is_replica(said: object) -> bool:
    """Return whether a node reported itself as a replica."""
    return isinstance(said, Sighting) and not said.is_master
