"""Decides when an agent sends its heartbeats. Pure: times are seconds of its monotonic clock, draws are in [0, 1)."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from agent.registration.decisions import Timings, backoff_s
from agent.registration.lease_retries import lease_retry_s

# Whatever a registry asks for.
SHORTEST_BEAT_S: Final = 0.2


def paced(timings: Timings, ttl_s: float, asked_s: float) -> Timings:
    """Return `timings` with the registry's heartbeat interval, or the agent's own if that is shorter.

    An interval that does not fit the TTL of the lease is not heeded: a third of the TTL is used instead.
    """
    if not 0 < asked_s < ttl_s:
        asked_s = ttl_s / 3 if 0 < ttl_s < math.inf else timings.heartbeat_s
    return msgspec.structs.replace(timings, heartbeat_s=min(timings.heartbeat_s, max(asked_s, SHORTEST_BEAT_S)))


def next_beat_at(now: float, draw: float, timings: Timings) -> float:
    """Return when the next heartbeats are due: up to a fifth early, never late."""
    return now + timings.heartbeat_s * (1.0 - draw / 5)


def next_beat_after_failure(failures: int, now: float, draw: float, timings: Timings) -> float:
    """Return when failed heartbeats are retried: within a third of their period, and sooner while the lease ends."""
    return now + lease_retry_s(backoff_s(failures, draw, timings), failures, timings.heartbeat_s)
