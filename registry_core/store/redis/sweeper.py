"""The sweep of one shard, with its guard: the shard counts the due instances, this module decides, the shard acts.

Nothing expires when another replica swept in between, or while the guard holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from registry_core.domain import guard as guarding
from registry_core.domain.guard import Census, Guard, GuardPhase
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import InstanceKey
from registry_core.domain.selection import Random
from registry_core.errors import StoreUnavailable
from registry_core.ports.reports import GuardReport
from registry_core.ports.store import SweepReport
from registry_core.store.redis import rows
from registry_core.store.redis.follower import Follower
from registry_core.store.redis.queue import WriteQueue
from registry_core.store.redis.scripts import ScriptName

# Leases extended, and instances expired or marked suspect, by one script: about 2 ms each.
EXTENDED_AT_ONCE: Final = 500
SWEPT_AT_ONCE: Final = 100
_ENCODER: Final = msgspec.json.Encoder()
_DECODE_GUARD: Final = msgspec.json.Decoder(Guard).decode
_DECODE_EXPIRIES: Final = msgspec.json.Decoder(list[tuple[float, int]]).decode


class Sweeper:
    """Sweeps one shard, and remembers its guard's state."""

    def __init__(self, name: str, queue: WriteQueue, follower: Follower, terms: LeaseTerms, random: Random) -> None:
        self._name = name
        self._queue = queue
        self._follower = follower
        self._terms = terms
        self._random = random
        self.guard = GuardReport(name, GuardPhase.CLEAR, 0, 0, 0.0, None, 0.0)  # at the last sweep or release

    async def sweep(self, sizes_of: Callable[[Collection[str]], Mapping[str, int]]) -> SweepReport:
        """Expire what is due, unless the guard holds. Raises Unavailable.

        `sizes_of`, which returns how many instances some services have, is called only while the guard is
        released and several instances of one service are due.

        One script counts what is due, this method decides, and another script acts. That one does nothing
        when another replica swept in between: then that sweep counts.
        """
        terms = self._terms
        counted = await self._census()
        now, swept, amnesty_s = (int(number) / 1000 for number in counted[:3])
        instances, overdue = int(counted[3]), int(counted[4])
        read_guard = _DECODE_GUARD(counted[6]) if counted[6] else guarding.CLEAR
        # Entries far in the future are forgotten, too: the server's clock was set back since.
        expiries = [e for e in (_DECODE_EXPIRIES(counted[7]) if counted[7] else []) if abs(now - e[0]) < terms.ttl_s]
        due, sweeps, newly = int(counted[5]), counted[8], int(counted[9])
        named = [rows.key_of(field) for field in counted[10:]]
        census = Census(instances, overdue, due, sum(count for _, count in expiries))
        guard = read_guard.judged(census, terms.guard, now)
        expired: list[InstanceKey] = []
        match guard.phase:
            case GuardPhase.CLEAR:
                expired = guarding.sparing(named, sizes_of)
                if expired:
                    expiries.append((now, len(expired)))
            case GuardPhase.RELEASING:
                allowance = guard.allowance(terms.guard, instances, swept, now)
                sizes = sizes_of({key.label for key in named})
                expired = guarding.drawn(named, min(allowance, terms.most_per_sweep), sizes, self._random)
                guard = guard.spent(len(expired), terms.guard, instances, swept)
            case GuardPhase.HOLDING:
                pass
        going = set(expired)
        suspects = [] if guard.phase is GuardPhase.CLEAR else [key for key in named[:newly] if key not in going]
        held = 0 if guard.phase is GuardPhase.CLEAR else due - len(expired)
        self._note_guard(guard, now, instances, held)
        if not due and guard == read_guard:
            return SweepReport((), amnesty_s)
        # In parts, each a sweep of its own. All expiries are recorded with the first part: if another replica sweeps in
        # between, more are recorded than expired, and the guard is more careful.
        fates = [*expired, *suspects]
        gone: list[InstanceKey] = []
        turned: list[InstanceKey] = []
        for start in range(0, max(1, len(fates)), SWEPT_AT_ONCE):
            result = await self._queue.call(
                ScriptName.SWEEP,
                str(int(sweeps) + start // SWEPT_AT_ONCE),
                rows.ms(terms.removed_after_s),
                b"" if guard == guarding.CLEAR else _ENCODER.encode(guard),
                _ENCODER.encode(expiries) if expiries else b"",
                str(max(0, min(SWEPT_AT_ONCE, len(expired) - start))),
                *(rows.field_of(key) for key in fates[start : start + SWEPT_AT_ONCE]),
            )
            if result[0] == b"stale":
                break
            await self._follower.arrivals.reached(result[1].decode(), int(result[2]))
            fields = [rows.key_of(field) for field in result[5:]]
            gone += fields[: int(result[3])]
            turned += fields[int(result[3]) :]
        spared = guard.phase is GuardPhase.CLEAR and len(expired) < due
        return SweepReport(tuple(gone), amnesty_s, tuple(turned), spared)

    async def _census(self) -> list[bytes]:
        """Return the census, after as many calls as it takes to extend all leases when no sweep ran for a while."""
        terms = self._terms
        while True:
            counted = await self._queue.call(
                ScriptName.CENSUS,
                rows.ms(terms.ttl_s),
                rows.ms(terms.removed_after_s),
                rows.ms(terms.amnesty_after_s),
                str(terms.most_per_sweep),
                str(EXTENDED_AT_ONCE),
            )
            if counted[0] != b"more":
                return counted

    async def release_guard(self) -> bool:
        """Release the guard; return False when it does not hold. Raises Unavailable."""
        for _ in range(10):  # a sweep may intervene, at most one a second
            found, now_ms = await self._queue.call(ScriptName.GUARD)
            if not found:
                return False
            held, now = _DECODE_GUARD(found), int(now_ms) / 1000
            released = held.released(now)
            if released == held:
                return False
            (done,) = await self._queue.call(ScriptName.RELEASE, found, _ENCODER.encode(released))
            if done == b"1":
                self._note_guard(released, now, self.guard.instances, self.guard.suspects)
                return True
        raise StoreUnavailable(f"shard {self._name!r} is being swept; try again")

    def _note_guard(self, guard: Guard, now: float, instances: int, suspects: int) -> None:
        terms = self._terms.guard
        held_s = 0.0 if guard.held_since is None else max(0.0, now - guard.held_since)
        self.guard = GuardReport(
            shard=self._name,
            phase=guard.phase,
            instances=instances,
            suspects=suspects,
            held_s=held_s,
            releases_in_s=max(0.0, terms.hold_s - held_s) if guard.phase is GuardPhase.HOLDING else None,
            budget_per_minute=terms.budget(instances),
        )
