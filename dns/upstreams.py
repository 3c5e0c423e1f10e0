"""The state of each upstream resolver: whether it answers, loops, keeps case and knows EDNS.

It sends nothing. It decides the order in which resolvers are asked, and which one is due for a probe, so that
no client has to wait for one that may still be down. Pure: the time is passed in, and comes from the
monotonic clock.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

import msgspec

from dns.forward_rules import ResolverAddress
from registry_core.domain.backoff import Backoff
from registry_core.telemetry.bucket_counts import BucketCounts

# How long a failed resolver is avoided.
REST: Final = Backoff(1.0, 30.0)
# How long a resolver that forwards our questions back to us is not used, before it is probed again.
LOOP_REST_S: Final = 30.0
# How long a missing capability is remembered: the resolver may have been replaced.
BELIEF_S: Final = 600.0
# Upper bounds of the durations of answered queries.
DURATIONS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# The least time between two probes triggered by traffic.
_RETRY_S: Final = 5.0


class ResolverState(enum.StrEnum):
    """The state of a resolver."""

    UP = "up"
    FAILING = "failing"  # asked last
    LOOPING = "looping"  # not asked


class ResolverReport(msgspec.Struct, kw_only=True):
    """One resolver, for operators and metrics."""

    server: str
    state: ResolverState
    answered: int
    failed: int
    loops: int
    keeps_case: bool
    edns: bool


class UpstreamResolver:
    """One resolver. A new one is assumed to be up, and is probed soon."""

    def __init__(self, server: ResolverAddress) -> None:
        self.server = server
        self.state = ResolverState.UP
        self.answered = 0
        self.durations = BucketCounts(DURATIONS_S)  # of the answered ones
        self.failed = 0
        self.loops = 0
        self.is_tried = False
        self._failures = 0
        self._try_at = 0.0
        self._tried_at = float("-inf")
        self._folds_until = float("-inf")
        self._no_edns_until = float("-inf")

    def wants_try(self, now: float) -> bool:
        """Return whether a probe is due."""
        return not self.is_tried and now >= self._try_at

    def try_begins(self, now: float) -> None:
        """Note that a probe is sent."""
        self.is_tried = True
        self._tried_at = now

    def try_ends(self, now: float) -> None:
        """Note that a probe has ended; the other methods record its outcome."""
        self.is_tried = False
        if self.state is ResolverState.UP:
            self._try_at = float("inf")
        elif self._try_at <= now:
            self._try_at = now + REST.first_s

    def suspect(self, now: float) -> None:
        """Request a probe because a loop is suspected, at a limited rate."""
        if self.state is not ResolverState.LOOPING:
            self._try_at = min(self._try_at, max(now, self._tried_at + _RETRY_S))

    def has_answered(self, took_s: float) -> None:
        """Note an answer of any kind, which took that long."""
        self.answered += 1
        self.durations.observe(took_s)
        self._failures = 0
        if self.state is ResolverState.FAILING:
            self.state = ResolverState.UP

    def has_failed(self, now: float) -> None:
        """Note a timeout or an unreachable resolver."""
        self.failed += 1
        if self.state is ResolverState.LOOPING:
            return
        self.state = ResolverState.FAILING
        self._failures += 1
        self._try_at = now + REST.wait_s(self._failures)

    def has_looped(self, now: float) -> bool:
        """Note that a probe came back to us. Return whether the loop is new."""
        self.loops += 1
        self._try_at = now + LOOP_REST_S
        news = self.state is not ResolverState.LOOPING
        self.state = ResolverState.LOOPING
        return news

    def is_clear(self) -> None:
        """Note that a probe was answered without coming back to us."""
        self.state = ResolverState.UP
        self._failures = 0

    def keeps_case(self, now: float) -> bool:
        """Return whether it is assumed to preserve the case of names."""
        return now >= self._folds_until

    def folds_case(self, now: float) -> None:
        """Note that it changed the case of a name."""
        self._folds_until = now + BELIEF_S

    def knows_edns(self, now: float) -> bool:
        """Return whether it is assumed to know EDNS."""
        return now >= self._no_edns_until

    def refused_edns(self, now: float) -> None:
        """Note that it did not know EDNS."""
        self._no_edns_until = now + BELIEF_S

    def report(self, now: float) -> ResolverReport:
        """Return its report."""
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
    """Return the resolvers in the order to ask: those that are up, as configured, then the failing ones."""
    usable = [upstream for upstream in upstreams if upstream.state is not ResolverState.LOOPING]
    return sorted(usable, key=lambda upstream: upstream.state is not ResolverState.UP)
