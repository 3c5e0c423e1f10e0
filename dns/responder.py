"""Turns a query's bytes into an answer's bytes, from the cache of ready answers where possible.

The hot path is one dictionary lookup; it parses nothing, awaits nothing, logs nothing. On a miss, the
query is parsed, answered and cached. No query makes it raise, whatever it contains.
"""

from __future__ import annotations

import asyncio
import random as random_module
from collections import Counter
from functools import partial
from typing import Final

import msgspec
import structlog

from dns import codec
from dns.answer_cache import CachedAnswers, ReadyAnswers, folded, respelled
from dns.answers import NOT_SUPPORTED, Zone
from dns.askers import asker_of
from dns.awaited import after
from dns.codec import Answer, Query, Rcode, Refusal
from dns.costs import ANSWER_US, AnswerCosts
from dns.dear_work import CHEAP_US, DearWork
from dns.dns_settings import DnsSettings
from dns.draft_cache import DraftCache, MadeDraft, draft_key, made_draft
from dns.drafts import draft_of, error_option, refusal_draft
from dns.foreign import can_be_forwarded
from dns.foreign_drafts import ForeignDrafts
from dns.forwarding import ForeignAnswer, Forwarder, Forwards
from dns.hop import Hop, Hops
from dns.order_renewal import OrderRenewal
from dns.query_counts import OTHER, QueryCounts
from dns.rate_limit import RateLimit, RateLimitAction
from dns.record_data import name_of
from dns.remote_limits import RemoteLimits
from dns.reverse_fallback import ReverseFallback
from registry_core.domain.freshness import freshness_of
from registry_core.domain.selection import WhenNonePass
from registry_core.ports.clock import Clock, SystemClock
from registry_core.ports.local_view import LocalView

# Extended DNS Errors: RFC 8914 sections 4.1 and 4.19.
_REFUSED: Final = Answer(Rcode.REFUSED, authoritative=False, extended_error=18)
_BUSY: Final = Answer(Rcode.SERVFAIL, authoritative=False, extended_error=0, error_text="too many questions at a time")
_HERE: Final = "127.0.0.1"

_log = structlog.get_logger(component="dns")


