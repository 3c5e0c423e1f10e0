"""One shard: its masters, its write queue with the breaker, its follower, its guard. A bulkhead.

Each operation is one script. A shard does not know of other shards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

from registry_core.domain.admission import Newcomer, address_taken, name_taken
from registry_core.domain.encoding import claim_json
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.order import fenced, late
from registry_core.domain.records import Claimed, Instance, InstanceKey, Registration, Status
from registry_core.domain.restoration import RestoreOutcome
from registry_core.domain.selection import Random
from registry_core.errors import Conflict, Fenced, Late, NotFound
from registry_core.ports.clock import Clock
from registry_core.ports.reports import ShardReport
from registry_core.ports.store import Beat, BeatResult, Grant
from registry_core.store.redis import rows
from registry_core.store.redis.follower import Follower
from registry_core.store.redis.journal import Journal, Written
from registry_core.store.redis.lives import Lives
from registry_core.store.redis.queue import WriteQueue
from registry_core.store.redis.scripts import ScriptName
from registry_core.store.redis.shard_feed import ShardFeed
from registry_core.store.redis.sweeper import Sweeper
from registry_core.store.redis.watcher import MasterWatcher
from registry_core.store.redis.writes import DEFAULT_TERMS, Observe, QueueTerms, Write, tell, unobserved
from registry_core.supervision import Background

# A shard that confirmed nothing for this long is not being followed: it is asked once a second, and a failover takes
# about two.
FOLLOWED_S: Final = 4.0
# The most writes remembered, to be put back into a later life of the shard.
_NOTED: Final = (
    ScriptName.REGISTER,
    ScriptName.RESTORE,
    ScriptName.SET_STATUS,
    ScriptName.DEREGISTER,
    ScriptName.EVICT,
)


class Shard:
    """The operations of one shard."""

    def __init__(
        self,
        number: int,
        masters: MasterWatcher,
        *,
        prefix: str,
        replicas: int,
        terms: LeaseTerms,
        feed: ShardFeed,
        clock: Clock,
        random: Random,
        queue_terms: QueueTerms = DEFAULT_TERMS,
        observe: Observe = unobserved,
        background: Background,
    ) -> None:
        self.number = number
        self.masters = masters
        self._terms = terms
        self._ttl_ms, self._missed_ms = rows.ms(terms.ttl_s), rows.ms(terms.missed_after_s)
        self._removed_ms = rows.ms(terms.removed_after_s)
        self._clock = clock
        self._journal = Journal()
        lives = Lives(masters, prefix, self._journal, clock, unknown_s=terms.ttl_s)
        self.follower = Follower(
            number,
            masters,
            lives,
            prefix=prefix,
            feed=feed,
            journal=self._journal,
            clock=clock,
            background=background,
        )
        self._arrivals = self.follower.arrivals
        self.queue = WriteQueue(
            masters,
            lives,
            prefix,
            replicas,
            clock=clock,
            acknowledged=self._acknowledged,
            terms=queue_terms,
            observe=observe,
            background=background,
        )
        self.sweeper = Sweeper(masters.name, self.queue, self.follower, terms, random)

    @property
    def name(self) -> str:
        return self.masters.name

    async def start(self) -> None:
        """Find the master and start following it. Raises SettingsError when waiting cannot help."""
        await self.masters.start()
        self.follower.start()
        self.queue.start()

    async def close(self) -> None:
        """Stop everything. Safe to call twice."""
        await self.queue.close()
        await self.follower.close()
        await self.masters.close()

    def report(self) -> ShardReport:
        """Return the shard's state."""
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
            notes=(
                *self.masters.notes,
                *(f"its replica {replica} lags and is not waited for" for replica in self.queue.lagging),
                *self._journal.notes,
            ),
            failovers=self.masters.figures.failovers,
            copies=self.masters.figures.copies,
            not_replicated=self.queue.not_replicated,
        )

    def unknown(self, label: str) -> str:
        """Return why a service with this label may be in the shard undelivered, or "" when it is not."""
        age_s = self.follower.age_s()
        if age_s > FOLLOWED_S:
            reason = self.follower.fault or self.masters.problem or self.follower.interrupted or "its Redis is silent"
            since = f"for {age_s:.0f} s" if math.isfinite(age_s) else "yet"
            return f"shard {self.name!r} is not followed {since}: {reason}"
        for entry in self.follower.aside.values():
            if entry.label == label:
                return f"an entry of shard {self.name!r} cannot be read: {entry.field}: {entry.reason}"
        return ""

    def _acknowledged(self, writes: Sequence[Write]) -> None:
        """Note the outcomes, and tell the callers once the last one has been delivered: they would wait for that."""
        for write in writes:
            self._note(write)
        last = next((at for write in reversed(writes) if (at := _position_in(write)) is not None), None)
        if last is None:
            tell(writes)
        else:
            self._arrivals.when_reached(*last, partial(tell, writes))

    def _note(self, write: Write) -> None:
        """Note the outcome of an acknowledged write in the journal."""
        result = write.result
        if write.name not in _NOTED or result[0] != b"ok":
            return
        now = self._clock.monotonic()
        if write.name in (ScriptName.DEREGISTER, ScriptName.EVICT):
            epoch, order = rows.removal_of(result[4])
            if order is not None:
                self._journal.note(rows.key_of(_bytes(write.arguments[0])), Written(order, None, epoch), now)
            return
        stored = rows.stored_in(result[3])
        if stored.order is not None:
            self._journal.note(stored.instance.key, Written(stored.order, stored.instance, stored.instance.epoch), now)

    # -- writes

    async def register(
        self, claim: Registration, *, sequence: int | None, newcomer: Newcomer, rivals: Sequence[InstanceKey] = ()
    ) -> Grant:
        """Store `claim`. Raises Conflict, Fenced, Late, Unavailable.

        `rivals` are the instances of this shard that hold its address, as far as known.
        """
        key = claim.key
        result = await self.queue.call(
            ScriptName.REGISTER,
            rows.field_of(key),
            claim.service_name,
            claim.address,
            _number(claim.epoch),
            claim.status.value,
            claim_json(claim),
            self._ttl_ms,
            _number(sequence),
            "1" if newcomer.may_displace else "0",
            self._missed_ms if newcomer.passing else self._ttl_ms,
            self._removed_ms,
            *map(rows.field_of, rivals),
        )
        if result[0] != b"ok":
            match result[0]:
                case b"name":
                    registered = result[1].decode()
                    raise name_taken(claim.service_name, registered, retry_after_s=self._terms.heartbeat_s)
                case b"fenced" | b"late":
                    raise _refusal(key, claim.epoch, sequence, result)
                case b"address":
                    raise _address_taken(claim, result)
        _, epoch, revision, value, created, now_ms, changed = result
        await self._arrivals.reached(epoch.decode(), int(revision))
        if changed == b"0" and now_ms != b"0":
            self.follower.heard([key], int(now_ms))
        return Grant(rows.stored_in(value).instance, created == b"1", self._terms.ttl_s)

    async def restore(self, saved: Instance, rivals: Sequence[InstanceKey] = ()) -> RestoreOutcome:
        """Bring back `saved`; `rivals` hold its address here, as far as known. Raises Conflict, Unavailable."""
        result = await self.queue.call(
            ScriptName.RESTORE,
            rows.field_of(saved.key),
            saved.service_name,
            saved.address,
            str(saved.epoch),
            saved.status.value,
            claim_json(saved),
            str(round(saved.registered_at * 1000)),
            *map(rows.field_of, rivals),
        )
        match result[0]:
            case b"name":
                raise name_taken(saved.service_name, result[1].decode())
            case b"address":
                raise _address_taken(saved, result)
            case b"held":
                return RestoreOutcome.PRESENT if int(result[1]) == saved.epoch else RestoreOutcome.NEWER
        await self._arrivals.reached(result[1].decode(), int(result[2]))
        return RestoreOutcome.RESTORED

    async def renew(self, beats: Sequence[Beat], labels: Sequence[str]) -> list[BeatResult]:
        """Renew one lease for each of `beats`, whose services have these `labels`."""
        keys = [InstanceKey(label, beat.instance_id or "") for beat, label in zip(beats, labels, strict=True)]
        arguments: list[str] = []
        for beat, key in zip(beats, keys, strict=True):
            arguments += (rows.field_of(key), "" if beat.epoch is None else str(beat.epoch))
        epoch, revision, now_ms, *told = await self.queue.call(ScriptName.RENEW, *arguments)
        await self._arrivals.reached(epoch.decode(), int(revision))
        results = [BeatResult("renewed", key) for key in keys]
        renewed: list[InstanceKey | None] = [*keys]
        for number, outcome, field in zip(map(int, told[::3]), told[1::3], told[2::3], strict=True):
            found = rows.key_of(field) if field else None
            results[number] = BeatResult(outcome.decode(), found)
            renewed[number] = found if outcome == b"renewed" else None
        self.follower.heard([key for key in renewed if key is not None], int(now_ms))
        return results

    async def set_status(self, key: InstanceKey, status: Status, epoch: int | None, sequence: int | None) -> Instance:
        """Change a status. Raises NotFound, Fenced, Late, Unavailable."""
        result = await self.queue.call(
            ScriptName.SET_STATUS, rows.field_of(key), status.value, _number(epoch), _number(sequence)
        )
        return await self._changed(key, epoch, sequence, result)

    async def deregister(self, key: InstanceKey, epoch: int | None, sequence: int | None = None) -> Instance:
        """Remove an instance and return its last record. Raises NotFound, Fenced, Late, Unavailable."""
        result = await self.queue.call(ScriptName.DEREGISTER, rows.field_of(key), _number(epoch), _number(sequence))
        return await self._changed(key, epoch, sequence, result)

    async def evict(
        self, holder: InstanceKey, claim: Registration, wanted: Sequence[str], newcomer: Newcomer, *, moved: bool
    ) -> None:
        """Remove the instance that holds a wanted socket here, if it must give way to `claim`.

        Raises Conflict when it need not, Unavailable.
        """
        result = await self.queue.call(
            ScriptName.EVICT,
            rows.field_of(holder),
            self._ttl_ms,
            self._missed_ms if newcomer.passing else self._ttl_ms,
            "1" if newcomer.may_displace else "0",
            claim.address if moved else "",
            *wanted,
        )
        if result[0] == b"living":
            raise _address_taken(claim, result)
        await self._arrivals.reached(result[1].decode(), int(result[2]))

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
        await self._arrivals.reached(result[1].decode(), int(result[2]))
        return rows.stored_in(result[3]).instance


def _position_in(write: Write) -> tuple[str, int] | None:
    """Return the epoch and revision that a write reached, if its answer says so."""
    result = write.result
    if write.name is ScriptName.RENEW:
        return result[0].decode(), int(result[1])
    if write.name in _NOTED and result[0] == b"ok":
        return result[1].decode(), int(result[2])
    return None


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _refusal(key: InstanceKey, epoch: int | None, sequence: int | None, result: list[bytes]) -> Fenced | Late:
    newer = int(result[1])
    if result[0] == b"late":
        return late(key, sequence, newer)
    owner = rows.holder_in(key, result[2]) if result[2] else None
    return fenced(key, epoch, newer, owner, retry_after_s=int(result[3]) / 1000 if len(result) > 3 and owner else None)


def _address_taken(claim: Claimed, result: list[bytes]) -> Conflict:
    holder = rows.holder_in(rows.key_of(result[1]), result[2])
    return address_taken(claim, holder, retry_after_s=int(result[3]) / 1000 if len(result) > 3 else None)
