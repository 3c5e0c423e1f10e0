"""Answers for foreign names, from the cache or by asking the resolvers.

It refuses to forward without RD, to forward a question that has passed this agent before, and to cache
anything but the answer to the question. A question is asked once, however many clients wait for it. Every
wait and every collection is bounded.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, TypeAlias, TypeGuard

import msgspec
import structlog

from dns.codec import CLASS_IN, RD, Answer, Name, Query, Rcode
from dns.costs import ASK_US
from dns.dear_work import DearWork
from dns.flights import Flight, FlightLimits, Flights, WaitingClient, suffix_of
from dns.foreign import VIA_OCTETS, ForeignReply, Inquiry, inquiry, inquiry_of, lifetime_s, via_of
from dns.foreign_cache import CachedReply, ForeignCache, ForeignLimits
from dns.forward_rules import ForwardRules
from dns.record_data import name_data, name_of
from dns.relay import Relayed, alias_lifetime_s, leads_into
from dns.resolv_conf import MAX_CHARACTERS, nameservers
from dns.resolver_client import Patience, ResolverClient, Unanswered
from dns.resolvers import Group, Resolvers
from dns.special_names import denied, is_above_special, special
from dns.upstreams import ResolverReport, ResolverState
from dns.wire_names import is_below
from registry_core.blocking import Threads
from registry_core.ports.clock import Clock
from registry_core.supervision import Background, end
from registry_core.telemetry.bucket_counts import BucketCounts

# Extended DNS Errors: RFC 8914 sections 4.1, 4.21, 4.23 and 4.24.
OTHER: Final = 0
NOT_AUTHORITATIVE: Final = 20
NO_REACHABLE_AUTHORITY: Final = 22
NETWORK_ERROR: Final = 23
# RFC 8767 section 4.
STALE_TTL_S: Final = 30
# Agents that a question may pass, one forwarding to the next. More means a loop through a server that drops our option.
MAX_HOPS: Final = 8
MAX_FAILURES: Final = 1000
RESOLV_CONF: Final = Path("/etc/resolv.conf")
READ_S: Final = 1.0

# What becomes of questions for foreign names.
OUTCOMES: Final = ("answered", "cached", "stale", "failed", "refused", "denied", "special", "looped", "overloaded")
# What a client gets: a resolver's reply, or our own words.
ForeignAnswer: TypeAlias = Relayed | Answer

_log = structlog.get_logger(component="dns.forwarding")


class ForwardLimits(FlightLimits, frozen=True, kw_only=True):
    """The bounds of forwarding, with those of the questions in flight. `_s` means seconds."""

    # RFC 8767 section 5: how long a client waits for a fresh answer while there is a stale one.
    stale_after_s: float = 1.8
    # RFC 9520 section 3.2: failures are cached, briefly.
    failure_s: float = 1.0
    # How often the system's resolvers are read again.
    system_s: float = 5.0
    patience: Patience = Patience()
    cache: ForeignLimits = ForeignLimits()


class ForwardingReport(msgspec.Struct, kw_only=True):
    """The forwarding part of `/self` and `/health`."""

    rules: str
    upstreams: list[ResolverReport]
    in_flight: int
    cached: int


class Forwards(Protocol):
    """Answers for foreign names."""

    def answer(
        self, query: Query, message: bytes, asker: Hashable = None
    ) -> ForeignAnswer | asyncio.Future[ForeignAnswer]:
        """Return the answer, or a future that is cancelled when there will be none: see `Forwarder`."""
        ...


class Forwarder:
    """Answers for foreign names. Call `start` in the event loop, and `close` at the end."""

    def __init__(
        self,
        rules: ForwardRules,
        clock: Clock,
        limits: ForwardLimits | None = None,
        resolv_conf: Path = RESOLV_CONF,
        *,
        zone: str | None = None,
        background: Background | None = None,
        work: DearWork | None = None,
    ) -> None:
        """`zone` is the one that is answered here: aliases that lead into it are kept for as long as they hold.

        `work` is the budget for large replies.
        """
        self._zone = None if zone is None else name_data(name_of(zone))
        self._rules = rules
        self._clock = clock
        self._limits = limits if limits is not None else ForwardLimits()
        self._resolv_conf = resolv_conf
        self._threads = Threads("read resolv.conf", 1)
        self._background = background if background is not None else Background(clock)
        self._resolvers = Resolvers(rules)
        self.work = work if work is not None else DearWork(clock)
        self._asking = ResolverClient(clock, self._limits.patience, self._background, self.work)
        self._cache = ForeignCache(self._limits.cache)
        self._flights: Flights[ForeignAnswer] = Flights(self._limits)
        self._failed: dict[bytes, tuple[float, Unanswered]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._counts: Counter[str] = Counter()

    async def start(self) -> None:
        """Read the system's resolvers, and keep reading them. Nothing is sent before the first question."""
        if self._resolvers.uses_system:
            await self._read_system()
            self._watch = self._background.keep("watch resolv.conf", self._watch_system)

    def listens_on(self, host: str, port: int) -> None:
        """Exclude our own address from the resolvers."""
        self._resolvers.listens_on(host, port)

    @property
    def has_resolvers(self) -> bool:
        """Whether there is any resolver to ask, other than this program."""
        return bool(self._resolvers.all())

    async def close(self) -> None:
        """Stop everything, once no new query can arrive; waiting clients get no answer. Safe to call twice."""
        await end([self._watch, *(flight.task for flight in self._flights)])
        for flight in self._flights:  # those cancelled before they started
            self._landed(flight)
        await self._asking.close()

    # -- queries of clients

    def answer(
        self, query: Query, message: bytes, asker: Hashable = None
    ) -> ForeignAnswer | asyncio.Future[ForeignAnswer]:
        """Return the answer to `query`, a question for a foreign name of class IN.

        `message` is its bytes; `asker` is who asks, for fair turns. When resolvers have to be asked first, returns
        a future; `close` cancels it.
        Nothing in an answer depends on the client: what does is added by `dns/hop.py`.
        """
        asked = inquiry_of(query)
        refusal = self._refusal(query, asked, message)
        if refusal is not None:
            return refusal
        now = self._clock.monotonic()
        kept = self._cache.get(asked.key, now)
        if kept is not None:
            return self._given("cached", Relayed(kept.reply, age_s=kept.age_s(now)))
        group = self._resolvers.group_for(asked.name)
        # A rule for exactly such a name takes precedence over its fixed meaning.
        if not group.suffix and (found := special(query, asked.name)) is not None:
            return self._given("special", found)
        if group.denies:
            return self._given("denied", denied(group.suffix, exists=self._has_names_below(asked)))
        if not group.forwards:
            return self._given("refused", _plain(Rcode.REFUSED, NOT_AUTHORITATIVE))
        old = self._cache.stale(asked.key, now)
        until, verdict = self._failed.get(asked.key, (now, Unanswered()))
        if until > now:
            return self._failure(verdict, old)
        self._asking.try_where_due(group)
        flight = self._flights.get(asked.key)
        if flight is None:
            suffix = suffix_of(asked.name, group.suffix)
            if self._flights.is_full and not self._jostled(suffix, asker, now):
                return self._given("overloaded", self._old_or_failed(old, OTHER, b""))
            flight = Flight(asked.key, suffix, asker, now)
            self._flights.begin(flight)
            begin = partial(self._begin, asked, via_of(message, query), group, flight)
            otherwise = partial(self._shed, flight)
            self.work.later(flight.crowd, ASK_US, begin, otherwise, only_begins=True)
        if old is not None and all(upstream.state is not ResolverState.UP for upstream in group.upstreams):
            return self._given("stale", _stale(old))
        return self._wait(flight, old)

    def _refusal(self, query: Query, asked: Inquiry, message: bytes) -> ForeignAnswer | None:
        """Return the answer to a query without RD, or to one that has passed this agent before; else None."""
        if not query.flags & RD:
            # As unbound does: a foreign name without RD is refused, cached or not.
            return self._given("refused", _plain(Rcode.REFUSED, NOT_AUTHORITATIVE))
        if self._asking.came_back(asked.name):
            return self._given("looped", _plain(Rcode.SERVFAIL, OTHER))
        if query.edns is not None and query.edns.has_options:
            via = via_of(message, query)
            passed = {via[at : at + VIA_OCTETS] for at in range(0, len(via), VIA_OCTETS)}
            if self._asking.identity in passed or len(via) >= MAX_HOPS * VIA_OCTETS:
                # This name loops. A probe finds out whether a resolver sends everything back to us.
                for upstream in self._resolvers.group_for(asked.name).upstreams:
                    upstream.suspect(self._clock.monotonic())
                return self._given("looped", _plain(Rcode.SERVFAIL, OTHER))
        return None

    def _has_names_below(self, asked: Inquiry) -> bool:
        """Return whether names below the one that is asked for exist: of our zone, of this machine, or by a rule."""
        is_above_ours = self._zone is not None and is_below(self._zone, asked.question[:-4])
        return is_above_ours or is_above_special(asked.name) or self._rules.has_names_below(asked.name)

    def _jostled(self, suffix: Name, asker: Hashable, now: float) -> bool:
        """End another question to make room for a new one; return whether there is room."""
        flight = self._flights.in_the_way(suffix, asker, now)
        if flight is not None:
            self._give_up(flight, now)
        return flight is not None

    def _give_up(self, flight: Flight[ForeignAnswer], now: float) -> None:
        # As after a failure, it is not asked again at once. Its sockets are closed when its task has ended.
        self._remember_failure(flight.key, Unanswered(), now)
        for client in flight.waiting:
            self._turn_away(client, flight.key, now)
        if flight.task is not None:
            flight.task.cancel()
        self._flights.end(flight)

    def _turn_away(self, client: WaitingClient[ForeignAnswer], key: bytes, now: float) -> None:
        if not client.answer.done():
            client.answer.set_result(
                self._given("overloaded", self._old_or_failed(self._cache.stale(key, now), OTHER, b""))
            )

    def _wait(self, flight: Flight[ForeignAnswer], old: CachedReply | None) -> asyncio.Future[ForeignAnswer]:
        loop = asyncio.get_running_loop()
        waiting: WaitingClient[ForeignAnswer] = WaitingClient(loop.create_future())
        for displaced in self._flights.wait(flight, waiting):
            self._turn_away(displaced, flight.key, self._clock.monotonic())
        if old is not None:
            waiting.timer = loop.call_later(self._limits.stale_after_s, self._tire, waiting, old)
        return waiting.answer

    def _tire(self, waiting: WaitingClient[ForeignAnswer], old: CachedReply) -> None:
        if not waiting.answer.done():
            waiting.answer.set_result(self._given("stale", _stale(old)))

    # -- questions to resolvers

    async def look_up(self, name: Name, qtype: int) -> ForeignReply | Unanswered:
        """Return the resolvers' reply for `name`, in lower case, for this program's own use.

        The rules are those for clients, so it never loops through this agent: a question that comes back is known.
        """
        group = self._resolvers.group_for(name)
        self._asking.try_where_due(group)
        question = name_data(name) + qtype.to_bytes(2) + CLASS_IN.to_bytes(2)
        return await self._asking.ask(inquiry(question), b"", group)

    def _begin(self, asked: Inquiry, via: bytes, group: Group, flight: Flight[ForeignAnswer]) -> bool:
        """Ask, in its turn, unless the question was given up meanwhile."""
        if self._flights.get(flight.key) is flight:
            flight.task = asyncio.create_task(self._fly(asked, via, group, flight))
        return True

    def _shed(self, flight: Flight[ForeignAnswer]) -> None:
        """Give up a question that found no turn."""
        if self._flights.get(flight.key) is flight:
            self._give_up(flight, self._clock.monotonic())

    async def _fly(self, asked: Inquiry, via: bytes, group: Group, flight: Flight[ForeignAnswer]) -> None:
        try:
            outcome = await self._asking.ask(asked, via, group, flight.crowd)
            self._land(asked, outcome, flight)
        except Exception:  # noqa: BLE001 - the top of one question's task: the others go on
            self._counts["failed"] += len(flight.waiting)
            _log.exception("forwarding_failed", question=asked.question.hex())
        finally:
            self._landed(flight)

    def _landed(self, flight: Flight[ForeignAnswer]) -> None:
        self._flights.end(flight)
        for waiting in flight.waiting:
            if waiting.timer is not None:
                waiting.timer.cancel()
            waiting.answer.cancel()  # has no effect once answered

    def _land(self, asked: Inquiry, outcome: ForeignReply | Unanswered, flight: Flight[ForeignAnswer]) -> None:
        now = self._clock.monotonic()
        old = self._cache.stale(asked.key, now)
        if isinstance(outcome, Unanswered) and self._leads_here(outcome.aliases, asked):
            outcome = outcome.aliases
        if isinstance(outcome, ForeignReply):
            self._failed.pop(asked.key, None)
            own = self._leads_here(outcome, asked)
            lasts_s = alias_lifetime_s(outcome) if own else lifetime_s(outcome, asked.qtype)
            self._cache.put(asked.key, outcome, lasts_s, now)
        else:
            outcome = Unanswered(outcome.heard, outcome.errors)  # failures are many, and kept
            self._remember_failure(asked.key, outcome, now)
        for waiting in flight.waiting:
            if waiting.answer.done():
                continue
            if isinstance(outcome, ForeignReply):
                waiting.answer.set_result(self._given("answered", Relayed(outcome)))
            else:
                waiting.answer.set_result(self._failure(outcome, old))

    def _leads_here(self, reply: ForeignReply | None, asked: Inquiry) -> TypeGuard[ForeignReply]:
        """Return whether a reply, of any rcode, is an alias of a name in our zone, so that we have the answer."""
        return reply is not None and self._zone is not None and leads_into(self._zone, reply, asked.qtype) is not None

    def _remember_failure(self, key: bytes, verdict: Unanswered, now: float) -> None:
        self._failed.pop(key, None)
        self._failed[key] = (now + self._limits.failure_s, verdict)
        # The oldest come first, and all are remembered equally long.
        for oldest, (until, _) in tuple(islice(self._failed.items(), 2)):
            if until <= now or len(self._failed) > MAX_FAILURES:
                del self._failed[oldest]

    def _failure(self, verdict: Unanswered, old: CachedReply | None) -> ForeignAnswer:
        word = "failed" if old is None else "stale"
        code = NETWORK_ERROR if verdict.heard else NO_REACHABLE_AUTHORITY
        return self._given(word, self._old_or_failed(old, code, verdict.errors))

    def _old_or_failed(self, old: CachedReply | None, code: int, errors: bytes) -> ForeignAnswer:
        return _plain(Rcode.SERVFAIL, code, errors) if old is None else _stale(old)

    def _given(self, word: str, answer: ForeignAnswer) -> ForeignAnswer:
        self._counts[word] += 1
        return answer

    # -- the system's resolvers

    async def _watch_system(self) -> None:
        while True:
            await asyncio.sleep(self._limits.system_s)
            if await self._read_system():
                _log.info("resolvers_changed", upstreams=[str(one.server) for one in self._resolvers.all()])

    async def _read_system(self) -> bool:
        """Return whether the resolvers have changed."""
        try:
            text = await self._threads.run(partial(_head_of, self._resolv_conf), timeout_s=READ_S)
        except OSError:
            return False  # perhaps the file is being replaced, or its disk hangs: keep the known ones
        if not self._resolvers.system_is(nameservers(text)):
            return False
        self._cache.clear()
        self._failed.clear()
        return True

    # -- reports

    @property
    def counts(self) -> Counter[str]:
        """Questions for foreign names by outcome, from a bounded set of words."""
        return self._counts

    @property
    def limit(self) -> int:
        """The limit of questions in flight."""
        return self._limits.in_flight

    def durations(self) -> dict[str, BucketCounts]:
        """Return how long each resolver took for its answers."""
        return {str(upstream.server): upstream.durations for upstream in self._resolvers.all()}

    def report(self) -> ForwardingReport:
        """Return the state of the resolvers."""
        now = self._clock.monotonic()
        return ForwardingReport(
            rules=str(self._rules),
            upstreams=[upstream.report(now) for upstream in self._resolvers.all()],
            in_flight=len(self._flights),
            cached=len(self._cache),
        )


def _head_of(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(MAX_CHARACTERS)


def _stale(old: CachedReply) -> Relayed:
    """Return a stale answer, marked as such, with a short TTL (RFC 8767)."""
    return Relayed(old.reply, most_ttl_s=STALE_TTL_S, stale=True)


def _plain(rcode: Rcode, error: int, errors: bytes = b"") -> Answer:
    """Return an answer without records, with an Extended DNS Error and those of a resolver."""
    return Answer(rcode, authoritative=False, extended_error=error, more_errors=errors)
