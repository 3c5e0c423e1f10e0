"""The write queue of one shard: what arrives within a few milliseconds goes in one pipeline, with one WAIT.

A write is acknowledged only when as many replicas as asked for hold it. One that meets a failover is held
and sent again to the next master: every script gives the same result when it is repeated. Nothing is held
for longer than its time, and no more is held than the bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from redis.asyncio import Redis

from registry_core.domain.breaker import Admitted, Breaker, BreakerState, BreakerTerms, Refused, Seen
from registry_core.domain.selection import Random
from registry_core.errors import NotReplicated, Overloaded, StoreUnavailable
from registry_core.ports import Clock
from registry_core.store.redis import scripts
from registry_core.store.redis.ending import end
from registry_core.store.redis.failures import Verdict, is_answer, unavailable, verdict_on
from registry_core.store.redis.masters import Masters
from registry_core.store.redis.scripts import Name

_log = structlog.get_logger(component="store.redis")


class QueueTerms(msgspec.Struct, frozen=True):
    """The numbers of the queue. Seconds where it says `_s`."""

    gather_s: float = 0.001
    batch: int = 500
    held: int = 5_000
    operation_s: float = 5.0  # from the call to the answer, failovers and all
    wait_s: float = 0.5  # for the word of the replicas, each time it is asked for
    # How long a write is held by a master that answers and whose replicas do not. A failover takes it to
    # another master within 1 s, and that one has a replica within another: what lasts longer is no failover,
    # but a master that was cut off, and its callers are better off at another registry replica.
    replicas_s: float = 1.5
    # Between two tries while no other master is heard of; then the operation's time is over.
    retries_s: tuple[float, ...] = (1.0, 2.0, 4.0)
    # While the master is well and its replicas are not: in a failover, that is over soon. When it is not,
    # hundreds of writes are not sent fifty times a second for as long as it lasts.
    again_s: float = 0.02
    again_for_s: float = 2.0
    again_later_s: float = 0.25
    breaker: BreakerTerms = BreakerTerms()


DEFAULT_TERMS: Final = QueueTerms()
# The replicas are given at least so long for their word, however long they have been silent.
LEAST_WAIT_S: Final = 0.1
# A server that takes longer than this to answer does not serve as a master should.
SUSPICIOUS_S: Final = 1.0


class _Write:
    __slots__ = ("answered", "arguments", "called_at", "done", "name", "result", "taken_by")

    def __init__(
        self, name: Name, arguments: tuple[str | bytes, ...], called_at: float, done: asyncio.Future[Any]
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.called_at = called_at
        self.done = done
        self.answered = False  # it failed by the word of a master, and not for want of one
        self.result: Any = None  # what the first master that took it answered
        self.taken_by: Redis | None = None  # who has it, though no replica confirmed it yet

    def take(self, result: Any, client: Redis) -> None:
        """Keep an answer. A repetition finds its own work done: the first answer is the true one."""
        repeated = isinstance(result, list) and result[:1] in _DONE_BEFORE
        begun = self.result == [b"more"]  # an answer that asks to be asked again is none to be kept
        if self.result is None or begun or not (repeated or self.name in _TOLD_ONCE):
            created = self.result[4] if self.name is Name.REGISTER and self.result and len(self.result) > 4 else None
            self.result = result
            if created is not None and isinstance(result, list) and len(result) > 4:
                result[4] = created
        self.taken_by = client


# What a repetition is answered that finds its own work done.
_DONE_BEFORE: Final = ([b"missing"], [b"stale"], [b"held"])
# What these answer is of the first time only: an amnesty is given once, a guard released once.
_TOLD_ONCE: Final = (Name.CENSUS, Name.RELEASE)


class WriteQueue:
    """The writes of one shard, in the order in which they came."""

    def __init__(
        self,
        masters: Masters,
        prefix: str,
        replicas: int,
        *,
        clock: Clock,
        random: Random,
        terms: QueueTerms = DEFAULT_TERMS,
        observe: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`observe` is told how long each pipeline took, with the word of the replicas, in seconds."""
        self._masters = masters
        self.prefix = prefix
        self._replicas = replicas
        self._clock = clock
        self._random = random
        self._terms = terms
        self.breaker = Breaker(terms.breaker, since=clock.monotonic())
        self._not_closed_since: float | None = None
        self._observe = observe
        self.last_failure = ""
        self.last_failure_at: float | None = None
        self.refusal = ""  # why the master takes no writes, though it answers; "" since it took one
        self._writes: list[_Write] = []
        self._held = 0
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._alone_since: float | None = None  # since when the master in place lacks the word of its replicas
        self._knows_it = False  # it refuses writes by itself for want of them (NOREPLICAS)
        self._task: asyncio.Task[None] | None = None
        self._told: Exception | None = None  # the last telling failure, since something was taken
        self._known_to: Redis | None = None  # the client whose server knows our scripts
        masters.subscribe(self._has_moved)

    def __len__(self) -> int:
        """How many writes are under way."""
        return self._held

    @property
    def not_closed_s(self) -> float:
        """Seconds since the breaker opened and has not closed again; 0 while it is closed."""
        return 0.0 if self._not_closed_since is None else self._clock.monotonic() - self._not_closed_since

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Stop sending; what is held fails. Safe to call twice."""
        await end([self._task])
        for write in self._writes:
            _fail(write, StoreUnavailable("the store is closing"))
        self._writes.clear()

    async def call(self, name: Name, *arguments: str | bytes) -> list[bytes]:
        """Run one script as a write, and return what it returned once it is held by enough servers.

        Raises StoreUnavailable or NotReplicated when that did not come about in time, Overloaded when too
        much is waiting already.
        """
        now = self._clock.monotonic()
        admission = self.breaker.admission(now, self._random.random())
        match admission:
            case Refused(retry_after_s=retry_after_s):
                raise StoreUnavailable(
                    f"shard {self._masters.name!r} has been failing and is left alone: {self.last_failure}",
                    retry_after_s=max(1.0, retry_after_s),
                )
            case Admitted():
                pass
        if self._held >= self._terms.held:
            raise Overloaded(f"shard {self._masters.name!r} has {self._held} writes waiting already")
        done: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        write = _Write(name, arguments, now, done)
        self._writes.append(write)
        self._held += 1
        self._wake.set()
        try:
            result = await done
        except (StoreUnavailable, NotReplicated) as error:
            self.last_failure, self.last_failure_at = str(error), self._clock.wall()
            self.refusal = self.last_failure if write.answered else ""
            # A master that answers, be it with a refusal, needs no sparing.
            self._record(admission, Seen.SUCCESS if write.answered else Seen.FAILURE)
            raise
        else:
            self.refusal = ""
            self._record(admission, Seen.SUCCESS)
            return result
        finally:
            self._held -= 1

    def _record(self, admitted: Admitted, seen: Seen) -> None:
        now = self._clock.monotonic()
        before = self.breaker.at(now).state
        self.breaker = self.breaker.recorded(admitted, seen, now)
        if self.breaker.state is BreakerState.CLOSED:
            self._not_closed_since = None
        elif self._not_closed_since is None:
            self._not_closed_since = now
        if self.breaker.state is not before:
            level = _log.warning if self.breaker.state is BreakerState.OPEN else _log.info
            because = self.last_failure if seen is Seen.FAILURE else ""
            level("breaker_changed", shard=self._masters.name, state=self.breaker.state, because=because)

    # -- sending

    def _has_moved(self) -> None:
        """Hear that a master is in place: another one, or the same again."""
        self._alone_since, self._knows_it = None, False
        self._moved.set()

    def _ends_at(self, write: _Write) -> float:
        return write.called_at + self._terms.operation_s

    def _patience_s(self, write: _Write) -> float:
        """Return for how long the word of the replicas is still waited for."""
        if self._alone_since is None:
            return self._terms.replicas_s
        return max(write.called_at, self._alone_since) + self._terms.replicas_s - self._clock.monotonic()

    def _lacks_replicas(self, error: Exception, tried_at: float) -> bool:
        """Return whether a try failed for want of the replicas alone, and take note of since when it has been so."""
        if not isinstance(unavailable(error, self._masters.name), NotReplicated):
            return False
        self._alone_since = tried_at if self._alone_since is None else self._alone_since
        self._knows_it = not isinstance(error, NotReplicated)
        return True

    def _is_forsaken(self, write: _Write) -> bool:
        """Return whether it is of no use any more to wait for the word of the replicas."""
        if self._alone_since is None:
            return False
        alone_s = self._clock.monotonic() - self._alone_since
        return self._patience_s(write) <= 0 or (self._knows_it and alone_s >= self._terms.replicas_s)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._terms.gather_s)
            batch, self._writes = self._writes[: self._terms.batch], self._writes[self._terms.batch :]
            if not self._writes:
                self._wake.clear()
            try:
                await self._deliver([write for write in batch if not write.done.done()])
            except asyncio.CancelledError:
                for write in batch:
                    _fail(write, StoreUnavailable("the store is closing"))
                raise
            except Exception as error:  # noqa: BLE001 - the top of the loop: the next batch is sent all the same
                _log.exception("write_failed", shard=self._masters.name)
                for write in batch:
                    _fail(write, unavailable(error, self._masters.name))

    async def _deliver(self, batch: list[_Write]) -> None:
        """Send `batch` until each write is acknowledged, or its time is over."""
        tries, began = 0, self._clock.monotonic()
        while batch:
            self._moved.clear()
            tried_at = self._clock.monotonic()
            batch, error = await self._try(batch)
            if not batch:
                self._alone_since, self._knows_it, self._told = None, False, None
                return
            now = self._clock.monotonic()
            alone = self._lacks_replicas(error, tried_at)
            # A try that was given no time tells nothing: then what the one before told is the reason.
            if self._told is None or not (isinstance(error, TimeoutError) and now - tried_at < SUSPICIOUS_S):
                self._told = error
            for write in batch:
                if now >= self._ends_at(write) or (alone and self._is_forsaken(write)):
                    _fail(write, self._in_the_end(write, self._told), answered=is_answer(self._told))
            batch = [write for write in batch if not write.done.done()]
            if not batch:
                return
            verdict = verdict_on(error)
            patience_s = self._terms.again_s if now - began < self._terms.again_for_s else self._terms.again_later_s
            if verdict is Verdict.ELSEWHERE or isinstance(error, StoreUnavailable):
                patience_s = self._terms.retries_s[min(tries, len(self._terms.retries_s) - 1)]
                tries += 1
            patience_s = min(patience_s, max(0.0, min(self._ends_at(write) for write in batch) - now))
            try:
                async with asyncio.timeout(patience_s):
                    await self._moved.wait()
            except TimeoutError:
                pass

    def _in_the_end(self, write: _Write, error: Exception) -> Exception:
        if write.taken_by is not None and not isinstance(error, NotReplicated):
            return NotReplicated(f"shard {self._masters.name!r} took it, and no replica confirmed it in time")
        return unavailable(error, self._masters.name)

    async def _try(self, batch: list[_Write]) -> tuple[list[_Write], Exception]:
        """Send once. Return the writes that are not done yet, and why."""
        began = self._clock.monotonic()
        left_s = max(self._ends_at(write) for write in batch) - began
        client: Redis | None = None
        try:
            client = await self._masters.current()
            async with asyncio.timeout(max(0.001, left_s)):
                if self._known_to is not client:
                    await scripts.load(client)
                    self._known_to = client
                return await self._send(client, batch)
        except Exception as error:  # noqa: BLE001 - whatever it was, `verdict_on` says what follows
            # A server that was given no time to answer is under no suspicion.
            given_time = not isinstance(error, TimeoutError) or self._clock.monotonic() - began >= SUSPICIOUS_S
            verdict = verdict_on(error)
            if client is not None and verdict is Verdict.ELSEWHERE and given_time:
                self._masters.failed(client, error)
            if verdict is Verdict.HOPELESS and is_answer(error):  # to what was asked for all of them
                for write in batch:
                    _fail(write, unavailable(error, self._masters.name), answered=True)
                return [], error
            return batch, error

    async def _send(self, client: Redis, batch: list[_Write]) -> tuple[list[_Write], Exception]:
        pipeline = client.pipeline(transaction=False)
        # What this master has taken already only lacks the word of its replicas.
        sent = [write for write in batch if write.taken_by is not client]
        for write in sent:
            scripts.add(pipeline, write.name, self.prefix, write.arguments)
        if self._replicas:
            if not sent:
                pipeline.ping()  # WAIT speaks for all that was written before this connection's last command
            # Nobody is kept waiting for longer than the one who has waited longest can be.
            patience_s = 0.0 if self._knows_it else min(self._patience_s(write) for write in batch)
            wait_s = min(self._terms.wait_s, max(LEAST_WAIT_S, patience_s))
            pipeline.execute_command("WAIT", str(self._replicas), str(int(wait_s * 1000)))
        began = self._clock.monotonic()
        results = await pipeline.execute(raise_on_error=False)
        self._observe(self._clock.monotonic() - began)
        reason: Exception = StoreUnavailable("nothing was sent")
        confirmed = True
        if self._replicas:
            count = results.pop()
            confirmed = isinstance(count, int) and count >= self._replicas
            if not confirmed:
                reason = (
                    count
                    if isinstance(count, Exception)
                    else NotReplicated(
                        f"shard {self._masters.name!r}: {count} of {self._replicas} replicas confirmed the write"
                    )
                )
        left: list[_Write] = []
        for write, result in zip(sent, results, strict=False):
            if not isinstance(result, Exception):
                write.take(result, client)
                continue
            reason = result
            if not self._refused(client, write, result):
                left.append(write)
        for write in batch:
            if write.taken_by is not client:
                continue
            if not confirmed:
                left.append(write)
            elif not write.done.done():
                write.done.set_result(write.result)
        return left, reason

    def _refused(self, client: Redis, write: _Write, error: Exception) -> bool:
        """Take note of why a server refused a write; True when trying again is of no use."""
        match verdict_on(error):
            case Verdict.HOPELESS:
                _fail(write, unavailable(error, self._masters.name), answered=is_answer(error))
                return True
            case Verdict.RELOAD:
                self._known_to = None
            case Verdict.ELSEWHERE:
                self._masters.failed(client, error)
            case Verdict.AGAIN:
                pass
        return False


def _fail(write: _Write, error: Exception, *, answered: bool = False) -> None:
    if not write.done.done():
        write.answered = answered
        write.done.set_exception(error)
