"""The write queue of one shard: what arrives within a few milliseconds goes in one pipeline, with one WAIT.

A write is acknowledged when those that may lead the shard next have it (`quorum.py`). One that meets a failover is
held and sent again to the next master: every script gives the same result when it is repeated. Nothing is held for
longer than its time, and no more is held than the bound. What becomes of a write stands in `writes.py`, what a try
means in `quorum.py`; here both are carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from redis.exceptions import ResponseError

from registry_core.domain.breaker import Admitted, Breaker, BreakerState, BreakerTerms, Refused, Seen
from registry_core.domain.selection import Random
from registry_core.errors import NotReplicated, Overloaded, StoreUnavailable
from registry_core.ports import Clock
from registry_core.store.redis.ending import end
from registry_core.store.redis.failures import Verdict, is_answer, unavailable, verdict_on
from registry_core.store.redis.link import Link
from registry_core.store.redis.lives import Lives
from registry_core.store.redis.masters import Masters
from registry_core.store.redis.quorum import Confidence, Lag, Ruling, lag_of, required, ruled
from registry_core.store.redis.scripts import Command, Name, called, loading
from registry_core.store.redis.writes import Write, WriteEvent, WriteState

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
# What a write may arrive later than its caller waits for it, since the way to the server and back takes a while.
ARRIVAL_S: Final = 0.25
# Between two looks for a master while nothing is to be written.
IDLE_RETRY_S: Final = 0.5


class WriteQueue:
    """The writes of one shard, in the order in which they came."""

    def __init__(
        self,
        masters: Masters,
        lives: Lives,
        prefix: str,
        replicas: int,
        *,
        clock: Clock,
        random: Random,
        acknowledged: Callable[[Write], None],
        terms: QueueTerms = DEFAULT_TERMS,
        observe: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`acknowledged` is told of each write just before its caller is.

        `observe` is told how long each pipeline took, with the word of the replicas, in seconds.
        """
        self._masters = masters
        self._lives = lives
        self._prefix = prefix
        self._replicas = replicas
        self._clock = clock
        self._random = random
        self._acknowledged = acknowledged
        self._terms = terms
        self.breaker = Breaker(terms.breaker, since=clock.monotonic())
        self._not_closed_since: float | None = None
        self._observe = observe
        self.last_failure = ""
        self.last_failure_at: float | None = None
        self.refusal = ""  # why the master takes no writes, though it answers; "" since it took one
        self._writes: list[Write] = []
        self._held = 0
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._confidence = Confidence()
        self._told: Exception | None = None  # the last telling failure, since something was taken
        self._link: Link | None = None
        self._knows_scripts = False
        self._task: asyncio.Task[None] | None = None
        masters.subscribe(self._has_moved)
        lives.subscribe(self._moved.set)

    def __len__(self) -> int:
        """How many writes are under way."""
        return self._held

    @property
    def lagging(self) -> tuple[str, ...]:
        """The replicas that are not waited for, since they lag."""
        return tuple(sorted(map(str, self._confidence.excused)))

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
            write.fail(StoreUnavailable("the store is closing"))
        self._writes.clear()
        await self._leave()

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
        write = Write(name, arguments, now, done)
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

    # -- the loop

    def _has_moved(self) -> None:
        """Hear that a master is in place: another one, or the same again."""
        self._confidence = self._confidence.moved()
        self._moved.set()
        self._wake.set()  # what was acknowledged is put back into another life, also when nothing is written

    def _ends_at(self, write: Write) -> float:
        return write.called_at + self._terms.operation_s

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if not self._writes:
                self._wake.clear()
                await self._look_around()
                continue
            await asyncio.sleep(self._terms.gather_s)
            batch, self._writes = self._writes[: self._terms.batch], self._writes[self._terms.batch :]
            if not self._writes:
                self._wake.clear()
            try:
                await self._deliver([write for write in batch if not write.done.done()])
            except asyncio.CancelledError:
                for write in batch:
                    write.fail(StoreUnavailable("the store is closing"))
                raise
            except Exception as error:  # noqa: BLE001 - the top of the loop: the next batch is sent all the same
                _log.exception("write_failed", shard=self._masters.name)
                for write in batch:
                    write.fail(unavailable(error, self._masters.name))

    async def _look_around(self) -> None:
        """Go to the master that is in place, though nothing is to be written, so that it gets what it may lack."""
        try:
            await self._linked()
        except Exception as error:  # noqa: BLE001 - whatever it was, the next write or the next master tries again
            if verdict_on(error) is Verdict.HOPELESS and not isinstance(error, StoreUnavailable):
                _log.warning("master_not_opened", shard=self._masters.name, because=str(error))
            asyncio.get_running_loop().call_later(IDLE_RETRY_S, self._wake.set)

    async def _deliver(self, batch: list[Write]) -> None:
        """Send `batch` until each write is acknowledged, or its time is over."""
        tries, began = 0, self._clock.monotonic()
        while batch:
            self._moved.clear()
            tried_at = self._clock.monotonic()
            error = await self._try(batch)
            batch = [write for write in batch if write.state in (WriteState.HELD, WriteState.TAKEN)]
            if not batch:
                return
            now = self._clock.monotonic()
            # A try that was given no time tells nothing: then what the one before told is the reason.
            if self._told is None or not (isinstance(error, TimeoutError) and now - tried_at < SUSPICIOUS_S):
                self._told = error
            alone_s = self._confidence.alone_s(now)
            for write in batch:
                # Each is held for as long as a failover may take, unless its server itself says that it is alone.
                waited_s = alone_s if self._confidence.refusing else min(alone_s, now - write.called_at)
                if now >= self._ends_at(write) or waited_s >= self._terms.replicas_s:
                    write.fail(self._in_the_end(write, self._told), answered=is_answer(self._told))
            batch = [write for write in batch if not write.done.done()]
            if not batch:
                return
            patience_s = self._terms.again_s if now - began < self._terms.again_for_s else self._terms.again_later_s
            if verdict_on(error) is Verdict.ELSEWHERE or isinstance(error, StoreUnavailable):
                patience_s = self._terms.retries_s[min(tries, len(self._terms.retries_s) - 1)]
                tries += 1
            patience_s = min(patience_s, max(0.0, min(self._ends_at(write) for write in batch) - now))
            try:
                async with asyncio.timeout(patience_s):
                    await self._moved.wait()
            except TimeoutError:
                pass

    def _in_the_end(self, write: Write, error: Exception) -> Exception:
        if write.state is WriteState.TAKEN and not isinstance(error, NotReplicated):
            return NotReplicated(f"shard {self._masters.name!r} took it, and no replica confirmed it in time")
        return unavailable(error, self._masters.name)

    # -- one try

    async def _linked(self) -> Link:
        """Return a link to the master that is in place, in the newest life."""
        link = self._link
        if link is not None and link.client is await self._masters.current() and self._lives.is_newest(link):
            return link
        await self._leave()
        self._link = (await self._lives.open()).link
        self._knows_scripts = True
        return self._link

    async def _leave(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _try(self, batch: list[Write]) -> Exception:
        """Send once; return why not all are acknowledged, if they are not."""
        began = self._clock.monotonic()
        left_s = max(self._ends_at(write) for write in batch) - began
        link: Link | None = None
        try:
            async with asyncio.timeout(max(0.001, left_s)):
                link = await self._linked()
                return await self._send(link, batch)
        except Exception as error:  # noqa: BLE001 - whatever it was, `verdict_on` says what follows
            # A server that was given no time to answer is under no suspicion.
            given_time = not isinstance(error, TimeoutError) or self._clock.monotonic() - began >= SUSPICIOUS_S
            verdict = verdict_on(error)
            if link is not None and verdict is Verdict.ELSEWHERE and given_time:
                self._masters.failed(link.client, error)
            if verdict is Verdict.HOPELESS and is_answer(error):  # to what was asked for all of them
                for write in batch:
                    write.fail(unavailable(error, self._masters.name), answered=True)
            return error
        finally:
            for write in batch:
                if write.state is WriteState.TAKEN and not (
                    write.link is not None and self._lives.is_newest(write.link)
                ):
                    write.happens(WriteEvent.LEFT)

    async def _send(self, link: Link, batch: list[Write]) -> Exception:
        """Send what this server does not have yet, and ask for the word of its replicas on all of it."""
        sent = [write for write in batch if write.state is WriteState.HELD]
        commands: list[Command] = [] if self._knows_scripts else loading()
        first = len(commands)
        for write in sent:
            until_ms = link.server_ms(self._ends_at(write) + ARRIVAL_S)
            commands.append(called(write.name, self._prefix, write.arguments, until_ms=until_ms))
        if self._replicas:
            # A write that always propagates stands before each WAIT, on its connection: since Redis 7.2 that speaks for
            # this connection's own last propagated write, and for no other.
            needed = required(self._masters.standing, self._replicas, self._confidence.excused)
            commands.append(("HSET", f"{self._prefix}:waited", "at", "1"))
            commands.append(("ROLE",))
            commands.append(("WAIT", str(needed), str(int(self._wait_s(batch) * 1000))))
        commands += [("ROLE",), ("TIME",)]
        began = self._clock.monotonic()
        answers = await link.ask(commands)
        self._observe(self._clock.monotonic() - began)
        self._knows_scripts = True
        link.hear_time(answers[-1])
        reason: Exception = StoreUnavailable("nothing was sent")
        for write, result in zip(sent, answers[first:], strict=False):
            if not isinstance(result, Exception):
                write.take(result, link)
                continue
            reason = result
            write.happens(WriteEvent.PUT_OFF)
            self._refused(link, write, result)
        taken = [write for write in batch if write.state is WriteState.TAKEN]
        doubt = self._doubt(link, answers[first + len(sent) :])
        if doubt is not None:
            for write in taken:
                write.happens(WriteEvent.UNCONFIRMED)
            return doubt
        for write in taken:
            self._acknowledged(write)
            write.acknowledge()
        if taken:
            self._told = None
        return reason

    def _wait_s(self, batch: list[Write]) -> float:
        """Return for how long the word of the replicas is waited for: no caller is kept longer than it can be."""
        if self._confidence.refusing or self._confidence.doubted_since is not None:
            return LEAST_WAIT_S
        now = self._clock.monotonic()
        alone_s = self._confidence.alone_s(now)
        left_s = min(self._terms.replicas_s - min(alone_s, now - write.called_at) for write in batch)
        return min(self._terms.wait_s, max(LEAST_WAIT_S, left_s if alone_s else self._terms.replicas_s))

    def _doubt(self, link: Link, answers: list[Any]) -> Exception | None:
        """Return why what `link`'s server has taken is not to be acknowledged; None when it is."""
        *confirmation, role, _time = answers
        name, now = self._masters.name, self._clock.monotonic()
        if isinstance(role, ResponseError):
            return role
        if role[0] != b"master" or not self._lives.is_newest(link):
            self._masters.doubt()
            return StoreUnavailable(f"shard {name!r} has another master by now")
        confirmed, lag = 0, Lag(0, {})
        if self._replicas:
            propagated, before, count = confirmation
            refusal = next((a for a in (propagated, before, count) if isinstance(a, Exception)), None)
            if refusal is not None:
                self._confidence = self._confidence.alone(now, refusing=isinstance(propagated, Exception))
                return refusal
            confirmed, lag = int(count), lag_of(before, role)
        standing = self._masters.standing
        self._confidence = self._confidence.heard(standing, lag, now)
        ruling, why = ruled(
            standing,
            link.run_id,
            confirmed=confirmed,
            configured=self._replicas,
            excused=self._confidence.excused,
        )
        match ruling:
            case Ruling.ACKNOWLEDGE:
                self._confidence = self._confidence.certain()
                return None
            case Ruling.SEND_AGAIN:
                self._masters.doubt()
                return StoreUnavailable(f"shard {name!r}: {why}")
            case Ruling.ASK_AGAIN:
                self._masters.doubt()
                if confirmed < self._replicas:
                    self._confidence = self._confidence.alone(now)
                else:
                    self._confidence = self._confidence.doubting(now)
                return NotReplicated(f"shard {name!r}: {why}")

    def _refused(self, link: Link, write: Write, error: Exception) -> None:
        """Take note of why a server refused a write; it fails when trying again is of no use."""
        match verdict_on(error):
            case Verdict.HOPELESS:
                write.fail(unavailable(error, self._masters.name), answered=is_answer(error))
            case Verdict.RELOAD:
                self._knows_scripts = False
            case Verdict.ELSEWHERE:
                self._masters.failed(link.client, error)
            case Verdict.AGAIN:
                pass
