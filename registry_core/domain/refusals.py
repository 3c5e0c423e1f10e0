"""Writes refused for their credentials: whether a registry accepts any at all, and how many it refused lately. Pure.

A refused client is alive. So refusals are evidence about what a registry does not know: one that refuses every write
cannot tell a service that is gone from one that it turned away. But anybody can send a wrong credential: once a
registry has accepted a write, the refused ones are evidence for a limited time.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Final

# A refused agent tries again within 60 s, or at its next heartbeat. In this time, or in the TTL of a lease if that is
# longer, each of them is heard of.
REFUSED_FOR_S: Final = 90.0
# More refusals are counted, but not remembered one by one.
MAX_REMEMBERED: Final = 10_000
# How long after the first write with a valid credential refusals say that the rest of the fleet has another one.
EVIDENCE_S: Final = 600.0


class Refusals:
    """The refused writes of one registry, and the time of the last one with a valid credential.

    Those of the last REFUSED_FOR_S, or `ttl_s` if that is longer, count as recent. `now` is in seconds of a monotonic
    clock.
    """

    def __init__(self, ttl_s: float = 0.0) -> None:
        self.recent_s = max(REFUSED_FOR_S, ttl_s)
        self.counts: Counter[str] = Counter()  # by the name of the error
        self.because = ""  # the latest, in the words of its answer
        self._at: deque[float] = deque(maxlen=MAX_REMEMBERED)
        self._accepted_at = -math.inf
        self._first_accepted_at = math.inf

    def refused(self, kind: str, because: str, now: float) -> None:
        """Note a write that was refused for its credential; `kind` is the name of the error."""
        self.counts[kind] += 1
        self.because = because
        self._at.append(now)

    def accepted(self, now: float, empty_since: float = -math.inf) -> None:
        """Note a write whose credential was valid, whatever became of it. `empty_since`: when the store was empty."""
        self._accepted_at = now
        if not empty_since <= self._first_accepted_at <= now:
            self._first_accepted_at = now

    def recent(self, now: float) -> int:
        """Return how many writes were refused recently, up to MAX_REMEMBERED."""
        while self._at and now - self._at[0] > self.recent_s:
            self._at.popleft()
        return len(self._at)

    def speak_of_unknown(self, known: int, now: float, empty_since: float = -math.inf) -> bool:
        """Return whether more writes were refused recently than instances are `known`, and that still counts.

        It counts for as long as nothing was accepted since the store was found empty: the whole fleet may have another
        secret than this registry.
        """
        first_at = self._first_accepted_at if self._first_accepted_at >= empty_since else math.inf
        return now - first_at <= EVIDENCE_S and known < self.recent(now)

    def refuses_all(self, now: float) -> bool:
        """Return whether writes were refused recently, and none had a valid credential."""
        return self.recent(now) > 0 and now - self._accepted_at > self.recent_s
