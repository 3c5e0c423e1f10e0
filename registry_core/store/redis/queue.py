"""The write queue of one shard: writes that arrive within a few milliseconds share one pipeline and one WAIT.

A write is acknowledged when every server that may lead the shard next has it (`quorum.py`). A write interrupted by a
failover is held and sent again to the next master: every script gives the same result when repeated. The time for
which a write is held, and the number of held writes, are bounded. `writes.py` defines the states of a write and
`quorum.py` what a try means; this module carries both out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import structlog

from registry_core.domain.breaker import Admitted, Breaker, BreakerState, Rejected, Seen
from registry_core.domain.trial_draws import TrialDraws
from registry_core.errors import NotReplicated, Overloaded, StoreUnavailable
from registry_core.ports.clock import Clock
from registry_core.ports.once import signed_once
from registry_core.security.signature_errors import Replayed
from registry_core.store.redis.failures import FailureAction, seen_by, unavailable, verdict_on, words_of
from registry_core.store.redis.lives import Lives
from registry_core.store.redis.scripts import ScriptName
from registry_core.store.redis.sender import SUSPICIOUS_S, Sender
from registry_core.store.redis.store_spans import store_span
from registry_core.store.redis.watcher import MasterWatcher
from registry_core.store.redis.writes import DEFAULT_TERMS, Observe, QueueTerms, Write, WriteState, unobserved
from registry_core.supervision import Background, end
from registry_core.telemetry.spans import tracing

_log = structlog.get_logger(component="store.redis")


# A wait that ends this much late means that the whole process stood still.
STANDSTILL_S: Final = 1.0
# Between two checks for a master while there is nothing to write.
IDLE_RETRY_S: Final = 0.5


class WriteQueue:
    """The writes of one shard, in the order in which they came."""

    def __init__(
        self,
        masters: MasterWatcher,
        lives: Lives,
        prefix: str,
        replicas: int,
        *,
        clock: Clock,
        acknowledged: Callable[[Sequence[Write]], None],
        terms: QueueTerms = DEFAULT_TERMS,
        observe: Observe = unobserved,
        background: Background | None = None,
    ) -> None:
        """`acknowledged` is called with the acknowledged writes of a pipeline, and has to tell their callers (`tell`).

        `observe` is called for each pipeline.
        """
        self._masters = masters
        self._clock = clock
        self._draws = TrialDraws()
        self._terms = terms
        self._background = background if background is not None else Background(clock)
        self.breaker = Breaker(terms.breaker, since=clock.monotonic())
        self._not_closed_since: float | None = None
        self.last_failure = ""
        self.last_failure_at: float | None = None
        self.not_replicated = 0  # writes that failed because too few replicas confirmed them
        self.refusal = ""  # why a master that answers takes no writes; "" since it took one
        self._writes: list[Write] = []
        self._held = 0
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._told: Exception | None = None  # the last meaningful failure since a write was taken
        self._sender = Sender(
            masters,
            lives,
            prefix=prefix,
            replicas=replicas,
            clock=clock,
            terms=terms,
            acknowledged=acknowledged,
            observe=observe,
        )
        self._task: asyncio.Task[None] | None = None
        masters.subscribe(self._has_moved)
        lives.subscribe(self._moved.set)

    def __len__(self) -> int:
        """The number of writes in progress."""
        return self._held

    @property
    def lagging(self) -> tuple[str, ...]:
        """The replicas that lag, and are not waited for."""
        return tuple(sorted(map(str, self._sender.confidence.excused)))

    @property
    def not_closed_s(self) -> float:
        """Seconds since the breaker opened and has not closed again; 0 while it is closed."""
        return 0.0 if self._not_closed_since is None else self._clock.monotonic() - self._not_closed_since

    def start(self) -> None:
        """Start sending."""
        self._task = self._background.keep("redis writes", self._run)

    async def close(self) -> None:
        """Stop sending and fail the held writes. Safe to call twice."""
        await end([self._task])
        for write in self._writes:
            write.fail(StoreUnavailable("the store is closing"))
        self._writes.clear()
        await self._sender.leave()

    def call(self, name: ScriptName, *arguments: str | bytes) -> Coroutine[Any, Any, list[bytes]]:
        """Return what runs one script as a write, and returns its result once enough servers hold the write.

        Raises StoreUnavailable or NotReplicated when that did not happen in time, Overloaded when too many
        writes are waiting already, Replayed when the signed request for which this is done was carried out before.
        """
        return self._call(name, arguments) if tracing.tracer is None else self._traced(name, arguments)

    async def _traced(self, name: ScriptName, arguments: tuple[str | bytes, ...]) -> list[bytes]:
        with store_span(name, self._masters.name, self._masters.address):
            return await self._call(name, arguments)

    async def _call(self, name: ScriptName, arguments: tuple[str | bytes, ...]) -> list[bytes]:
        now = self._clock.monotonic()
        admission = self.breaker.admission(now, self._draws.draw(self.breaker, now))
        if isinstance(admission, Rejected):
            raise StoreUnavailable(
                f"the circuit breaker of shard {self._masters.name!r} is open: {self.last_failure}",
                retry_after_s=max(1.0, admission.retry_after_s),
            )
        if self._held >= self._terms.held:
            raise Overloaded(f"shard {self._masters.name!r} has {self._held} writes waiting already")
        done: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        write = Write(name, arguments, now, done, signed_once.get())
        self._writes.append(write)
        self._held += 1
        self._wake.set()
        try:
            result = await done
        except (StoreUnavailable, NotReplicated) as error:
            self.last_failure, self.last_failure_at = str(error), self._clock.wall()
            self.not_replicated += isinstance(error, NotReplicated)
            self.refusal = self.last_failure if write.seen is Seen.SUCCESS else ""
            if write.seen is not None:
                self._record(admission, write.seen)
            raise
        except Replayed:
            self._record(admission, Seen.SUCCESS)
            raise
        else:
            self.refusal = ""
            if self.breaker.state is not BreakerState.CLOSED or self.breaker.failures:
                self._record(admission, Seen.SUCCESS)
            return result
        finally:
            self._held -= 1

    def _record(self, admitted: Admitted, seen: Seen) -> None:
        now = self._clock.monotonic()
        recorded = self.breaker.recorded(admitted, seen, now)
        if recorded is self.breaker:
            return
        before, self.breaker = self.breaker.at(now).state, recorded
        if self.breaker.state is BreakerState.CLOSED:
            self._not_closed_since = None
        elif self._not_closed_since is None:
            self._not_closed_since = now
        if self.breaker.state is not before:
            what = {"shard": self._masters.name, "state": self.breaker.state, "because": ""}
            what["because"] = self.last_failure if seen is Seen.FAILURE else ""
            if self.breaker.state is BreakerState.OPEN:
                _log.warning("breaker_changed", **what)
            else:
                _log.info("breaker_changed", **what)

    # -- the loop

    def _has_moved(self) -> None:
        """Note that a master is in place: another one, or the same again."""
        self._sender.has_moved()
        self._moved.set()
        self._wake.set()  # acknowledged writes are put back into a new life even when there is nothing to write

    async def _run(self) -> None:
        self._wake.set()  # send what was waiting when this task restarted
        while True:
            await self._wake.wait()
            if not self._writes:
                self._wake.clear()
                await self._look_around()
                continue
            # What came while the batch before was on its way has been gathered by now.
            waits_s = self._terms.gather_s - (self._clock.monotonic() - self._writes[0].called_at)
            if waits_s > 0:
                await asyncio.sleep(waits_s)
            batch, self._writes = self._writes[: self._terms.batch], self._writes[self._terms.batch :]
            if not self._writes:
                self._wake.clear()
            try:
                await self._deliver([write for write in batch if not write.done.done()])
            except asyncio.CancelledError:
                for write in batch:
                    write.fail(StoreUnavailable("the store is closing"))
                raise
            except Exception as error:  # noqa: BLE001 - the top of the loop: the next batch is sent anyway
                _log.exception("write_failed", shard=self._masters.name)
                for write in batch:
                    write.fail(unavailable(error, self._masters.name))

    async def _look_around(self) -> None:
        """Connect to the current master though there is nothing to write, so that it gets the writes it may lack."""
        try:
            async with asyncio.timeout(self._terms.operation_s):  # bounds the wait of a new write
                await self._sender.linked()
        except Exception as error:  # noqa: BLE001 - the next write or master retries after any failure
            if verdict_on(error) is FailureAction.HOPELESS and not isinstance(error, StoreUnavailable):
                _log.warning("master_not_opened", shard=self._masters.name, because=words_of(error))
            asyncio.get_running_loop().call_later(IDLE_RETRY_S, self._wake.set)

    async def _deliver(self, batch: list[Write]) -> None:
        """Send `batch` until each write is acknowledged or its time is over."""
        tries, began = 0, self._clock.monotonic()
        for write in batch:
            # A late write is not sent after newer ones. A write waits here at most for the previous one: a longer
            # wait means that this process stood still, and says nothing about the shard.
            late_s = began - write.ends_at(self._terms)
            if late_s >= 0:
                reason = self._told or StoreUnavailable("its time was over before it could be sent")
                write.fail(self._in_the_end(write, reason), None if late_s > STANDSTILL_S else seen_by(reason))
        batch = [write for write in batch if not write.done.done()]
        while batch:
            self._moved.clear()
            tried_at = self._clock.monotonic()
            error = await self._sender.attempt(batch)
            batch = [write for write in batch if write.state in (WriteState.HELD, WriteState.TAKEN)]
            if not batch:
                return
            now = self._clock.monotonic()
            # A try that had no time yields no reason: use that of the try before.
            if self._told is None or not (isinstance(error, TimeoutError) and now - tried_at < SUSPICIOUS_S):
                self._told = error
            if now > max(write.ends_at(self._terms) for write in batch) + STANDSTILL_S:
                # Every wait here ends before that: this process stood still, and no server is to blame.
                for write in batch:
                    write.fail(StoreUnavailable("this replica was stalled, and the write did not complete"), None)
                return
            alone_s = self._sender.confidence.alone_s(now)
            for write in batch:
                # Each write is held for as long as a failover may take, unless its server itself reports no replicas.
                waited_s = alone_s if self._sender.confidence.refusing else min(alone_s, now - write.called_at)
                if now >= write.ends_at(self._terms) or waited_s >= self._terms.replicas_s:
                    write.fail(self._in_the_end(write, self._told), seen_by(self._told))
            batch = [write for write in batch if not write.done.done()]
            if not batch:
                return
            patience_s = self._terms.again_s if now - began < self._terms.again_for_s else self._terms.again_later_s
            if verdict_on(error) is FailureAction.ELSEWHERE or isinstance(error, StoreUnavailable):
                patience_s = self._terms.retries_s[min(tries, len(self._terms.retries_s) - 1)]
                tries += 1
            patience_s = min(patience_s, max(0.0, min(write.ends_at(self._terms) for write in batch) - now))
            try:
                async with asyncio.timeout(patience_s):
                    await self._moved.wait()
            except TimeoutError:
                pass

    def _in_the_end(self, write: Write, error: Exception) -> Exception:
        if write.state is WriteState.TAKEN and not isinstance(error, NotReplicated):
            return NotReplicated(f"shard {self._masters.name!r} took the write, and no replica confirmed it in time")
        return unavailable(error, self._masters.name)
