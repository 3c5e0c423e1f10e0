"""Remembers a shard's recent writes, so that they can be put back into a later life that lacks them. Pure.

An acknowledged write can still be missing in the next life of a shard. A master that is killed and restarts before
any Sentinel notices has lost what its append-only file had not yet synced, and its replicas follow it back; and a
promoted replica may have lagged. So each registry replica remembers what it acknowledged and what it learned that
others wrote, and every one of them puts back what is missing (`reapply.lua`). Each entry carries the stamp of its
write. The newest entry of an instance counts, and a stored record with a higher stamp stays. So it does not matter
in which order several replicas do this, nor how often.

Limits: a write that is older than JOURNAL_S, or was pushed out by MAX_ENTRIES, is not put back. A registry replica
that is gone puts nothing back; only the replicas that had read its writes can.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

import msgspec

from registry_core.domain.records import Instance, InstanceKey
from registry_core.store.redis.rows import Order

# Longer than the sum of what an append-only file lags (1 to 2 s), what a server takes to restart or be replaced, and
# what a registry replica takes to notice.
JOURNAL_S: Final = 30.0
MAX_ENTRIES: Final = 50_000


class Written(msgspec.Struct, frozen=True, gc=False):
    """The last write of one instance, by an owner with `epoch`: the record, or None for a removal."""

    order: Order
    instance: Instance | None
    epoch: int = 0


class _Noted(msgspec.Struct, frozen=True, gc=False):
    """A write and when it was noted. There are tens of thousands: like records, exempt from garbage collection."""

    at: float
    written: Written


class Journal:
    """The last write of each recently written instance, in the order noted."""

    def __init__(self, *, kept_s: float = JOURNAL_S, most: int = MAX_ENTRIES) -> None:
        self._kept_s = kept_s
        self._most = most
        # In a plain dict whose oldest entries keep being removed, finding the first gets ever slower.
        self._entries: OrderedDict[InstanceKey, _Noted] = OrderedDict()
        self.dropped = 0  # early, for lack of room

    def __len__(self) -> int:
        """The number of writes it holds, some of which may be too old."""
        return len(self._entries)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for an operator: that some acknowledged writes could not be put back."""
        if not self.dropped:
            return ()
        return (f"{self.dropped} writes were forgotten early: more than {self._most} within {self._kept_s:g} s",)

    def note(self, key: InstanceKey, written: Written, now: float) -> None:
        """Remember a write of `key`, unless a later one is known. `now` is in seconds and must not decrease."""
        known = self.latest(key)
        if known is not None and (known.order == written.order or known.order.comes_after(written.order)):
            return
        self._entries.pop(key, None)
        self._entries[key] = _Noted(now, written)
        while self._entries:
            oldest = next(iter(self._entries))
            is_old = now - self._entries[oldest].at > self._kept_s
            if not is_old and len(self._entries) <= self._most:
                break
            self.dropped += not is_old
            del self._entries[oldest]

    def forget(self, key: InstanceKey) -> None:
        """Remember nothing of `key`: its lease ran out."""
        self._entries.pop(key, None)

    def latest(self, key: InstanceKey) -> Written | None:
        """Return the last remembered write of `key`."""
        known = self._entries.get(key)
        return None if known is None else known.written

    def entries(self, now: float) -> Iterator[tuple[InstanceKey, Written]]:
        """Yield the writes to put back, oldest first."""
        for key, noted in tuple(self._entries.items()):
            if now - noted.at <= self._kept_s:
                yield key, noted.written

    def renew(self, now: float) -> None:
        """Restart the age of every entry that is not too old: the life it was put back into may be lost, too."""
        self._entries = OrderedDict((key, _Noted(now, written)) for key, written in self.entries(now))
