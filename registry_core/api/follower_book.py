"""The followers of one replica, as they report. Pure: time is an argument, monotonic, in seconds.

A follower reports upwards, so that one behind a firewall is seen as well, and with itself it reports those below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from registry_core.api.deployment_schemas import ReplicaSummary
from registry_core.domain.chain import MAX_DEPTH
from registry_core.usage.followed import FollowedUsage

# How often a follower reports, and after which time without a report it is silent, and forgotten.
REPORT_EVERY_S: Final = 5.0
SILENT_AFTER_S: Final = 17.0
FORGOTTEN_AFTER_S: Final = 120.0
# Direct followers of one replica, and nodes in all that one replica shows below itself.
MAX_FOLLOWERS: Final = 256
MAX_NODES: Final = 512
SILENT: Final = "silent"
MAX_WORDS: Final = 300
MAX_REASONS: Final = 4


class _Reported(NamedTuple):
    at: float
    summary: ReplicaSummary
    usage: FollowedUsage | None


class FollowerBook:
    """The direct followers of the replica `own`; each has what it reported of those below."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._known: dict[str, _Reported] = {}

    def __len__(self) -> int:
        return len(self._known)

    def take(self, summary: ReplicaSummary, now: float, *, address: str, usage: FollowedUsage | None = None) -> bool:
        """Take a report in; return False when there is no room for another follower."""
        self.tidy(now)
        if summary.id not in self._known and len(self._known) >= MAX_FOLLOWERS:
            return False
        known = trimmed(summary, MAX_NODES)
        known = msgspec.structs.replace(known, follows=self._own, address=address, url="")
        self._known[summary.id] = _Reported(now, known, usage)
        return True

    def forget(self, follower: str) -> None:
        """Forget a follower, which has said that it stops."""
        self._known.pop(follower, None)

    def usage(self, now: float) -> tuple[list[FollowedUsage], int]:
        """Return what the followers told of agents, and how many followers told nothing, or are silent."""
        self.tidy(now)
        told = [one.usage for one in self._known.values() if one.usage is not None and now - one.at <= SILENT_AFTER_S]
        return told, len(self._known) - len(told)

    def tidy(self, now: float) -> None:
        """Forget those that have been silent for long."""
        before = now - FORGOTTEN_AFTER_S
        self._known = {name: one for name, one in self._known.items() if one.at >= before}

    def summaries(self, now: float) -> list[ReplicaSummary]:
        """Return the followers and those below them; what a silent one last said of those below is left out."""
        self.tidy(now)
        return [_as_of(one, now) for _, one in sorted(self._known.items())]


def with_followers(own: ReplicaSummary, followers: Sequence[ReplicaSummary]) -> ReplicaSummary:
    """Return the summary of a replica with its followers: as many as there is room for."""
    left, kept, gone = MAX_NODES, list[ReplicaSummary](), 0
    for one in followers:
        if left <= 0:
            gone += nodes([one])
            continue
        fitting, used = _trimmed(one, left, MAX_DEPTH - 1)
        kept.append(fitting)
        left -= used
    return msgspec.structs.replace(own, followers=kept, followers_left_out=gone)


def trimmed(summary: ReplicaSummary, room: int) -> ReplicaSummary:
    """Return a summary with at most `room` nodes, itself included; it counts those that are left out."""
    return _trimmed(summary, room, MAX_DEPTH)[0]


def nodes(followers: Iterable[ReplicaSummary]) -> int:
    """Return how many followers these are, with those below them."""
    return sum(1 + one.followers_left_out + nodes(one.followers) for one in followers)


def flat(followers: Iterable[ReplicaSummary]) -> list[ReplicaSummary]:
    """Return these followers and those below them, each before its own."""
    return [found for one in followers for found in (one, *flat(one.followers))]


def _as_of(one: _Reported, now: float) -> ReplicaSummary:
    ago_s, summary = round(max(0.0, now - one.at), 3), one.summary
    if ago_s <= SILENT_AFTER_S:
        return msgspec.structs.replace(summary, reported_ago_seconds=ago_s)
    return msgspec.structs.replace(
        summary,
        status=SILENT,
        reasons=[f"it has not reported for {ago_s:.0f} s"],
        reported_ago_seconds=ago_s,
        followers=[],
        followers_left_out=nodes(summary.followers),
    )


def _trimmed(summary: ReplicaSummary, room: int, depth: int) -> tuple[ReplicaSummary, int]:
    """Return a summary with at most `room` nodes, itself included, and `depth` levels; and how many nodes it has."""
    used, kept, gone = 1, list[ReplicaSummary](), summary.followers_left_out
    for one in summary.followers:
        if used >= room or depth <= 1:
            gone += nodes([one])
            continue
        fitting, its = _trimmed(one, room - used, depth - 1)
        kept.append(fitting)
        used += its
    return (
        msgspec.structs.replace(
            summary,
            reasons=[reason[:MAX_WORDS] for reason in summary.reasons[:MAX_REASONS]],
            followers=kept,
            followers_left_out=gone,
        ),
        used,
    )
