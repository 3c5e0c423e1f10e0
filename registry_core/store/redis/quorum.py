"""Decides when a write may be acknowledged: which servers must hold it, and what is in doubt. Pure.

The invariant: a write is acknowledged only when every server that could lead the shard next is known to hold it, as
far as that can be known, and no sign of another master was seen since the write was sent.

- *What could lead next*: the replicas that have followed this master and that the Sentinels may promote. Those are all
  replicas that a Sentinel lists with a priority. A replica is left out when most Sentinels answer and all of those
  report it down: the leader of a failover is among them, and promotes no replica that it reports down. `WAIT` counts
  how many confirmed, so as many have to.
- *A replica that does not confirm* starts a doubt. It may have been promoted already: then the old master still takes
  writes, for a quarter of a second or more, and the other replicas confirm them. Within seconds the silent replica
  turns out to be the master (the write is sent there) or down (it no longer counts), or it confirms.
- *A replica that does none of these*, and lags for longer than a doubt may last, is excused. Acknowledgements go on
  without it while most Sentinels answer and none sees a failover, and the journal (`journal.py`) restores what a
  promotion of just this replica would lose. It counts again once it has caught up.
- *Without Sentinels* no replica is promoted: as many replicas as the settings require have to confirm.

Not covered: servers that an operator reconfigures (`REPLICAOF` by hand), and the loss of the master together with all
replicas that held a write, before any of them had it on disk.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from registry_core.store.redis.choice import Vote
from registry_core.store.redis.url import ServerAddress

# How long a doubt delays acknowledgements: as long as stock Sentinels take to promote another master.
DOUBT_MOST_S: Final = 2.0


class MasterStanding(msgspec.Struct, frozen=True):
    """The state of a shard's servers at one moment, as far as it affects acknowledgements."""

    run_id: str = ""  # of the current master; "" when there is none
    electable: frozenset[ServerAddress] = frozenset()
    contested: str = ""  # the sign of another master, in plain words; "" when none was seen
    guarded: bool = True  # there are no Sentinels, or most of them answer


class Lag(msgspec.Struct, frozen=True):
    """The replicas' progress as the master reports it: the offset each has confirmed."""

    offset: int
    replicas: Mapping[ServerAddress, int]

    def caught_up(self) -> frozenset[ServerAddress]:
        """Return the replicas that have confirmed everything up to `offset`."""
        return frozenset(replica for replica, at in self.replicas.items() if at >= self.offset)


class AfterTry(enum.StrEnum):
    """What to do after one try to have a write confirmed."""

    ACKNOWLEDGE = "acknowledge"
    ASK_AGAIN = "ask again"  # the same server; it has the write
    SEND_AGAIN = "send again"  # to the current master: this server may have lost it


def standing_of(
    master: ServerAddress | None,
    run_id: str,
    votes: Iterable[Vote],
    *,
    sentinels: int,
    promoted: ServerAddress | None = None,
) -> MasterStanding:
    """Return the standing that the last answers of all servers add up to. `sentinels` is how many there are.

    `promoted` is a node that reports itself as master, and became one after the current master did.
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
    """Return how many replicas must confirm a write: those that may be promoted, and at least as many as configured.

    0 when the settings require none: then a second copy was never promised.
    """
    if not configured:
        return 0
    followers = confidence.followers if confidence.run_id == standing.run_id else frozenset()
    return max(configured, len((standing.electable & followers) - confidence.excused))


def after_try(
    standing: MasterStanding, sent_to: str, *, confirmed: int, configured: int, confidence: Confidence
) -> tuple[AfterTry, str]:
    """Return what to do when this many replicas confirmed what was sent to the server `sent_to` (a run id), and why."""
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
    """Return the replicas' progress, from the master's ROLE before and after the wait for them."""
    replicas = {ServerAddress(_text(host), int(port)): int(offset) for host, port, offset in after[2]}
    return Lag(int(before[1]), replicas)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class Confidence(msgspec.Struct, frozen=True):
    """What past tries showed about the replicas of one master. Times are seconds of a monotonic clock."""

    run_id: str = ""  # of that master
    followers: frozenset[ServerAddress] = frozenset()  # all ever seen in sync with it, even those that left
    excused: frozenset[ServerAddress] = frozenset()  # replicas that lag and are not waited for
    alone_since: float | None = None  # since when fewer replicas confirm than the settings require
    refusing: bool = False  # the master itself refuses writes for lack of replicas (NOREPLICAS)
    doubted_since: float | None = None  # since when a replica that may be promoted does not confirm

    def alone_s(self, now: float) -> float:
        """Return the seconds for which the master's replicas have not confirmed; 0 when they do."""
        return 0.0 if self.alone_since is None else now - self.alone_since

    def certain(self) -> Confidence:
        """Return the confidence without a doubt: all replicas confirmed, or a master was put in place again."""
        return msgspec.structs.replace(self, alone_since=None, refusing=False, doubted_since=None)

    def alone(self, now: float, *, refusing: bool = False) -> Confidence:
        """Return the confidence after fewer replicas confirmed than the settings require."""
        since = now if self.alone_since is None else self.alone_since
        return msgspec.structs.replace(self, alone_since=since, refusing=refusing)

    def doubting(self, now: float) -> Confidence:
        """Return the confidence after a replica that may be promoted did not confirm."""
        since = now if self.doubted_since is None else self.doubted_since
        return msgspec.structs.replace(self, alone_since=None, refusing=False, doubted_since=since)

    def heard(self, standing: MasterStanding, lag: Lag, now: float) -> Confidence:
        """Return the confidence after the master reported its replicas' progress: who is excused from now on.

        No replica is newly excused while most Sentinels are silent: it may be the leader of the other side.
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
