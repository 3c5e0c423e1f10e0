"""One try to have writes acknowledged: sends what the master lacks, waits for its replicas, and judges the result.

`quorum.py` decides what a try means, `writes.py` what becomes of a write, and `queue.py` how often and for how long
to try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from registry_core.domain.breaker import Seen
from registry_core.errors import NotReplicated, StoreUnavailable
from registry_core.ports.clock import Clock
from registry_core.store.redis.failures import FailureAction, is_answer, refusal_in, seen_by, unavailable, verdict_on
from registry_core.store.redis.link import Link
from registry_core.store.redis.lives import Lives
from registry_core.store.redis.quorum import AfterTry, Confidence, Lag, after_try, lag_of, required
from registry_core.store.redis.scripts import RedisCommand, called, loading
from registry_core.store.redis.watcher import MasterWatcher
from registry_core.store.redis.writes import Observe, QueueTerms, Write, WriteEvent, WriteState

# The replicas get at least this long to confirm, however long they have been silent.
LEAST_WAIT_S: Final = 0.1
# A server that takes longer than this to answer counts as a failed master.
SUSPICIOUS_S: Final = 1.0
# How much later than its caller's deadline a write may arrive, since the round trip takes a while.
ARRIVAL_S: Final = 0.25


class Sender:
    """Sends the writes of one shard to its master, on its own link."""

    def __init__(
        self,
        masters: MasterWatcher,
        lives: Lives,
        *,
        prefix: str,
        replicas: int,
        clock: Clock,
        terms: QueueTerms,
        acknowledged: Callable[[Sequence[Write]], None],
        observe: Observe,
    ) -> None:
        """`acknowledged` gets the acknowledged writes of a pipeline, and tells their callers; `observe` its times."""
        self._masters = masters
        self._lives = lives
        self._prefix = prefix
        self._replicas = replicas
        self._clock = clock
        self._terms = terms
        self._acknowledged = acknowledged
        self._observe = observe
        self._link: Link | None = None
        self._knows_scripts = False
        self._is_placed_anew = False  # a master was put in place since the link was opened
        self.confidence = Confidence()

    def has_moved(self) -> None:
        """Note that a master is in place: another one, or the same again."""
        self.confidence = self.confidence.certain()
        self._is_placed_anew = True  # perhaps the same process, which was a replica meanwhile

    async def linked(self) -> Link:
        """Return a link to the current master, in the newest life. Raises what `Lives.open` raises."""
        link, client = self._link, await self._masters.current()
        if link is not None and not self._is_placed_anew and link.client is client and self._lives.is_newest(link):
            return link
        await self.leave()
        self._is_placed_anew = False
        self._link = (await self._lives.open()).link
        self._knows_scripts = True
        return self._link

    async def leave(self) -> None:
        """Close the link. Safe to call twice."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def attempt(self, batch: Sequence[Write]) -> Exception:
        """Send once; return why some writes are still not acknowledged, if any are."""
        began = self._clock.monotonic()
        left_s = max(write.ends_at(self._terms) for write in batch) - began
        link: Link | None = None
        try:
            async with asyncio.timeout(max(0.001, left_s)):
                link = await self.linked()
                return await self._send(link, batch)
        except Exception as error:  # noqa: BLE001 - `verdict_on` decides what follows
            # A server that had no time to answer is not suspected.
            given_time = not isinstance(error, TimeoutError) or self._clock.monotonic() - began >= SUSPICIOUS_S
            verdict = verdict_on(error)
            if link is not None and verdict is FailureAction.ELSEWHERE and given_time:
                self._masters.failed(link.client, error)
            if verdict is FailureAction.HOPELESS and is_answer(error):  # an answer to a command sent for all of them
                for write in batch:
                    write.fail(unavailable(error, self._masters.name), Seen.SUCCESS)
            return error
        finally:
            for write in batch:
                if write.state is WriteState.TAKEN and not (
                    write.link is not None and self._lives.is_newest(write.link)
                ):
                    write.happens(WriteEvent.LEFT)

    async def _send(self, link: Link, batch: Sequence[Write]) -> Exception:
        """Send what this server does not have yet, then wait for its replicas to confirm all of it."""
        sent = [write for write in batch if write.state is WriteState.HELD]
        commands: list[RedisCommand] = [] if self._knows_scripts else loading()
        first = len(commands)
        for write in sent:
            until_ms = link.server_ms(write.ends_at(self._terms) + ARRIVAL_S)
            commands.append(called(write.name, self._prefix, write.arguments, until_ms=until_ms, once=write.once))
        waits: int | None = None
        if self._replicas:
            # A write that always propagates precedes each WAIT on its connection: since Redis 7.2, WAIT covers only the
            # connection's own last propagated write.
            needed = required(self._masters.standing, self._replicas, self.confidence)
            commands.append(("HSET", f"{self._prefix}:waited", "at", "1"))
            commands.append(("ROLE",))
            commands.append(("WAIT", str(needed), str(int(self._wait_s(batch) * 1000))))
            waits = len(commands) - 1
        commands += [("ROLE",), ("TIME",)]
        began = self._clock.monotonic()
        answers = await link.ask(commands, timed=waits)
        self._observe(self._clock.monotonic() - began, link.timed_s if waits is not None else None)
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
            write.happens(WriteEvent.CONFIRMED)
        if taken:
            self._acknowledged(taken)
        return reason

    def _wait_s(self, batch: Sequence[Write]) -> float:
        """Return how long to wait for the replicas, so that no caller waits past its deadline."""
        if self.confidence.refusing or self.confidence.doubted_since is not None:
            return LEAST_WAIT_S
        now = self._clock.monotonic()
        alone_s = self.confidence.alone_s(now)
        left_s = min(self._terms.replicas_s - min(alone_s, now - write.called_at) for write in batch)
        return min(self._terms.wait_s, max(LEAST_WAIT_S, left_s if alone_s else self._terms.replicas_s))

    def _doubt(self, link: Link, answers: list[Any]) -> Exception | None:
        """Return why writes taken by the server of `link` must not be acknowledged, or None when they may be."""
        *confirmation, role, _time = answers
        name, now = self._masters.name, self._clock.monotonic()
        if isinstance(role, ResponseError):
            return role
        if role[0] != b"master" or not self._lives.is_newest(link):
            self._masters.doubt()
            return StoreUnavailable(f"shard {name!r} has another master now")
        confirmed, lag = 0, Lag(0, {})
        if self._replicas:
            propagated, before, count = confirmation
            refusal = next((a for a in (propagated, before, count) if isinstance(a, Exception)), None)
            if refusal is not None:
                self.confidence = self.confidence.alone(now, refusing=isinstance(propagated, Exception))
                return refusal
            confirmed, lag = int(count), lag_of(before, role)
        standing = self._masters.standing
        self.confidence = self.confidence.heard(standing, lag, now)
        ruling, why = after_try(
            standing, link.run_id, confirmed=confirmed, configured=self._replicas, confidence=self.confidence
        )
        match ruling:
            case AfterTry.ACKNOWLEDGE:
                self.confidence = self.confidence.certain()
                return None
            case AfterTry.SEND_AGAIN:
                self._masters.doubt()
                return StoreUnavailable(f"shard {name!r}: {why}")
            case AfterTry.ASK_AGAIN:
                self._masters.doubt()
                if confirmed < self._replicas:
                    self.confidence = self.confidence.alone(now)
                else:
                    self.confidence = self.confidence.doubting(now)
                return NotReplicated(f"shard {name!r}: {why}")

    def _refused(self, link: Link, write: Write, error: Exception) -> None:
        """Record why a server refused a write, and fail the write when a retry cannot help."""
        match verdict_on(error):
            case FailureAction.HOPELESS:
                write.fail(refusal_in(error) or unavailable(error, self._masters.name), seen_by(error))
            case FailureAction.RELOAD:
                self._knows_scripts = False
            case FailureAction.ELSEWHERE:
                self._masters.failed(link.client, error)
            case FailureAction.AGAIN:
                pass
