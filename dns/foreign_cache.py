"""A cache of other servers' answers, fresh for their TTLs, and kept longer in case no resolver answers.

A message is kept for exactly the question it answers. The rest of it (additional records, the authority
section) is served with it, and never as an answer of its own. Bounded in entries and octets; the oldest
entry is evicted first. Pure: the time is passed in.
"""

from __future__ import annotations

from typing import Final

import msgspec

from dns.foreign import ForeignReply

# What an entry costs besides its message: the objects, and about 150 octets for each marked record.
_OVERHEAD_BYTES: Final = 500
_PER_RECORD_BYTES: Final = 150
_PER_ALIAS_BYTES: Final = 50


class ForeignLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of the cache. Durations in seconds.

    The caps are short compared with a shared resolver's: such a resolver is one hop away, and fixing a wrong
    answer should not take a restart of the agent.
    """

    entries: int = 4096
    bytes: int = 4 * 1024 * 1024
    positive_s: int = 3600
    negative_s: int = 300
    # RFC 8767 section 5 suggests one to three days.
    stale_s: int = 86_400


class CachedReply(msgspec.Struct, frozen=True):
    """An answer, and when it was stored and stops being fresh, in seconds of the monotonic clock."""

    reply: ForeignReply
    stored_at: float
    fresh_until: float

    def age_s(self, now: float) -> int:
        """Return how many seconds to subtract from its TTLs."""
        return max(0, int(now - self.stored_at))


class ForeignCache:
    """Caches answers by the key of their question."""

    def __init__(self, limits: ForeignLimits) -> None:
        self._limits = limits
        self._cached: dict[bytes, CachedReply] = {}
        self.bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._cached)

    def put(self, key: bytes, reply: ForeignReply, lifetime_s: int, now: float) -> None:
        """Store `reply` for `lifetime_s`, within the caps. Without a lifetime, the previous entry stays."""
        cap_s = self._limits.positive_s if _is_positive(reply) else self._limits.negative_s
        lifetime_s = min(lifetime_s, cap_s)
        if lifetime_s <= 0:
            return
        self._drop(key)
        self._cached[key] = CachedReply(reply, now, now + lifetime_s)
        self.bytes += _weight(key, reply)
        while len(self._cached) > self._limits.entries or self.bytes > self._limits.bytes:
            self._drop(next(iter(self._cached)))
            self.evictions += 1

    def get(self, key: bytes, now: float) -> CachedReply | None:
        """Return the entry of `key` if it is fresh at `now`."""
        cached = self._cached.get(key)
        return cached if cached is not None and now < cached.fresh_until else None

    def stale(self, key: bytes, now: float) -> CachedReply | None:
        """Return the entry of `key` if it is no longer fresh but not too old to be used in an outage."""
        cached = self._cached.get(key)
        if cached is None or now < cached.fresh_until:
            return None
        if now >= cached.fresh_until + self._limits.stale_s:
            self._drop(key)
            return None
        return cached

    def clear(self) -> None:
        """Clear the cache: the resolvers have changed, and their answers may differ."""
        self._cached.clear()
        self.bytes = 0

    def _drop(self, key: bytes) -> None:
        cached = self._cached.pop(key, None)
        if cached is not None:
            self.bytes -= _weight(key, cached.reply)


def _is_positive(reply: ForeignReply) -> bool:
    return reply.rcode == 0 and any(mark.section == 0 for mark in reply.marks)


def _weight(key: bytes, reply: ForeignReply) -> int:
    records = _PER_RECORD_BYTES * len(reply.marks)
    aliases = sum(_PER_ALIAS_BYTES + len(name) for name in reply.aliases)
    return _OVERHEAD_BYTES + len(key) + len(reply.message) + len(reply.errors) + records + aliases
