"""Turns a query's bytes into an answer's bytes, from the cache of ready answers where possible.

The hot path is one dictionary lookup; it parses nothing, awaits nothing, logs nothing. On a miss, the
query is parsed, answered and cached. No query makes it raise, whatever it contains.
"""

from __future__ import annotations

import asyncio
import random as random_module
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import structlog

from dns import codec
from dns.access import LOOPBACK, AllowedNetworks
from dns.answer_cache import CachedAnswers, CacheLimits, ReadyAnswers, folded, respelled
from dns.answers import NOT_SUPPORTED, Zone, ZoneSettings
from dns.codec import Answer, Query, Rcode, Refusal, Type
from dns.drafts import draft_of, error_option, refusal_draft
from dns.foreign_drafts import ForeignDrafts
from dns.forwarding import ForeignAnswer, Forwards
from dns.hop import Hop, Hops
from dns.rate_limit import RateLimit, RateLimitAction
from registry_core.domain.selection import WhenNonePass
from registry_core.ports.clock import Clock, SystemClock
from registry_core.ports.local_view import LocalView

# An Extended DNS Error: RFC 8914 section 4.19.
_PROHIBITED: Final = 18
_HERE: Final = "127.0.0.1"

T = TypeVar("T")

_log = structlog.get_logger(component="dns")


class DnsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the DNS server. `_s` means seconds; `udp_payload` is in octets."""

    zone: str = "vertice.internal"
    ttl_s: int = 5
    negative_ttl_s: int = 5
    local_zone: str = ""
    when_none_pass: WhenNonePass = WhenNonePass.ALL
    # Fits every path without fragmentation (DNS flag day 2020).
    udp_payload: int = 1232
    # Networks that may query, such as 10.0.0.0/8.
    allow_networks: tuple[str, ...] = LOOPBACK
    # Answers of one kind per second to one network beyond loopback; 0 means no limit.
    rate_limit: int = 1000
    cache: CacheLimits = CacheLimits()


class Responder:
    """Answers queries from `view`, and has `forwarder` answer for foreign names.

    Counts what it answers itself, by type and response code.
    """

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
        self._zone = Zone(
            view,
            ZoneSettings(
                zone=settings.zone,
                ttl_s=settings.ttl_s,
                negative_ttl_s=settings.negative_ttl_s,
                local_zone=settings.local_zone,
                when_none_pass=settings.when_none_pass,
            ),
        )
        self._foreign = ForeignDrafts(self._zone, view, random)
        access = AllowedNetworks(settings.allow_networks)
        self.admits, self.is_local = access.admits, access.is_local
        self._clock = clock if clock is not None else SystemClock()
        self._hops = Hops(self._clock, settings.udp_payload, recursion=forwarder is not None)
        self._rates = RateLimit(settings.rate_limit) if settings.rate_limit else None
        self._ready = ReadyAnswers(settings.cache)
        self.ready = self._ready.take
        self._cells: dict[tuple[str, str], list[int]] = {}
        self.misses = 0
        self.malformed = 0
        self.prohibited = 0
        self.limited = 0
        self.failures = 0
        view.subscribe(self._changed)

    def prefer(self, local_zone: str, when_none_pass: WhenNonePass) -> None:
        """Set this agent's local zone, and the policy when no instance passes."""
        self._zone.prefer(local_zone, when_none_pass)
        self._changed(frozenset())

    def udp(self, query: bytes, host: str = _HERE) -> bytes | None:
        """Return the answer to a datagram from `host`, which may query, or None for no answer now."""
        key = query[2:]
        ready = self._ready.take_one(key)
        if ready is not None:
            return query[:2] + ready.answer
        plain = folded(key)
        if plain != key:
            ready = self._ready.take_one(plain)
            if ready is not None:
                return query[:2] + respelled(ready.answer, key)
        self.misses += 1
        return self._answer(query, plain, host)

    def remote(self, query: bytes, host: str) -> bytes | None:
        """Return the answer to a datagram from `host`, another machine, or None for no answer now.

        The sender may be forged, so answers are rate-limited unless a cookie proves otherwise.
        """
        admitted = self.admits(host)
        answer = self.udp(query, host) if admitted else self.refuse(query, host)
        if self._rates is None or (answer is None and self._later is None) or self._proves(query, host):
            return answer
        # A late answer is counted now, as an answer to its question.
        counted = answer if answer is not None else query[:6] + b"\0\1" + query[8:]
        verdict = self._rates.verdict(host, counted, self._clock.monotonic())
        if verdict is RateLimitAction.SEND:
            return answer
        self.limited += 1
        self._later = None
        return self._slip(query, host) if verdict is RateLimitAction.SLIP and admitted else None

    def tcp(self, query: bytes, host: str = _HERE, idle_s: float = 0.0) -> bytes | None:
        """Return the answer to a message that came over TCP: in full, up to 64 KiB.

        `idle_s` is how long an idle connection is kept, for clients that ask (RFC 7828).
        """
        return self._answer(query, None, host, idle_s=idle_s)

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
        self._counter(_type_name(asked.qtype), Rcode.REFUSED)[0] += 1
        answer = Answer(Rcode.REFUSED, authoritative=False, extended_error=_PROHIBITED)
        return hop.finish(draft_of(asked, answer, hop.room))

    @property
    def counters(self) -> Counter[tuple[str, str]]:
        """Queries answered, by (type, rcode): both bounded sets of words."""
        _ = self._ready.hits  # updates the counts of answers given out
        return Counter({key: cell[0] for key, cell in self._cells.items()})

    @property
    def hits(self) -> int:
        """Queries answered from the ready answers."""
        return self._ready.hits

    @property
    def evictions(self) -> int:
        """Ready answers evicted for lack of room."""
        return self._ready.evictions

    @property
    def cache_entries(self) -> int:
        return len(self._ready)

    @property
    def cache_bytes(self) -> int:
        return self._ready.bytes

    # -- what is not ready

    def _answer(
        self, message: bytes, key: bytes | None, host: str, *, idle_s: float | None = None, may_wait: bool = True
    ) -> bytes | None:
        """Return a new answer; `idle_s` is None over UDP. `key`, folded, is its cache key; None: not cached.

        Without `may_wait`, an answer that is not available now is not sent later either.
        """
        hop: Hop | None = None
        try:
            asked = codec.read(message)
            if asked is None:
                self.malformed += 1
                return None
            hop = self._hops.of(asked, host, idle_s)
            if isinstance(asked, Refusal):
                return self._answer_refusal(asked, hop)
            return self._answer_query(asked, message, key, hop, may_wait=may_wait)
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
        refusal = Refusal(int.from_bytes(message[:2]), int.from_bytes(message[2:4]), Rcode.SERVFAIL)
        if hop is None:
            return refusal_draft(refusal).message
        asked = codec.read(message)
        return hop.finish(refusal_draft(msgspec.structs.replace(refusal, question=asked.question if asked else b"")))

    def _answer_query(
        self, query: Query, message: bytes, key: bytes | None, hop: Hop, *, may_wait: bool
    ) -> bytes | None:
        # A query with options (mostly cookies) differs each time: caching it would be useless.
        keeps = key is not None and not (query.edns is not None and query.edns.has_options)
        entry = self._ready.get(key) if key is not None and keeps else None
        found = self._zone.answer(query, self._random, hop.size, entry.number if entry is not None else None)
        if found.lacking:
            keeps = False  # being fetched, or will be asked again
            if may_wait and (later := self._when_fetched(found.label, message, hop)) is not None:
                self._later = later
                return None
        answer = found.answer
        if self._forwarder is not None and answer.rcode is Rcode.REFUSED and _can_be_forwarded(query):
            foreign = self._forwarder.answer(query, message)
            if not isinstance(foreign, asyncio.Future):
                return hop.finish(self._foreign.draft(query, foreign, hop))
            self._later = self._when_answered(foreign, query, message, hop)
            return None
        packed = hop.finish(draft_of(query, answer, hop.room, over_tcp=hop.over_tcp))
        counter = self._counter(_type_name(query.qtype), answer.rcode)
        counter[0] += 1
        if key is not None and keeps:
            kept = self._ready.found if answer.answers else self._ready.missing
            if entry is None or entry is not kept.get(key):
                entry = CachedAnswers(found.label, found.orders, counter, self._random.random())
            kept.put(key, entry, respelled(packed[2:], key))
        return packed

    def _when_fetched(self, label: str, message: bytes, hop: Hop) -> asyncio.Future[bytes] | None:
        """Return a future of the answer, ready when the view has the service or knows that it cannot get it."""
        fetched = self._view.fetch(label)
        if fetched is None:
            return None
        return _after(fetched, lambda _: self._answer(message, None, hop.host, idle_s=hop.idle_s, may_wait=False))

    def _when_answered(
        self, foreign: asyncio.Future[ForeignAnswer], query: Query, message: bytes, hop: Hop
    ) -> asyncio.Future[bytes]:
        """Return a future of the answer, ready when a resolver has answered; cancelled when `foreign` is."""

        def answer(answered: asyncio.Future[ForeignAnswer]) -> bytes | None:
            if answered.cancelled():
                return None
            try:
                return hop.finish(self._foreign.draft(query, answered.result(), hop))
            except Exception:  # noqa: BLE001 - as in `_answer`
                return self._failed(message, hop)

        return _after(foreign, answer)

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
        self._counter("other", rcode)[0] += 1
        return hop.finish(refusal_draft(msgspec.structs.replace(refusal, rcode=rcode), errors))

    def _slip(self, query: bytes, host: str) -> bytes | None:
        """Return a minimal answer: it tells a real client to retry over TCP, and costs a victim next to nothing."""
        asked = codec.read(query)
        if not isinstance(asked, Query):
            return None
        hop = self._hops.of(asked, host, None)
        if asked.edns is not None and asked.edns.cookie is not None and asked.edns.version == 0:
            answer = Answer(Rcode.BADCOOKIE, authoritative=False)
        else:
            answer = Answer(Rcode.NOERROR, authoritative=False, ask_over_tcp=True)
        return hop.finish(draft_of(asked, answer, hop.room))

    def _proves(self, query: bytes, host: str) -> bool:
        # The option's code and the upper half of its length: without them there is no need to parse again.
        if b"\0\x0a\0" not in query:
            return False
        asked = codec.read(query)
        return asked is not None and self._hops.proves(asked.edns, host)

    def _counter(self, type_: str, rcode: Rcode) -> list[int]:
        return self._cells.setdefault((type_, rcode.name), [0])

    def _changed(self, labels: frozenset[str]) -> None:
        if labels:
            # Answers without a label may depend on any service, as the list of all services does.
            self._ready.drop([*labels, ""])
        else:
            self._ready.clear()


def _after(awaited: asyncio.Future[T], answer: Callable[[asyncio.Future[T]], bytes | None]) -> asyncio.Future[bytes]:
    """Return a future of what `answer` makes of `awaited` once that is done; cancelled when that is None."""
    later: asyncio.Future[bytes] = awaited.get_loop().create_future()

    def done(_: asyncio.Future[T]) -> None:
        if later.done():
            return
        packed = answer(awaited)
        if packed is None:
            later.cancel()
        else:
            later.set_result(packed)

    awaited.add_done_callback(done)
    return later


def _can_be_forwarded(query: Query) -> bool:
    """Return whether a question that the zone refuses is for a foreign name, rather than for an unsupported type."""
    return query.qclass == codec.CLASS_IN and query.qtype not in (Type.AXFR, Type.IXFR)


def _type_name(qtype: int) -> str:
    """Return the label under which a type is counted; unusual types share one, to keep labels few."""
    try:
        return Type(qtype).name
    except ValueError:
        return "other"
