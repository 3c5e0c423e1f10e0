"""The place of one replica in a tree of followers: whom it follows, and who follows it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from registry_core.api.deployment_schemas import ReplicaSummary
from registry_core.api.follow_health import followers_health
from registry_core.api.follower_book import FollowerBook
from registry_core.api.follower_schemas import FollowerReport
from registry_core.api.health_schemas import FollowersHealth
from registry_core.domain.chain import header_of
from registry_core.errors import Overloaded
from registry_core.ports.clock import Clock
from registry_core.usage.followed import FollowedUsage


class FollowTree:
    """The tree as the replica `own` sees it: the followers that report to it, and the way up."""

    def __init__(self, own: str, clock: Clock, path: Callable[[], tuple[str, ...]] = tuple) -> None:
        """`path` returns the ids of the replicas from the one that this one follows up to the registry."""
        self._own = own
        self._clock = clock
        self._path = path
        self._book = FollowerBook(own)

    @property
    def chain(self) -> str:
        """The header that names this replica and those above it."""
        return header_of((self._own, *self._path()))

    def follows(self) -> str:
        """Return the id of the replica that this one follows; "" when there is none, or it is not known."""
        return next(iter(self._path()), "")

    def take(self, report: FollowerReport, *, address: str) -> None:
        """Take in the report of a follower at that client address. Raises Overloaded when there are too many."""
        if report.ending:
            self._book.forget(report.id)
            return
        if report.replica is None:
            return
        summary, now = msgspec.structs.replace(report.replica, id=report.id), self._clock.monotonic()
        if not self._book.take(summary, now, address=address, usage=report.usage):
            raise Overloaded("this replica has as many followers as it shows", retry_after_s=60.0)

    def followers(self) -> list[ReplicaSummary]:
        """Return the followers, and those below them."""
        return self._book.summaries(self._clock.monotonic())

    def usage(self) -> tuple[list[FollowedUsage], int]:
        """Return what the followers told of agents, and how many of them told nothing."""
        return self._book.usage(self._clock.monotonic())

    def health(self) -> FollowersHealth | None:
        """Return what `/health` says of the followers; None without any."""
        return followers_health(self.followers())
