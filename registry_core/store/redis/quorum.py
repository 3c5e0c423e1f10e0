"""When a write may be acknowledged: which servers have to hold it, and what is in doubt. Pure; it asks nobody.

The invariant: a write is acknowledged only when every server that could lead the shard next holds it, as far as that
can be known, and no sign of another master was seen since it was sent.

- *What could lead next*: the replicas that have followed this master, and that the Sentinels may promote. Those are all
  that a Sentinel lists, with a priority, unless most Sentinels answer and all that do call it down: the one that leads
  a failover is among them, and promotes none that it calls down. `WAIT` counts how many confirmed, so as many have to.
- *A replica that does not confirm* begins a doubt. It may have been promoted already: then the old master still takes
  writes, for a quarter of a second and more, and the other replicas confirm them. Within seconds it is known to be
  the master (the write is sent there), or to be down (it does not count any more), or it confirms.
- *A replica that is neither*, and lags for longer than a doubt may last, is excused: acknowledgements go on without
  it while most Sentinels answer and none sees a failover, and the journal (`journal.py`) makes good what a promotion
  of just this replica would lose. It counts again as soon as it has caught up.
- *Without Sentinels* nobody promotes anything: as many replicas as the settings ask for have to confirm.

What this cannot promise: servers that an operator tells something else (`REPLICAOF` by hand), and the loss of the
master together with all replicas that held a write, before any of them had it on its disk.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from registry_core.store.redis.choice import Vote
from registry_core.store.redis.url import ServerAddress

# How long a doubt holds up acknowledgements: as long as stock Sentinels take to promote another master.
DOUBT_MOST_S: Final = 2.0


class MasterStanding(msgspec.Struct, frozen=True):
    """What is known of the servers of a shard at one moment, as far as it bears on an acknowledgement."""

    run_id: str = ""  # of the master that is in place; "" when there is none
    electable: frozenset[ServerAddress] = frozenset()
    contested: str = ""  # the sign of another master, in words for people; "" when none was seen
    guarded: bool = True  # there are no Sentinels, or most of them answer


class Lag(msgspec.Struct, frozen=True):
    """How far the replicas are, by the master's own word: who has confirmed all up to a place in its stream."""

    offset: int
    replicas: Mapping[ServerAddress, int]

    def caught_up(self) -> frozenset[ServerAddress]:
        """Return who has confirmed everything up to `offset`."""
        return frozenset(replica for replica, at in self.replicas.items() if at >= self.offset)


class AfterTry(enum.StrEnum):
    """What follows from one try to have a write confirmed."""

    ACKNOWLEDGE = "acknowledge"
    ASK_AGAIN = "ask again"  # the same server; it has the write
    SEND_AGAIN = "send again"  # to the present master: this server may have lost it


def standing_of(
    master: ServerAddress | None,
    run_id: str,
    votes: Iterable[Vote],
    *,
    sentinels: int,
    promoted: ServerAddress | None = None,
) -> MasterStanding:
    """Return what the last answers of all servers come to. `sentinels` is how many there are.

    `promoted` says that it is the master, and became that after the one in place did.
    """
    said = list(votes)
    if not sentinels:
        return MasterStanding(run_id)
    listed = {replica for vote in said for replica in vote.replicas if replica != master}
    guarded = len(said) > sentinels // 2
    down = {r for r in listed if guarded and all(r in vote.down or r not in vote.replicas for vote in said)}
    barred = {r for r in listed if all(r in vote.barred or r not in vote.replicas for vote in said)}
    contested = ""
    if any(v.failing_over and v.master == master and v.promoted != master for v in said):
        contested = "a Sentinel is looking for another master"
    elif promoted is not None:
        contested = f"{promoted} was promoted"
    return MasterStanding(run_id, frozenset(listed - down - barred), contested, guarded)


