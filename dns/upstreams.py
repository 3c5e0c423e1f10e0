"""What is known of each resolver that is forwarded to: whether it answers, loops, keeps case, knows EDNS.

It sends nothing. It says in which order resolvers are asked, and which wants to be tried with a question of
our own, so that no asker has to wait for one that may still be away. Pure: the time is passed in, and comes
from the monotonic clock.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

import msgspec

from dns.forward_rules import ResolverAddress
from registry_core.domain.backoff import Backoff

# How long one that failed is left alone.
REST: Final = Backoff(1.0, 30.0)
# How long one that brings our own questions back is not used, before it is tried again.
LOOP_REST_S: Final = 30.0
# How long what a resolver cannot do is believed: it may have been replaced.
BELIEF_S: Final = 600.0
# The least time between two tries that something in the traffic called for.
_RETRY_S: Final = 5.0


class ResolverState(enum.StrEnum):
    """How a resolver is."""

    UP = "up"
    FAILING = "failing"  # asked last
    LOOPING = "looping"  # not asked


class ResolverReport(msgspec.Struct, kw_only=True):
    """One resolver, for people and for metrics."""

    server: str
    state: ResolverState
    answered: int
    failed: int
    loops: int
    keeps_case: bool
    edns: bool


class UpstreamResolver:
    """One resolver. New ones are taken to be up, and are tried before long."""

    def __init__(self, server: ResolverAddress) -> None:
        self.server = server
        self.state = ResolverState.UP
        self.answered = 0
        self.failed = 0
        self.loops = 0
        self.is_tried = False
        self._failures = 0
        self._try_at = 0.0
        self._tried_at = float("-inf")
        self._folds_until = float("-inf")
        self._no_edns_until = float("-inf")

    def wants_try(self, now: float) -> bool:
        """Return whether it is time to send it a question of our own."""
        return not self.is_tried and now >= self._try_at

    def try_begins(self, now: float) -> None:
        """A question of our own is sent."""
        self.is_tried = True
        self._tried_at = now

    def try_ends(self, now: float) -> None:
        """It was answered, or not; what came of it was told by the other methods."""
        self.is_tried = False
        if self.state is ResolverState.UP:
            self._try_at = float("inf")
        elif self._try_at <= now:
            self._try_at = now + REST.first_s

    def suspect(self, now: float) -> None:
        """Something points to a loop: have it tried, but not again and again."""
        if self.state is not ResolverState.LOOPING:
            self._try_at = min(self._try_at, max(now, self._tried_at + _RETRY_S))

    def has_answered(self) -> None:
        """It gave an answer, whichever."""
        self.answered += 1
        self._failures = 0
        if self.state is ResolverState.FAILING:
            self.state = ResolverState.UP

    def has_failed(self, now: float) -> None:
        """It did not answer in time, or could not be reached."""
        self.failed += 1
        if self.state is ResolverState.LOOPING:
            return
        self.state = ResolverState.FAILING
        self._failures += 1
        self._try_at = now + REST.wait_s(self._failures)

    def has_looped(self, now: float) -> bool:
        """It brought a question of our own back. Return whether that is news."""
        self.loops += 1
        self._try_at = now + LOOP_REST_S
        news = self.state is not ResolverState.LOOPING
        self.state = ResolverState.LOOPING
        return news

    def is_clear(self) -> None:
        """A question of our own was answered, and did not come back to us."""
        self.state = ResolverState.UP
        self._failures = 0

    def keeps_case(self, now: float) -> bool:
        """Return whether it is taken to return a name in the case in which it was sent."""
        return now >= self._folds_until

    def folds_case(self, now: float) -> None:
        """It did not."""
        self._folds_until = now + BELIEF_S

    def knows_edns(self, now: float) -> bool:
        """Return whether it is taken to know EDNS."""
        return now >= self._no_edns_until

    def refused_edns(self, now: float) -> None:
        """It did not know it."""
        self._no_edns_until = now + BELIEF_S

    def report(self, now: float) -> ResolverReport:
        """Return what is known of it."""
        return ResolverReport(
            server=str(self.server),
            state=self.state,
            answered=self.answered,
            failed=self.failed,
            loops=self.loops,
            keeps_case=self.keeps_case(now),
            edns=self.knows_edns(now),
        )


def in_order(upstreams: Iterable[UpstreamResolver]) -> list[UpstreamResolver]:
    """Return whom to ask, one after another: those that are up as they were configured, then those that fail."""
    usable = [upstream for upstream in upstreams if upstream.state is not ResolverState.LOOPING]
    return sorted(usable, key=lambda upstream: upstream.state is not ResolverState.UP)