class Responder:
    """Answers queries from `view`, and has `forwarder` answer for foreign names. `counts` has what it answered."""

    def __init__(
        self,
        view: LocalView,
        settings: DnsSettings,
        random: random_module.Random,
        forwarder: Forwards | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Raises ValueError when one of `allow_networks` is not a network."""
        self._settings = settings
        self._random = random
        self._forwarder = forwarder
        self._later: asyncio.Future[bytes] | None = None
        self._view = view
        self._zone = Zone(view, settings.of_zone(asks_resolvers=forwarder is not None))
        if forwarder is not None and settings.reverse.fallback:
            self._forwarder = ReverseFallback(forwarder, self._zone.reverse)
        self._foreign = ForeignDrafts(self._zone, view, random)
        self._clock = clock if clock is not None else SystemClock()
        self._hops = Hops(self._clock, settings.udp_payload, recursion=forwarder is not None)
        rates = RateLimit(settings.rate_limit) if settings.rate_limit else None
        self.limits = RemoteLimits(settings.allow_networks, rates, self._hops, self._clock)
        self.admits, self.is_local = self.limits.admits, self.limits.is_local
        # One budget for all that is dear on this loop.
        self.work = forwarder.work if isinstance(forwarder, Forwarder) else DearWork(self._clock)
        self._costs = AnswerCosts(view, name_of(settings.zone))
        self._drafts = DraftCache()
        self._ready = ReadyAnswers(settings.cache)
        # Apart, since a datagram must never get an answer that is made for TCP.
        self._ready_tcp = ReadyAnswers(settings.tcp_cache, self._ready.asked)
        self._renewal = OrderRenewal(self._ready)
        self.counts = QueryCounts(lambda: self.hits, view.age_s)
        self._freshness = freshness_of(view.age_s())
        self.ready, self.taker, self.asked = self._ready.take, self._ready.taker, self._ready.asked
        self.misses = self.malformed = self.prohibited = self.failures = 0
        view.subscribe(self._changed)

    def prefer(self, local_zone: str, when_none_pass: WhenNonePass) -> None:
        """Set this agent's local zone, and the policy when no instance passes."""
        self._zone.prefer(local_zone, when_none_pass)
        self._changed(frozenset())

    def udp(self, query: bytes, host: str = _HERE, port: int = 0) -> bytes | None:
        """Return the answer to a datagram from `host`, which may query, or None for no answer now."""
        answer = self._ready.answer(query)
        if answer is None:
            return self._made(query, folded(query[2:]), host, port)
        self.counts.given += 1
        return answer

    def remote(self, query: bytes, host: str) -> bytes | None:
        """Return the answer to a datagram from `host`, another machine, or None for no answer now.

        The sender may be forged, so answers are limited, and truncated ones small, unless a cookie proves otherwise.
        """
        limits, admitted = self.limits, self.admits(host)
        excess = limits.excess(query, host)
        if excess is not RateLimitAction.SEND:
            return self._limit(query, host, excess, admitted=admitted)
        answer = self.udp(query, host) if admitted else self.refuse(query, host)
        later = self._later
        if (answer is None and later is None) or limits.proves(query, host):
            return answer
        # A late answer is counted now, as an answer to its question; its octets are, when it is there.
        counted = answer if answer is not None else query[:6] + b"\0\1" + query[8:]
        verdict = limits.verdict(counted, host)
        if verdict is not RateLimitAction.SEND:
            return self._limit(query, host, verdict, admitted=admitted)
        if answer is None and later is not None:
            self._later = after(later, partial(self._late, query, host))
            return None
        return limits.brief(answer, query, host) if answer is not None else None

    def tcp(self, query: bytes, host: str = _HERE, idle_s: float = 0.0, port: int | str = 0) -> bytes | None:
        """Return the answer to a message that came over TCP: in full, up to 64 KiB.

        `idle_s` is how long an idle connection is kept, for clients that ask (RFC 7828). `port` may be a word that says
        whose the connection is.
        """
        answer = self._ready_tcp.answer(query)
        if answer is None:
            return self._made(query, folded(query[2:]), host, port, idle_s)
        self.counts.given += 1
        return answer

    def take_later(self) -> asyncio.Future[bytes] | None:
        """Return a future of the answer to the last query if it comes later; None when there will be none.

        Call it after a None: a separate call, so that late answers cost ready ones nothing. The future is
        cancelled when there will be no answer.
        """
        later, self._later = self._later, None
        return later

    def refuse(self, query: bytes, host: str = _HERE, idle_s: float | None = None) -> bytes | None:
        """Return the answer to a message from a client that may not query; `idle_s` is None over UDP."""
        self.prohibited += 1
        asked = codec.read(query)
        if asked is None:
            return None
        hop = self._hops.of(asked, host, idle_s, admitted=False)
        if isinstance(asked, Refusal):
            return hop.finish(refusal_draft(asked))
        self.counts.add(codec.type_name(asked.qtype), Rcode.REFUSED)
        return hop.finish(draft_of(asked, _REFUSED, hop.room))

    def tick(self) -> None:
        """Do what is due about once a second: note the age at the answers, and draw new orders in time."""
        self.counts.fold()
        self._renewal.run(self._costs.of_message, partial(self._answer, host=_HERE, may_wait=False, gives=0))

    @property
    def limited(self) -> int:
        """Questions and answers over a rate limit."""
        return self.limits.limited

    @property
    def counters(self) -> Counter[tuple[str, str]]:
        """Queries answered, by (type, rcode): both bounded sets of words."""
        return self.counts.queries

    @property
    def hits(self) -> int:
        """Queries answered from the ready answers."""
        return self._ready.hits + self._ready_tcp.hits

    @property
    def evictions(self) -> int:
        """Ready answers evicted for lack of room."""
        return self._ready.evictions + self._ready_tcp.evictions

    @property
    def cache_entries(self) -> int:
        return len(self._ready) + len(self._ready_tcp) + len(self._drafts)

    @property
    def cache_bytes(self) -> int:
        return self._ready.bytes + self._ready_tcp.bytes + self._drafts.bytes

    # -- what is not ready

    def _made(self, query: bytes, key: bytes, host: str, port: int | str, idle_s: float | None = None) -> bytes | None:
        """Return a new answer, as `_answer` does, once there is time for it."""
        if self.work.admits(ANSWER_US):
            self.misses += 1
            began = self.work.now()
            answer = self._answer(query, key, host, port=port, idle_s=idle_s)
            self.work.done(began, ANSWER_US)
            return answer
        asker = asker_of(host, port, over_tcp=idle_s is not None)
        answers = partial(self._answer, query, None, host, port=port, idle_s=idle_s, is_busy=True)
        if not self.work.has_room(asker, ANSWER_US):
            return None if idle_s is None else answers()
        begins = partial(self._made_in_turn, query, key, host, port, idle_s)
        self._later = self.work.later(asker, ANSWER_US, begins, answers)
        return None

    def _made_in_turn(
        self, query: bytes, key: bytes, host: str, port: int | str, idle_s: float | None
    ) -> bytes | asyncio.Future[bytes] | None:
        self.misses += 1
        answer = self._answer(query, key, host, port=port, idle_s=idle_s)
        return answer if answer is not None else self.take_later()

    def _answer(
        self,
        message: bytes,
        key: bytes | None,
        host: str,
        *,
        port: int | str = 0,
        idle_s: float | None = None,
        may_wait: bool = True,
        is_busy: bool = False,
        gives: int = 1,
    ) -> bytes | None:
        """Return a new answer; `idle_s` is None over UDP. `key`, folded, is its cache key; None: not cached.

        Without `may_wait`, an answer that is not available now is not sent later either. With `is_busy`, there is no
        time for it: over UDP, an asker that is still there asks again, later. It `gives` one answer, or none: then it
        is for the cache alone, and not counted.
        """
        if is_busy and idle_s is None:
            return None
        hop: Hop | None = None
        try:
            asked = codec.read(message)
            if asked is None:
                self.malformed += 1
                return None
            hop = self._hops.of(asked, host, idle_s, port=port)
            if isinstance(asked, Refusal):
                return self._answer_refusal(asked, hop)
            if is_busy:
                return self._busy(asked, hop)
            return self._answer_query(asked, message, key, hop, may_wait=may_wait, gives=gives)
        except Exception:  # noqa: BLE001 - the last line of defence: no packet stops the server
            return self._failed(message, hop)

    def _failed(self, message: bytes, hop: Hop | None) -> bytes | None:
        """Return SERVFAIL, and log the exception that is being handled."""
        self.failures += 1
        # The 1st, 2nd, 4th, 8th ...: an attacker with such a packet must not fill the disk as well.
        if self.failures & (self.failures - 1) == 0:
            _log.exception("query_failed", query=message[:512].hex(), failures=self.failures)
        if len(message) < codec.HEADER:
            return None
        self.counts.add(OTHER, Rcode.SERVFAIL)
        refusal = Refusal(int.from_bytes(message[:2]), int.from_bytes(message[2:4]), Rcode.SERVFAIL)
        if hop is None:
            return refusal_draft(refusal).message
        asked = codec.read(message)
        return hop.finish(refusal_draft(msgspec.structs.replace(refusal, question=asked.question if asked else b"")))

    def _answer_query(
        self, query: Query, message: bytes, key: bytes | None, hop: Hop, *, may_wait: bool, gives: int
    ) -> bytes | None:
        if freshness_of(self._view.age_s()) is not self._freshness:
            self._changed(frozenset())  # earlier answers say that they are fresher than they are
        # A query with options (mostly cookies) differs each time: caching it would be useless.
        keeps = key is not None and not (query.edns is not None and query.edns.has_options)
        ready = self._ready_tcp if hop.over_tcp else self._ready
        entry = ready.get(key) if key is not None and keeps else None
        number = entry.number if entry is not None else None
        common, began = draft_key(query, hop), self.work.now()
        if key is not None and ready.found.is_spent(key):
            self._drafts.forget(common)
        made = self._drafts.take(common, number, began)
        if not isinstance(made, MadeDraft):
            number = made
            cost_us = self._costs.of(query, hop.size)
            dear = cost_us > CHEAP_US
            if dear and may_wait and not self.work.admits(cost_us):
                again = partial(self._answer, message, key, hop.host, port=hop.port, idle_s=hop.idle_s)
                at_once, busy = partial(again, may_wait=False), partial(again, is_busy=True)
                self._later = self.work.later(hop.asker, cost_us, at_once, busy)
                return None
            found = self._zone.answer(query, self._random, hop.size, number)
            if found.lacking:
                keeps = False  # being fetched, or will be asked again
                if may_wait and (later := self._when_fetched(found.label, message, hop)) is not None:
                    self._later = later
                    return None
            if self._forwarder is not None and found.answer.rcode is Rcode.REFUSED and can_be_forwarded(query):
                return self._forwarded(self._forwarder, query, message, hop)
            made = made_draft(query, found, hop, dear=dear)
            if dear and made.found and not found.lacking:
                self._drafts.put(common, made, cost_us, began)
            if dear and may_wait:
                self.work.done_within(began, cost_us)
            packed = hop.finish(made.draft)
        else:
            packed = hop.finish(made.answering(query))
        counter = self.counts.add_from_view(query.qtype, made.rcode, self._freshness, gives)
        self.asked.add(made.label, gives, is_found=made.found)
        if key is not None and keeps:
            kept = ready.found if made.found else ready.missing
            if entry is None or entry is not kept.get(key):
                entry = CachedAnswers(made.label, made.orders, counter, self._random.random())
            kept.put(key, entry, respelled(packed[2:], key))
        return packed

    def _busy(self, query: Query, hop: Hop) -> bytes:
        """Return the answer to a question that waited for too long, or had no room to wait."""
        self.counts.add(codec.type_name(query.qtype), Rcode.SERVFAIL)
        return hop.finish(draft_of(query, _BUSY, hop.room))

    def _forwarded(self, forwarder: Forwards, query: Query, message: bytes, hop: Hop) -> bytes | None:
        foreign = forwarder.answer(query, message, hop.asker)
        if not isinstance(foreign, asyncio.Future):
            return self._relayed(query, foreign, hop)
        self._later = self._when_answered(foreign, query, message, hop)
        return None

    def _relayed(self, query: Query, foreign: ForeignAnswer, hop: Hop) -> bytes:
        draft = self._foreign.draft(query, foreign, hop)
        self.counts.add(codec.type_name(query.qtype), draft.rcode)
        return hop.finish(draft)

    def _when_fetched(self, label: str, message: bytes, hop: Hop) -> asyncio.Future[bytes] | None:
        """Return a future of the answer, ready when the view has the service or knows that it cannot get it."""
        fetched = self._view.fetch(label)
        if fetched is None:
            return None
        answer = partial(self._answer, message, None, hop.host, port=hop.port, idle_s=hop.idle_s, may_wait=False)
        return after(fetched, lambda _: answer())

    def _when_answered(
        self, foreign: asyncio.Future[ForeignAnswer], query: Query, message: bytes, hop: Hop
    ) -> asyncio.Future[bytes]:
        """Return a future of the answer, ready when a resolver has answered; cancelled when `foreign` is."""

        def answer(answered: asyncio.Future[ForeignAnswer]) -> bytes | None:
            if answered.cancelled():
                return None
            try:
                return self._relayed(query, answered.result(), hop)
            except Exception:  # noqa: BLE001 - as in `_answer`
                return self._failed(message, hop)

        return after(foreign, answer)

    def _answer_refusal(self, refusal: Refusal, hop: Hop) -> bytes:
        edns, rcode = refusal.edns, refusal.rcode
        errors = b""
        if rcode is not Rcode.NOERROR:
            self.malformed += 1
            if rcode is Rcode.NOTIMP:
                errors = error_option(NOT_SUPPORTED)
        elif edns is not None and edns.version != 0:
            rcode = Rcode.BADVERS
        elif edns is not None and self._hops.disproves(edns, hop.host):
            # RFC 7873 section 5.4: a query for a cookie only learns whether its cookie is valid.
            rcode = Rcode.BADCOOKIE
        self.counts.add(OTHER, rcode)
        return hop.finish(refusal_draft(msgspec.structs.replace(refusal, rcode=rcode), errors))

    def _limit(self, query: bytes, host: str, action: RateLimitAction, *, admitted: bool) -> bytes | None:
        """Return what a client above its limit gets, if anything, and forget its answer."""
        later, self._later = self._later, None
        if later is not None:
            later.cancel()
        return self.limits.instead(query, host, action if admitted else RateLimitAction.DROP)

    def _late(self, query: bytes, host: str, answered: asyncio.Future[bytes]) -> bytes | None:
        if answered.cancelled():
            return None
        answer = self.limits.brief(answered.result(), query, host)
        self.limits.charge(len(answer), host)
        return answer

    def _changed(self, labels: frozenset[str]) -> None:
        if labels:
            # Answers without a label may depend on any service, as the list of all services does.
            self._ready.drop([*labels, ""])
            self._ready_tcp.drop([*labels, ""])
            self._drafts.drop([*labels, ""])
        else:
            self._ready.clear()
            self._ready_tcp.clear()
            self._drafts.clear()
            self.counts.fold()
            self._freshness = freshness_of(self._view.age_s())