def required(standing: MasterStanding, configured: int, confidence: Confidence) -> int:
    """Return how many replicas have to confirm a write: those that may be promoted, and at least as many as asked for.

    None where the settings ask for none: then a second copy was never promised.
    """
    if not configured:
        return 0
    followers = confidence.followers if confidence.run_id == standing.run_id else frozenset()
    return max(configured, len((standing.electable & followers) - confidence.excused))


def after_try(
    standing: MasterStanding, sent_to: str, *, confirmed: int, configured: int, confidence: Confidence
) -> tuple[AfterTry, str]:
    """Return what follows when so many replicas confirmed what was sent to the server `sent_to` (a run id), and why."""
    if standing.run_id != sent_to:
        return AfterTry.SEND_AGAIN, "another master is in place, or none"
    if confirmed < configured:
        return AfterTry.ASK_AGAIN, f"{confirmed} of {configured} replicas confirmed the write"
    if standing.contested:
        return AfterTry.ASK_AGAIN, standing.contested
    needed = required(standing, configured, confidence)
    if confirmed < needed:
        return AfterTry.ASK_AGAIN, f"{confirmed} of the {needed} replicas that may be promoted confirmed the write"
    return AfterTry.ACKNOWLEDGE, ""


def lag_of(before: Sequence[Any], after: Sequence[Any]) -> Lag:
    """Return how far the replicas are, from ROLE of the master before and after they were waited for."""
    replicas = {ServerAddress(_text(host), int(port)): int(offset) for host, port, offset in after[2]}
    return Lag(int(before[1]), replicas)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class Confidence(msgspec.Struct, frozen=True):
    """What past tries say of the replicas of one master. Times are seconds of a monotonic clock."""

    run_id: str = ""  # of that master
    followers: frozenset[ServerAddress] = frozenset()  # all that were seen in step with it, also those that have left
    excused: frozenset[ServerAddress] = frozenset()  # those that lag, and are not waited for
    alone_since: float | None = None  # since when fewer replicas confirm than the settings ask for
    refusing: bool = False  # the master refuses writes itself for want of them (NOREPLICAS)
    doubted_since: float | None = None  # since when one that may be promoted does not confirm

    def alone_s(self, now: float) -> float:
        """Return for how long the master has lacked the word of its replicas; 0 when it does not."""
        return 0.0 if self.alone_since is None else now - self.alone_since

    def certain(self) -> Confidence:
        """Return what is known when no doubt has begun: all have confirmed, or a master is in place anew."""
        return msgspec.structs.replace(self, alone_since=None, refusing=False, doubted_since=None)

    def alone(self, now: float, *, refusing: bool = False) -> Confidence:
        """Return what is known after fewer replicas confirmed than the settings ask for."""
        since = now if self.alone_since is None else self.alone_since
        return msgspec.structs.replace(self, alone_since=since, refusing=refusing)

    def doubting(self, now: float) -> Confidence:
        """Return what is known after one that may be promoted did not confirm."""
        since = now if self.doubted_since is None else self.doubted_since
        return msgspec.structs.replace(self, alone_since=None, refusing=False, doubted_since=since)

    def heard(self, standing: MasterStanding, lag: Lag, now: float) -> Confidence:
        """Return what is known after the master told how far its replicas are: who need not confirm from now on.

        None is newly excused while most Sentinels are silent: then it may be the leader of the other side.
        """
        if standing.run_id != self.run_id:
            return Confidence(standing.run_id, frozenset(lag.replicas))
        caught_up, followers = lag.caught_up(), self.followers | lag.replicas.keys()
        excused = (self.excused & standing.electable) - caught_up
        doubted_s = 0.0 if self.doubted_since is None else now - self.doubted_since
        if doubted_s >= DOUBT_MOST_S and standing.guarded and not standing.contested:
            excused |= (standing.electable & followers) - caught_up
        if (followers, excused) == (self.followers, self.excused):
            return self
        return msgspec.structs.replace(self, followers=followers, excused=excused)
