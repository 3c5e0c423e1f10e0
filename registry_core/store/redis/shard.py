"""One shard: its masters, its write queue with the breaker, its follower, its guard. A bulkhead.

Each operation is one script. Nothing here knows that there are other shards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from registry_core.domain import guard as guarding
from registry_core.domain.guard import Census, Guard, GuardPhase
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import host_port
from registry_core.domain.order import fenced, late
from registry_core.domain.records import Instance, InstanceKey, Registration, Status
from registry_core.domain.registration import name_taken
from registry_core.domain.restoration import Outcome, claim_of
from registry_core.domain.selection import Random
from registry_core.errors import Fenced, Late, NotFound, StoreUnavailable
from registry_core.ports import Beat, BeatResult, Clock, GuardReport, ShardReport, SweepReport
from registry_core.store.redis import rows
from registry_core.store.redis.follower import Follower, ShardFeed
from registry_core.store.redis.journal import Journal, Written
from registry_core.store.redis.lives import Lives
from registry_core.store.redis.masters import Masters
from registry_core.store.redis.queue import DEFAULT_TERMS, QueueTerms, WriteQueue
from registry_core.store.redis.scripts import Name
from registry_core.store.redis.writes import Write

# Leases that are extended, and instances that go or turn suspect, in one script: about 2 ms each.
EXTENDED_AT_ONCE: Final = 500
# A shard that confirmed nothing for so long is not followed: it is asked once a second, and a failover takes about two.
FOLLOWED_S: Final = 4.0
# The writes that are remembered, to be put back into a later life of the shard.
_NOTED: Final = (Name.REGISTER, Name.RESTORE, Name.SET_STATUS, Name.DEREGISTER, Name.EVICT)
SWEPT_AT_ONCE: Final = 100
_ENCODER: Final = msgspec.json.Encoder()


class Stored(msgspec.Struct, frozen=True):
    """What a registration led to in its shard. `changed` False: only its lease was renewed."""

    instance: Instance
    created: bool
    changed: bool


class AddressTaken(Exception):
    """Raised when `host:port` is registered as another instance of the same shard."""

    def __init__(self, holder: InstanceKey) -> None:
        super().__init__(f"{holder.label}/{holder.instance_id}")
        self.holder = holder


class Shard:
    """The operations of one shard."""

    def __init__(
        self,
        number: int,
        masters: Masters,
        *,
        prefix: str,
        replicas: int,
        terms: LeaseTerms,
        feed: ShardFeed,
        clock: Clock,
        random: Random,
        queue_terms: QueueTerms = DEFAULT_TERMS,
        observe: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.number = number
        self.masters = masters
        self._terms = terms
        self._random = random
        self._clock = clock
        self._journal = Journal()
        lives = Lives(masters, prefix, self._journal, clock, unknown_s=terms.ttl_s)
        self.follower = Follower(number, masters, lives, prefix=prefix, feed=feed, journal=self._journal, clock=clock)
        self.queue = WriteQueue(
            masters,
            lives,
            prefix,
            replicas,
            clock=clock,
            random=random,
            acknowledged=self._note,
            terms=queue_terms,
            observe=observe,
        )
        self._guard = GuardReport(masters.name, GuardPhase.CLEAR, 0, 0, 0.0, None, 0.0)

    @property
    def name(self) -> str:
        return self.masters.name

    async def start(self) -> None:
        """Look for the master, and begin to follow it. Raises SettingsError when waiting cannot help."""
        await self.masters.start()
        self.follower.start()
        self.queue.start()

    async def close(self) -> None:
        """Stop everything. Safe to call twice."""
        await self.queue.close()
        await self.follower.close()
        await self.masters.close()

    def report(self) -> ShardReport:
        """Return how it stands."""
        position, age_s = self.follower.position, self.follower.age_s()
        breaker = self.queue.breaker.at(self._clock.monotonic())
        return ShardReport(
            shard=self.name,
            master=self.masters.address,
            problem=self.follower.fault or self.masters.problem or self.queue.refusal,
            epoch=position.epoch,
            revision=position.revision,
            age_s=round(age_s, 3) if math.isfinite(age_s) else None,
            writes_waiting=len(self.queue),
            breaker=breaker.state,
            breaker_failures=breaker.failures,
            last_failure=self.queue.last_failure,
            last_failure_at=self.queue.last_failure_at,
            not_closed_s=round(self.queue.not_closed_s, 3),
            latency_ms=self.masters.latency_ms,
            connection_pool=self.masters.connections,
            set_aside=len(self.follower.aside),
            notes=tuple(f"its replica {replica} lags, and is not waited for" for replica in self.queue.lagging),
        )

    def unknown(self, label: str) -> str:
        """Return why a service of this label may be in the shard though it was not delivered; "" when it is not."""
        age_s = self.follower.age_s()
        if age_s > FOLLOWED_S:
            reason = self.follower.fault or self.masters.problem or self.follower.interrupted or "its Redis is silent"
            since = f"for {age_s:.0f} s" if math.isfinite(age_s) else "yet"
            return f"shard {self.name!r} is not followed {since}: {reason}"
        for entry in self.follower.aside.values():
            if entry.label == label:
                return f"an entry of shard {self.name!r} cannot be read: {entry.field}: {entry.reason}"
        return ""

    def _note(self, write: Write) -> None:
        """Remember what a write that is acknowledged has made of its instance."""
        result = write.result
        if write.name not in _NOTED or result[0] != b"ok":
            return
        key, now = rows.key_of(_bytes(write.arguments[0])), self._clock.monotonic()
        if write.name in (Name.DEREGISTER, Name.EVICT):
            epoch, order = rows.removal_of(result[4])
            if order is not None:
                self._journal.note(key, Written(order, None, epoch), now)
            return
        order = rows.order_in(result[3])
        if order is not None:
            instance = rows.instance_of(result[3])
            self._journal.note(key, Written(order, instance, instance.epoch), now)

    # -- writes

    async def register(self, claim: Registration, *, sequence: int | None, may_displace: bool) -> Stored:
        """Store `claim`. Raises Conflict for its name, AddressTaken for its address, Fenced, Late, Unavailable."""
        result = await self._call(
            Name.REGISTER,
            rows.field_of(claim.key),
            claim.service_name,
            host_port(claim.host, claim.port),
            _number(claim.epoch),
            claim.status.value,
            rows.claim_json(claim),
            _ms(self._terms.ttl_s),
            _number(sequence),
            "1" if may_displace else "0",
        )
        match result[0]:
            case b"name":
                raise name_taken(claim.service_name, result[1].decode())
            case b"fenced" | b"late":
                raise _refusal(claim.key, claim.epoch, sequence, result)
            case b"address":
                raise AddressTaken(rows.key_of(result[1]))
        _, epoch, revision, value, created, now_ms, changed = result
        await self.follower.reached(epoch.decode(), int(revision))
        if changed == b"0" and now_ms != b"0":
            self.follower.heard(claim.key, int(now_ms))
        return Stored(rows.instance_of(value), created == b"1", changed == b"1")

    async def restore(self, saved: Instance) -> Outcome:
        """Bring back `saved`. Raises Conflict for its name, AddressTaken for its address, Unavailable."""
        claim = claim_of(saved)
        result = await self._call(
            Name.RESTORE,
            rows.field_of(saved.key),
            saved.service_name,
            saved.address,
            str(saved.epoch),
            saved.status.value,
            rows.claim_json(claim),
            str(round(saved.registered_at * 1000)),
        )
        match result[0]:
            case b"name":
                raise name_taken(saved.service_name, result[1].decode())
            case b"address":
                raise AddressTaken(rows.key_of(result[1]))
            case b"held":
                return Outcome.PRESENT if int(result[1]) == saved.epoch else Outcome.NEWER
        await self.follower.reached(result[1].decode(), int(result[2]))
        return Outcome.RESTORED

    async def renew(self, beats: Sequence[Beat], labels: Sequence[str]) -> list[BeatResult]:
        """Renew one lease for each of `beats`, whose services have these `labels`."""
        arguments: list[str] = []
        for beat, label in zip(beats, labels, strict=True):
            arguments += [label, beat.instance_id or "", _number(beat.epoch)]
        epoch, revision, now_ms, *outcomes = await self._call(Name.RENEW, *arguments)
        await self.follower.reached(epoch.decode(), int(revision))
        results: list[BeatResult] = []
        for outcome, field in zip(outcomes[::2], outcomes[1::2], strict=True):
            key = rows.key_of(field) if field else None
            if outcome == b"renewed" and key is not None:
                self.follower.heard(key, int(now_ms))
            results.append(BeatResult(outcome.decode(), key))
        return results

    async def set_status(self, key: InstanceKey, status: Status, epoch: int | None, sequence: int | None) -> Instance:
        """Change a status. Raises NotFound, Fenced, Late, Unavailable."""
        result = await self._call(Name.SET_STATUS, rows.field_of(key), status.value, _number(epoch), _number(sequence))
        return await self._changed(key, epoch, sequence, result)

    async def deregister(self, key: InstanceKey, epoch: int | None, sequence: int | None = None) -> Instance:
        """Take an instance out, and return its last record. Raises NotFound, Fenced, Late, Unavailable."""
        result = await self._call(Name.DEREGISTER, rows.field_of(key), _number(epoch), _number(sequence))
        return await self._changed(key, epoch, sequence, result)

    async def evict(self, holder: InstanceKey, address: str, *, may_displace: bool) -> bool:
        """Take out who holds `address` here, if it has to leave it to a newcomer; return False when it lives.

        Raises Unavailable.
        """
        result = await self._call(
            Name.EVICT, rows.field_of(holder), address, _ms(self._terms.ttl_s), "1" if may_displace else "0"
        )
        if result[0] == b"living":
            return False
        await self.follower.reached(result[1].decode(), int(result[2]))
        return True

    async def _changed(
        self, key: InstanceKey, epoch: int | None, sequence: int | None, result: list[bytes]
    ) -> Instance:
        match result[0]:
            case b"missing":
                raise NotFound(
                    f"no instance {key.instance_id!r} of {key.label!r} is registered",
                    field="instance_id",
                    provided=key.instance_id,
                )
            case b"fenced" | b"late":
                raise _refusal(key, epoch, sequence, result)
        await self.follower.reached(result[1].decode(), int(result[2]))
        return rows.instance_of(result[3])

    # -- the sweep

    async def sweep(self, sizes_of: Callable[[Collection[str]], Mapping[str, int]]) -> SweepReport:
        """Expire what has run out, unless the guard holds it. Raises Unavailable.

        `sizes_of`, how many instances some services have, is asked only while the guard lets go, and when
        several instances of one service are due.

        What is due is counted in one script, decided here, and carried out in another, which does nothing
        when somebody else swept in between: then it is theirs.
        """
        terms = self._terms
        counted = await self._census()
        now, swept, amnesty_s = (int(number) / 1000 for number in counted[:3])
        instances, overdue = int(counted[3]), int(counted[4])
        read_guard = _DECODE_GUARD(counted[6]) if counted[6] else guarding.CLEAR
        # Also what lies far ahead is forgotten: the server's clock was set back since.
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
        # A part at a time, each as a sweep of its own. What is remembered is remembered with the first of them: should
        # another replica come in between, more is counted as gone than went, and the guard is the more careful.
        fates = [*expired, *suspects]
        gone: list[InstanceKey] = []
        turned: list[InstanceKey] = []
        for start in range(0, max(1, len(fates)), SWEPT_AT_ONCE):
            result = await self._call(
                Name.SWEEP,
                str(int(sweeps) + start // SWEPT_AT_ONCE),
                _ms(terms.removed_after_s),
                b"" if guard == guarding.CLEAR else _ENCODER.encode(guard),
                _ENCODER.encode(expiries) if expiries else b"",
                str(max(0, min(SWEPT_AT_ONCE, len(expired) - start))),
                *(rows.field_of(key) for key in fates[start : start + SWEPT_AT_ONCE]),
            )
            if result[0] == b"stale":
                break
            await self.follower.reached(result[1].decode(), int(result[2]))
            fields = [rows.key_of(field) for field in result[5:]]
            gone += fields[: int(result[3])]
            turned += fields[int(result[3]) :]
        spared = guard.phase is GuardPhase.CLEAR and len(expired) < due
        return SweepReport(tuple(gone), amnesty_s, tuple(turned), spared)

    async def _census(self) -> list[bytes]:
        """Count, after as many calls as it takes to extend all leases when nobody swept for a while."""
        terms = self._terms
        while True:
            counted = await self._call(
                Name.CENSUS,
                _ms(terms.ttl_s),
                _ms(terms.removed_after_s),
                _ms(terms.amnesty_after_s),
                str(terms.most_per_sweep),
                str(EXTENDED_AT_ONCE),
            )
            if counted[0] != b"more":
                return counted

    def guard(self) -> GuardReport:
        """Return how the guard stood at the last sweep."""
        return self._guard

    async def release_guard(self) -> bool:
        """Have the guard let go; False when it does not hold. Raises Unavailable."""
        for _ in range(10):  # a sweep may come in between, each second at most
            found, now_ms = await self._call(Name.GUARD)
            if not found:
                return False
            held, now = _DECODE_GUARD(found), int(now_ms) / 1000
            released = held.released(now)
            if released == held:
                return False
            (done,) = await self._call(Name.RELEASE, found, _ENCODER.encode(released))
            if done == b"1":
                self._note_guard(released, now, self._guard.instances, self._guard.suspects)
                return True
        raise StoreUnavailable(f"shard {self.name!r} is being swept; try again")

    def _note_guard(self, guard: Guard, now: float, instances: int, suspects: int) -> None:
        terms = self._terms.guard
        held_s = 0.0 if guard.held_since is None else max(0.0, now - guard.held_since)
        self._guard = GuardReport(
            shard=self.name,
            phase=guard.phase,
            instances=instances,
            suspects=suspects,
            held_s=held_s,
            releases_in_s=max(0.0, terms.hold_s - held_s) if guard.phase is GuardPhase.HOLDING else None,
            budget_per_minute=terms.budget(instances),
        )

    async def _call(self, name: Name, *arguments: str | bytes) -> list[bytes]:
        return await self.queue.call(name, *arguments)


_DECODE_GUARD: Final = msgspec.json.Decoder(Guard).decode
_DECODE_EXPIRIES: Final = msgspec.json.Decoder(list[tuple[float, int]]).decode


def _ms(seconds: float) -> str:
    return str(int(seconds * 1000))


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _refusal(key: InstanceKey, epoch: int | None, sequence: int | None, result: list[bytes]) -> Fenced | Late:
    newer = int(result[1])
    return fenced(key, epoch, newer) if result[0] == b"fenced" else late(key, sequence, newer)
