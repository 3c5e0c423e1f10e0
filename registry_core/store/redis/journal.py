"""What was written into a shard in the last seconds, to be put back where a later life of it lacks it. Pure.

An acknowledged write can still be missing in the next life of a shard: a master that was killed and is back before
any Sentinel noticed has lost what its append-only file had not on the disk, and takes its replicas back with it; and
a replica that is promoted may be one that lagged. So each registry replica remembers what it acknowledged, and what
it was told that others wrote, and every one of them puts back what is missing (`reapply.lua`). Each entry has the
stamp under which it was written, the newest of an instance counts, and what is there with a higher stamp stays: it
makes no difference in which order several replicas do so, nor how often.

What it cannot do: what is older than JOURNAL_S, or is pushed out by MAX_ENTRIES, is not put back; and a registry
replica that is gone puts nothing back, then it is for those that were told.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

import msgspec

from registry_core.domain.records import Instance, InstanceKey
from registry_core.store.redis.rows import Order

# Longer than an append-only file lags (1 to 2 s), a server takes to restart or to be replaced, and a registry replica
# to notice.
JOURNAL_S: Final = 30.0
MAX_ENTRIES: Final = 50_000


class Written(msgspec.Struct, frozen=True, gc=False):
    """The last write of one instance: the record, or None for one that was taken out, of an owner with `epoch`."""

    order: Order
    instance: Instance | None
    epoch: int = 0


class _Noted(msgspec.Struct, frozen=True, gc=False):
    """A write, and when it was noted. Of tens of thousands, and like records no matter of the garbage collector."""

    at: float
    written: Written


class Journal:
    """The last write of each instance that was written lately, in the order in which they were noted."""

    def __init__(self, *, kept_s: float = JOURNAL_S, most: int = MAX_ENTRIES) -> None:
        self._kept_s = kept_s
        self._most = most
        # Of a plain one, whose oldest entries go again and again, the first is found ever more slowly.
        self._entries: OrderedDict[InstanceKey, _Noted] = OrderedDict()
        self.dropped = 0  # for want of room, before their time

    def __len__(self) -> int:
        """How many writes it holds, some of which may be too old."""
        return len(self._entries)

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator should know: that not all that was acknowledged could be put back."""
        if not self.dropped:
            return ()
        return (f"{self.dropped} writes were forgotten early: more than {self._most} within {self._kept_s:g} s",)

    def note(self, key: InstanceKey, written: Written, now: float) -> None:
        """Remember a write of `key`, unless a later one is known. `now` is in seconds, and must not fall."""
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
        """Return the last write of `key` that is remembered."""
        known = self._entries.get(key)
        return None if known is None else known.written

    def entries(self, now: float) -> Iterator[tuple[InstanceKey, Written]]:
        """Yield what is to be put back, the oldest first."""
        for key, noted in tuple(self._entries.items()):
            if now - noted.at <= self._kept_s:
                yield key, noted.written

    def renew(self, now: float) -> None:
        """Keep all that is not too old for as long again: it was put back into a life that may be lost, too."""
        self._entries = OrderedDict((key, _Noted(now, written)) for key, written in self.entries(now))
