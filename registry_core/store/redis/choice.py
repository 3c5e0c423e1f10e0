"""PURE: which node is the master, from what the nodes and the Sentinels say. It asks nobody.

Between the promotion of a replica and the word of the Sentinels lies most of a second, in which the
old master may come back and believe that nothing has happened. So three things are weighed:

- a node counts only while it says itself that it is a master (ROLE);
- the Sentinels' newest word (highest configuration epoch) is followed, at once, and as soon as that
  node agrees;
- a node that was seen as a replica and now calls itself master was promoted. When the present master
  is in doubt, that is taken before the Sentinels' word, until they say something newer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from registry_core.store.redis.url import ServerAddress


class Sighting(msgspec.Struct, frozen=True):
    """What a node said of itself the last time that it was asked."""

    is_master: bool
    run_id: str
    master: ServerAddress | None = None  # of a replica
    replicas: tuple[ServerAddress, ...] = ()  # of a master


class Vote(msgspec.Struct, frozen=True):
    """What one Sentinel says."""

    master: ServerAddress
    config_epoch: int
    replicas: tuple[ServerAddress, ...] = ()
    promoted: ServerAddress | None = None  # the replica that this Sentinel is putting in the master's place
    failing_over: bool = False  # this Sentinel is looking for a successor, or putting one in place
    down: frozenset[ServerAddress] = frozenset()  # the replicas that it cannot reach, and does not promote
    barred: frozenset[ServerAddress] = frozenset()  # those that it may never promote, by their priority


class Promotion(msgspec.Struct, frozen=True):
    """A node was seen turning from replica to master."""

    order: int  # of several, the last one counts
    config_epoch: int  # the newest that any Sentinel had told by then


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
    """Return the node that is the master, or None when nobody can tell.

    `current` is the node chosen before, `doubted` whether it failed somebody. `sightings` holds only
    nodes that answer at present.
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
    """Return a node that was promoted after `current` was, and says that it is the master; None without one.

    Not one that the Sentinels have passed over since: they have named `current` under a newer configuration epoch.
    `leading`: the nodes that say that they are the master.
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
    """Return the node that may be told to follow `master` now, as the Sentinels are going to do; None without one.

    A replica of another node, as soon as the Sentinel that leads the failover has named the successor: they get round
    to it only after an INFO whose period is a second. A master of before, when most Sentinels answer and all that do
    name the new one: they leave it alone for some 8 s more. Neither while `master` has a replica. `sentinels`: how many
    there are.
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
    """Return whether what a node said of itself is that it is a replica."""
    return isinstance(said, Sighting) and not said.is_master
