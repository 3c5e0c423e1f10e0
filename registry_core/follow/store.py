"""The store of a follower: another registry. It delivers what that one's watch says, and takes no writes.

Writes never come here: `passing.py` passes them on before a replica would carry them out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NoReturn

from registry_core.domain.admission import ANYBODY, Newcomer
from registry_core.domain.records import Instance, InstanceKey, Registration, Status
from registry_core.domain.restoration import RestoreOutcome
from registry_core.errors import StoreUnavailable
from registry_core.follow.view import FollowerView
from registry_core.follow.watch import UpstreamWatch
from registry_core.ports.denials import DenialStore
from registry_core.ports.reports import GuardReport, ShardReport
from registry_core.ports.store import Beat, BeatResult, Feed, Grant, Snapshot, SweepReport
from registry_core.supervision import Background, end


class FollowedStore:
    """A `Store` whose feed is the view that the watch is read into."""

    lets_once = False

    def __init__(self, view: FollowerView, watch: UpstreamWatch, denials: DenialStore, background: Background) -> None:
        self.denials = denials
        self._view = view
        self._watch = watch
        self._background = background
        self._task: asyncio.Task[None] | None = None

    async def start(self, feed: Feed) -> None:
        """Begin to follow, without waiting for the upstream. `feed` is the view that this store was built with."""
        if feed is not self._view:
            raise ValueError("a follower's store delivers into the view that its watch is read into")
        self._task = self._background.keep("upstream watch", self._watch.run)

    async def close(self) -> None:
        """Stop following. Safe to call twice."""
        await end((self._task,))

    def age_s(self) -> float:
        """Return the seconds since the upstream last confirmed the view."""
        return self._view.age_s()

    def shards(self) -> tuple[ShardReport, ...]:
        """Return nothing: shards are the upstream's to report on."""
        return ()

    def unknown(self, label: str) -> str:  # noqa: ARG002 - a follower knows all services, or cannot tell of any
        """Return why a service may exist that is not in view; "" when that is certain not to be."""
        return self._view.lacking()

    def guards(self) -> tuple[GuardReport, ...]:
        """Return nothing: the guard is where leases are swept."""
        return ()

    async def sweep(self) -> SweepReport:
        """Sweep nothing: leases end at the upstream."""
        return SweepReport((), 0.0)

    async def snapshot(self) -> Snapshot:
        """Return everything in view."""
        return Snapshot(self._view.cursor, self._view.catalog.all())

    # -- writes, which do not come here

    async def register(
        self, claim: Registration, *, sequence: int | None = None, newcomer: Newcomer = ANYBODY
    ) -> Grant:
        """Raise StoreUnavailable."""
        del claim, sequence, newcomer
        _refuse()

    async def restore(self, saved: Instance) -> RestoreOutcome:
        """Raise StoreUnavailable."""
        del saved
        _refuse()

    async def renew(self, beats: Sequence[Beat]) -> list[BeatResult]:
        """Raise StoreUnavailable."""
        del beats
        _refuse()

    async def set_status(
        self, key: InstanceKey, status: Status, epoch: int | None = None, *, sequence: int | None = None
    ) -> Instance:
        """Raise StoreUnavailable."""
        del key, status, epoch, sequence
        _refuse()

    async def deregister(self, key: InstanceKey, epoch: int | None = None, *, sequence: int | None = None) -> Instance:
        """Raise StoreUnavailable."""
        del key, epoch, sequence
        _refuse()

    async def release_guard(self, shard: str | None = None) -> tuple[str, ...]:
        """Raise StoreUnavailable."""
        del shard
        _refuse()


def _refuse() -> NoReturn:
    raise StoreUnavailable("this registry follows another one, and takes no writes of its own")
